"""The fitted preprocessing is scikit-learn's, and what is saved is what was used."""

import json
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter
from sklearn import preprocessing as scalers
from sklearn.impute import SimpleImputer

from jobs.errors import DataInvalid
from jobs.spec.data import Features, Scaler
from jobs.spec.job import JobSpec
from jobs.spec.preprocessing import ImageFeatures, Preprocessing, TableFeatures
from trainer.features import preparing, preprocessing
from trainer.features.encoding import Matrix
from trainer.features.preparing import Chosen
from trainer.sources.content import Images, Table

SCALERS: list[tuple[dict[str, Any], Any]] = [
    ({"kind": "none"}, scalers.FunctionTransformer()),
    ({"kind": "standard"}, scalers.StandardScaler()),
    ({"kind": "minmax"}, scalers.MinMaxScaler()),
    ({"kind": "minmax", "low": -1.0, "high": 2.0}, scalers.MinMaxScaler(feature_range=(-1, 2))),
    ({"kind": "robust"}, scalers.RobustScaler()),
    ({"kind": "robust", "q_low": 10.0, "q_high": 80.0}, scalers.RobustScaler(quantile_range=(10, 80))),
    ({"kind": "maxabs"}, scalers.MaxAbsScaler()),
]
CURVES: list[tuple[dict[str, Any], Any]] = [
    ({"kind": "quantile", "n_quantiles": 20}, scalers.QuantileTransformer(n_quantiles=20, subsample=None)),
    (
        {"kind": "quantile", "n_quantiles": 5, "output": "normal"},
        scalers.QuantileTransformer(n_quantiles=5, output_distribution="normal", subsample=None),
    ),
    ({"kind": "power"}, scalers.PowerTransformer()),
]


def features(
    train: pl.DataFrame, numeric: list[str] | None = None, categorical: list[str] | None = None, **spec: Any
) -> TableFeatures:
    rows = {"source": "rows", "rows": [{"x": 1}]}
    job = JobSpec.model_validate({"dataset": rows, "scaler": {"kind": "none"}, **spec})
    return preparing.table(job, train, Chosen(numeric or [], categorical or [], []))


def inputs(fitted: TableFeatures | ImageFeatures, frame: pl.DataFrame) -> Any:
    return preprocessing.inputs(fitted, Table(frame))


def frame(x: Matrix) -> pl.DataFrame:
    return pl.from_numpy(x, schema=[f"x{i}" for i in range(x.shape[1])]).fill_nan(None)


@pytest.fixture(scope="module")
def numbers() -> Matrix:
    """Different scales, gaps, a constant column, and one without any value."""
    x = np.random.default_rng(0).normal([1, -50, 1e6, 0], [1, 20, 1e5, 1e-4], (200, 4))
    x[::7, 0] = x[3::11, 2] = np.nan
    return np.column_stack([x, np.full(200, 5.0), np.full(200, np.nan)])


@pytest.mark.parametrize(("scaler", "reference"), SCALERS + CURVES)
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_numbers_are_filled_and_scaled_as_by_scikit_learn(
    numbers: Matrix, scaler: dict[str, Any], reference: Any, strategy: str
) -> None:
    train, held = numbers[:150], numbers[150:]
    missing = {"numeric": strategy, "numeric_value": 3.0}
    fitted = features(frame(train), list(frame(train).columns), scaler=scaler, missing=missing)
    imputer = SimpleImputer(strategy=strategy, fill_value=3.0, keep_empty_features=True)
    reference.fit(imputer.fit_transform(train))
    for x in (train, held):
        expected = reference.transform(imputer.transform(x)).astype(np.float32)
        np.testing.assert_allclose(inputs(fitted, frame(x)), expected, rtol=1e-6, atol=1e-6)


def test_an_indicator_marks_the_gaps_of_columns_that_had_some_in_training() -> None:
    train = frame(np.array([[1.0, np.nan], [3, 4]]))
    fitted = features(train, ["x0", "x1"], missing={"indicator": True})
    assert fitted.names == ["x0", "x1", "x1 is missing"]
    assert inputs(fitted, frame(np.array([[np.nan, np.nan]]))).tolist() == [[2, 4, 1]]


def test_booleans_are_0_and_1_and_dates_are_days() -> None:
    train = pl.DataFrame({"b": [True, False], "d": [datetime(1970, 1, 2, 12), datetime(2000, 1, 1)]})
    assert inputs(features(train, ["b", "d"]), train).tolist() == [[1, 1.5], [0, 10957]]


def test_one_hot_is_scikit_learns_with_unseen_ignored() -> None:
    train = pl.DataFrame({"a": ["b", None, "a", "b"], "n": [10, 9, 9, 10]})
    held = pl.DataFrame({"a": ["a", "new", None], "n": [9.0, 10.0, None]})
    fitted = features(train, [], ["a", "n"], categories={"encoding": "onehot"})
    reference = scalers.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    reference.fit(np.array(train.rows(), object))
    assert fitted.names == ["a=a", "a=b", "a is missing", "n=9", "n=10"]
    assert inputs(fitted, held).tolist() == reference.transform(np.array(held.rows(), object)).tolist()


def test_ordinal_is_scikit_learns_with_unseen_minus_one_then_scaled() -> None:
    train, held = pl.DataFrame({"a": ["c", "a", "b", "c"]}), pl.DataFrame({"a": ["b", "new", None]})
    fitted = features(train, [], ["a"], categories={"encoding": "ordinal"}, scaler={"kind": "standard"})
    reference = scalers.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    standard = scalers.StandardScaler().fit(reference.fit_transform(train.to_numpy()))
    expected = standard.transform(reference.transform(np.array([["b"], ["new"], ["other"]])))
    np.testing.assert_allclose(inputs(fitted, held), expected, rtol=1e-6)


def test_a_gap_may_be_the_most_frequent_category() -> None:
    train = pl.DataFrame({"a": ["b", None, "a", "b", "a", None, None]})
    fitted = features(train, [], ["a"], missing={"categorical": "most_frequent"})
    assert (fitted.categories[0].fill, fitted.categories[0].categories) == ("a", ["a", "b"])


def test_auto_takes_ordinal_numbers_above_the_limit() -> None:
    train = pl.DataFrame({"few": ["a", "b", "a"], "many": ["a", "b", "c"], "n": [1, 2, 3]})
    fitted = features(train, ["n"], ["few", "many"], categories={"max_onehot": 2})
    assert fitted.names == ["n", "few=a", "few=b", "many"]
    assert inputs(fitted, train).tolist() == [[1, 1, 0, 0], [2, 0, 1, 1], [3, 1, 0, 2]]


@pytest.mark.parametrize(("scaler", "reference"), SCALERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_scaled_per_channel(scaler: dict[str, Any], reference: Any, dtype: Any) -> None:
    pixels = np.random.default_rng(0).integers(3, [40, 90, 250], (1_500, 4, 3, 3)).astype(dtype)
    parsed: Scaler = TypeAdapter(Scaler).validate_python(scaler)
    x = preprocessing.inputs(preparing.images(parsed, pixels), Images(pixels, pl.Series("label", [0] * 1_500)))
    expected = reference.fit_transform(pixels.reshape(-1, 3).astype(np.float64)).reshape(pixels.shape)
    assert x.shape == (1_500, 3, 4, 3)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, np.moveaxis(expected, 3, 1), rtol=1e-5, atol=1e-6)


def test_classes_are_in_the_order_of_their_values() -> None:
    labels = pl.DataFrame({"n": [10.0, 9.0, 9.0], "t": ["b", "B", "a"], "b": [True, False, True]})
    known = {name: preparing.target("classification", labels, [name]) for name in labels.columns}
    assert {name: target.model_dump()["classes"] for name, target in known.items()} == {
        "n": ["9", "10"],
        "t": ["B", "a", "b"],
        "b": ["false", "true"],
    }
    assert preprocessing.targets(known["n"], labels).tolist() == [1, 0, 0]


def test_a_class_has_a_name_of_a_line_or_two() -> None:
    for length, taken in ((200, True), (201, False)):
        with nullcontext() if taken else pytest.raises(DataInvalid, match="class of 201 characters"):
            preparing.target("classification", pl.DataFrame({"y": ["a", "b" * length]}), ["y"])


def test_targets_are_standardised_and_a_constant_is_divided_by_one() -> None:
    y = pl.DataFrame({"a": [1, 2, 6], "b": [5.0, 5.0, 5.0]})
    target = preparing.target("regression", y, ["a", "b"])
    assert target.model_dump() == {
        "task": "regression",
        "columns": ["a", "b"],
        "mean": [3.0, 5.0],
        "scale": [pytest.approx(np.std([1, 2, 6])), 1.0],
    }
    np.testing.assert_allclose(preprocessing.targets(target, y)[:, 0].std(), 1, rtol=1e-6)


def test_saved_and_read_again_it_computes_the_same(numbers: Matrix) -> None:
    train = frame(numbers).with_columns(pl.Series("c", ["u", "v", None, "w"] * 50), pl.Series("y", [0, 1] * 100))
    fitted = Preprocessing(
        features=features(train, [f"x{i}" for i in range(6)], ["c"], scaler={"kind": "standard"}),
        target=preparing.target("classification", train, ["y"]),
    )
    again = Preprocessing.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    assert (inputs(again.features, train) == inputs(fitted.features, train)).all()


def test_columns_are_chosen_by_name_and_kind() -> None:
    data = pl.DataFrame({"n": [1, 2], "c": ["a", "b"], "code": [1, 2], "y": [0, 1]})
    chosen = preparing.choose(Features(kinds={"code": "categorical"}), data, {"y"})
    assert chosen == Chosen(["n"], ["c", "code"], [])
    assert preparing.choose(Features(exclude=["c"]), data, {"y"}) == Chosen(["n", "code"], [], [])
    assert preparing.choose(Features(include=["c", "y"]), data, {"y"}) == Chosen([], ["c"], [])


def test_text_is_left_out_unless_it_is_asked_for() -> None:
    data = pl.DataFrame({"n": range(200), "t": [f"{i}x" for i in range(200)]})
    assert preparing.choose(Features(), data, set()).notes == [
        "Column 't' was left out: it is free text or an identifier."
    ]
    assert preparing.choose(Features(kinds={"t": "categorical"}), data, set()).categorical == ["t"]
    with pytest.raises(DataInvalid, match="Column 't' is free text"):
        preparing.choose(Features(include=["t"]), data, set())


@pytest.mark.parametrize("features", [{"include": ["nope"]}, {"exclude": ["nope"]}, {"kinds": {"nope": "numeric"}}])
def test_an_unknown_column_is_refused(features: dict[str, Any]) -> None:
    with pytest.raises(DataInvalid, match="column 'nope'"):
        preparing.choose(Features.model_validate(features), pl.DataFrame({"n": [1]}), set())


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"n": [1.0]}, "no column 'd'"),
        ({"n": ["x"], "d": [datetime(2020, 1, 1)]}, "'n' must hold numbers, and 'x' is none"),
        ({"n": [1.0], "d": [1.0]}, "'d' holds numbers, and held dates"),
        ({"n": [datetime(2020, 1, 1)], "d": [None]}, "'n' holds dates, and held numbers"),
        ({"n": [1e300], "d": [None]}, "too large"),
    ],
)
def test_data_unlike_the_training_rows_is_refused(held: dict[str, Any], words: str) -> None:
    fitted = features(pl.DataFrame({"n": [1.0, 2.0], "d": [datetime(2020, 1, 1), datetime(2020, 1, 2)]}), ["n", "d"])
    with pytest.raises(DataInvalid, match=words):
        inputs(fitted, pl.DataFrame(held))


def test_golden_cases_of_scikit_learn_hold(shared: Path) -> None:
    cases = {case["id"]: case for case in json.loads((shared / "golden/dev_preprocessing.json").read_text())["cases"]}
    constant = cases["min-max, constant columns"]
    train, held = (frame(np.array(constant[key])) for key in ("fit", "transform"))
    fitted = features(train, train.columns, scaler={"kind": "minmax"})
    np.testing.assert_allclose(inputs(fitted, train), constant["expected_fit"], atol=constant["tol"])
    np.testing.assert_allclose(inputs(fitted, held), constant["expected_transform"], atol=constant["tol"])
    median = cases["median imputation"]
    rows = frame(np.array(median["columns"], float).T)
    assert [number.fill for number in features(rows, rows.columns).numbers] == median["expected_fill"]
    unknown = cases["one-hot unknown ignored"]
    train, held = (frame(np.array(unknown[key], float)) for key in ("fit", "transform"))
    encoded = inputs(features(train, [], train.columns, categories={"encoding": "onehot"}), held)
    assert encoded.tolist() == unknown["expected_ignore"]
