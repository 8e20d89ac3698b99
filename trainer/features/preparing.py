"""Fits the preprocessing, on the training rows only, with scikit-learn's estimators in float64."""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import polars as pl
from sklearn.impute import SimpleImputer

from jobs.errors import DataInvalid
from jobs.spec.data import (
    Categories,
    Features,
    Missing,
    Scaler,
    StandardScaler,
    Task,
    dimension,
)
from jobs.spec.job import JobSpec
from jobs.spec.preprocessing import GAP, Category, Classes, ImageFeatures, Number, Reals, Scaling, TableFeatures
from jobs.spec.values import LONGEST_NAME
from trainer import alive
from trainer.features import preprocessing, scalers
from trainer.features.encoding import IMAGES_AT_ONCE, Matrix
from trainer.sources import columns, profiling
from trainer.sources.content import Pixels


@dataclass(frozen=True)
class Chosen:
    """The columns of a table that the model sees, in file order."""

    numeric: list[str]
    categorical: list[str]
    notes: list[str]


def choose(features: Features, frame: pl.DataFrame, never: set[str]) -> Chosen:
    """By the kinds of the whole dataset, as in its profile; `never` are the target and the columns that split."""
    _refuse_unknown(features, frame)
    numeric, categorical, notes = [], [], []
    for column in frame:
        alive.say()
        if column.name in never or not _wanted(features, column.name):
            continue
        match features.kinds.get(column.name) or profiling.kind(column):
            case "numeric" | "datetime":
                numeric.append(column.name)
            case "categorical":
                categorical.append(column.name)
            case "text":
                notes.append(_left_out(features, column.name))
    if not numeric and not categorical:
        raise DataInvalid("No column is left for the model to see: include one that holds numbers or categories.")
    return Chosen(numeric, categorical, notes)


def _refuse_unknown(features: Features, frame: pl.DataFrame) -> None:
    for name in [*(features.include or []), *features.exclude, *features.kinds]:
        if name not in frame.columns:
            raise DataInvalid(f"The features name a column '{name}', which the data does not have.")


def _wanted(features: Features, name: str) -> bool:
    return name not in features.exclude and (features.include is None or name in features.include)


def _left_out(features: Features, name: str) -> str:
    if features.include is not None:
        raise DataInvalid(f"Column '{name}' is free text or an identifier: declare it categorical, or leave it out.")
    return f"Column '{name}' was left out: it is free text or an identifier."


def table(spec: JobSpec, frame: pl.DataFrame, chosen: Chosen) -> TableFeatures:
    """`frame` holds the training rows and nothing else."""
    numbers = _numbers(spec.missing, spec.scaler, frame, chosen.numeric)
    categories = [_category(spec, frame[name]) for name in chosen.categorical]
    return TableFeatures(numbers=numbers, categories=categories, names=_names(numbers, categories))


def images(scaler: Scaler, pixels: Pixels) -> ImageFeatures:
    """`pixels` holds the training images and nothing else; each channel is one column to the scaler."""
    count, height, width, channels = pixels.shape
    starts = range(0, count, IMAGES_AT_ONCE)
    chunks = (pixels[start : start + IMAGES_AT_ONCE].reshape(-1, channels).astype(np.float64) for start in starts)
    center, scale = scalers.affine(scaler, chunks, channels)
    return ImageFeatures(channels=channels, height=height, width=width, center=center, scale=scale)


def target(task: Task, frame: pl.DataFrame, names: list[str]) -> Classes | Reals:
    """`frame` holds the training rows and nothing else, none of them without a target."""
    if task == "regression":
        y = preprocessing.numbers(frame, names)
        scaling = _scalings(StandardScaler(), y, names)
        return Reals(columns=names, mean=[one.center for one in scaling], scale=[one.scale for one in scaling])
    if len(names) > 1:
        raise DataInvalid("Several target columns are for regression: name one column to classify.")
    known = columns.distinct(frame[names[0]])
    if len(known) < 2:
        raise DataInvalid(f"All training rows have '{names[0]}' = '{known[0]}': a classification needs two classes.")
    if long := [label for label in known if len(label) > LONGEST_NAME]:
        told = f"Column '{names[0]}' has a class of {len(long[0]):,} characters ('{long[0][:40]}…')"
        raise DataInvalid(f"{told}, and the name of a class has at most {LONGEST_NAME}: shorten it.")
    return Classes(column=names[0], classes=known)


def _numbers(missing: Missing, scaler: Scaler, frame: pl.DataFrame, names: list[str]) -> list[Number]:
    if not names:
        return []
    raw = preprocessing.numbers(frame, names)
    gaps = np.isnan(raw)
    imputer = SimpleImputer(strategy=missing.numeric, fill_value=missing.numeric_value, keep_empty_features=True)
    with np.errstate(over="ignore"):
        fill = imputer.fit(raw).statistics_.astype(np.float64)  # of objects, where a constant fills
    scalings = _scalings(scaler, np.where(gaps, fill, raw), names)
    return [
        Number(
            name=name,
            date=isinstance(frame[name].dtype, pl.Datetime),
            fill=fill[i],
            indicator=missing.indicator and bool(gaps[:, i].any()),
            **dict(scalings[i]),
        )
        for i, name in enumerate(names)
    ]


def _scalings(scaler: Scaler, x: Matrix, names: list[str]) -> list[Scaling]:
    """Refuses what overflows: a scale that is not finite would make every value 0."""
    _refuse_infinite(x, names)
    scalings = scalers.fit(scaler, x)
    _refuse_infinite(np.array([[one.center for one in scalings], [one.scale for one in scalings]]), names)
    return scalings


def _refuse_infinite(x: Matrix, names: list[str]) -> None:
    if (broken := np.flatnonzero(~np.isfinite(x).all(axis=0))).size:
        raise DataInvalid(
            f"The numbers of column '{names[broken[0]]}' lie too far apart for a mean and a scale: mend or exclude it."
        )


def _category(spec: JobSpec, column: pl.Series) -> Category:
    alive.say()
    known = columns.distinct(column)
    fill = columns.most_frequent(column) if known and spec.missing.categorical == "most_frequent" else GAP
    if fill == GAP and column.null_count():
        known.append(GAP)
    encoding = _encoding(spec.categories, len(known))
    category = Category(name=column.name, categories=known, fill=fill, encoding=encoding)
    match encoding:
        case "onehot":
            return category
        case "embedding":
            return category.model_copy(update={"dimension": dimension(spec.categories, len(known))})
        case "ordinal":
            places = preprocessing.positions(category, column).astype(np.float64)
            (scaling,) = _scalings(spec.scaler, places[:, np.newaxis], [column.name])
            return category.model_copy(update=dict(scaling))
        case _:
            assert_never(encoding)


def _encoding(categories: Categories, count: int) -> Literal["onehot", "ordinal", "embedding"]:
    match categories.encoding:
        case "auto" | "onehot":
            return "onehot" if count <= categories.max_onehot else "ordinal"
        case "ordinal" | "embedding":
            return categories.encoding
        case _:
            assert_never(categories.encoding)


def _names(numbers: list[Number], categories: list[Category]) -> list[str]:
    onehot = [category for category in categories if category.encoding == "onehot"]
    return [
        *(number.name for number in numbers),
        *(f"{number.name} is missing" for number in numbers if number.indicator),
        *(f"{one.name}={value}" if value else f"{one.name} is missing" for one in onehot for value in one.categories),
        *(category.name for category in categories if category.encoding == "ordinal"),
        *(category.name for category in categories if category.encoding == "embedding"),
    ]
