"""Every error as `application/problem+json` (RFC 9457), and which error has which status."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import obstore
import sqlalchemy as sa
import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from api import faults
from jobs import errors
from jobs.errors import Fault

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "2"}
LONGEST_REASON = 300
"""Characters in the log of what another part said; it may say back all that it was sent."""

STATUS: dict[type[errors.FitdError], int] = {
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.TooMany: 429,
    errors.QuotaReached: 429,
    errors.SpecInvalid: 422,
    errors.RowsInvalid: 422,
    errors.NoModel: 409,
    errors.NotFound: 404,
    errors.IllegalMove: 409,
    errors.InUse: 409,
    errors.LimitReached: 409,
    errors.WebhookDisabled: 409,
    errors.KeyReused: 422,
    errors.BadCursor: 422,
    errors.DataInvalid: 422,
    errors.NoRoom: 507,
    errors.NewerRecord: 503,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
}

BY_STATUS: dict[int, tuple[str, str]] = {
    400: ("malformed_request", "The request cannot be read."),
    404: ("not_found", "There is no such thing here."),
    405: ("method_not_allowed", "This address does not answer that method; `Allow` lists those it does."),
    408: ("too_slow", "The rest of the body did not come in time."),
    413: ("too_large", "The body is larger than this service accepts."),
    415: ("unsupported_media_type", "Send this body as `application/json`."),
    429: ("quota_reached", "One owner may have no more of it at a time."),
    503: ("overloaded", "The service has as much to do as it can; try again soon."),
}
"""Code and detail of what the framework finds."""

Responses = dict[int | str, dict[str, Any]]
"""As FastAPI documents them: by status."""

log = structlog.get_logger()


class Problem(BaseModel):
    """What went wrong, for programs (`code`) and for people (`detail`)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """Always `about:blank`: `code` says which problem it is."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened, and what to do about it."""
    instance: str
    """The path that was asked for."""
    code: str
    """Stable, for programs."""
    request_id: str
    """Also in the header `X-Request-ID` and in the service's log."""
    errors: list[Fault] = Field(default_factory=list)
    """Every fault of the request; pointers lead into its body, or to `/query/…` and `/header/…`."""
    allowed_actions: list[str] = Field(default_factory=list)
    """After an illegal move: what the job's state allows."""
    checks: dict[str, str] = Field(default_factory=dict)
    """Of `/readyz`: each part of the service and how it is."""


def answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """A problem as a response; `more` are further members of `Problem`."""
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=quote(request.scope["path"])[:200],
        code=code,
        request_id=request.state.request_id,
        **more,
    )
    content = problem.model_dump(mode="json", exclude_unset=True)
    return JSONResponse(content, status, headers=headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> Responses:
    """These statuses and those of every call, for an operation's `responses`."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, 400, 401, 403, 408, 422, 429, 500, 503})
    }


def internal(request: Request) -> Response:
    """What a caller learns of a defect of ours: where to find it in the log."""
    return answer(request, 500, "internal", "The service failed; its log has the reason under this request id.")


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.FitdError)
    more: dict[str, Any] = {}
    if isinstance(error, errors.SpecInvalid):
        more["errors"] = error.faults
    if isinstance(error, errors.IllegalMove):
        more["allowed_actions"] = error.allowed_actions
    status = STATUS.get(type(error), 500)
    headers = _headers(status, error)
    return answer(request, status, error.code, str(error), headers, **more)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(fault["loc"][0] == "path" for fault in error.errors()):  # no id of ours: another address, or none
        return await _framework(request, HTTPException(405 if _methods(request, request.scope["path"]) else 404))
    found = faults.of(error.errors(), error.body)
    detail = f"{len(found)} thing{'s' if len(found) > 1 else ''} to mend; see `errors`."
    return answer(request, 422, "invalid_request", detail, errors=found[: faults.MOST])


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, detail = BY_STATUS.get(error.status_code, ("http_error", "The request failed."))
    if error.detail != HTTPStatus(error.status_code).phrase:
        detail = error.detail
    headers = {**(error.headers or {}), **_last(error.status_code)}
    if error.status_code == 405:
        template = getattr(request.scope.get("route"), "path", "")
        known = [_methods(request, path) for path in (request.scope["path"], template)]
        headers["Allow"] = known[0] or known[1] or headers["Allow"]
    return answer(request, error.status_code, code, detail, headers)


async def _database(request: Request, error: Exception) -> Response:
    log.error("database_unavailable", error=str(getattr(error, "orig", None) or error)[:LONGEST_REASON])
    return answer(request, 503, "database_unavailable", "The database does not answer; try again soon.", RETRY_AFTER)


async def _files(request: Request, error: Exception) -> Response:
    log.error("artifacts_unavailable", error=str(error).partition("\n")[0][:LONGEST_REASON])
    detail = "The artifact store cannot take or give files now; try again soon."
    return answer(request, 503, "artifacts_unavailable", detail, RETRY_AFTER)


async def _gone(request: Request, error: Exception) -> Response:
    return answer(request, 400, "disconnected", "The connection was closed before the whole body was here.")


def _methods(request: Request, path: str) -> str:
    """What an address answers to: the framework names the methods of one of its operations only."""
    operations = iter_route_contexts(request.app.routes)
    return ", ".join(sorted({method for one in operations if one.path == path for method in one.methods or ()}))


def _headers(status: int, error: errors.FitdError) -> Mapping[str, str]:
    match error:
        case errors.Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case errors.TooMany():
            return {"Retry-After": str(math.ceil(error.wait))}
    return RETRY_AFTER if status == 503 else _last(status)


def _last(status: int) -> dict[str, str]:
    return {"Connection": "close"} if status == 413 else {}  # the rest of the body is not read


HANDLERS: Mapping[int | type[Exception], Any] = {
    errors.FitdError: _ours,
    RequestValidationError: _invalid,
    HTTPException: _framework,
    sa.exc.OperationalError: _database,
    sa.exc.TimeoutError: _database,
    obstore.exceptions.BaseError: _files,
    ClientDisconnect: _gone,
}
