"""On columns that nobody would draw by hand, a scaler is scikit-learn's or says why not."""

import contextlib
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler

from jobs.errors import DataInvalid
from jobs.spec.data import Scaler
from jobs.spec.preprocessing import Power
from jobs.spec.profile import MISSING
from tests.trainer.test_preparing import CURVES, SCALERS, features, frame, inputs
from trainer.features import encoding, scalers
from trainer.features.encoding import Matrix

ORDINARY = st.floats(-1e4, 1e4) | st.integers(-3, 3).map(float)
EXTREME = st.sampled_from([0.0, 1e-310, 1e-30, 1.5, 1e30, -1e30, 3.4e38, 1e150, -1e150, 1e300, -1.7e308])
COLUMN = st.lists(ORDINARY | EXTREME | st.none(), min_size=1, max_size=30)
PLAIN = st.lists(ORDINARY | st.none(), min_size=1, max_size=30)


def column(values: list[float | None]) -> Matrix:
    return np.array(values, np.float64)[:, np.newaxis]


def expected(reference: Any, strategy: str, train: Matrix, x: Matrix) -> Matrix:
    """By scikit-learn; it says in warnings that something overflowed."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        imputer = SimpleImputer(strategy=strategy, fill_value=0.0, keep_empty_features=True)
        filled = imputer.fit_transform(train)
        estimator = clone(reference)
        if hasattr(reference, "n_quantiles"):
            estimator.set_params(n_quantiles=min(reference.n_quantiles, len(train)))
        try:
            result: Matrix = estimator.fit(filled).transform(imputer.transform(x))
        except ValueError:  # its power transformer refuses its own overflow
            return np.full_like(x, np.inf)
    return result


@pytest.mark.parametrize(("scaler", "reference"), SCALERS + CURVES)
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@given(train=PLAIN, held=PLAIN)
@settings(max_examples=15, deadline=None)
def test_any_column_is_scaled_as_by_scikit_learn(
    scaler: dict[str, Any], reference: Any, strategy: str, train: list[float | None], held: list[float | None]
) -> None:
    """To the last bits that float64 leaves after the offset is subtracted."""
    fitted = features(frame(column(train)), ["x0"], scaler=scaler, missing={"numeric": strategy})
    for x in (column(train), column(held)):
        theirs = expected(reference, strategy, column(train), x)
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(theirs.astype(np.float32)).all()
        if not is_finite:
            with pytest.raises(DataInvalid, match="too large"):
                inputs(fitted, frame(x))
            continue
        (number,) = fitted.numbers
        lost = 1e-14 * (abs(number.center) + np.nanmax(np.abs(x), initial=0)) / number.scale
        atol = 1e-6 + (0.0 if number.transform else lost)
        np.testing.assert_allclose(inputs(fitted, frame(x)), theirs, rtol=2e-6, atol=atol)


@pytest.mark.parametrize(("scaler", "reference"), SCALERS + CURVES)
@given(train=COLUMN)
@settings(max_examples=40, deadline=None)
def test_no_column_breaks_a_scaler(scaler: dict[str, Any], reference: Any, train: list[float | None]) -> None:
    """It is scaled to finite numbers, or refused in words."""
    with contextlib.suppress(DataInvalid):
        x = inputs(features(frame(column(train)), ["x0"], scaler=scaler), frame(column(train)))
        assert np.isfinite(x).all()


@pytest.mark.parametrize("kind", ["standard", "minmax", "robust", "maxabs", "quantile", "power"])
def test_a_constant_column_stays_finite_and_is_the_same_for_all(kind: str) -> None:
    train = frame(np.full((40, 1), 7.3))
    x = inputs(features(train, ["x0"], scaler={"kind": kind}), train)
    np.testing.assert_allclose(x, 1.0 if kind == "maxabs" else 0.0, atol=1e-14)


def test_a_spread_that_overflows_is_refused_by_name() -> None:
    with pytest.raises(DataInvalid, match="column 'x0' lie too far apart"):
        features(frame(column([1.7e308, -1.7e308] * 5)), ["x0"], scaler={"kind": "robust"})


def test_the_normal_quantile_is_clipped_where_scikit_learn_clips() -> None:
    train = frame(np.arange(100.0)[:, np.newaxis])
    fitted = features(train, ["x0"], scaler={"kind": "quantile", "output": "normal"})
    ends = inputs(fitted, frame(column([-1e9, 0.0, 99.0, 1e9]))).ravel()
    np.testing.assert_allclose(ends, [-5.199337582605575] * 2 + [5.19933758270342] * 2, rtol=1e-7)


def test_where_no_power_can_be_found_the_column_is_standardised() -> None:
    x = column([-1.0, 1e150, 2.0])
    with pytest.raises(ValueError, match="bound"):
        PowerTransformer().fit(x)
    parsed: Scaler = TypeAdapter(Scaler).validate_python({"kind": "power"})
    (fitted,) = scalers.fit(parsed, x)
    assert fitted.transform == Power(exponent=1.0)
    np.testing.assert_allclose(encoding.scaled(x, [fitted]), StandardScaler().fit_transform(x))


def test_ordinal_codes_go_through_the_same_scaler() -> None:
    train = pl.DataFrame({"c": ["a", "b", "b", "c", "c", "c"]})
    x = inputs(features(train, [], ["c"], categories={"encoding": "ordinal"}, scaler={"kind": "power"}), train)
    codes = np.array([0.0, 1, 1, 2, 2, 2])[:, np.newaxis]
    np.testing.assert_allclose(x, PowerTransformer().fit_transform(codes), rtol=1e-5)


WORDS = st.text("abZäñ中 0.-", min_size=1, max_size=3).map(str.strip).filter(lambda word: word not in MISSING)
VALUES = [WORDS, st.integers(-20, 20), st.sampled_from([-1.5, 0.0, 2.0, 1e300]), st.booleans()]


@pytest.mark.parametrize("values", VALUES, ids=["text", "integers", "reals", "booleans"])
@given(draw=st.data())
@settings(max_examples=60, deadline=None)
def test_any_column_is_encoded_as_by_scikit_learn(values: st.SearchStrategy[Any], draw: st.DataObject) -> None:
    """A gap is a category where training has one, as scikit-learn's None is, and unseen where not."""
    kind = type(draw.draw(values))
    train, held = (draw.draw(st.lists(values | st.none(), min_size=1, max_size=12)) for _ in range(2))
    dtype = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}[kind]
    known, new = (pl.DataFrame({"c": pl.Series(part, dtype=dtype)}) for part in (train, held))
    raw, unseen = (np.array([[value] for value in part], object) for part in (train, held))
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(raw)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2).fit(raw)
    gap = {-2.0: float(len(set(train)) - 1)}  # ours: the last number
    numbered = [[gap.get(*row, *row)] for row in ordinal.transform(unseen)]
    assert inputs(features(known, [], ["c"]), new).tolist() == onehot.transform(unseen).tolist()
    assert inputs(features(known, [], ["c"], categories={"encoding": "ordinal"}), new).tolist() == numbered
