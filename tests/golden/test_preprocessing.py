"""Scaling, encoding and filling that scikit-learn expects, through the functions that prepare training rows."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from jobs import rules
from jobs.spec.job import JobSpec
from jobs.spec.preprocessing import TableFeatures
from tests.golden.cases import Case, each
from tests.trainer.samples import laid_down
from trainer.features import preparing, preprocessing
from trainer.features.preparing import Chosen
from trainer.sources.content import Table

Rows = list[list[Any]]


def frame(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=[f"c{column}" for column in range(len(rows[0]))], orient="row", strict=False)


def fitted(spec: JobSpec, rows: Rows, *, categorical: bool = False) -> TableFeatures:
    table = frame(rows)
    return preparing.table(spec, table, Chosen([], table.columns, []) if categorical else Chosen(table.columns, [], []))


def through(features: TableFeatures, rows: Rows) -> Any:
    return preprocessing.inputs(features, Table(frame(rows))).tolist()


def close(expected: Rows, tol: float) -> Any:
    return [pytest.approx(row, abs=tol) for row in expected]


def min_max(case: Case) -> None:
    spec = laid_down(scaler={"kind": "minmax"})
    features = fitted(spec, case["fit"])
    assert through(features, case["fit"]) == close(case["expected_fit"], case["tol"])
    assert through(features, case["transform"]) == close(case["expected_transform"], case["tol"])
    shifted = fitted(laid_down(scaler={"kind": "minmax", "low": 1.0, "high": 2.0}), case["fit"])
    assert through(shifted, case["fit"]) == close(case["range_1_2_expected"], case["tol"])


def zero_scale(case: Case) -> None:
    """A column's largest value is its scale, if it is not 0."""
    features = fitted(laid_down(scaler={"kind": "maxabs"}), [case["input"]])
    assert [number.scale for number in features.numbers] == case["expected"]


def invalid_range(case: Case) -> None:
    low, high = map(float, case["config"]["feature_range"])
    found = rules.faults(laid_down(scaler={"kind": "minmax", "low": low, "high": high}))
    assert [fault.code for fault in found] == ["empty_range"]


def one_hot(case: Case) -> None:
    """A value that training did not have sets no column; there is no mode that refuses it."""
    spec = laid_down(categories={"encoding": "onehot"}, scaler={"kind": "none"})
    expected = case["expected" if "expected" in case else "expected_ignore"]
    assert (
        through(fitted(spec, case["fit"], categorical=True), case["transform" if "transform" in case else "fit"])
        == expected
    )


def filled(case: Case) -> None:
    """Each list of `columns` is a column; `rows` are filled by a constant."""
    if "columns" in case:
        spec = laid_down(missing={"numeric": "median"}, scaler={"kind": "none"})
        features = fitted(spec, [list(row) for row in zip(*case["columns"], strict=True)])
        assert [number.fill for number in features.numbers] == case["expected_fill"]
        return
    missing = {"numeric": "constant", "numeric_value": float(case["fill"])}
    features = fitted(laid_down(missing=missing, scaler={"kind": "none"}), case["rows"])
    assert through(features, case["rows"]) == close(case["expected"], 1e-6)


TRANSLATIONS: dict[str, Callable[[Case], None]] = {
    "min-max,": min_max,
    "zero": zero_scale,
    "invalid": invalid_range,
    "one-hot": one_hot,
    "median": filled,
    "constant": filled,
}


@each("preprocessing")
def test_preprocessing(case: Case) -> None:
    TRANSLATIONS[case["id"].split()[0]](case)
