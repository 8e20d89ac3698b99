"""What a run says while it goes on. No torch here: whoever listens needs none."""

from typing import Literal

from pydantic import JsonValue

from jobs.spec.explained import Decision, Diagnostics
from jobs.spec.values import Part

StopReason = Literal["max_epochs", "early_stopping", "max_time", "non_finite"]


class Point(Part):
    """One value of one metric; not finite where `value` is null."""

    name: str
    step: int
    epoch: int
    value: float | None
    nonfinite: Literal["nan", "inf", "-inf"] | None = None


class BestEpoch(Part):
    """The best epoch so far by the checkpoint's monitor."""

    epoch: int
    step: int
    monitor: str
    value: float


class Member(Part):
    """One model of an ensemble."""

    best_epoch: int
    """By the checkpoint's monitor, counted from 1; 0 if no epoch was any good."""
    best: float | None
    """The monitor's value there."""
    stopped: int | None
    """The epoch after which it stopped early."""
    delivered_epoch: int
    """The epoch whose weights are delivered."""


class Started(Part):
    """The data is in memory and the network is built."""

    kind: Literal["started"] = "started"
    device: str
    threads: int
    parameters: int
    """Trained numbers per lane."""
    train_rows: int
    validation_rows: int
    test_rows: int
    decisions: list[Decision]
    notes: list[str]
    """What happened to the data on the way, for people."""
    resumed_from: int | None
    """The step of the checkpoint that the run goes on from."""
    refused: str | None = None
    """Why the run begins anew although there was a checkpoint, for people."""


class Progress(Part):
    """Everything since the last report."""

    kind: Literal["progress"] = "progress"
    epoch: int
    """Epochs finished."""
    epochs: int
    step: int
    steps: int
    lr: float
    samples_per_second: float | None
    points: list[Point]
    latest: dict[str, JsonValue]
    """The newest value of each metric."""
    best: BestEpoch | None
    improved: bool
    """The epoch that just ended is the new best."""
    epoch_ended: bool


class Finished(Part):
    """The run is over and the delivered weights are in place."""

    kind: Literal["finished"] = "finished"
    stop_reason: StopReason
    message: str
    epoch: int
    step: int
    best: BestEpoch | None
    delivered_epoch: int
    """The epoch whose weights are delivered, counted from 1; 0 if none has ended."""
    test: dict[str, JsonValue] | None
    seconds: float
    """Active time over all attempts."""
    members: list[Member] = []
    """Of an ensemble."""
    diagnostics: Diagnostics | None = None
    """What the run says about itself."""


class Saved(Part):
    """A file was written into the run's folder."""

    kind: Literal["saved"] = "saved"
    what: Literal["checkpoint", "resume", "best", "result"]
    """`resume`: nobody asked for it; it is there to go on from, and may go once the run is over."""
    name: str
    content_type: str
    step: int
    epoch: int
    resumable: bool
    """Holds everything to go on from."""
    metrics: dict[str, JsonValue] = {}
    """The newest value of each metric at that step; none for results."""
