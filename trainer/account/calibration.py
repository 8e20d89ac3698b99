"""Whether a probability means what it says: of the rows a model is 80 % sure of, about 80 % should be right."""

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue
from sklearn import metrics as sk

from trainer.sources.content import Index

BINS = 10
EDGES = np.linspace(0.0, 1.0, BINS + 1)

Probabilities = npt.NDArray[np.float64]


def scores(true: Index, p: Probabilities) -> dict[str, JsonValue]:
    """Of probabilities p [N, classes], summing to 1: scikit-learn's `log_loss` and `brier_score_loss` (the mean over
    rows of Σ(p - [class is true])², halved for two classes), the expected calibration error, and its bins."""
    numbers = list(range(p.shape[1]))
    found = bins(true, p)
    return {
        "log_loss": float(sk.log_loss(true, p, labels=numbers)),
        "brier": float(sk.brier_score_loss(true, p, labels=numbers)),
        "ece": sum(n / len(true) * abs(right - sure) for n, right, sure in found),
        "reliability": [
            {"low": place / BINS, "high": (place + 1) / BINS, "rows": n, "confidence": sure, "accuracy": right}
            for place, (n, right, sure) in enumerate(found)
            if n
        ],
    }


def bins(true: Index, p: Probabilities) -> list[tuple[int, float, float]]:
    """Rows, share of them that is right, and mean probability of the top class, by that probability: ten bins of
    equal width, (low, high] as in scikit-learn's `calibration_curve`. Σ n/N·|right - sure| over them is the expected
    calibration error (Guo et al. 2017)."""
    top, right = p.max(1), p.argmax(1) == true
    place = np.searchsorted(EDGES[1:-1], top)
    rows = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights=values, minlength=BINS) for values in (right, top)]
    means = [total / rows.clip(min=1) for total in sums]
    return [(int(n), float(r), float(s)) for n, r, s in zip(rows, *means, strict=True)]
