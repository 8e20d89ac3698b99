"""Training rows changed at random each time they are seen: validation and test rows never are.

Image coordinates are pixels from the middle, x to the right and y down; what moves in from outside is 0, which after
scaling is black (minmax) or the mean (standard). Each draw is uniform and each image's own.
"""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Count, Part, Positive

Angle = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=180)]
Share = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1)]
Factor = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0.1, le=10)]


class Flip(Part):
    """Mirrored, exactly."""

    kind: Literal["flip"] = "flip"
    axis: Literal["horizontal", "vertical"] = "horizontal"
    """`horizontal` swaps left and right, `vertical` top and bottom."""
    probability: Share = 0.5
    """Of each image."""


class Crop(Part):
    """Padded with zeros on all sides and cut back to its size at a random place: moved by whole pixels, exactly."""

    kind: Literal["crop"] = "crop"
    pixels: Annotated[Count, Field(le=512)] = 4
    """Padding, and so the largest move either way."""


class Translate(Part):
    """Moved by any distance, between pixels too."""

    kind: Literal["translate"] = "translate"
    share: Share = 0.1
    """Largest move either way, of the width and of the height."""


class Rotate(Part):
    """Turned about the middle."""

    kind: Literal["rotate"] = "rotate"
    degrees: Angle = 15.0
    """Largest angle either way."""


class Scale(Part):
    """Made larger or smaller about the middle, width and height by one factor."""

    kind: Literal["scale"] = "scale"
    low: Factor = 0.9
    """Smallest factor; below 1 is smaller."""
    high: Factor = 1.1
    """Largest factor; not below `low`."""


class Stretch(Part):
    """Made larger or smaller about the middle, width and height each by a factor of its own."""

    kind: Literal["stretch"] = "stretch"
    low: Factor = 0.9
    """Smallest factor."""
    high: Factor = 1.1
    """Largest factor; not below `low`."""


class Shear(Part):
    """Slanted: x' = x + tan(angle)·y."""

    kind: Literal["shear"] = "shear"
    degrees: Annotated[Angle, Field(le=60)] = 10.0
    """Largest angle either way."""


class Noise(Part):
    """Normal noise added to each pixel or, in a table, to each numeric input; one-hot and numbered categories and
    indicators are left alone."""

    kind: Literal["noise"] = "noise"
    std: Positive = 0.1
    """In the units of the scaled input."""


class Mixup(Part):
    """Rows are mixed with others of their batch, x' = λx + (1 - λ)x°, and so is the loss: λ·l(z, y) + (1 - λ)·l(z, y°).

    Zhang et al. 2018, arXiv 1710.09412; λ is drawn for each row.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: Annotated[Positive, Field(le=100)] = 0.2
    """λ is drawn from Beta(alpha, alpha): small leaves most rows nearly as they are, 1 is any mixture alike."""


Affine = Translate | Rotate | Scale | Stretch | Shear
ImageOnly = Flip | Crop | Affine
Augmentation = Annotated[ImageOnly | Noise | Mixup, Field(discriminator="kind")]
