"""A job's examples: read, split, prepared, as tensors."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import numpy as np
import polars as pl
import torch

from jobs.errors import DataInvalid
from jobs.spec.data import Builtin, ColumnSplit, Dataset, GivenSplit, GroupSplit, Rows, Task, Upload
from jobs.spec.job import JobSpec
from jobs.spec.preprocessing import Classes, Embedding, ImageFeatures, Preprocessing, Reals, TableFeatures
from trainer.features import leaks, preparing, preprocessing, splitting
from trainer.features.encoding import Inputs
from trainer.features.leaks import Leak
from trainer.sources import builtin, columns, reading
from trainer.sources.content import Images, Index, Table

SAMPLE_PIXELS = 1 << 16
"""Of the images to check by, in all."""
MOST_DIGESTED = 1 << 24
"""Bytes of the inputs of a part, or a little more."""
NAMED = 20
"""Columns or classes that a note names at most."""


@dataclass(frozen=True)
class Examples:
    x: torch.Tensor
    """[N, *input_shape] float32."""
    y: torch.Tensor
    """[N] int64 for classes, [N, T] float32 scaled targets for regression."""

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Data:
    train: Examples
    validation: Examples | None
    test: Examples | None
    preprocessing: Preprocessing
    notes: list[str]
    """What was done to the rows, for people."""
    leaks: list[Leak] = field(default_factory=list)
    """Columns that tell the target nearly without error, worst first."""
    sample: Table | Images = field(default_factory=lambda: Table(pl.DataFrame()))
    """A few rows as they were read, held out ones if there are: to check by."""

    @property
    def digest(self) -> str:
        """SHA-256 of the rows as they were dealt and prepared; of many inputs, of some that lie evenly among them."""
        digest = hashlib.sha256(self.preprocessing.model_dump_json().encode())
        for part in filter(None, (self.train, self.validation, self.test)):
            some = part.x[:: max(1, part.x.nbytes // MOST_DIGESTED)]
            for tensor in (part.y, some):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(F,) for a table, (C, H, W) for images."""
        return tuple(self.train.x.shape[1:])

    @property
    def embeddings(self) -> list[Embedding]:
        """Of the input columns that hold a category's place; none for images."""
        features = self.preprocessing.features
        return features.embeddings if isinstance(features, TableFeatures) else []

    @property
    def numeric(self) -> int:
        """Inputs that are numbers, which come first; 0 for images."""
        features = self.preprocessing.features
        return len(features.numbers) if isinstance(features, TableFeatures) else 0

    @property
    def outputs(self) -> int:
        """Classes, or target columns."""
        target = self.preprocessing.target
        return len(target.classes if isinstance(target, Classes) else target.columns)

    @property
    def classes(self) -> list[str] | None:
        """The name of each class; null for regression."""
        target = self.preprocessing.target
        return target.classes if isinstance(target, Classes) else None

    @property
    def targets(self) -> list[str]:
        target = self.preprocessing.target
        return [target.column] if isinstance(target, Classes) else target.columns

    @property
    def target_mean(self) -> torch.Tensor:
        """[T] float64; 0 for classification."""
        target = self.preprocessing.target
        return torch.tensor(target.mean if isinstance(target, Reals) else [0.0], dtype=torch.float64)

    @property
    def target_scale(self) -> torch.Tensor:
        """[T] float64, so that y = y'·scale + mean; 1 for classification."""
        target = self.preprocessing.target
        return torch.tensor(target.scale if isinstance(target, Reals) else [1.0], dtype=torch.float64)


def load(spec: JobSpec, files: Mapping[str, Path]) -> Data:
    """`files` has the local path of every uploaded dataset that the spec names; the spec has nothing left to resolve.

    Rows without a target are left out, and everything fitted is fitted on the training rows.
    """
    whole = source(spec.dataset, files)
    targets = _targets(spec, whole)
    whole, notes = _complete(whole, targets, "rows")
    parts = splitting.split(spec.split, whole.frame, _numbered(spec, whole.frame, targets), spec.seed)
    train = whole.take(parts.train)
    features, feature_notes = _features(spec, whole, train, targets)
    fitted = Preprocessing(features=features, target=preparing.target(_task(spec), train.frame, targets))
    _refuse_unlearnt(fitted.target, whole.frame)
    examples = _examples(fitted, train)
    notes += _rescued(whole.frame, targets, parts.rescued) + feature_notes + _constant(features, examples.x)
    test, test_notes = _part(fitted, whole, parts.test), list[str]()
    if isinstance(spec.split, GivenSplit):
        test, test_notes = _given(source(spec.split.test, files), fitted, targets)
    return Data(
        train=examples,
        validation=_part(fitted, whole, parts.validation),
        test=test,
        preprocessing=fitted,
        notes=notes + test_notes,
        leaks=leaks.find(features, fitted.target, train.frame) if isinstance(features, TableFeatures) else [],
        sample=_sample(whole, next(rows for rows in (parts.test, parts.validation, parts.train) if rows.size)),
    )


def _sample(data: Table | Images, rows: Index) -> Table | Images:
    """At most 256 rows; of large images at least 8."""
    numbers = data.pixels[0].size if isinstance(data, Images) else 1
    return data.take(rows[: max(8, min(256, SAMPLE_PIXELS // numbers))])


def source(dataset: Dataset, files: Mapping[str, Path]) -> Table | Images:
    match dataset:
        case Builtin():
            return builtin.load(dataset.name)
        case Upload():
            return reading.read(files[dataset.id])
        case Rows():
            return reading.from_rows(dataset.rows)
        case _:
            assert_never(dataset)


def _targets(spec: JobSpec, data: Table | Images) -> list[str]:
    named = spec.target or data.target
    if named is None:
        raise DataInvalid("The data does not say which column to predict: name it as `target`.")
    return [named] if isinstance(named, str) else named


def _task(spec: JobSpec) -> Task:
    if spec.task == "auto":
        raise ValueError("an auto task is resolved before training")
    return spec.task


def _complete(data: Table | Images, targets: list[str], what: str) -> tuple[Table | Images, list[str]]:
    """Without the rows that lack a target."""
    missing = np.zeros(data.rows, bool)
    for name in targets:
        missing |= preprocessing.column(data.frame, name).is_null().to_numpy()
    if missing.all():
        raise DataInvalid(f"No row has a value of {' and '.join(targets)}: there is nothing to learn.")
    if not missing.any():
        return data, []
    return data.take(np.flatnonzero(~missing)), [f"{missing.sum():,} {what} without a target were left out."]


def _numbered(spec: JobSpec, frame: pl.DataFrame, targets: list[str]) -> Index | None:
    """A number from 0 for each row's class, for the split."""
    if _task(spec) == "regression":
        return None
    return (frame[targets[0]].rank("dense") - 1).to_numpy().astype(np.int64)


def _features(
    spec: JobSpec, whole: Table | Images, train: Table | Images, targets: list[str]
) -> tuple[TableFeatures | ImageFeatures, list[str]]:
    if isinstance(train, Images):
        return preparing.images(spec.scaler, train.pixels), []
    splits_by = {spec.split.column} if isinstance(spec.split, GroupSplit | ColumnSplit) else set()
    chosen = preparing.choose(spec.features, whole.frame, {*targets} | splits_by)
    return preparing.table(spec, train.frame, chosen), chosen.notes


def _constant(features: TableFeatures | ImageFeatures, x: torch.Tensor) -> list[str]:
    if isinstance(features, ImageFeatures):
        return []
    same = np.flatnonzero((x == x[0]).all(dim=0).numpy())
    if not same.size:
        return []
    named = ", ".join(f"'{features.names[i]}'" for i in same[:NAMED]) + (", …" if same.size > NAMED else "")
    return [f"The same in every training row, which tells nothing: {named} ({same.size:,} of {len(x[0]):,} inputs)."]


def _rescued(frame: pl.DataFrame, targets: list[str], rows: Index) -> list[str]:
    labels = [f"'{label}'" for label in columns.as_text(frame[targets[0]])[rows]]
    if not labels:
        return []
    named = ", ".join(labels[:NAMED]) + (", …" if len(labels) > NAMED else "")
    return [f"{named} had no row to train on: one held-out row of each was exchanged for a training row."]


def _refuse_unlearnt(target: Classes | Reals, frame: pl.DataFrame) -> None:
    if not isinstance(target, Classes):
        return
    labels = columns.as_text(frame[target.column])
    if (unlearnt := labels.filter(~labels.is_in(target.classes))).len():
        raise DataInvalid(
            f"Class '{unlearnt[0]}' has {(labels == unlearnt[0]).sum():,} rows and none of them is for training, so it "
            "cannot be learnt: split stratified, send more rows of it, or take it out."
        )


def _given(data: Table | Images, fitted: Preprocessing, targets: list[str]) -> tuple[Examples, list[str]]:
    """Test rows from a dataset of their own. Rows of a class that training never saw cannot be scored."""
    data, notes = _complete(data, targets, "test rows")
    if not isinstance(fitted.target, Classes):
        return _examples(fitted, data), notes
    labels, more = _like_training(columns.as_text(data.frame[targets[0]]), fitted.target.classes)
    known = labels.is_in(fitted.target.classes)
    if not known.any():
        raise DataInvalid(f"No test row has a class of the training rows; its first class is '{labels[0]}'.")
    if unknown := known.len() - known.sum():
        more.append(f"{unknown:,} test rows of classes that training never saw were left out.")
    x = preprocessing.inputs(fitted.features, data.take(known.arg_true().to_numpy().astype(np.int64)))
    return _tensors(x, preprocessing.classes(fitted.target, labels.filter(known))), notes + more


def _like_training(labels: pl.Series, classes: list[str]) -> tuple[pl.Series, list[str]]:
    """A final dot that training labels do not have is dropped: UCI's Adult test file writes `<=50K.` for `<=50K`."""
    bare = labels.str.strip_suffix(".")
    dotted = ~labels.is_in(classes) & bare.is_in(classes)
    if not dotted.any():
        return labels, []
    return bare.zip_with(dotted, labels), [f"{dotted.sum():,} test labels were read without their final dot."]


def _part(fitted: Preprocessing, data: Table | Images, rows: Index) -> Examples | None:
    return _examples(fitted, data.take(rows)) if rows.size else None


def _examples(fitted: Preprocessing, data: Table | Images) -> Examples:
    return _tensors(preprocessing.inputs(fitted.features, data), preprocessing.targets(fitted.target, data.frame))


def _tensors(x: Inputs, y: Index | Inputs) -> Examples:
    return Examples(torch.from_numpy(x), torch.from_numpy(y))
