"""Columns that give the target away are found, and honest ones are not."""

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score
from sklearn.tree import DecisionTreeClassifier

from jobs.spec.job import JobSpec
from trainer import data
from trainer.features import leaks
from trainer.features.leaks import Leak


def found(frame: pl.DataFrame, task: str = "classification", target: str = "y") -> list[Leak]:
    spec = {
        "dataset": {"source": "rows", "rows": frame.to_dicts()},
        "target": target,
        "task": task,
        "split": {"kind": "random", "validation": 0.1, "test": 0.1},
        "scaler": {"kind": "standard"},
    }
    return data.load(JobSpec.model_validate(spec), {}).leaks


def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_a_column_that_separates_the_classes_is_a_leak(classes: int) -> None:
    y = random().integers(0, classes, 400)
    order = random().permutation(classes)
    frame = pl.DataFrame({"copy": order[y] + random().uniform(0, 0.9, 400), "n": random().normal(size=400), "y": y})
    assert found(frame) == [Leak("copy", 1.0)]


def test_a_category_per_class_or_a_gap_per_class_is_a_leak() -> None:
    y = random().integers(0, 2, 300)
    code = [f"{'yes' if one else 'no'}{i % 3}" for i, one in enumerate(y)]
    gap = [None if one else float(i) for i, one in enumerate(y)]
    frame = pl.DataFrame({"code": code, "gap": gap, "c": list("abc") * 100, "y": y})
    assert [leak.column for leak in found(frame)] == ["gap", "code"]


def test_an_identifier_and_a_rare_class_are_no_leaks() -> None:
    y = [1] * 3 + [0] * 297
    names = [f"row {i % 150}" for i in range(300)]
    assert found(pl.DataFrame({"id": names, "n": range(300), "y": y})) == []


def test_too_few_rows_tell_nothing() -> None:
    assert found(pl.DataFrame({"n": range(40), "y": [0] * 20 + [1] * 20})) == []


def test_a_copy_in_another_unit_or_order_is_a_leak_of_a_regression() -> None:
    y = random().normal(size=500)
    leaking = {"same": y, "unit": 32 - 1.8 * y, "rank": np.exp(5 * y)}
    frame = pl.DataFrame({**leaking, "near": y + np.sin(99 * y) / 9, "y": y})
    assert {leak.column for leak in found(frame, "regression")} == {*leaking}


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_no_builtin_set_has_a_leak(name: str) -> None:
    spec = {"dataset": {"source": "builtin", "name": name}, "split": {"kind": "random"}, "scaler": {"kind": "none"}}
    task = "regression" if name == "diabetes" else "classification"
    assert data.load(JobSpec.model_validate(spec | {"task": task}), {}).leaks == []


def test_one_cut_is_that_of_a_decision_stump() -> None:
    y = random().integers(0, 2, 3_000)
    x = (y + random().normal(0, 0.4, 3_000)).round(2)
    stump = DecisionTreeClassifier(max_depth=1).fit(x[:, None], y)
    assert leaks.by_order(x, y, 0.5) >= accuracy_score(y, stump.predict(x[:, None]))
    assert leaks.by_order(x, y, 0.5) == pytest.approx(accuracy_score(y, stump.predict(x[:, None])), abs=0.005)


def test_the_correlation_is_scipys() -> None:
    x = random().normal(size=900)
    y = np.stack([random().normal(size=900), x + random().normal(size=900)], axis=1)
    pairs = [abs(measure(x, one).statistic) for measure in (stats.pearsonr, stats.spearmanr) for one in y.T]
    assert leaks.correlation(x, y) == pytest.approx(max(pairs))
