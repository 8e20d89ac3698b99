"""What can go wrong between a caller and the service."""

import datetime
import email.utils

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError


class ClientError(Exception):
    """Something went wrong between here and the service."""


class Unreachable(ClientError):
    """Nobody answers at that address."""


class Damaged(ClientError):
    """Bytes arrived that do not have the promised SHA-256."""


class TooSlow(ClientError):
    """It did not end within the caller's time."""


class Fault(BaseModel):
    """One thing wrong with a request, and how to mend it."""

    model_config = ConfigDict(frozen=True)

    pointer: str = ""
    """JSON pointer into the body."""
    code: str = ""
    """Stable, for programs."""
    detail: str = ""
    """For people."""


class Problem(BaseModel):
    """An `application/problem+json` body (RFC 9457)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str = "error"
    title: str = ""
    detail: str = ""
    errors: list[Fault] = []
    request_id: str | None = None


class ApiError(ClientError):
    """The service refused, or failed. `str()` lists every fault with its pointer."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None = None) -> None:
        self.status = status
        self.problem = problem
        self.code = problem.code
        self.title = problem.title
        self.detail = problem.detail
        self.errors = problem.errors
        self.request_id = problem.request_id
        self.retry_after = retry_after
        """Seconds to wait before the next try, if the service said so."""
        super().__init__("\n".join([f"{status} {self.code}: {self.detail or self.title}", *map(_line, self.errors)]))


def _line(fault: Fault) -> str:
    return f"  {fault.pointer or '/'}: {fault.detail}"


def of(response: httpx2.Response) -> ApiError:
    """The error in an answer whose body has been read; one that is no problem document becomes one."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        problem = Problem(title=response.reason_phrase, detail=response.text[:200])
    return ApiError(response.status_code, problem, _retry_after(response.headers.get("Retry-After")))


def _retry_after(value: str | None) -> float | None:
    if value is None or value.isdecimal():
        return None if value is None else float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
