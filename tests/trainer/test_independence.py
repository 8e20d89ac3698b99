"""What is fitted knows the training rows and no other."""

from typing import Any

import polars as pl
import pytest
import torch

from tests.trainer.test_data import rows, table

SCALERS: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "standard"},
    {"kind": "minmax"},
    {"kind": "robust"},
    {"kind": "maxabs"},
    {"kind": "quantile", "n_quantiles": 10, "output": "normal"},
    {"kind": "power"},
]


def disturbed(frame: pl.DataFrame) -> pl.DataFrame:
    """Every value of every validation and test row is another one; of the classes, those that training knows."""
    held = pl.col("part") != "train"
    return frame.with_columns(
        pl.when(held).then(pl.col("n") * 1e3 + 7).otherwise("n").alias("n"),
        pl.when(held & pl.col("gaps").is_null()).then(-99.0).when(held).then(None).otherwise("gaps").alias("gaps"),
        pl.when(held & pl.col("c").is_null()).then(pl.lit("new")).when(held).then(None).otherwise("c").alias("c"),
        pl.when(held).then(pl.col("z") * -50).otherwise("z").alias("z"),
        pl.when(held).then(pl.lit("no")).otherwise("y").alias("y"),
    )


@pytest.mark.parametrize("scaler", SCALERS, ids=lambda scaler: scaler["kind"])
@pytest.mark.parametrize("encoding", ["onehot", "ordinal", "embedding"])
@pytest.mark.parametrize(
    "missing",
    [
        {"numeric": "mean", "indicator": True},
        {"numeric": "median", "categorical": "most_frequent"},
        {"numeric": "most_frequent"},
        {"numeric": "constant", "numeric_value": -3.0},
    ],
    ids=lambda missing: missing["numeric"],
)
@pytest.mark.parametrize(("task", "target"), [("classification", "y"), ("regression", "z")])
def test_nothing_fitted_depends_on_validation_or_test_rows(
    scaler: dict[str, Any], encoding: str, missing: dict[str, Any], task: str, target: str
) -> None:
    parts: dict[str, Any] = {"split": {"kind": "column", "column": "part"}, "target": target, "task": task}
    parts |= {"scaler": scaler, "categories": {"encoding": encoding}, "missing": missing}
    plain, other = (rows(frame, **parts) for frame in (table(), disturbed(table())))
    assert plain.preprocessing == other.preprocessing
    assert (plain.leaks, plain.notes) == (other.leaks, other.notes)
    assert torch.equal(plain.train.x, other.train.x)
    assert torch.equal(plain.train.y, other.train.y)
    assert plain.validation
    assert other.validation
    assert not torch.equal(plain.validation.x, other.validation.x)
