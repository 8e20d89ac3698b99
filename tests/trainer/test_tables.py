"""Whole runs on tables: several targets, embedded categories, augmented rows."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from jobs import profiles, rules
from jobs.spec.job import JobSpec
from trainer import data, fit
from trainer.data import Data
from trainer.reports import Finished

ROWS = 400


def rows() -> list[dict[str, Any]]:
    """Three noisy targets of a straight line and of a colour; a time, and groups of ten rows."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(ROWS, 2)), random.normal(size=(ROWS, 3))
    colour = random.integers(0, 5, ROWS)
    table = []
    for i in range(ROWS):
        targets = {"y1": 3 * x[i, 0] + noise[i, 0], "y2": 50 - 9 * x[i, 1], "y3": x[i].sum() + colour[i] + noise[i, 2]}
        named = {"t": float((i * 7) % ROWS), "g": f"g{i // 10}", "colour": "rgbcm"[colour[i]]}
        table.append({"x1": x[i, 0], "x2": x[i, 1], **named, **targets})
    return table


def trained(**changes: Any) -> tuple[Data, Finished]:
    asked = {
        "dataset": {"source": "rows", "rows": rows()},
        "target": ["y1", "y2", "y3"],
        "features": {"exclude": ["t", "g"]},
        "model": {"kind": "mlp", "hidden": []},
        "optimizer": {"kind": "adam", "lr": 0.03},
        "batch_size": 64,
        "epochs": 60,
    }
    spec = rules.resolve(JobSpec.model_validate(asked | changes), profiles.of_rows(rows()), None).spec
    loaded = data.load(spec, {})
    *_, last = fit.fit(spec, loaded)
    assert isinstance(last.report, Finished)
    return loaded, last.report


SPLITS = [{"kind": "random"}, {"kind": "ordered", "column": "t"}, {"kind": "group", "column": "g"}]


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split["kind"])
def test_each_target_is_told_as_well_as_by_scikit_learns_regression(split: dict[str, Any]) -> None:
    loaded, finished = trained(split=split)
    assert loaded.test
    assert finished.test
    reference = LinearRegression().fit(loaded.train.x, loaded.train.y)
    expected = r2_score(loaded.test.y, reference.predict(loaded.test.x), multioutput="raw_values")
    scores: Any = finished.test["per_target"]
    assert [score["target"] for score in scores] == ["y1", "y2", "y3"]
    np.testing.assert_allclose([score["r2"] for score in scores], expected, atol=0.03)


def test_embedded_categories_are_learnt() -> None:
    """The colour moves y3 by 0 to 4, which no run without it can tell."""
    with_colour = _r2(trained(categories={"encoding": "embedding"}), "y3")
    assert with_colour > 0.7 > _r2(trained(features={"exclude": ["t", "g", "colour"]}), "y3") + 0.1


def _r2(run: tuple[Data, Finished], target: str) -> float:
    assert run[1].test
    scores: Any = run[1].test["per_target"]
    return next(float(score["r2"]) for score in scores if score["target"] == target)


def test_augmented_runs_repeat_and_leave_the_data_alone() -> None:
    noisy = [{"kind": "noise"}, {"kind": "mixup"}]
    plain, augmented = trained(epochs=3), [trained(epochs=3, augment=noisy) for _ in range(2)]
    assert augmented[0][1].test == augmented[1][1].test != plain[1].test
    assert torch.equal(augmented[0][0].train.x, plain[0].train.x)
