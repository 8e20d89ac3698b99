"""A key before a body, JSON without its traps, and no query parameter that nobody asked for: a route class for every
call."""

import json
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NoReturn

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api import access, overload, problems

DEEPEST = 32
"""Arrays and objects within each other."""
MOST_KEYS = 10_000
"""Of one object, and of all together beside those in `rows`: each may be a fault, and faults take long to gather."""
MOST_NESTED = 1 << 20
"""Arrays of a body, an object counting as two: they take many times the memory of what is sent. Room for a thousand
images of 28 × 28 pixels, each pixel an array."""
MOST_PARAMETERS = 100
"""Of a query; each may be a condition that the database looks at."""
_NESTED = frozenset({dict, list})


class StrictRequest(Request):
    """A request whose JSON is strict and has no more bytes than the service accepts. Small JSON is parsed without
    leaving the event loop and is always held; more only while all bodies together have no more than they may."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            limit, body, held = self.app.state.settings.max_body_bytes, bytearray(), overload.SMALL
            async for chunk in self.stream():
                body += chunk
                if len(body) > limit:
                    raise HTTPException(413, f"A JSON body may have at most {limit} bytes.")
                while held < len(body):
                    held += self._held()
            self._body = bytes(body)
        return self._body

    def _held(self) -> int:
        if not self.app.state.bodies.take(self.state.places, overload.SMALL):
            raise HTTPException(503, headers=problems.RETRY_AFTER)
        return overload.SMALL

    async def json(self) -> Any:
        body = await self.body()
        return parse(body) if len(body) < overload.SMALL else await run_in_threadpool(parse, body)


class StrictRoute(APIRoute):
    """Reads bodies by `StrictRequest`; answers 415 to what is not JSON and 422 to unknown query parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        plain, deep = self._query()
        guarded = _asks_who(self.dependant)

        async def strict(request: Request) -> Response:
            if guarded:  # FastAPI reads the body before it asks any dependency
                await access.admit(request)
                overload.own(request)
            _check_query(request, plain, deep)
            if self.body_field:
                _check_type(request)
            return await handler(StrictRequest(request.scope, request.receive))

        return strict

    def _query(self) -> tuple[set[str], set[str]]:
        """Names of the parameters `?name=` and of those written `?name[key]=`."""
        fields = [field for field in get_flat_params(self.dependant) if isinstance(field.field_info, params.Query)]
        extra = (self.openapi_extra or {}).get("parameters", [])
        return {field.alias for field in fields}, {parameter["name"] for parameter in extra}


def _asks_who(dependant: Dependant) -> bool:
    return any(inner.call is access.caller or _asks_who(inner) for inner in dependant.dependencies)


def _check_query(request: Request, plain: set[str], deep: set[str]) -> None:
    faults = []
    given = request.query_params.multi_items()
    if len(given) > MOST_PARAMETERS:
        _refuse(f"The query has more than {MOST_PARAMETERS} parameters.")
    for name, value in given:
        stem, bracket, rest = name.partition("[")
        if name not in plain and not (stem in deep and bracket and rest.endswith("]")):
            faults.append({"type": "extra_forbidden", "loc": ("query", name), "msg": ""})
        elif "\0" in name + value:
            _refuse("A query parameter contains NUL.")
    if faults:
        raise RequestValidationError(faults)


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and (kind or request.headers.get("content-length", "0") != "0"):
        raise HTTPException(415)


def parse(body: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        HTTPException: 400 for anything that another reader might take differently or that a database cannot keep:
            NaN, infinities, numbers beyond 64 bits, a key twice, lone surrogates, NUL, more than 32 levels, too many
            keys, too many arrays and objects.
    """
    if body.count(b"[") + 2 * body.count(b"{") > MOST_NESTED:
        _refuse(f"The body has more than {MOST_NESTED} arrays, or half as many objects; send rows as a file.")
    try:
        value = json.loads(
            body.decode(),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        _refuse("The body must be JSON in UTF-8.")
    except RecursionError:
        _refuse(f"The body has more than {DEEPEST} levels.")
    except json.JSONDecodeError as error:
        _refuse(f"The body is not JSON: {error.msg} at character {error.pos}.")
    _check(value)
    return value


def _refuse(detail: str) -> NoReturn:
    raise HTTPException(400, detail) from None


def _refuse_constant(text: str) -> NoReturn:
    _refuse("The body contains NaN or Infinity, which JSON does not have; send null or leave it out.")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse("The body contains a number that is too large.")


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) >= 2**63:
        _refuse("The body contains an integer of more than 64 bits.")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        _refuse("An object in the body has the same key twice.")
    if len(value) > MOST_KEYS:
        _refuse(f"An object in the body has more than {MOST_KEYS} keys.")
    return value


def _check(value: Any) -> None:
    """Level by level, so that no more is held than the widest of them."""
    if _keys(value) > MOST_KEYS:
        _refuse(f"The body has more than {MOST_KEYS} keys beside those in `rows`.")
    level = [value]
    for _ in range(DEEPEST + 1):
        _check_text("".join([item for item in level if type(item) is str]))
        nested = [item for item in level if type(item) in _NESTED]
        if not nested:
            return
        level = [part for item in nested for part in _parts(item) if type(part) in _NESTED or type(part) is str]
    _refuse(f"The body has more than {DEEPEST} levels.")


def _parts(item: Any) -> Any:
    return item if type(item) is list else [*item, *item.values()]


def _keys(value: Any) -> int:
    """Of all objects but those in `rows`."""
    found, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        inner: Iterable[Any] = item if isinstance(item, list) else ()
        if isinstance(item, dict):
            found += len(item)
            inner = (part for name, part in item.items() if name != "rows")
        waiting += [part for part in inner if isinstance(part, dict | list)]
    return found


def _check_text(text: str) -> None:
    if "\0" in text:
        _refuse("A text in the body contains NUL.")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        _refuse("A text in the body contains half of a surrogate pair.")
