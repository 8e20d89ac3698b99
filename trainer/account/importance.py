"""How much a model leans on each column: the score it loses when the column's values are shuffled among the rows.

What scikit-learn's `permutation_importance` computes, down to its draws, but for raw columns: all inputs that came of
one column (one-hot places, the indicator of its gaps) are shuffled together.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from jobs.spec.preprocessing import TableFeatures
from jobs.spec.values import Part
from trainer.data import Examples
from trainer.sources.content import Index

ROWS = 1_000
REPEATS = 5
PASSES = 2_000
"""Columns times repeats, at most."""
WORK = 4_000_000_000
"""Products, at most: about a second of one core."""
FEWEST_ROWS = 50

Score = Callable[[Examples], float]


class ColumnImportance(Part):
    """The loss of score over the repeats; std with ddof 0."""

    column: str
    mean: float
    std: float


class Importance(Part):
    """Of each column, most important first."""

    score: str
    """Which score is lost: `accuracy` or `r2`."""
    baseline: float
    """That score with nothing shuffled, on the same rows."""
    rows: int
    repeats: int
    columns: list[ColumnImportance]


def sampled(examples: Examples, columns: int, parameters: int, seed: int) -> Examples | None:
    """The rows to measure on, drawn without replacement where there are too many; None where it would take too long.

    How many depends on nothing that is timed, so that equal runs answer equally.
    """
    passes = columns * REPEATS
    rows = min(ROWS, WORK // max(1, passes * parameters))
    if passes > PASSES or rows < min(FEWEST_ROWS, len(examples)):
        return None
    if rows >= len(examples):
        return examples
    drawn = np.sort(np.random.RandomState(seed).permutation(len(examples))[:rows])
    chosen = torch.from_numpy(drawn).to(examples.x.device)
    return Examples(examples.x[chosen], examples.y[chosen])


def measure(features: TableFeatures, examples: Examples, name: str, score: Score, seed: int) -> Importance:
    """By `score`, the higher the better."""
    baseline = score(examples)
    orders = draws(len(examples), seed)
    found = []
    for column, inputs in columns_of(features).items():
        lost = [baseline - score(_shuffled(examples, inputs, order)) for order in orders]
        found.append(ColumnImportance(column=column, mean=float(np.mean(lost)), std=float(np.std(lost))))
    found.sort(key=lambda one: (-one.mean, one.column))
    return Importance(score=name, baseline=baseline, rows=len(examples), repeats=REPEATS, columns=found)


def draws(rows: int, seed: int) -> list[Index]:
    """The order of rows in each repeat, as scikit-learn draws them for `random_state=seed`: each shuffles the last."""
    source = np.random.RandomState(np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1))
    shuffle, order, orders = np.arange(rows), np.arange(rows), []
    for _ in range(REPEATS):
        source.shuffle(shuffle)
        order = order[shuffle]
        orders.append(order)
    return orders


def columns_of(features: TableFeatures) -> dict[str, list[int]]:
    """The network inputs that come of each raw column, in the order that `TableFeatures` promises."""
    spans = [(one.name, 1) for one in features.numbers]
    spans += [(one.name, 1) for one in features.numbers if one.indicator]
    spans += [(one.name, len(one.categories)) for one in features.categories if one.encoding == "onehot"]
    spans += [(one.name, 1) for one in features.categories if one.encoding == "ordinal"]
    spans += [(one.name, 1) for one in features.categories if one.encoding == "embedding"]
    found: dict[str, list[int]] = {}
    start = 0
    for name, width in spans:
        found.setdefault(name, []).extend(range(start, start + width))
        start += width
    assert start == len(features.names), "every input belongs to a column"
    return found


def _shuffled(examples: Examples, inputs: list[int], order: Index) -> Examples:
    device = examples.x.device
    rows, places = torch.from_numpy(order).to(device), torch.tensor(inputs, device=device)
    x = examples.x.index_copy(1, places, examples.x[:, places][rows])
    return dataclasses.replace(examples, x=x)
