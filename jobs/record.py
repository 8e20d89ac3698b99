"""The parts of a job's record that are stored as JSON and shown as they are."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Entry(BaseModel):
    """A frozen part of the record."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, serialize_by_alias=True, validate_by_name=True
    )


class Progress(Entry):
    """How far the run is."""

    epoch: int
    """Epochs finished."""
    epochs: int
    """Epochs at most."""
    step: int
    """Optimizer steps taken."""
    steps: int
    """Optimizer steps at most."""
    fraction: float
    """step / steps, in [0, 1]."""
    samples_per_second: float | None
    """Training rows per second, over the last epoch."""


class Best(Entry):
    """The best epoch so far."""

    epoch: int
    """Counted from 1."""
    step: int
    """Steps taken at its end."""
    monitor: str
    """The metric that decides."""
    value: float
    """Its value."""
    checkpoint_id: str | None = None
    """The checkpoint that holds these weights, if one was kept."""


ErrorClass = Literal["spec", "data", "training", "oom", "infrastructure", "internal"]


class Failure(Entry):
    """Why a job failed."""

    error_class: ErrorClass = Field(alias="class")
    """Says whose fault it is; only what is `infrastructure` is tried again by itself."""
    code: str
    """Stable, for programs."""
    message: str
    """What happened and what to do, for people."""
    errors: list[dict[str, str]] = []
    """The faults of a spec that turned out wrong once its dataset was known."""


class Usage(Entry):
    """What the job has used, over all attempts."""

    seconds: float = 0.0
    """Active time."""
    gpu_seconds: float = 0.0
    """Active time on a GPU."""
    peak_memory_bytes: int = 0
    """Largest resident memory of the training process, or the largest allocation on the GPU."""


class MetricPoint(Entry):
    """One value of one metric."""

    name: str
    step: int
    epoch: int
    value: float | None
    """Null where it is not finite."""
    nonfinite: Literal["nan", "inf", "-inf"] | None = None
    """Which non-finite value it was."""
