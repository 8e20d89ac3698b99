"""What the calls answer with. Nothing has a default: every field is always there."""

from datetime import datetime
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from jobs.estimate import Estimate
from jobs.record import Best, Failure, Progress, Usage
from jobs.spec.explained import Decision, Finding, Flow, Notice
from jobs.spec.job import JobSpec
from jobs.spec.values import Metadata, Priority, Text
from jobs.states import Status


class Shown(BaseModel):
    """A part of an answer; may be read from a row of the record."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)


Item = TypeVar("Item")


class Page(Shown, Generic[Item]):
    """Part of a list."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: str | None
    """Give this as `after` for the next page; null at the end."""


class StatusReason(Shown):
    """Why a job is in its state."""

    code: str | None
    """Stable, for programs."""
    message: str | None
    """For people."""


class QueuePlace(Shown):
    """Where a job stands in the queue."""

    name: Literal["fitd"]
    """There is one queue."""
    priority: int
    """Higher runs first."""
    position: int | None
    """How many jobs would be taken before this one, 1000 for that many or more; null unless it is queued and ready."""


class Attempt(Shown):
    """One try at a job by one worker."""

    n: int
    """Counted from 1."""
    worker: str
    """Who tried."""
    started_at: datetime
    ended_at: datetime | None
    resumed_from_step: int | None
    """The step of the checkpoint it went on from; null if it began anew."""
    exit: str | None
    """How it ended: a terminal status, `drained`, `lease_expired`, or the failure's code."""


class Metrics(Shown):
    """A run's numbers at a glance; `links.metrics` has their history."""

    latest: dict[str, JsonValue]
    """The newest value of each metric."""


class Findings(Shown):
    """What a run says about itself; `links.diagnostics` has the flow of its gradients, too."""

    findings: list[Finding]
    """Worst first."""


class Links(Shown):
    """Where the rest of a job is."""

    self: str
    events: str
    metrics: str
    checkpoints: str
    artifacts: str
    log: str
    diagnostics: str


class Job(Shown):
    """A training job: what was asked, what was made of it, where it stands."""

    id: str
    object: Literal["job"]
    name: str | None
    status: Status
    status_reason: StatusReason
    stop_reason: str | None
    """Why the training ended: `max_epochs`, `early_stopping`, `max_time`, `non_finite` or `cancelled`"""
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    estimated_finish_at: datetime | None
    progress: Progress | None
    queue: QueuePlace
    attempt: int
    """Number of the current attempt; 0 before the first."""
    attempts: list[Attempt]
    spec: JobSpec
    """As it was sent, defaults filled in."""
    resolved_spec: JobSpec | None
    """With nothing left to guess; null until the dataset has been read."""
    resolution: list[Decision]
    """Which rule decided what, and why."""
    warnings: list[Notice]
    spec_hash: str
    """SHA-256 over what determines the result."""
    dataset_hash: str | None
    """SHA-256 of the dataset's bytes; empty for builtin sets and inline rows."""
    seed: int
    best: Best | None
    metrics: Metrics
    test: dict[str, JsonValue] | None
    """The held-out scores of the delivered model."""
    diagnostics: Findings | None
    """What the run says about itself; null until it has come to an end of its own."""
    error: Failure | None
    usage: Usage
    parent: str | None
    """The job that this one retries."""
    metadata: dict[str, JsonValue]
    links: Links
    is_terminal: bool
    """Nothing about this job will change any more."""
    allowed_actions: list[str]
    """What may be done with it now."""


class JobPage(Page[Job]):
    """Jobs, newest first."""


class JobPatch(BaseModel):
    """What may be changed after the submit: at least one of these."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_extra={"minProperties": 1})

    name: Text = Field(default_factory=str)
    """For people."""
    priority: Priority = Field(default_factory=int)
    """Higher runs first."""
    metadata: Metadata = Field(default_factory=dict)
    """Replaces all pairs."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("Send at least one of name, priority and metadata.")
        return self


class Validation(Shown):
    """What would become of a spec. Nothing was stored."""

    object: Literal["validation"]
    resolved_spec: JobSpec | None
    """Null while the dataset is being read: ask again when it is `ready`."""
    resolution: list[Decision]
    warnings: list[Notice]
    estimate: Estimate | None
    """What the job would cost; null with `resolved_spec`."""


class Event(Shown):
    """Something that happened to a job."""

    object: Literal["event"] = "event"
    seq: int
    """Numbered from 1 without gap."""
    kind: str
    """`created`, `queued`, `started`, `progress`, `checkpoint`, `requeued`, `resumed`, …, and as the last one the
    job's terminal status."""
    at: datetime
    attempt: int
    level: Literal["info", "warning", "error"]
    message: str
    """For people."""
    data: dict[str, JsonValue]
    """For programs."""


class EventPage(Page[Event]):
    """Events, oldest first."""


class MetricValue(Shown):
    """One value of a metric."""

    step: int
    """Optimizer steps taken."""
    epoch: int
    value: float | None
    """Null where it is not finite."""
    nonfinite: Literal["nan", "inf", "-inf"] | None
    """Which non-finite value it was."""


class MetricHistory(Shown):
    """The values of each metric, in order of steps."""

    object: Literal["metrics"]
    data: dict[str, list[MetricValue]]


class Diagnostics(Shown):
    """What a run says about itself."""

    object: Literal["diagnostics"]
    findings: list[Finding] | None
    """Worst first, each with what to change in the job's spec; null until the run has come to an end of its own."""
    flow: list[Flow]
    """How signals and gradients passed through the network: before the first step, at the ends of epochs 1, 4, 16, …
    and at the end. Of the first model, if the job trained several."""


class JobFile(Shown):
    """A file of a job; its bytes are at `content`."""

    id: str
    name: str
    attempt: int
    step: int
    """Optimizer steps taken before it was made."""
    epoch: int
    content_type: str
    bytes: int
    sha256: str
    """Of the bytes, in hexadecimal."""
    created_at: datetime
    metrics: dict[str, JsonValue]
    """What was measured at that step."""
    content: str
    """Where the bytes are."""


class SavedCheckpoint(JobFile):
    """Weights at some step of a run."""

    object: Literal["checkpoint"]
    is_best: bool
    """The best so far by the checkpoint's monitor."""
    resumable: bool
    """Holds optimizer and progress, not only weights."""


class CheckpointPage(Page[SavedCheckpoint]):
    """All checkpoints that are kept, in order of steps."""


class Artifact(JobFile):
    """A result of a run."""

    object: Literal["artifact"]


class ArtifactPage(Page[Artifact]):
    """All results."""


class LogLine(Shown):
    """A line of a run's log."""

    seq: int
    """Numbered from 1."""
    at: datetime
    attempt: int
    level: str
    message: str


class LogPage(Page[LogLine]):
    """Lines, oldest first."""


class Health(Shown):
    """How the service is."""

    status: Literal["ok"]
    checks: dict[str, str]
    """Each part that was asked and how it is."""
