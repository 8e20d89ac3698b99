"""What is minimised."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Fraction, Part, Positive


class AutoLoss(Part):
    """classification → cross_entropy, regression → mse."""

    kind: Literal["auto"] = "auto"


class CrossEntropy(Part):
    """-Σ y log softmax(z), mean over rows (`torch.nn.functional.cross_entropy`)."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0
    """Share of the label mass spread evenly over all classes."""


class Bce(Part):
    """Binary cross-entropy on one logit, for two classes (`binary_cross_entropy_with_logits`)."""

    kind: Literal["bce"] = "bce"


class Mse(Part):
    """Mean squared error over rows and outputs, of the scaled target."""

    kind: Literal["mse"] = "mse"


class Mae(Part):
    """Mean absolute error over rows and outputs, of the scaled target."""

    kind: Literal["mae"] = "mae"


class Huber(Part):
    """½e² for |e| ≤ delta, else delta(|e| - ½delta) (`torch.nn.functional.huber_loss`)."""

    kind: Literal["huber"] = "huber"
    delta: Positive = 1.0
    """Where square becomes linear, in units of the scaled target (its standard deviation)."""


Loss = Annotated[AutoLoss | CrossEntropy | Bce | Mse | Mae | Huber, Field(discriminator="kind")]
