"""What the calls on keys take and answer with."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Page, Shown
from jobs.spec.values import Text
from jobs.tables.keys import Scope

Owner = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class KeyRequest(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    owner: Owner
    """Whose jobs and datasets its holder sees: keys of one owner share all."""
    scope: Scope = "submit"
    """`read`: to look; `submit`: also to change what is the owner's; `admin`: also keys and workers."""
    name: Text | None = None
    """For people."""


class Key(Shown):
    """A key, without what its holder shows."""

    object: Literal["key"] = "key"
    id: str
    owner: str
    scope: Scope
    name: str | None
    created_at: datetime
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None


class NewKey(Key):
    """A key with what its holder shows; it is not shown again."""

    token: str


class KeyPage(Page[Key]):
    """Every key, newest first."""


class AuditEntry(Shown):
    """A call that changed something, or tried to."""

    object: Literal["audit"] = "audit"
    id: str
    at: datetime
    owner: str
    key_id: str | None
    action: str
    """The operation's id."""
    path: str
    status: int
    request_id: str


class AuditPage(Page[AuditEntry]):
    """Entries, newest first."""
