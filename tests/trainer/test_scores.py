"""Scores against scikit-learn, also where outputs or targets are extreme."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from jobs.spec.loss import Bce, CrossEntropy, Loss, Mse
from tests.trainer.samples import as_given, laid_down
from trainer import losses, scores
from trainer.data import Data

ROWS = 200


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(z: torch.Tensor, y: torch.Tensor, loss: Loss, classes: int = 0) -> list[dict[str, float]]:
    """After an epoch, of lanes z [K, N, outputs]."""
    spec, data = laid_down(task="classification" if classes else "regression"), given(y, classes)
    return scores.validation(spec, data, losses.build(loss), z, data.train)


def final(z: torch.Tensor, y: torch.Tensor, loss: Loss, classes: int = 0) -> dict[str, Any]:
    """At the end, of one lane z [N, outputs]."""
    spec, data = laid_down(task="classification" if classes else "regression"), given(y, classes)
    return scores.held_out(spec, data, losses.build(loss), z.unsqueeze(0), data.train)


def given(y: torch.Tensor, classes: int) -> Data:
    return as_given(torch.zeros(len(y), 1), y, classes)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e6])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("targets", [1, 3])
def test_regression_scores_of_an_epoch_equal_scikit_learn(targets: int, offset: float, scale: float) -> None:
    y, z = scale * (offset + randn(ROWS, targets)), scale * (offset + randn(2, ROWS, targets, seed=1))
    for lane, found in zip(z, measured(z, y, Mse()), strict=True):
        true, predicted = y.double().numpy(), lane.double().numpy()
        assert found["rmse"] == pytest.approx(math.sqrt(sk.mean_squared_error(true, predicted)), rel=1e-9)
        assert found["mae"] == pytest.approx(sk.mean_absolute_error(true, predicted), rel=1e-9)
        assert found["r2"] == pytest.approx(sk.r2_score(true, predicted), rel=1e-9)


@pytest.mark.parametrize("missed", [0.0, 0.5])
def test_r2_of_a_constant_target_is_that_of_scikit_learn(missed: float) -> None:
    y = torch.tensor([[3.0, 1.0], [3.0, 2.0], [3.0, 4.0]])
    z = y + torch.tensor([missed, 0.25])
    expected = sk.r2_score(y.numpy(), z.numpy())
    assert measured(z.unsqueeze(0), y, Mse())[0]["r2"] == pytest.approx(expected)
    assert final(z, y, Mse())["r2"] == pytest.approx(expected)


def test_an_error_that_overflows_32_bits_when_squared_is_still_measured() -> None:
    z = torch.tensor([[[1e25], [-1e25]]])
    found = measured(z, torch.tensor([[0.0], [1.0]]), Mse())[0]
    assert found == {
        "loss": math.inf,
        "rmse": pytest.approx(1e25),
        "mae": pytest.approx(1e25),
        "r2": pytest.approx(-4e50),
    }


def test_outputs_that_are_no_numbers_give_scores_that_are_none() -> None:
    found = measured(torch.full((1, 3, 1), math.nan), torch.tensor([[0.0], [1.0], [2.0]]), Mse())[0]
    assert all(math.isnan(value) for value in found.values())
    assert set(found) == {"loss", "rmse", "mae", "r2"}


@pytest.mark.parametrize(("classes", "outputs"), [(2, 2), (2, 1), (5, 5)])
def test_classification_scores_equal_scikit_learn(classes: int, outputs: int) -> None:
    y = torch.randint(classes, (ROWS,), generator=torch.Generator().manual_seed(2))
    z = randn(ROWS, outputs)
    loss = CrossEntropy() if outputs > 1 else Bce()
    p = scores.probabilities(z.double()).numpy()
    predicted, true = p.argmax(1), y.numpy()
    found = final(z, y, loss, classes)
    assert found["accuracy"] == sk.accuracy_score(true, predicted)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(true, predicted))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(true, predicted, average="macro"))
    assert found["loss"] == pytest.approx(sk.log_loss(true, p), rel=1e-5)
    area = sk.roc_auc_score(true, p[:, 1] if classes == 2 else p, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(area, rel=1e-6)
    assert found["confusion"]["matrix"] == sk.confusion_matrix(true, predicted).tolist()
    assert sum(one["rows"] for one in found["mistakes"]) <= (predicted != true).sum()
    assert measured(z.unsqueeze(0), y, loss, classes)[0]["accuracy"] == pytest.approx(found["accuracy"])


def test_of_many_classes_only_the_most_frequent_mistakes_are_told() -> None:
    y = torch.tensor([2, 2, 2, 2, 1, 1, 0, *range(3, scores.MOST_CONFUSED)])
    taken = torch.tensor([0, 0, 0, 2, 3, 3, 1, *range(3, scores.MOST_CONFUSED)])
    told = [final(torch.eye(n)[taken], y, CrossEntropy(), n) for n in (scores.MOST_CONFUSED, scores.MOST_CONFUSED + 1)]
    assert ["confusion" in found for found in told] == [True, False]
    mistakes = [("2", "0", 3), ("1", "3", 2), ("0", "1", 1)]
    expected = [{"true": true, "predicted": guess, "rows": rows} for true, guess, rows in mistakes]
    assert [found["mistakes"] for found in told] == [expected] * 2


def test_a_test_set_of_one_class_has_no_roc_curve_and_counts_only_that_class() -> None:
    z = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 1.0]])
    found = final(z, torch.tensor([0, 0, 0]), CrossEntropy(), 3)
    assert (found["accuracy"], found["balanced_accuracy"], found["roc_auc"]) == (
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
        None,
    )
    assert found["f1_macro"] == pytest.approx(0.8)
    assert [one["rows"] for one in found["per_class"]] == [3, 0, 0]


def test_a_lane_whose_outputs_are_no_numbers_has_no_final_score() -> None:
    z = torch.tensor([[math.nan, 0.0], [0.0, 1.0]])
    assert final(z, torch.tensor([0, 1]), CrossEntropy(), 2) == {"rows": 2, "loss": None, "non_finite_rows": 1}


def test_ties_go_to_the_first_class_as_in_numpy() -> None:
    z = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    assert scores.labels(z).tolist() == np.argmax(z.numpy(), 1).tolist()
    assert scores.labels(torch.tensor([[0.0], [1e-9]])).tolist() == [0, 1]


def test_probabilities_of_extreme_logits_are_probabilities() -> None:
    p = scores.probabilities(torch.tensor([[1e30, 0.0, -1e30], [500.0, 499.0, 0.0]]))
    assert p.isfinite().all()
    torch.testing.assert_close(p.sum(1), torch.ones(2))
    assert scores.probabilities(torch.tensor([[1e30], [-1e30]])).tolist() == [[0, 1], [1, 0]]
