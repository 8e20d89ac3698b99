"""Columns that give the target away: what predicts it nearly without error all alone is often a copy or a consequence
of it, and will not be there when the model is used."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.spec.preprocessing import Classes, Reals, TableFeatures
from trainer import alive
from trainer.features import preprocessing
from trainer.features.encoding import Matrix
from trainer.sources.content import Index

ACCURACY = 0.995
"""Of the rows told right by one column alone; nine in ten errors of always naming the largest class must be gone."""
CORRELATION = 0.9995
FEWEST = 50
"""Training rows, and
FEWEST_OTHERS rows outside the largest class, below which a column may separate the classes by chance."""
FEWEST_OTHERS = 10
MOST = 20_000
"""Rows looked at, and GLANCE of them first, to pass over what is far from a leak."""
GLANCE = 1_000
_NEARLY = 0.02
MOST_CLASSES = 100


@dataclass(frozen=True)
class Leak:
    """A column that tells the target on its own."""

    column: str
    score: float
    """Share of rows told right (classes), or |correlation| (numbers)."""


def find(features: TableFeatures, target: Classes | Reals, train: pl.DataFrame) -> list[Leak]:
    """Looks at a sample of the training rows, the same for the same rows; worst first."""
    rows = np.random.default_rng(0).permutation(train.height)[:MOST]
    if len(rows) < FEWEST:
        return []
    frame = train[rows]
    x = preprocessing.numbers(frame, [number.name for number in features.numbers])
    names = [number.name for number in features.numbers]
    if isinstance(target, Reals):
        y = preprocessing.numbers(frame, target.columns)
        found = zip(names, (correlation(x[:, i], y) for i in range(len(names))), strict=True)
        leaks = [Leak(name, score) for name, score in found if score >= CORRELATION]
    else:
        leaks = _of_classes(features, preprocessing.classes(target, frame[target.column]), x, names, frame)
    return sorted(leaks, key=lambda leak: -leak.score)


def _of_classes(features: TableFeatures, y: Index, x: Matrix, names: list[str], frame: pl.DataFrame) -> list[Leak]:
    others = 1 - np.bincount(y).max() / len(y)
    if others * len(y) < FEWEST_OTHERS or y.max() >= MOST_CLASSES:
        return []
    least = max(ACCURACY, 1 - others / 10)
    scores = {name: by_order(x[:, i], y, least) for i, name in enumerate(names)}
    for category in features.categories:
        scores[category.name] = by_value(preprocessing.positions(category, frame[category.name]), y)
    return [Leak(name, score) for name, score in scores.items() if score >= least]


def by_order(x: Matrix, y: Index, least: float) -> float:
    """Rows told right by cutting x, gaps lowest, into one interval per class; 0 where a glance shows less than `least`.

    The classes lie in the order of their mean rank; each cut is the best between all classes below and all above.
    """
    alive.say()
    if len(x) > GLANCE and _cut(x[:GLANCE], y[:GLANCE]) < least - _NEARLY:
        return 0.0
    return _cut(x, y)


def _cut(x: Matrix, y: Index) -> float:
    x = np.where(np.isnan(x), -np.inf, x)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    counts = np.bincount(y)
    present = np.flatnonzero(counts)
    ranks = np.bincount(y, weights=np.arange(len(y)))[present] / counts[present]
    place = np.empty(len(counts), np.int64)
    place[present[np.argsort(ranks)]] = np.arange(len(present))
    ordered = place[y]
    ends = np.append(np.flatnonzero(x[1:] != x[:-1]) + 1, len(x))  # a cut never parts equal values
    told = np.zeros(len(y), np.int64)
    for cut in range(1, len(present)):
        below = ordered < cut
        right = 2 * np.cumsum(below)[ends - 1] - ends  # rows below told right, less those above told wrong
        told[ends[right.argmax()] :] = cut
    return float((told == ordered).mean())


def by_value(values: Index, y: Index) -> float:
    """Rows told right by the commonest class of their category, the first row of each category not counted: an
    identifier, with a category per row, tells nothing."""
    table = np.zeros((values.max() + 2, y.max() + 1), np.int64)
    np.add.at(table, (values, y), 1)
    seen = table[table.any(axis=1)]
    rest = len(y) - len(seen)
    return float((seen.max(axis=1) - 1).sum() / rest) if rest > len(y) / 2 else 0.0


def correlation(x: Matrix, y: Matrix) -> float:
    """The largest |Pearson| or |Spearman| of x [N] with a column of y [N, T], over the rows where x is present."""
    present = np.isfinite(x)
    x, y = x[present], y[present]
    if len(x) < FEWEST or x.min() == x.max():
        return 0.0
    glance = max(_pearson(x[:GLANCE], y[:GLANCE]), _spearman(x[:GLANCE], y[:GLANCE]))
    if len(x) <= GLANCE or glance < CORRELATION - _NEARLY:
        return glance
    return max(_pearson(x, y), _spearman(x, y))


def _pearson(x: Matrix, y: Matrix) -> float:
    with np.errstate(all="ignore"):
        x, y = x - x.mean(), y - y.mean(axis=0)
        found: npt.NDArray[np.float64] = np.abs(x @ y) / (np.sqrt(x @ x) * np.sqrt((y * y).sum(axis=0)))
    return float(np.nan_to_num(found, nan=0.0, posinf=0.0).max())


def _spearman(x: Matrix, y: Matrix) -> float:
    return _pearson(_ranks(x), np.stack([_ranks(one) for one in y.T], axis=1))


def _ranks(x: Matrix) -> Matrix:
    """From 1; equal values share the mean of theirs."""
    return pl.Series(x).rank("average").to_numpy()
