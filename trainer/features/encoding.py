"""The arithmetic of the fitted preprocessing: numpy arrays in, the network's inputs out. Nothing here reads a file.

All of it is float64 until the last step, which rounds to float32.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from jobs.errors import DataInvalid
from jobs.spec.preprocessing import UNSEEN, Category, ImageFeatures, Power, Quantile, Scaling, TableFeatures
from trainer import alive

Matrix = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

IMAGES_AT_ONCE = 1_000

_BOUND = 1e-7
"""scikit-learn's `BOUNDS_THRESHOLD`: how near to an end a value counts as the end."""
_EPSILON = float(np.finfo(np.float64).eps)
_normal_quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def table(features: TableFeatures, numbers: Matrix, positions: Positions) -> Inputs:
    """`numbers` has the columns of `features.numbers`, NaN where missing; `positions` those of `features.categories`,
    each value's place in `categories` and -1 for unseen."""
    gaps = np.isnan(numbers)
    filled = np.where(gaps, [number.fill for number in features.numbers], numbers)
    blocks: list[npt.NDArray[Any]] = [
        scaled(filled, features.numbers),
        gaps[:, [number.indicator for number in features.numbers]],
    ]
    for encoding in ("onehot", "ordinal", "embedding"):
        blocks += [
            _encoded(category, positions[:, i])
            for i, category in enumerate(features.categories)
            if category.encoding == encoding
        ]
    return rounded(np.concatenate(blocks, axis=1))


def images(features: ImageFeatures, pixels: npt.NDArray[Any]) -> Inputs:
    """N×H×W×C in, N×C×H×W out, a thousand images at a time: the bytes and the result are all that is held."""
    shape = (features.height, features.width, features.channels)
    if pixels.shape[1:] != shape:
        raise DataInvalid(f"The images are {pixels.shape[1:]} (height, width, channels): the model takes {shape}.")
    x = np.empty((len(pixels), features.channels, *shape[:2]), np.float32)
    for start in range(0, len(pixels), IMAGES_AT_ONCE):
        alive.say()
        chunk = pixels[start : start + IMAGES_AT_ONCE].astype(np.float64)
        scaled_chunk = rounded(standardised(chunk, features.center, features.scale))
        x[start : start + len(chunk)] = np.moveaxis(scaled_chunk, 3, 1)
    return x


def scaled(x: Matrix, scalings: Sequence[Scaling]) -> Matrix:
    """N×F, column i by `scalings[i]`."""
    if any(scaling.transform for scaling in scalings):
        columns = [transformed(x[:, i], scaling.transform) for i, scaling in enumerate(scalings)]
        x = np.stack(columns, axis=1)
    return standardised(x, [scaling.center for scaling in scalings], [scaling.scale for scaling in scalings])


def standardised(x: Matrix, center: Sequence[float], scale: Sequence[float]) -> Matrix:
    """(x - center)/scale along the last axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (x - np.array(center, np.float64)) / np.array(scale, np.float64)


def rounded(x: Matrix) -> Inputs:
    """To float32; a value that overflows is refused."""
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    if not np.isfinite(single).all():
        raise DataInvalid("A value is too large for a 32-bit number once scaled: choose a scaler, or mend the data.")
    return single


def transformed(x: Matrix, transform: Quantile | Power | None) -> Matrix:
    """One column, by the formula in the transform's description."""
    alive.say()
    match transform:
        case None:
            return x
        case Quantile():
            return _ranked(x, np.array(transform.quantiles), transform.output == "normal")
        case Power():
            return _raised(x, transform.exponent)
        case _:
            assert_never(transform)


def _ranked(x: Matrix, quantiles: Matrix, is_normal: bool) -> Matrix:
    shares = np.linspace(0, 1, len(quantiles))
    rank: Matrix = (np.interp(x, quantiles, shares) - np.interp(-x, -quantiles[::-1], -shares[::-1])) / 2
    margin = _BOUND if is_normal else 0.0
    low, high = quantiles[0], quantiles[-1]
    rank[x + margin > high if is_normal else x == high] = 1.0
    rank[x - margin < low if is_normal else x == low] = 0.0
    if not is_normal:
        return rank
    end = _BOUND - _EPSILON
    normal: Matrix = _normal_quantile(np.clip(rank, end, 1 - end))
    return normal


def _raised(x: Matrix, exponent: float) -> Matrix:
    """Both halves are one function of |x|, with λ above zero and 2 - λ below."""
    with np.errstate(over="ignore"):
        above, below = (_box_cox(np.log1p(np.abs(x)), power) for power in (exponent, 2 - exponent))
    return np.where(x >= 0, above, -below)


def _box_cox(logarithm: Matrix, power: float) -> Matrix:
    """(e^(power·logarithm) - 1)/power, and its limit at 0."""
    return logarithm if abs(power) <= _EPSILON else np.expm1(power * logarithm) / power


def _encoded(category: Category, positions: Positions) -> npt.NDArray[Any]:
    match category.encoding:
        case "onehot":
            return np.equal.outer(positions, np.arange(len(category.categories)))
        case "ordinal":
            return scaled(positions[:, np.newaxis].astype(np.float64), [category])
        case "embedding":
            places = np.where(positions == UNSEEN, len(category.categories), positions)
            return places[:, np.newaxis]
        case _:
            assert_never(category.encoding)
