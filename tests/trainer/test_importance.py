"""Permutation importance against scikit-learn, and the columns it is about."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.inspection import permutation_importance

from jobs.spec.preprocessing import Category, Number, TableFeatures
from trainer.account import importance
from trainer.data import Examples

WEIGHTS = torch.tensor([[3.0], [0.0], [-1.0]])


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Fixed weights, as scikit-learn sees them."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Regressor":
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (torch.from_numpy(x).float() @ WEIGHTS).squeeze(1).numpy()


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The sign of the same."""

    classes_ = np.array([0, 1])

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Classifier":
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (torch.from_numpy(x).float() @ WEIGHTS).squeeze(1).gt(0).long().numpy()


def number(name: str, indicator: bool = False) -> Number:
    return Number(name=name, fill=0.0, center=0.0, scale=1.0, indicator=indicator)


def plain(*names: str) -> TableFeatures:
    return TableFeatures(numbers=[number(name) for name in names], categories=[], names=[*names])


def noisy() -> torch.Tensor:
    return torch.randn(120, 3, generator=torch.Generator().manual_seed(0))


def by_name(found: importance.Importance) -> dict[str, tuple[float, float]]:
    return {one.column: (one.mean, one.std) for one in found.columns}


def test_regression_equals_scikit_learn() -> None:
    x = noisy()
    y = x @ WEIGHTS + noisy()[:, :1].flip(0)

    def r2(examples: Examples) -> float:
        missed = (examples.x @ WEIGHTS - examples.y).double().square().sum()
        return float(1 - missed / (examples.y - examples.y.mean()).double().square().sum())

    found = importance.measure(plain("a", "b", "c"), Examples(x, y), "r2", r2, seed=7)
    expected = permutation_importance(Regressor(), x.numpy(), y[:, 0].numpy(), n_repeats=5, random_state=7)
    for place, name in enumerate("abc"):
        assert by_name(found)[name] == pytest.approx(
            (expected.importances_mean[place], expected.importances_std[place]), rel=1e-4, abs=1e-6
        )
    assert [one.column for one in found.columns] == ["a", "c", "b"]


def test_classification_equals_scikit_learn() -> None:
    x = noisy()
    y = ((x @ WEIGHTS).squeeze(1) > 0.5).long()

    def accuracy(examples: Examples) -> float:
        return float(((examples.x @ WEIGHTS).squeeze(1).gt(0) == examples.y).double().mean())

    found = importance.measure(plain("a", "b", "c"), Examples(x, y), "accuracy", accuracy, seed=3)
    expected = permutation_importance(Classifier(), x.numpy(), y.numpy(), n_repeats=5, random_state=3)
    means = [by_name(found)[name][0] for name in "abc"]
    np.testing.assert_allclose(means, expected.importances_mean, atol=1e-12)
    assert by_name(found)["b"] == (0.0, 0.0)


def test_all_inputs_of_a_column_are_found() -> None:
    colour = Category(name="colour", categories=["red", "blue", ""], encoding="onehot")
    size = Category(name="size", categories=["s", "m"], encoding="ordinal")
    names = ["age", "pay", "age is missing", "colour=red", "colour=blue", "colour is missing", "size"]
    features = TableFeatures(numbers=[number("age", True), number("pay")], categories=[size, colour], names=names)
    assert importance.columns_of(features) == {"age": [0, 2], "pay": [1], "colour": [3, 4, 5], "size": [6]}


def test_inputs_of_one_column_are_shuffled_together() -> None:
    seen: list[torch.Tensor] = []

    def score(examples: Examples) -> float:
        seen.append(examples.x)
        return 0.0

    x = torch.arange(20.0).unsqueeze(1) * torch.tensor([[1.0, 10.0]])
    features = TableFeatures(numbers=[number("a", True)], categories=[], names=["a", "a is missing"])
    importance.measure(features, Examples(x, torch.zeros(20, 1)), "r2", score, seed=0)
    assert len(seen) == 1 + importance.REPEATS
    for shuffled in seen[1:]:
        torch.testing.assert_close(shuffled[:, 1], 10 * shuffled[:, 0])
        assert not torch.equal(shuffled, x)
        assert torch.equal(shuffled[:, 0].sort().values, x[:, 0])


def test_cost_is_bounded() -> None:
    many = Examples(torch.zeros(5_000, 1), torch.zeros(5_000, 1))
    few = Examples(torch.zeros(20, 1), torch.zeros(20, 1))
    assert importance.sampled(few, 4, 1_000, 0) is few
    taken = importance.sampled(many, 4, 1_000, 0)
    assert taken is not None
    assert len(taken) == 1_000
    taken = importance.sampled(many, 4, 1_000_000, 0)
    assert taken is not None
    assert len(taken) * 4 * importance.REPEATS * 1_000_000 <= importance.WORK
    assert importance.sampled(many, 401, 10, 0) is None
    assert importance.sampled(many, 100, 10_000_000, 0) is None
