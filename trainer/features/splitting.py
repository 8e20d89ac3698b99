"""Which rows train, validate and test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import assert_never

import numpy as np
import polars as pl
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from jobs.errors import DataInvalid
from jobs.spec.data import (
    AutoSplit,
    ColumnSplit,
    GivenSplit,
    GroupSplit,
    OrderedSplit,
    RandomSplit,
    Split,
    StratifiedSplit,
    sizes,
)
from trainer.sources import columns
from trainer.sources.content import Index

Draw = Callable[[Index, int], tuple[Index, Index]]
"""Rows and how many (rows, or groups of rows) to hold out → the rest, and those held out."""

_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Parts:
    """Row numbers; no row is in two parts."""

    train: Index
    validation: Index
    test: Index
    rescued: Index = field(default_factory=lambda: _NONE)
    """Of `train`: rows of classes that had none there, exchanged for rows of the largest class."""


def split(how: Split, frame: pl.DataFrame, classes: Index | None, seed: int) -> Parts:
    """Row numbers of `frame` for each part; `classes` numbers each row's class, None for regression.

    The same frame and seed give the same parts. `given` has its test rows elsewhere: none here.
    """
    parts = _parts(how, frame, classes, seed)
    if classes is not None and isinstance(how, RandomSplit | StratifiedSplit | GivenSplit):
        parts = _with_every_class(parts, classes, np.random.default_rng(seed))
    if parts.train.size == 0:
        raise DataInvalid(f"The {how.kind} split leaves no row to train on: hold out less, or send more rows.")
    return parts


def _parts(how: Split, frame: pl.DataFrame, classes: Index | None, seed: int) -> Parts:
    rows = frame.height
    at_random = partial(_at_random, seed=seed)
    match how:
        case RandomSplit():
            return _drawn(rows, sizes(rows, how.validation, how.test), at_random)
        case StratifiedSplit():
            if classes is None:
                raise DataInvalid("A stratified split needs classes: split a regression at random or in order.")
            return _drawn(rows, sizes(rows, how.validation, how.test), partial(_by_class, seed=seed, classes=classes))
        case GivenSplit():
            held = sizes(rows, how.validation, 0)
            if classes is None or min(held[:2]) <= classes.max():
                return _drawn(rows, held, at_random)
            return _drawn(rows, held, partial(_by_class, seed=seed, classes=classes))
        case OrderedSplit():
            return _in_order(how, frame)
        case GroupSplit():
            groups = _column(frame, how.column).rank("dense").fill_null(0).to_numpy()
            counts = sizes(len(np.unique(groups)), how.validation, how.test)
            return _drawn(rows, counts, partial(_by_group, seed=seed, groups=groups))
        case ColumnSplit():
            return _as_told(_column(frame, how.column))
        case AutoSplit():
            raise ValueError("an auto split is resolved before training")
        case _:
            assert_never(how)


def _drawn(rows: int, counts: tuple[int, int, int], draw: Draw) -> Parts:
    """Test first, so that another share for validation leaves the test rows alone."""
    _, validation, test = counts
    rest, tested = _held_out(np.arange(rows), test, draw)
    train, validated = _held_out(rest, validation, draw)
    return Parts(train, validated, tested)


def _held_out(rows: Index, count: int, draw: Draw) -> tuple[Index, Index]:
    if count == 0:
        return rows, _NONE
    try:
        rest, held = draw(rows, count)
    except ValueError as error:
        raise DataInvalid(
            f"{count:,} cannot be held out here ({error}): change the shares or the kind of split."
        ) from error
    return np.sort(rest), np.sort(held)


def _at_random(rows: Index, count: int, seed: int) -> tuple[Index, Index]:
    rest, held = train_test_split(rows, test_size=count, random_state=seed)
    return rest, held


def _by_class(rows: Index, count: int, seed: int, classes: Index) -> tuple[Index, Index]:
    """A class with a single row cannot be divided: that row is not held out."""
    here = classes[rows]
    divisible = np.bincount(here)[here] > 1
    rest, held = train_test_split(rows[divisible], test_size=count, random_state=seed, stratify=here[divisible])
    return np.concatenate([rest, rows[~divisible]]), held


def _with_every_class(parts: Parts, classes: Index, generator: np.random.Generator) -> Parts:
    """A class without a row to train on gets one of its held-out rows back, of validation rather than of test, in
    exchange for a row of the class that has most there. The parts keep their sizes, so the rules' counts stay true."""
    place = np.empty(len(classes), np.int64)
    held = (parts.train, parts.validation, parts.test)
    for number, rows in enumerate(held):
        place[rows] = number
    counts = np.bincount(classes[parts.train], minlength=classes.max() + 1)
    rescued = []
    for lost in np.unique(classes[counts[classes] == 0]):
        largest = counts.argmax()
        if counts[largest] < 2:
            break  # nothing to exchange: the class stays unlearnt, which the caller refuses
        out = generator.choice(np.flatnonzero((place == 0) & (classes == largest)))
        back = min(np.flatnonzero(classes == lost), key=lambda row: place[row])
        place[out], place[back] = place[back], 0
        counts[largest], counts[lost] = counts[largest] - 1, 1
        rescued.append(back)
    if not rescued:
        return parts
    train, validation, test = (np.flatnonzero(place == number) for number in range(len(held)))
    return Parts(train, validation, test, np.array(rescued))


def _by_group(rows: Index, count: int, seed: int, groups: Index) -> tuple[Index, Index]:
    """`count` groups are held out; rows without a group are one of their own."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=count, random_state=seed)
    rest, held = next(splitter.split(rows, groups=groups[rows]))
    return rows[rest], rows[held]


def _in_order(how: OrderedSplit, frame: pl.DataFrame) -> Parts:
    order = np.arange(frame.height)
    if how.column is not None:
        column = _column(frame, how.column)
        if column.null_count():
            raise DataInvalid(
                f"Column '{column.name}' orders the rows and is missing in {column.null_count():,}: fill it."
            )
        order = column.arg_sort().to_numpy().astype(np.int64)
    train, validation, _ = sizes(frame.height, how.validation, how.test)
    return Parts(order[:train], order[train : train + validation], order[train + validation :])


def _as_told(column: pl.Series) -> Parts:
    told = columns.as_text(column).str.to_lowercase()
    part = told.replace_strict(_PARTS, default=None, return_dtype=pl.String)
    if odd := part.is_null().arg_true().to_list():
        raise DataInvalid(
            f"Column '{column.name}' holds {column[odd[0]]!r} in data row {odd[0] + 1}: it must be train, val or test."
        )
    return Parts(*((part == name).arg_true().to_numpy().astype(np.int64) for name in ("train", "validation", "test")))


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise DataInvalid(f"The split goes by column '{name}', which the data does not have: name one of its columns.")
    return frame[name]
