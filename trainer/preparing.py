"""Fits the preprocessing, on the training rows only, with scikit-learn's estimators in float64."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np
import polars as pl
from sklearn import preprocessing as scalers
from sklearn.impute import SimpleImputer

from jobs.errors import DataInvalid
from jobs.spec.data import (
    AutoScaler,
    Categories,
    Features,
    MaxAbsScaler,
    MinMaxScaler,
    Missing,
    NoScaler,
    RobustScaler,
    Scaler,
    StandardScaler,
    Task,
)
from jobs.spec.job import JobSpec
from trainer import columns, preprocessing, profiling
from trainer.content import Pixels
from trainer.preprocessing import (
    GAP,
    IMAGES_AT_ONCE,
    Category,
    Classes,
    ImageFeatures,
    Matrix,
    Number,
    Reals,
    TableFeatures,
)


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
    center, scale = affine(scaler, chunks, channels)
    return ImageFeatures(channels=channels, height=height, width=width, center=center, scale=scale)


def target(task: Task, frame: pl.DataFrame, names: list[str]) -> Classes | Reals:
    """`frame` holds the training rows and nothing else, none of them without a target."""
    if task == "regression":
        scaler = scalers.StandardScaler().fit(preprocessing.numbers(frame, names))
        return Reals(columns=names, mean=scaler.mean_.tolist(), scale=scaler.scale_.tolist())
    if len(names) > 1:
        raise DataInvalid("Several target columns are for regression: name one column to classify.")
    known = columns.distinct(frame[names[0]])
    if len(known) < 2:
        raise DataInvalid(f"All training rows have '{names[0]}' = '{known[0]}': a classification needs two classes.")
    return Classes(column=names[0], classes=known)


def affine(scaler: Scaler, chunks: Iterable[Matrix], width: int) -> tuple[list[float], list[float]]:
    """`center` and `scale` per column, so that x' = (x - center)/scale is what scikit-learn's scaler computes.

    Only `robust` needs all chunks at once.
    """
    match scaler:
        case NoScaler():
            center, scale = np.zeros(width), np.ones(width)
        case StandardScaler():
            fitted = _fitted(scalers.StandardScaler(), chunks)
            center, scale = fitted.mean_, fitted.scale_
        case MinMaxScaler():
            fitted = _fitted(scalers.MinMaxScaler(feature_range=(scaler.low, scaler.high)), chunks)
            center, scale = fitted.data_min_ - scaler.low / fitted.scale_, 1 / fitted.scale_
        case MaxAbsScaler():
            center, scale = np.zeros(width), _fitted(scalers.MaxAbsScaler(), chunks).scale_
        case RobustScaler():
            fitted = scalers.RobustScaler(quantile_range=(scaler.q_low, scaler.q_high)).fit(np.concatenate([*chunks]))
            center, scale = fitted.center_, fitted.scale_
        case AutoScaler():
            raise ValueError("an auto scaler is resolved before training")
        case _:
            assert_never(scaler)
    return center.tolist(), scale.tolist()


def _fitted(estimator: Any, chunks: Iterable[Matrix]) -> Any:
    for chunk in chunks:
        estimator.partial_fit(chunk)
    return estimator


def _numbers(missing: Missing, scaler: Scaler, frame: pl.DataFrame, names: list[str]) -> list[Number]:
    if not names:
        return []
    raw = preprocessing.numbers(frame, names)
    gaps = np.isnan(raw)
    imputer = SimpleImputer(strategy=missing.numeric, fill_value=missing.numeric_value, keep_empty_features=True)
    fill = imputer.fit(raw).statistics_
    center, scale = affine(scaler, [np.where(gaps, fill, raw)], len(names))
    return [
        Number(
            name=name,
            date=isinstance(frame[name].dtype, pl.Datetime),
            fill=fill[i],
            center=center[i],
            scale=scale[i],
            indicator=missing.indicator and bool(gaps[:, i].any()),
        )
        for i, name in enumerate(names)
    ]


def _category(spec: JobSpec, column: pl.Series) -> Category:
    known = columns.distinct(column)
    fill = columns.most_frequent(column) if known and spec.missing.categorical == "most_frequent" else GAP
    if fill == GAP and column.null_count():
        known.append(GAP)
    category = Category(name=column.name, categories=known, fill=fill, encoding=_encoding(spec.categories, len(known)))
    if category.encoding == "onehot":
        return category
    codes = preprocessing.positions(category, column).astype(np.float64)
    (center,), (scale,) = affine(spec.scaler, [codes[:, np.newaxis]], 1)
    return category.model_copy(update={"center": center, "scale": scale})


def _encoding(categories: Categories, count: int) -> Literal["onehot", "ordinal"]:
    return "onehot" if categories.encoding != "ordinal" and count <= categories.max_onehot else "ordinal"


def _names(numbers: list[Number], categories: list[Category]) -> list[str]:
    onehot = [category for category in categories if category.encoding == "onehot"]
    return [
        *(number.name for number in numbers),
        *(f"{number.name} is missing" for number in numbers if number.indicator),
        *(f"{one.name}={value}" if value else f"{one.name} is missing" for one in onehot for value in one.categories),
        *(category.name for category in categories if category.encoding == "ordinal"),
    ]
