"""Calibration against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from trainer.account import calibration
from trainer.sources.content import Index


def answers(classes: int, rows: int = 500) -> tuple[Index, calibration.Probabilities]:
    draw = np.random.default_rng(classes)
    p = draw.dirichlet(np.ones(classes), rows)
    return draw.integers(0, classes, rows), p


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_bins_are_those_of_scikit_learn(classes: int) -> None:
    true, p = answers(classes)
    found = [one for one in calibration.bins(true, p) if one[0]]
    right, sure = calibration_curve(p.argmax(1) == true, p.max(1), n_bins=10)
    np.testing.assert_allclose([one[1] for one in found], right)
    np.testing.assert_allclose([one[2] for one in found], sure)
    assert sum(one[0] for one in found) == len(true)


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_are_those_of_scikit_learn(classes: int) -> None:
    true, p = answers(classes)
    found = calibration.scores(true, p)
    one_hot = np.eye(classes)[true]
    half = 0.5 if classes == 2 else 1.0
    assert found["log_loss"] == pytest.approx(sk.log_loss(true, p))
    assert found["brier"] == pytest.approx(half * np.square(p - one_hot).sum(1).mean())


def test_the_expected_error_of_a_known_case() -> None:
    p = np.array([[0.9, 0.1]] * 8 + [[0.35, 0.65]] * 2)  # 0.9 is right for 6 of 8, 0.65 for 1 of 2
    true = np.array([0] * 6 + [1] * 3 + [0])
    found = calibration.scores(true, p)
    assert found["ece"] == pytest.approx(0.8 * 0.15 + 0.2 * 0.15)
    assert found["reliability"] == [
        {"low": 0.6, "high": 0.7, "rows": 2, "confidence": pytest.approx(0.65), "accuracy": 0.5},
        {"low": 0.8, "high": 0.9, "rows": 8, "confidence": pytest.approx(0.9), "accuracy": 0.75},
    ]


def test_a_perfect_model_has_no_error_and_a_class_may_be_missing() -> None:
    found = calibration.scores(np.array([0, 1]), np.eye(3)[:2])
    assert (found["ece"], found["brier"]) == (0.0, 0.0)
    assert found["log_loss"] == pytest.approx(0.0, abs=1e-9)
