"""What the service answers, typed. Fields that a newer service adds are kept and passed on, never an error."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

TERMINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
Values = dict[str, JsonValue]


class Answer(BaseModel):
    """A frozen answer."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)


class StatusReason(Answer):
    """Why a job stands where it stands."""

    code: str | None = None
    message: str | None = None


class Progress(Answer):
    """How far a run is."""

    epoch: int
    """Epochs finished."""
    epochs: int
    """Epochs at most."""
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    """In [0, 1]."""
    samples_per_second: float | None = None


class Queue(Answer):
    """The place of a waiting job."""

    name: str = ""
    priority: int = 0
    position: int | None = None
    """0 is the next to run."""


class Attempt(Answer):
    """One try at a job by one worker."""

    n: int
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    resumed_from_step: int | None = None
    exit: str | None = None


class Decision(Answer):
    """One `auto` of the spec and what became of it."""

    path: str
    requested: JsonValue = None
    value: JsonValue = None
    rule: str = ""
    why: str = ""


class Notice(Answer):
    """The job runs, but somebody should look."""

    code: str
    path: str = ""
    message: str = ""


class Best(Answer):
    """The best epoch, counted from 1."""

    epoch: int
    monitor: str
    value: float
    checkpoint_id: str | None = None


class Failure(Answer):
    """Why a job failed or a dataset is invalid."""

    error_class: str = Field(alias="class", default="")
    code: str
    message: str


class Usage(Answer):
    """What a job has used, over all attempts."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


class Finding(Answer):
    """Something that a run says about itself."""

    code: str
    severity: str = "info"
    """`error`, `warning` or `info`."""
    message: str = ""
    evidence: Values = {}
    patch: list[Values] = []
    """RFC 6902: applied to the job's `spec`, it gives one to submit next."""


class Findings(Answer):
    """What a run says about itself, worst first."""

    findings: list[Finding] = []


class Diagnostics(Answer):
    """The same with what it rests on."""

    findings: list[Finding] | None = None
    """Null until the run has come to an end of its own."""
    flow: list[Values] = []
    """How signals and gradients passed through the network, moment by moment."""


class Job(Answer):
    """A job as the service knows it. Specs stay plain JSON, so that an older client reads a newer service."""

    id: str
    name: str | None = None
    status: str
    status_reason: StatusReason | None = None
    stop_reason: str | None = None
    created_at: datetime
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    estimated_finish_at: datetime | None = None
    progress: Progress | None = None
    queue: Queue | None = None
    attempt: int = 0
    attempts: list[Attempt] = []
    spec: Values = {}
    resolved_spec: Values | None = None
    resolution: list[Decision] = []
    warnings: list[Notice] = []
    spec_hash: str | None = None
    dataset_hash: str | None = None
    seed: int | None = None
    best: Best | None = None
    metrics: Values = {}
    test: Values | None = None
    """The held-out scores; of up to 100 classes also `confusion: {labels, matrix}`, rows are the true ones."""
    diagnostics: Findings | None = None
    error: Failure | None = None
    usage: Usage | None = None
    parent: str | None = None
    metadata: Values = {}
    links: Values = {}
    is_terminal: bool = False
    allowed_actions: list[str] = []


class Event(Answer):
    """Something that happened to a job; `seq` grows by one."""

    seq: int
    kind: str
    at: datetime
    attempt: int = 0
    level: str = "info"
    message: str = ""
    data: Values = {}

    @property
    def is_terminal(self) -> bool:
        """The last of a run."""
        return self.kind in TERMINAL


class Estimate(Answer):
    """What a job would cost."""

    parameters: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    steps: int | None = None
    points: int | None = None
    seconds: float | None = None
    confidence: str | float | None = None


class Validation(Answer):
    """What a spec would become."""

    resolved_spec: Values | None = None
    resolution: list[Decision] = []
    warnings: list[Notice] = []
    estimate: Estimate | None = None


class File(Answer):
    """A file of a job."""

    id: str
    name: str
    bytes: int
    sha256: str
    content: str
    """Path of the bytes."""
    content_type: str = "application/octet-stream"


class Checkpoint(File):
    """Saved weights, and with `resumable` all that goes on from them."""

    step: int
    epoch: int
    is_best: bool = False
    resumable: bool = False
    metrics: Values = {}


class Point(Answer):
    """One value of one metric; null with `nonfinite` where it is not finite."""

    step: int
    epoch: int
    value: float | None = None
    nonfinite: str | None = None


class History(Answer):
    """The values of each metric, in order of steps."""

    data: dict[str, list[Point]]


class Prediction(Answer):
    """What a model says of one row: `label` and `probabilities`, or `values` by target in their own units."""

    label: str | None = None
    probabilities: dict[str, float] = {}
    values: dict[str, float] = {}


class LogLine(Answer):
    """A line of a run's log."""

    at: datetime
    level: str = "info"
    message: str
    attempt: int = 0


class Column(Answer):
    """What is known of a column."""

    name: str
    kind: str
    missing: int = 0
    distinct: int | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None


class Profile(Answer):
    """What a dataset looks like."""

    rows: int
    columns: list[Column] = []
    image: tuple[int, int, int] | None = None
    """Channels, height, width."""
    target: str | None = None
    warnings: list[str] = []


class Dataset(Answer):
    """Data that was uploaded or imported; usable once `status` is `ready`."""

    id: str
    name: str = ""
    status: str
    bytes: int = 0
    sha256: str = ""
    url: str | None = None
    """Where it was fetched from, if it was."""
    created_at: datetime | None = None
    profile: Profile | None = None
    error: Failure | None = None
