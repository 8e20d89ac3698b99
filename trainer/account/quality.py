"""How good a finished model is on rows that it was not trained on, and what it leans on."""

from typing import Literal

import numpy as np
import torch
from pydantic import JsonValue

from jobs.spec.job import JobSpec
from jobs.spec.values import Part
from trainer import losses, scores
from trainer.account import importance
from trainer.account.importance import Importance
from trainer.data import Data, Examples
from trainer.model.network import Network, count
from trainer.reports import Finished

TRUTH_POINTS = 1_000
MOST_BINS = 30


class Truth(Part):
    """Predictions of one target beside the truth, in its own unit."""

    target: str
    true: list[float]
    """Of at most 1,000 rows, evenly over the scored ones."""
    predicted: list[float]
    """Of the same rows."""
    edges: list[float]
    """Of the histogram of predicted - true, over all scored rows."""
    rows: list[int]
    """Between the edges."""


class Confusion(Part):
    """How often which class was taken for which."""

    labels: list[str]
    matrix: list[list[int]]
    """Rows are the true classes."""


class Bin(Part):
    """Rows whose predicted class has a probability in (low, high]."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean of those probabilities."""
    accuracy: float
    """Share of the rows that is right."""


class Quality(Part):
    """Of the delivered model."""

    scored_on: Literal["test", "validation"] | None = None
    """Which rows; validation rows have had their say in the choice of the epoch."""
    scores: dict[str, JsonValue] | None = None
    truths: list[Truth] = []
    """For regression, one per target."""
    importance: Importance | None = None
    note: str | None = None
    """Why something is missing."""


def of(spec: JobSpec, data: Data, network: Network, lanes: int, finished: Finished) -> Quality:
    """On the test rows, else on the validation rows; on none of a run that diverged."""
    examples = data.test or data.validation
    if examples is None:
        return Quality(note="There are no rows but those that were trained on.")
    if finished.stop_reason == "non_finite":
        return Quality(note="The run diverged: its model is not scored.")
    device = next(iter(network.weights.values())).device
    examples = Examples(examples.x.to(device), examples.y.to(device))
    on: Literal["test", "validation"] = "test" if data.test else "validation"
    found, truths = finished.test, list[Truth]()
    if found is None or data.classes is None:  # else the pass over all rows is spared
        z = scores.outputs(network, examples, lanes)
        found = found or scores.held_out(spec, data, losses.build(spec.loss), z, examples)
        if "non_finite_rows" not in found and data.classes is None:
            truths = _truths(data, scores.combined(spec, data, z), examples.y)
    if "non_finite_rows" in found:
        return Quality(scored_on=on, scores=found, note="The model's outputs are not finite.")
    leaned, note = _importance(spec, data, network, lanes, examples)
    return Quality(scored_on=on, scores=found, truths=truths, importance=leaned, note=note)


def _truths(data: Data, z: torch.Tensor, y: torch.Tensor) -> list[Truth]:
    predicted, true = scores.real_values(data, z, y)
    chosen = np.linspace(0, len(true) - 1, min(len(true), TRUTH_POINTS)).round().astype(int)
    found = []
    for place, target in enumerate(data.targets):
        guess, fact = predicted[:, place], true[:, place]
        rows, edges = np.histogram(off := guess - fact, min(MOST_BINS, max(5, len(true) // 5)), _span(off))
        found.append(
            Truth(
                target=target,
                true=fact[chosen].tolist(),
                predicted=guess[chosen].tolist(),
                edges=edges.tolist(),
                rows=rows.tolist(),
            )
        )
    return found


def _span(values: np.ndarray) -> tuple[float, float]:
    """From lowest to highest, wide enough to be cut into bins."""
    low, high = float(values.min()), float(values.max())
    room = max(abs(low), abs(high), 1e-12)
    return (low, high) if high - low > 1e-6 * room else (low - room, high + room)


def _importance(
    spec: JobSpec, data: Data, network: Network, lanes: int, examples: Examples
) -> tuple[Importance | None, str | None]:
    features = data.preprocessing.features
    if features.layout == "images":
        return None, "Images have no columns whose importance could be measured."
    columns = len(importance.columns_of(features))
    rows = importance.sampled(examples, columns, count(network.parameters) * lanes, spec.seed)
    if rows is None:
        return None, f"The importance of {columns:,} columns would take too long to measure."

    def accuracy(examples: Examples) -> float:
        z = scores.combined(spec, data, scores.outputs(network, examples, lanes))
        return float((scores.labels(z) == examples.y).double().mean())

    def r2(examples: Examples) -> float:
        z = scores.combined(spec, data, scores.outputs(network, examples, lanes)).double()
        y = examples.y.double()
        spread = (y - y.mean(0)).square().sum(0).clamp(min=1e-30)
        return float((1 - (z - y).square().sum(0) / spread).mean())

    name, score = ("r2", r2) if data.classes is None else ("accuracy", accuracy)
    return importance.measure(features, rows, name, score, spec.seed), None
