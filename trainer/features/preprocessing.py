"""The use of what was fitted on the training rows: raw columns or pixels in, the network's numbers out.

Training, evaluation and prediction run through the same functions. The formulas are those of scikit-learn's
`SimpleImputer`, `OneHotEncoder`, `OrdinalEncoder` and scalers: `trainer.features.preparing` fits them,
`trainer.features.encoding` computes them.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from jobs.errors import DataInvalid
from jobs.spec.preprocessing import UNSEEN, Category, Classes, ImageFeatures, Number, Reals, TableFeatures
from trainer import alive
from trainer.features import encoding
from trainer.features.encoding import Inputs, Matrix
from trainer.sources import columns
from trainer.sources.content import Images, Index, Table


def inputs(features: TableFeatures | ImageFeatures, data: Table | Images) -> Inputs:
    """N×F for a table, N×C×H×W for images."""
    if isinstance(features, TableFeatures):
        return _table(features, data.frame)
    if isinstance(data, Images):
        return encoding.images(features, data.pixels)
    raise DataInvalid("This model was trained on images, and the data is a table.")


def classes(target: Classes, column: pl.Series) -> Index:
    """The position of each label in `target.classes`, -1 where it is none of them."""
    return _positions(columns.as_text(column), target.classes)


def targets(target: Classes | Reals, frame: pl.DataFrame) -> Index | Inputs:
    """[N] for classes, N×T scaled for numbers."""
    return classes(target, column(frame, target.column)) if isinstance(target, Classes) else reals(target, frame)


def reals(target: Reals, frame: pl.DataFrame) -> Inputs:
    """N×T, scaled."""
    y = numbers(frame, target.columns)
    return encoding.rounded(encoding.standardised(y, target.mean, target.scale))


def numbers(frame: pl.DataFrame, names: Sequence[str]) -> Matrix:
    """N×F in float64, NaN where missing."""
    x = np.empty((frame.height, len(names)))
    for i, name in enumerate(names):
        alive.say()
        x[:, i] = columns.as_numbers(column(frame, name))
    return x


def positions(category: Category, values: pl.Series) -> Index:
    """Of each value in `category.categories`, -1 for unseen."""
    return _positions(columns.as_text(values).fill_null(category.fill), category.categories)


def column(frame: pl.DataFrame, name: str) -> pl.Series:
    """The column of that name, which the data must have."""
    if name not in frame.columns:
        raise DataInvalid(f"The data has no column '{name}': it must have those that the model is trained on.")
    return frame[name]


def _positions(text: pl.Series, known: list[str]) -> Index:
    codes = text.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64)
    return codes.fill_null(UNSEEN).to_numpy(writable=True)


def _table(features: TableFeatures, frame: pl.DataFrame) -> Inputs:
    for number in features.numbers:
        _refuse_other_kind(number, column(frame, number.name))
    places = np.empty((frame.height, len(features.categories)), np.int64)
    for i, category in enumerate(features.categories):
        alive.say()
        places[:, i] = positions(category, column(frame, category.name))
    return encoding.table(features, numbers(frame, [number.name for number in features.numbers]), places)


def _refuse_other_kind(number: Number, values: pl.Series) -> None:
    if values.count() and isinstance(values.dtype, pl.Datetime) != number.date:
        held, expected = ("numbers", "dates") if number.date else ("dates", "numbers")
        raise DataInvalid(f"Column '{number.name}' holds {held}, and held {expected} in training: send {expected}.")
