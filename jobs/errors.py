"""Every error a caller can cause or must know of. The docstring is the message.

FitdError
├── Unauthorized         no key, or none that is known
├── Forbidden            the key's scope does not include this, or the request comes from another site
├── TooMany              more requests than one owner may send
│   └── QuotaReached     more that waits than one owner may have
├── SpecInvalid          the spec contradicts itself or its dataset; carries every fault
│   └── RowsInvalid      rows do not fit the model's columns; carries every fault
├── NoModel              the job has no model to predict with
├── NotFound             no such job, dataset, checkpoint or artifact, or not yours
├── IllegalMove          the job's state does not allow it
├── InUse                something still needs it
├── LimitReached         the owner has as many as one may have
├── WebhookDisabled      nothing is sent to a disabled webhook
├── KeyReused            an idempotency key came back with another body
├── BadCursor            a page cursor that this service did not make
├── DataInvalid          a dataset's bytes cannot be read as what they claim to be
├── NoRoom               the disk is nearly full
├── NewerRecord          a row that this version of fitd cannot read
├── TooLarge             more bytes than the service accepts
└── Unsupported          a media type that the service does not read
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Fault(BaseModel):
    """One thing wrong with a spec, and how to mend it."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    """JSON pointer into the spec, for example `/optimizer/nesterov`."""
    code: str
    """Stable, for programs."""
    detail: str
    """What is wrong and what to do about it, for people."""


class FitdError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or (self.__doc__ or "").strip())


class SpecInvalid(FitdError):
    """The spec cannot be run as it stands; `errors` lists every fault."""

    code = "spec_invalid"

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__()
        self.faults = faults


class RowsInvalid(SpecInvalid):
    """The rows do not fit the columns of the training data; `errors` lists every fault."""

    code = "rows_invalid"


class Unauthorized(FitdError):
    """Show a key of this service: `Authorization: Bearer fitd_…`. Its operator makes them."""

    code = "unauthorized"


class Forbidden(FitdError):
    """The key's scope does not include this."""

    code = "forbidden"


class TooMany(FitdError):
    """More requests than one owner may send; try again when `Retry-After` says."""

    code = "rate_limited"

    def __init__(self, wait: float, detail: str | None = None) -> None:
        super().__init__(detail)
        self.wait = wait


class QuotaReached(TooMany):
    """One owner may have no more of it at a time."""

    code = "quota_reached"


class NoModel(FitdError):
    """The job has no model to predict with."""

    code = "no_model"


class NotFound(FitdError):
    """There is no such thing here."""

    code = "not_found"


class IllegalMove(FitdError):
    """The job's state does not allow this."""

    code = "illegal_move"

    def __init__(self, detail: str, allowed_actions: list[str]) -> None:
        super().__init__(detail)
        self.allowed_actions = allowed_actions


class InUse(FitdError):
    """It is still needed by a job that has not ended."""

    code = "in_use"


class LimitReached(FitdError):
    """There are as many as one owner may have."""

    code = "limit_reached"


class WebhookDisabled(FitdError):
    """Nothing is sent to a webhook that is disabled; enable it first."""

    code = "webhook_disabled"


class KeyReused(FitdError):
    """This Idempotency-Key was used before with another body; send a new key with a new body."""

    code = "idempotency_key_reused"


class BadCursor(FitdError):
    """`after` must be the `next` value of an earlier page."""

    code = "bad_cursor"


class DataInvalid(FitdError):
    """The data cannot be read."""

    code = "data_invalid"


class NoGpu(FitdError):
    """The worker that took the job has no GPU: use device auto or cpu, or start a worker that has one."""

    code = "no_gpu"


class NoRoom(FitdError):
    """The service's disk is nearly full; nothing can be uploaded until its operator has made room."""

    code = "no_room"


class NewerRecord(FitdError):
    """This was written by a newer version of fitd than the one that answers; ask again when the update is done."""

    code = "newer_record"


class TooLarge(FitdError):
    """The body is larger than this service accepts."""

    code = "too_large"


class Unsupported(FitdError):
    """This content type is not read here."""

    code = "unsupported_media_type"
