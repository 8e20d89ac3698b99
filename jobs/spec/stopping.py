"""When to stop, and what is kept on the way."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Auto, Count, Flag, Natural, NonNegative, Part, Real

Monitor = Annotated[str, Field(pattern=r"^(train|val)_[a-z0-9_]{1,40}$")]
Mode = Literal["min", "max"]


class EarlyStopping(Part):
    """Keras's `EarlyStopping`, except that a non-finite value never becomes the best, that a run which never
    beats `baseline` within `patience` stops, and that the best weights are restored however the run ends."""

    monitor: Monitor | Auto = "auto"
    """A metric of the run; auto: val_loss, or train_loss without validation rows."""
    min_delta: NonNegative = 0.0
    """Only a change by more than this counts as an improvement."""
    patience: Natural = 10
    """Stop after this many epochs without improvement."""
    mode: Mode | Auto = "auto"
    """auto: losses and errors → min, scores → max."""
    baseline: Real | None = None
    """The monitor must beat this for the patience to start anew."""
    start_from_epoch: Natural = 0
    """Epochs at the start that neither count nor set the best."""
    restore_best_weights: Flag = True
    """The delivered model has the weights of the best epoch, else those of the last."""


class Checkpoint(Part):
    """Keras's `ModelCheckpoint`. The best and the last always survive."""

    monitor: Monitor | Auto = "auto"
    """Decides which checkpoint is the best; auto: the early stopping's, else val_loss, else train_loss."""
    mode: Mode | Auto = "auto"
    """auto: by the monitor."""
    save_best_only: Flag = False
    """Save only the best weights, and what a crashed run goes on from, which goes when it ends."""
    save_weights_only: Flag = False
    """Without optimizer and progress; what a crashed run goes on from goes when it ends."""
    save_freq: Literal["epoch"] | Count = "epoch"
    """At the end of each epoch, or every so many steps."""
    keep: Annotated[Count, Field(le=100)] = 2
    """How many of the newest are kept besides the best."""
