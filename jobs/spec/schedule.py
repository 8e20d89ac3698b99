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


class MultiStep(Part):
    """lr·gamma^(how many milestones are ≤ i): the new rate holds from the milestone on (`MultiStepLR`)."""

    kind: Literal["multistep"] = "multistep"
    milestones: Annotated[list[Count], Field(min_length=1, max_length=1000)]
    """Units after which the rate drops."""
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


class InverseTime(Part):
    """lr/(1 + rate·⌊i/size⌋) (Keras's `InverseTimeDecay`, its decay_rate/decay_steps being our rate)."""

    kind: Literal["inverse_time"] = "inverse_time"
    rate: Positive
    """How fast."""
    size: Count = 1
    """Units between two drops."""
    unit: Unit = "epoch"
    """What i counts."""
    warmup: Warmup | None = None
    """Rise in front of it."""


class Linear(Part):
    """lr times a factor that goes from start_factor to end_factor in a straight line, then stays (`LinearLR`)."""

    kind: Literal["linear"] = "linear"
    length: Count | Auto = "auto"
    """Units from start to end; auto: the rest of the run after the warm-up."""
    start_factor: Decay = 1.0
    """At the start (PyTorch: 1/3)."""
    end_factor: Annotated[NonNegative, Field(le=1)] = 0.0
    """At the end (PyTorch: 1)."""
    unit: Unit = "epoch"
    """What i counts."""
    warmup: Warmup | None = None
    """Rise in front of it."""


class Polynomial(Part):
    """min_lr + (lr - min_lr)(1 - i/length)^power, then min_lr (`PolynomialLR`; Keras's `PolynomialDecay`)."""

    kind: Literal["polynomial"] = "polynomial"
    length: Count | Auto = "auto"
    """Units from lr to min_lr; auto: the rest of the run after the warm-up."""
    power: Positive = 1.0
    """1 is a straight line."""
    min_lr: NonNegative = 0.0
    """The floor, absolute."""
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


class OneCycle(Part):
    """Up from lr/div_factor to lr and down to lr/div_factor/final_div_factor, along half a cosine each
    (`OneCycleLR` with two phases). Momentum is not cycled."""

    kind: Literal["one_cycle"] = "one_cycle"
    length: Count | Auto = "auto"
    """Units of the cycle; auto: the rest of the run after the warm-up. Then the rate stays at its end."""
    pct_start: Annotated[Positive, Field(lt=1)] = 0.3
    """Share of the cycle that goes up."""
    div_factor: Annotated[Positive, Field(ge=1)] = 25.0
    """lr over the first rate."""
    final_div_factor: Annotated[Positive, Field(ge=1)] = 1e4
    """First rate over the last."""
    unit: Unit = "step"
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
    """Improvement that counts."""
    threshold_mode: Literal["rel", "abs"] = "rel"
    """Of what: `rel`, of the best so far; `abs`, in the monitor's unit (Keras)."""
    cooldown: Natural = 0
    """Epochs after a cut in which nothing is counted."""
    min_lr: NonNegative = 0.0
    """The floor, absolute."""
    warmup: Warmup | None = None
    """Rise in front of it."""


Schedule = Annotated[
    Constant
    | Step
    | MultiStep
    | Exponential
    | InverseTime
    | Linear
    | Polynomial
    | Cosine
    | CosineRestarts
    | OneCycle
    | Plateau,
    Field(discriminator="kind"),
]
