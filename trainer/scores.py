"""How good a model is: loss and a few metrics after each epoch, scikit-learn's full set at the end."""

import numpy as np
import torch
from pydantic import JsonValue
from sklearn import metrics as sk

from jobs.spec.job import JobSpec
from trainer import alive, ensembles
from trainer.account import calibration
from trainer.data import Data, Examples
from trainer.losses import RowLoss
from trainer.model.layers import Pass
from trainer.model.network import Network

CHUNK_FLOATS = 1 << 22
"""Values of the widest layer evaluated at a time, about: more of them leave the cache."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of the residuals, predicted - true."""
MOST_CONFUSED = 100
"""Classes up to which the confusion matrix is a score: it grows with their square, and is part of the job's record."""
MISTAKES = 10
"""The most frequent ones, told of any number of classes."""


@torch.no_grad()
def outputs(network: Network, examples: Examples, lanes: int) -> torch.Tensor:
    """[K, N, outputs] in evaluation mode."""
    rows = max(1, CHUNK_FLOATS // (lanes * network.widest))
    chunks = []
    for start in range(0, len(examples.x), rows):
        x = examples.x[start : start + rows]
        chunks.append(network(x.unsqueeze(0).expand(lanes, *x.shape), Pass(False, [])))
    return torch.cat(chunks, dim=1)


def validation(spec: JobSpec, data: Data, rows: RowLoss, z: torch.Tensor, examples: Examples) -> list[dict[str, float]]:
    """Metrics of each lane from z [K, N, outputs], by the names in `jobs.spec.metrics`, without prefix."""
    return [_lane(spec, data, rows, lane, examples.y) for lane in z]


def _lane(spec: JobSpec, data: Data, rows: RowLoss, z: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    alive.say()
    loss = rows(z, y).mean()
    if spec.task == "classification":
        return _floats({"loss": loss, "accuracy": (labels(z) == y).float().mean()})
    error = (z.double() - y) * data.target_scale.to(z.device)
    spread = (y - y.double().mean(0)) * data.target_scale.to(z.device)
    r2 = _r2(error.square().sum(0), spread.square().sum(0)).mean()
    return _floats({"loss": loss, "rmse": error.square().mean().sqrt(), "mae": error.abs().mean(), "r2": r2})


def _r2(missed: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """1 - Σe²/Σ(y - ȳ)² per target; of a constant 1 where nothing is missed, else 0, as scikit-learn has it."""
    constant = 1 - missed.sign()
    return torch.where(total > 0, 1 - missed / total, constant)


def _floats(values: dict[str, torch.Tensor]) -> dict[str, float]:
    numbers = torch.stack(list(values.values())).tolist()  # one transfer from the device, not one per metric
    return dict(zip(values, numbers, strict=True))


def labels(z: torch.Tensor) -> torch.Tensor:
    """[N, outputs] → [N]: the largest logit, or the sign of the only one."""
    return (z.squeeze(1) > 0).long() if z.shape[1] == 1 else z.argmax(1)


def probabilities(z: torch.Tensor) -> torch.Tensor:
    """[N, outputs] logits → [N, classes]."""
    if z.shape[1] == 1:
        p = torch.sigmoid(z)
        return torch.cat([1 - p, p], dim=1)
    return z.softmax(1)


def held_out(spec: JobSpec, data: Data, rows: RowLoss, z: torch.Tensor, examples: Examples) -> dict[str, JsonValue]:
    """The final score of what all lanes say together, from z [K, N, outputs]; of an ensemble also each member's and
    their spread (std with ddof 0)."""
    headline = _final(data, rows, combined(spec, data, z), examples)
    if spec.ensemble is None:
        return headline
    members = [_numbers(_final(data, rows, lane, examples)) for lane in z]
    spread: dict[str, JsonValue] = {
        name: {"mean": float(np.mean(values)), "std": float(np.std(values))}
        for name in members[0]
        if name != "rows" and len(values := [member[name] for member in members if name in member]) == len(members)
    }
    each: list[JsonValue] = [{"member": lane, **member} for lane, member in enumerate(members)]
    return headline | {"members": each, "spread": spread}


def combined(spec: JobSpec, data: Data, z: torch.Tensor) -> torch.Tensor:
    """What all lanes say together: [K, N, outputs] → [N, outputs]."""
    return ensembles.combine(spec.ensemble, z, classes=data.classes is not None)


def real_values(data: Data, z: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true targets in their own units, [N, T] float64 each."""
    scale, mean = data.target_scale.double(), data.target_mean.double()
    predicted, true = z.cpu().double() * scale + mean, y.cpu().double() * scale + mean
    return predicted.numpy(), true.numpy()


def _numbers(scores: dict[str, JsonValue]) -> dict[str, float | int]:
    return {name: value for name, value in scores.items() if isinstance(value, int | float)}


def _final(data: Data, rows: RowLoss, z: torch.Tensor, examples: Examples) -> dict[str, JsonValue]:
    alive.say()
    broken = int((~z.isfinite().all(1)).sum())
    if broken:  # no score is defined, and JSON has no NaN
        return {"rows": len(z), "loss": None, "non_finite_rows": broken}
    loss = float(rows(z, examples.y).mean())
    if data.classes is not None:
        return {"rows": len(z), "loss": loss, **_classification(data.classes, z.cpu(), examples.y.cpu().numpy())}
    return {"rows": len(z), "loss": loss, **_regression(data.targets, *real_values(data, z, examples.y))}


def _classification(classes: list[str], z: torch.Tensor, true: np.ndarray) -> dict[str, JsonValue]:
    predicted, p = labels(z).numpy(), probabilities(z.double()).numpy()
    numbers = list(range(len(classes)))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        true, predicted, labels=numbers, zero_division=0.0
    )
    matrix, present = sk.confusion_matrix(true, predicted, labels=numbers), support > 0
    each = zip(classes, precision, recall, f1, support, strict=True)
    return {
        "accuracy": float(sk.accuracy_score(true, predicted)),
        "balanced_accuracy": float(recall[present].mean()),
        "f1_macro": float(f1[present].mean()),
        "roc_auc": _roc_auc(true, p, bool(present.all())),
        **calibration.scores(true, p),
        **(
            {"confusion": {"labels": list(classes), "matrix": matrix.tolist()}} if len(classes) <= MOST_CONFUSED else {}
        ),
        "mistakes": _mistakes(classes, matrix),
        "per_class": [
            {"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
            for label, p, r, f, n in each
        ],
    }


def _confusion(classes: list[str], matrix: np.ndarray) -> dict[str, JsonValue]:
    if len(classes) > MOST_CONFUSED:
        return {}
    return {"confusion": {"labels": list(classes), "matrix": matrix.tolist()}}


def _mistakes(classes: list[str], matrix: np.ndarray) -> list[JsonValue]:
    wrong = matrix - np.diag(matrix.diagonal())
    most = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = [pair for pair in zip(*np.unravel_index(most, wrong.shape), strict=True) if wrong[pair]]
    return [{"true": classes[t], "predicted": classes[p], "rows": int(wrong[t, p])} for t, p in pairs]


def _roc_auc(true: np.ndarray, p: np.ndarray, all_present: bool) -> float | None:
    """One against the rest, mean over classes; None where a class has no test rows."""
    if not all_present or p.shape[1] < 2:
        return None
    return float(sk.roc_auc_score(true, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"))


def _regression(targets: list[str], predicted: np.ndarray, true: np.ndarray) -> dict[str, JsonValue]:
    r2 = float(sk.r2_score(true, predicted)) if len(true) > 1 else None
    scores: dict[str, JsonValue] = {
        "rmse": float(np.sqrt(sk.mean_squared_error(true, predicted))),
        "mae": float(sk.mean_absolute_error(true, predicted)),
        "r2": r2,
    }
    if len(targets) > 1:
        squared = sk.mean_squared_error(true, predicted, multioutput="raw_values")
        absolute = sk.mean_absolute_error(true, predicted, multioutput="raw_values")
        explained = sk.r2_score(true, predicted, multioutput="raw_values") if len(true) > 1 else [None] * len(targets)
        scores["per_target"] = [
            {"target": name, "rmse": float(np.sqrt(s)), "mae": float(a), "r2": None if r is None else float(r)}
            for name, s, a, r in zip(targets, squared, absolute, explained, strict=True)
        ]
    quantiles = np.quantile(predicted - true, QUANTILES, axis=0).T
    scores["residuals"] = [
        {"target": name, "quantiles": dict(zip(map(str, QUANTILES), each.tolist(), strict=True))}
        for name, each in zip(targets, quantiles, strict=True)
    ]
    return scores
