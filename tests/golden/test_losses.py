"""Losses that Keras expects. Ours are those of rows; Keras's weighted loss is Σwl/n, ours and PyTorch's Σwl/Σw."""

from collections.abc import Callable

import pytest
import torch

from jobs.spec.loss import Bce, CrossEntropy, Huber, Loss, Mae, Mse
from tests.golden.cases import Case, each
from trainer import losses
from trainer.objective import Objective, Target


def numbers(case: Case, loss: Loss) -> tuple[Loss, torch.Tensor, torch.Tensor]:
    return loss, torch.tensor(case["y_pred"], dtype=torch.float32), torch.tensor(case["y_true"], dtype=torch.float32)


def binary(case: Case) -> tuple[Loss, torch.Tensor, torch.Tensor]:
    """Each value is a row of its own: we have no target of several labels."""
    z = torch.tensor(case["logits"]) if "logits" in case else torch.tensor(case["y_pred"]).logit()
    return Bce(), z.reshape(-1, 1), torch.tensor(case["y_true"]).reshape(-1).long()


def categorical(case: Case) -> tuple[Loss, torch.Tensor, torch.Tensor]:
    """The softmax of a logarithm is what Keras does to rows that do not sum to 1."""
    z = torch.tensor(case["logits"]) if "logits" in case else torch.tensor(case["y_pred"]).log()
    y = torch.tensor(case["y_true"])
    return CrossEntropy(), z, y.argmax(1) if y.dim() == 2 else y


TRANSLATIONS: dict[str, Callable[[Case], tuple[Loss, torch.Tensor, torch.Tensor]]] = {
    "mse": lambda case: numbers(case, Mse()),
    "mae": lambda case: numbers(case, Mae()),
    "huber": lambda case: numbers(case, Huber(delta=float(case["id"].split("delta ")[1]))),
    "binary": binary,
    "categorical": categorical,
}


@each("losses")
def test_losses(case: Case) -> None:
    loss, z, y = TRANSLATIONS[case["id"].split()[0]](case)
    rows = losses.build(loss)(z, y).reshape(len(case["y_true"]), -1).mean(1)
    assert rows.mean().item() == pytest.approx(case["expected"], abs=case["tol"])
    if "per_sample" in case:
        assert rows.tolist() == pytest.approx(case["per_sample"], abs=case["tol"])
    weights = torch.tensor(case.get("sample_weight", [1.0] * len(rows)))
    named = [case[name] for name in ("expected_weighted", "expected_weighted_sum_over_batch") if name in case]
    keras = [*named, case["expected"]][0]
    assert (rows * weights).mean().item() == pytest.approx(keras, abs=case["tol"])
    ours = case.get("expected_weighted_mean_with_sample_weight", keras * len(rows) / weights.sum().item())
    assert ((rows * weights).sum() / weights.sum()).item() == pytest.approx(ours, abs=case["tol"])
    if isinstance(loss, CrossEntropy) and y.tolist() == list(range(len(rows))):  # then a row's weight is its class's
        means, _ = Objective(loss, weights)(z.unsqueeze(0), [Target(y.unsqueeze(0))])
        assert means.item() == pytest.approx(ours, abs=case["tol"])
