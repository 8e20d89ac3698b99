"""The learning rate over time. i counts the units since the warm-up."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.stopping import Mode, Monitor
from jobs.spec.values import Auto, Count, Decay, Natural, NonNegative, Part, Positive

Unit = Literal["step", "epoch"]


class Warmup(Part):
    """Linear rise in front of the schedule: lr·(i + 1)/length for i < length, then the schedule from its start."""

    length: Count
    """How many steps or epochs."""
    unit: Unit = "step"
    """What `length` counts."""


class Constant(Part):
    """lr stays."""

    kind: Literal["constant"] = "constant"
    warmup: Warmup | None = None
    """Rise in front of it."""


class Step(Part):
    """lr·gamma^⌊i/size⌋ (`torch.optim.lr_scheduler.StepLR`)."""

    kind: Literal["step"] = "step"
    size: Count
    """Units between two drops."""
    gamma: Decay = 0.1
    """Factor of each drop."""
    unit: Unit = "epoch"
    """What i counts."""
    warmup: Warmup | None = None
    """Rise in front of it."""


class Exponential(Part):
    """lr·gamma^i (`ExponentialLR`)."""

    kind: Literal["exponential"] = "exponential"
    gamma: Decay
    """Factor per unit."""
    unit: Unit = "epoch"
    """What i counts."""
    warmup: Warmup | None = None
    """Rise in front of it."""


class Cosine(Part):
    """min_lr + ½(lr - min_lr)(1 + cos(πi/length)), then min_lr for good (`CosineAnnealingLR` would rise again)."""

    kind: Literal["cosine"] = "cosine"
    length: Count | Auto = "auto"
    """Units from lr to min_lr; auto: the rest of the run after the warm-up."""
    min_lr: NonNegative = 0.0
    """The floor, absolute."""
    unit: Unit = "epoch"
    """What i counts."""
    warmup: Warmup | None = None
    """Rise in front of it."""


class CosineRestarts(Part):
    """Cosine decay that starts again: periods length, length·factor, … (`CosineAnnealingWarmRestarts`)."""

    kind: Literal["cosine_restarts"] = "cosine_restarts"
    length: Count
    """Units of the first period."""
    factor: Annotated[Count, Field(le=1000)] = 1
    """Each period is this many times as long as the one before."""
    min_lr: NonNegative = 0.0
    """The floor, absolute; never quite reached, as in PyTorch."""
    unit: Unit = "epoch"
    """What i counts."""
    warmup: Warmup | None = None
    """Rise in front of it."""


class Plateau(Part):
    """lr·factor once the monitor has not improved for more than `patience` epochs (`ReduceLROnPlateau`)."""

    kind: Literal["plateau"] = "plateau"
    monitor: Monitor | Auto = "auto"
    """auto: val_loss, or train_loss without validation rows."""
    mode: Mode | Auto = "auto"
    """auto: by the monitor."""
    factor: Annotated[Positive, Field(lt=1)] = 0.1
    """Of each cut."""
    patience: Natural = 10
    """Epochs without improvement that are still endured."""
    threshold: NonNegative = 1e-4
    """Relative improvement that counts, as PyTorch's `threshold_mode='rel'`."""
    cooldown: Natural = 0
    """Epochs after a cut in which nothing is counted."""
    min_lr: NonNegative = 0.0
    """The floor, absolute."""
    warmup: Warmup | None = None
    """Rise in front of it."""


Schedule = Annotated[Constant | Step | Exponential | Cosine | CosineRestarts | Plateau, Field(discriminator="kind")]
