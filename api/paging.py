"""Pages: cut behind the id of their last item, so that what is added meanwhile neither hides nor repeats any."""

import re
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query
from pydantic import Field

from api import context, schemas
from jobs import errors, ids

P = TypeVar("P", bound=schemas.Page[Any])


def _cursor(prefix: str) -> Callable[[str | None], Awaitable[str | None]]:
    pattern = rf"^{prefix}_{ids.PATTERN}$"

    async def check(
        after: Annotated[
            str | context.Absent,
            Query(description="`next` of the page before.", json_schema_extra={"pattern": pattern}),
        ] = None,
    ) -> str | None:
        if after is not None and not re.fullmatch(pattern, after):
            raise errors.BadCursor
        return after

    return check


JobCursor = Annotated[str | None, Depends(_cursor("job"))]
DatasetCursor = Annotated[str | None, Depends(_cursor("ds"))]
WebhookCursor = Annotated[str | None, Depends(_cursor("wh"))]
AuditCursor = Annotated[str | None, Depends(_cursor("audit"))]
DeliveryCursor = Annotated[str | None, Depends(_cursor("msg"))]
Limit = Annotated[int, Query(ge=1, le=200, description="Items on a page, at most: fewer come if they are large.")]

Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Of an event, a line or a step: PostgreSQL compares an integer column with nothing larger."""
AfterSeq = Annotated[Number, Query(description="Only what is numbered above this.")]
LineLimit = Annotated[int, Query(ge=1, le=1000, description="Items on a page.")]


def cut(page: type[P], items: Sequence[Any], limit: int, key: str) -> P:
    """The first `limit` of at most `limit + 1` items; `key` is the field that the next page goes on from."""
    return part(page, items[:limit], key, more=len(items) > limit)


def part(page: type[P], items: Sequence[Any], key: str, *, more: bool) -> P:
    """These items, and whether there are more behind them."""
    following = str(attrgetter(key)(items[-1])) if more else None
    return page(object="list", data=list(items), has_more=more, next=following)
