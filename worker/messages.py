"""What a worker and its child say to each other: one JSON object a message. No torch here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from jobs.record import ErrorClass
from jobs.spec.explained import Background
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile
from jobs.spec.values import Part
from trainer.reports import Finished, Progress, Saved, Started

DRAIN = b"drain"
NO_MEMORY = (
    "It does not fit into memory, not even in parts of a batch: take a smaller model or batch_size; another precision "
    "saves little."
)


class Order(Part):
    """What a child is to train, and where its files are."""

    spec: JobSpec
    """Resolved."""
    background: Background
    files: dict[str, Path]
    """Local copies of its uploaded datasets, by id."""
    folder: Path
    """Where it writes."""
    resume: Path | None
    """The checkpoint to go on from."""
    threads: int
    slot: int
    """Slots take GPUs in turn."""
    memory_bytes: int
    """That it may have where it trains without a GPU."""
    file_bytes: int
    """Of the largest file that it may write."""


class Failed(Part):
    """It went wrong, and why."""

    kind: Literal["failed"] = "failed"
    error_class: ErrorClass
    code: str
    message: str
    trace: str = ""
    """For the worker's log, never for the caller."""


class Alive(Part):
    """The run goes on, though it has nothing to report."""

    kind: Literal["alive"] = "alive"


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


class Equipped(Part):
    """What a child finds to compute with."""

    kind: Literal["equipped"] = "equipped"
    gpus: list[str]
    """Their names."""
    versions: dict[str, str]
    """Of what decides about the bits of a run."""


News = Started | Progress | Saved | Finished | Failed | Alive | Spent | Drained | Read | Equipped
NEWS: TypeAdapter[News] = TypeAdapter(Annotated[News, Field(discriminator="kind")])
