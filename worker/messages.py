"""What a worker and its child say to each other: one JSON object a message. No torch here."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from jobs.record import ErrorClass
from jobs.spec.profile import DatasetProfile
from jobs.spec.values import Part
from trainer.reports import Finished, Progress, Saved, Started

DRAIN = b"drain"


class Failed(Part):
    """It went wrong, and why."""

    kind: Literal["failed"] = "failed"
    error_class: ErrorClass
    code: str
    message: str
    trace: str = ""
    """For the worker's log, never for the caller."""


class Spent(Part):
    """What the process used, said before it ends."""

    kind: Literal["spent"] = "spent"
    peak_memory_bytes: int
    on_gpu: bool


class Drained(Part):
    """The run is saved and left, as was asked."""

    kind: Literal["drained"] = "drained"


class Read(Part):
    """A file was understood."""

    kind: Literal["read"] = "read"
    profile: DatasetProfile
    preview: list[dict[str, JsonValue]]


News = Started | Progress | Saved | Finished | Failed | Spent | Drained | Read
NEWS: TypeAdapter[News] = TypeAdapter(Annotated[News, Field(discriminator="kind")])
