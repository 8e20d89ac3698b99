"""What was fitted on the training rows, and its use: raw columns or pixels in, the network's numbers out.

The values here are all there is: they are saved as `preprocess.json`, and training, evaluation and prediction
run through the same functions. The formulas are those of scikit-learn's `SimpleImputer`, `OneHotEncoder`,
`OrdinalEncoder` and scalers; `trainer.preparing` fits them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from jobs.errors import DataInvalid
from jobs.spec.values import Part
from trainer import columns
from trainer.content import Images, Index, Pixels, Table

Matrix = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]

UNSEEN = -1
GAP = ""
"""The category of a missing value; no value read from a file is empty."""

IMAGES_AT_ONCE = 1_000


class Number(Part):
    """A column of numbers: x' = (x - center)/scale, with `fill` for x where it is missing.

    Booleans are 0 and 1; dates are days since 1970-01-01, UTC.
    """

    name: str
    date: bool = False
    fill: float
    center: float
    scale: float
    indicator: bool = False
    """Adds a column that is 1 where this one is missing."""


class Category(Part):
    """A column of categories, by the names that `trainer.columns.as_text` gives them."""

    name: str
    categories: list[str]
    """In the order of their values; the category of gaps, `""`, is last. Any other value is unseen."""
    fill: str = GAP
    """Stands for a missing value."""
    encoding: Literal["onehot", "ordinal"]
    """`onehot`: a 0/1 column per category, none set for unseen. `ordinal`: (position - center)/scale, unseen is -1."""
    center: float = 0.0
    scale: float = 1.0


class TableFeatures(Part):
    """Network inputs in this order: numbers, indicators of their gaps, one-hot columns, ordinal columns."""

    layout: Literal["table"] = "table"
    numbers: list[Number]
    categories: list[Category]
    names: list[str]
    """Of the network's inputs."""


class ImageFeatures(Part):
    """Network inputs are C×H×W: x' = (x - center)/scale per channel."""

    layout: Literal["images"] = "images"
    channels: int
    height: int
    width: int
    center: list[float]
    scale: list[float]


class Classes(Part):
    """The network's outputs are classes; y is the position in `classes`."""

    task: Literal["classification"] = "classification"
    column: str
    classes: list[str]
    """In the order of their values: numbers by size, text by code point, false before true."""


class Reals(Part):
    """The network's outputs are numbers; y' = (y - mean)/scale per column, undone in what is reported."""

    task: Literal["regression"] = "regression"
    columns: list[str]
    mean: list[float]
    scale: list[float]
    """Standard deviation, ddof 0; 1 for a constant."""


class Preprocessing(Part):
    """Everything between a file and the network."""

    features: Annotated[TableFeatures | ImageFeatures, Field(discriminator="layout")]
    target: Annotated[Classes | Reals, Field(discriminator="task")]


def inputs(features: TableFeatures | ImageFeatures, data: Table | Images) -> Inputs:
    """N×F for a table, N×C×H×W for images."""
    if isinstance(features, TableFeatures):
        x = _table(features, data.frame)
    elif isinstance(data, Images):
        x = _images(features, data.pixels)
    else:
        raise DataInvalid("This model was trained on images, and the data is a table.")
    if not np.isfinite(x).all():
        raise DataInvalid("A value is too large for a 32-bit number once scaled: choose a scaler, or mend the data.")
    return x


def classes(target: Classes, column: pl.Series) -> Index:
    """The position of each label in `target.classes`, -1 where it is none of them."""
    return _positions(columns.as_text(column), target.classes)


def targets(target: Classes | Reals, frame: pl.DataFrame) -> Index | Inputs:
    """[N] for classes, N×T scaled for numbers."""
    return classes(target, column(frame, target.column)) if isinstance(target, Classes) else reals(target, frame)


def reals(target: Reals, frame: pl.DataFrame) -> Inputs:
    """N×T, scaled."""
    y = numbers(frame, target.columns)
    return scaled(y, target.mean, target.scale).astype(np.float32)


def numbers(frame: pl.DataFrame, names: Sequence[str]) -> Matrix:
    """N×F in float64, NaN where missing."""
    x = np.empty((frame.height, len(names)))
    for i, name in enumerate(names):
        x[:, i] = columns.as_numbers(column(frame, name))
    return x


def positions(category: Category, values: pl.Series) -> Index:
    """Of each value in `category.categories`, -1 for unseen."""
    return _positions(columns.as_text(values).fill_null(category.fill), category.categories)


def column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise DataInvalid(f"The data has no column '{name}': it must have those that the model is trained on.")
    return frame[name]


def _positions(text: pl.Series, known: list[str]) -> Index:
    codes = text.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64)
    return codes.fill_null(UNSEEN).to_numpy(writable=True)


def _table(features: TableFeatures, frame: pl.DataFrame) -> Inputs:
    for number in features.numbers:
        _refuse_other_kind(number, column(frame, number.name))
    raw = numbers(frame, [number.name for number in features.numbers])
    gaps = np.isnan(raw)
    filled = np.where(gaps, [number.fill for number in features.numbers], raw)
    blocks: list[npt.NDArray[Any]] = [
        scaled(filled, [number.center for number in features.numbers], [number.scale for number in features.numbers]),
        gaps[:, [number.indicator for number in features.numbers]],
    ]
    for encode, encoding in ((_onehot, "onehot"), (_ordinal, "ordinal")):
        blocks += [encode(category, frame) for category in features.categories if category.encoding == encoding]
    with np.errstate(over="ignore"):
        return np.concatenate(blocks, axis=1, dtype=np.float32, casting="same_kind")


def scaled(x: Matrix, center: Sequence[float], scale: Sequence[float]) -> Matrix:
    with np.errstate(over="ignore", invalid="ignore"):
        return (x - np.array(center, np.float64)) / np.array(scale, np.float64)


def _refuse_other_kind(number: Number, values: pl.Series) -> None:
    if values.count() and isinstance(values.dtype, pl.Datetime) != number.date:
        held, expected = ("numbers", "dates") if number.date else ("dates", "numbers")
        raise DataInvalid(f"Column '{number.name}' holds {held}, and held {expected} in training: send {expected}.")


def _onehot(category: Category, frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
    found = positions(category, column(frame, category.name))
    return np.equal.outer(found, np.arange(len(category.categories)))


def _ordinal(category: Category, frame: pl.DataFrame) -> Matrix:
    found = positions(category, column(frame, category.name)).astype(np.float64)
    return scaled(found[:, np.newaxis], [category.center], [category.scale])


def _images(features: ImageFeatures, pixels: Pixels) -> Inputs:
    """Scaled in float64 a thousand images at a time, so that the bytes and the result are all that is held."""
    shape = (features.height, features.width, features.channels)
    if pixels.shape[1:] != shape:
        raise DataInvalid(f"The images are {pixels.shape[1:]} (height, width, channels): the model takes {shape}.")
    x = np.empty((len(pixels), features.channels, *shape[:2]), np.float32)
    for start in range(0, len(pixels), IMAGES_AT_ONCE):
        chunk = pixels[start : start + IMAGES_AT_ONCE].astype(np.float64)
        x[start : start + len(chunk)] = np.moveaxis(scaled(chunk, features.center, features.scale), 3, 1)
    return x
