"""Metrics that Keras expects, from our scores at the end of a run. Rows have no weights here."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from jobs.spec.loss import Bce, CrossEntropy, Loss, Mse
from tests.golden.cases import Case, each
from tests.trainer.samples import as_given, laid_down
from trainer import losses, scores


def scored(case: Case) -> dict[str, Any]:
    """Real values by their ids, else classes: a probability for each, one for two, or the class itself."""
    y, p = torch.tensor(case["y_true"]), torch.tensor(case["y_pred"], dtype=torch.float32)
    if case["id"].split()[0] in ("mse/mae", "rmse", "R2"):
        return final(p.reshape(len(p), -1), y.float().reshape(len(y), -1), 0, Mse())
    if y.dim() == 2:
        y = y.argmax(1)
    if p.dim() == 2:
        return final(p.clamp(min=1e-30).log(), y, p.shape[1], CrossEntropy())
    if is_class(case):
        classes = int(max(y.max(), p.max())) + 1
        z = torch.nn.functional.one_hot(p.long(), max(classes, 2)).float()
        return final(z, y, max(classes, 2), CrossEntropy())
    return final(p.logit().clamp(-30, 30).unsqueeze(1), y, 2, Bce())


def is_class(case: Case) -> bool:
    return all(float(value).is_integer() for value in case["y_pred"]) and "AUC" not in case["id"]


def final(z: torch.Tensor, y: torch.Tensor, classes: int, loss: Loss) -> dict[str, Any]:
    spec = laid_down(task="classification" if classes else "regression")
    data = as_given(torch.zeros(len(y), 1), y, classes)
    return scores.held_out(spec, data, losses.build(loss), z.unsqueeze(0), data.train)


def per_class(found: dict[str, Any], score: str) -> list[float]:
    return [one[score] for one in found["per_class"]]


def weighted_f1(found: dict[str, Any]) -> float:
    return sum(one["f1"] * one["rows"] for one in found["per_class"]) / found["rows"]  # type: ignore[no-any-return]


READINGS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "mse/mae": {"expected": lambda found: found["rmse"] ** 2},
    "rmse": {"expected": lambda found: found["rmse"]},
    "R2": {
        "expected_per_output": lambda found: [one["r2"] for one in found["per_target"]],
        "uniform_average": lambda found: found["r2"],
    },
    "accuracy": {"expected": lambda found: found["accuracy"]},
    "binary": {"expected": lambda found: found["accuracy"]},
    "categorical": {"expected": lambda found: found["accuracy"]},
    "precision/recall": {
        "expected": lambda found: {score: per_class(found, score)[1] for score in ("precision", "recall")}
    },
    "AUC": {"expected_exact_rank": lambda found: found["roc_auc"]},
    "F1": {
        "expected": lambda found: {
            "per_class": per_class(found, "f1"),
            "micro": found["accuracy"],  # the same where a row has one label
            "macro": found["f1_macro"],
            "weighted": weighted_f1(found),
        }
    },
}
"""By the first word of an id: what each expected number is called here."""


@each("metrics")
def test_metrics(case: Case) -> None:
    found = scored(case)
    for name, reading in READINGS[case["id"].split()[0]].items():
        expected, value = case[name], reading(found)
        for key in expected if isinstance(expected, dict) else ():
            assert value[key] == pytest.approx(expected[key], abs=case.get("tol", 1e-6)), key
        if not isinstance(expected, dict):
            assert value == pytest.approx(expected, abs=case.get("tol", 1e-6)), name
    if case["id"].startswith("mse/mae"):  # both are 0.5 where every miss is 1
        assert found["mae"] == pytest.approx(case["expected"])
