"""From a spec and its files to tensors."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from jobs.errors import DataInvalid
from jobs.spec.job import JobSpec
from jobs.spec.preprocessing import Embedding
from trainer import data
from trainer.data import Data

TRAIN, TEST = f"ds_{'a' * 26}", f"ds_{'b' * 26}"


def spec(**parts: Any) -> JobSpec:
    resolved = {
        "dataset": {"source": "upload", "id": TRAIN},
        "target": "y",
        "task": "classification",
        "split": {"kind": "random"},
        "scaler": {"kind": "standard"},
        "categories": {"encoding": "onehot"},
    }
    return JobSpec.model_validate(resolved | parts)


def rows(frame: pl.DataFrame, **parts: Any) -> Data:
    return data.load(spec(dataset={"source": "rows", "rows": frame.to_dicts()}, **parts), {})


def given(train: pl.DataFrame, test: pl.DataFrame, **parts: Any) -> Data:
    return rows(train, split={"kind": "given", "test": {"source": "rows", "rows": test.to_dicts()}}, **parts)


def told(*parts: str, **columns: list[Any]) -> Data:
    return rows(pl.DataFrame({"part": parts, **columns}), split={"kind": "column", "column": "part"})


def real(shared: Path, tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}.csv"
    path.write_bytes(gzip.decompress((shared / f"data/tabular/{name}.csv.gz").read_bytes()))
    return path


def lengths(loaded: Data) -> tuple[int, int, int]:
    return len(loaded.train), len(loaded.validation or ()), len(loaded.test or ())


def table(count: int = 60) -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "n": random.normal(size=count),
            "gaps": [None if i % 5 == 0 else float(i) for i in range(count)],
            "c": [None if i % 7 == 0 else "uvw"[i % 3] for i in range(count)],
            "part": ["train"] * (count - 20) + ["val"] * 10 + ["test"] * 10,
            "y": ["no", "yes"] * (count // 2),
            "z": random.normal(5, 2, count),
        }
    )


def test_classification_has_class_numbers() -> None:
    loaded = data.load(
        spec(dataset={"source": "builtin", "name": "iris"}, target=None, split={"kind": "stratified"}), {}
    )
    assert (loaded.input_shape, loaded.outputs, loaded.targets) == ((4,), 3, ["target"])
    assert loaded.classes == ["setosa", "versicolor", "virginica"]
    assert (loaded.train.x.dtype, loaded.train.y.dtype) == (torch.float32, torch.int64)
    assert sorted(loaded.train.y.bincount().tolist()) == [35, 35, 36]
    assert loaded.notes == []


def test_regression_has_scaled_targets_and_the_way_back() -> None:
    loaded = rows(table(), target=["z", "n"], task="regression", features={"include": ["gaps"]})
    assert (loaded.outputs, loaded.classes, loaded.targets) == (2, None, ["z", "n"])
    assert loaded.train.y.dtype == torch.float32
    torch.testing.assert_close(loaded.train.y.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert loaded.target_scale.tolist() == loaded.preprocessing.model_dump()["target"]["scale"]


def test_images_are_channels_first() -> None:
    digits = {"source": "builtin", "name": "digits"}
    loaded = data.load(spec(dataset=digits, target=None, scaler={"kind": "minmax"}), {})
    assert (loaded.input_shape, loaded.outputs, lengths(loaded)) == ((1, 8, 8), 10, (1257, 270, 270))
    assert loaded.train.x.unique().tolist() == [level / 16 for level in range(17)]


def test_columns_that_split_or_are_predicted_are_no_features() -> None:
    loaded = rows(table(), split={"kind": "column", "column": "part"}, features={"exclude": ["c", "z"]})
    assert loaded.preprocessing.model_dump()["features"]["names"] == ["n", "gaps"]
    assert lengths(loaded) == (40, 10, 10)


def test_the_same_spec_gives_the_same_tensors() -> None:
    first, again = rows(table(), seed=5), rows(table(), seed=5)
    assert torch.equal(first.train.x, again.train.x)
    assert first.preprocessing == again.preprocessing


def test_rows_without_a_target_are_left_out_and_counted() -> None:
    frame = table().with_columns(pl.when(pl.int_range(60) < 12).then(None).otherwise("y").alias("y"))
    loaded = rows(frame)
    assert sum(lengths(loaded)) == 48
    assert loaded.notes == ["12 rows without a target were left out."]


@pytest.mark.parametrize(
    ("values", "classes"),
    [([True, False], ["false", "true"]), ([10.0, 9.0], ["9", "10"]), (["2020-01-01", "a"], ["2020-01-01", "a"])],
)
def test_any_kind_of_value_may_be_a_class(values: list[Any], classes: list[str]) -> None:
    frame = table().with_columns(pl.Series("y", values * 30))
    assert rows(frame, split={"kind": "stratified"}).classes == classes


def test_parts_that_hold_nothing_are_none() -> None:
    loaded = rows(table(), split={"kind": "random", "validation": 0.0, "test": 0.0})
    assert (loaded.validation, loaded.test, len(loaded.train)) == (None, None, 60)


def test_given_test_labels_may_end_in_a_dot() -> None:
    loaded = given(table(), table().with_columns(pl.col("y") + "."))
    assert loaded.notes == ["60 test labels were read without their final dot."]
    assert loaded.test is not None
    assert loaded.test.y.tolist() == [0, 1] * 30


def test_given_test_rows_of_an_unseen_class_are_left_out() -> None:
    test = table().with_columns(pl.when(pl.int_range(60) < 6).then(pl.lit("maybe")).otherwise("y").alias("y"))
    loaded = given(table(), test)
    assert lengths(loaded)[2] == 54
    assert loaded.notes == ["6 test rows of classes that training never saw were left out."]
    with pytest.raises(DataInvalid, match="its first class is 'other'"):
        given(table(), table().with_columns(pl.lit("other").alias("y")))


def test_given_test_rows_of_a_regression_are_scaled_as_training_is() -> None:
    parts = {"target": "z", "task": "regression", "features": {"include": ["n"]}}
    loaded = given(table(), table(), **parts)
    assert loaded.test is not None
    y = loaded.test.y.double() * loaded.target_scale + loaded.target_mean
    np.testing.assert_allclose(y[:, 0], table()["z"], rtol=1e-5)


def test_a_column_without_values_in_training_is_noted() -> None:
    loaded = told("train", "train", "test", n=[1, 2, 3], e=[None, None, 1.5], y=["a", "b", "a"])
    assert loaded.notes == ["The same in every training row, which tells nothing: 'e' (1 of 2 inputs)."]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"target": "nope"}, "no column 'nope'"),
        ({"target": None}, "name it as `target`"),
        ({"target": ["y", "z"]}, "Several target columns are for regression"),
        ({"target": "y", "task": "regression"}, "'y' must hold numbers"),
        ({"features": {"include": ["nope"]}}, "column 'nope'"),
        ({"features": {"include": ["y"]}}, "No column is left"),
        ({"split": {"kind": "column", "column": "y"}}, "must be train, val or test"),
    ],
)
def test_a_spec_that_does_not_fit_its_data_is_refused(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(DataInvalid, match=words):
        rows(table(), **parts)


def test_inputs_that_never_vary_are_noted() -> None:
    loaded = told("train", "train", "test", n=[1, 1, 3], c=["u", "u", "v"], m=[1, 2, 3], y=["a", "b", "a"])
    assert loaded.notes == ["The same in every training row, which tells nothing: 'n', 'c=u' (2 of 3 inputs)."]


def test_a_rare_class_is_trained_on_wherever_rows_are_drawn() -> None:
    frame = table(200).with_columns(pl.Series("y", ["a", "b"] * 98 + ["rare", "rare", "odd", "a"]))
    for seed in range(20):
        loaded = rows(frame, seed=seed)
        assert (loaded.train.y.bincount(minlength=4) > 0).all()
        assert lengths(loaded) == (140, 30, 30)
    notes = {note for seed in range(20) for note in rows(frame, seed=seed).notes}
    assert "'odd' had no row to train on: one held-out row of each was exchanged for a training row." in notes


def test_embedded_categories_are_places_in_a_table_with_one_row_more() -> None:
    frame = pl.DataFrame({"c": ["u", "v", "w", "v", "new"], "d": [1, 2, 1, 2, 1], "n": range(5)})
    parts = {"categories": {"encoding": "embedding"}, "features": {"kinds": {"d": "categorical"}}}
    given_parts = {"split": {"kind": "column", "column": "part"}, "scaler": {"kind": "none"}}
    told_frame = frame.with_columns(
        pl.Series("part", ["train"] * 4 + ["test"]), pl.Series("y", ["a", "b", "a", "b", "a"])
    )
    loaded = rows(told_frame, **parts, **given_parts)
    assert loaded.embeddings == [Embedding(input=1, rows=4, dimension=2), Embedding(input=2, rows=3, dimension=1)]
    assert loaded.numeric == 1
    assert loaded.train.x.tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 0], [3, 1, 1]]
    assert loaded.test is not None
    assert loaded.test.x.tolist() == [[4, 3, 0]]


@pytest.mark.parametrize("kind", ["ordered", "group", "column"])
def test_several_targets_are_split_and_scaled_each_for_itself(kind: str) -> None:
    frame = table(120).with_columns(
        pl.int_range(120, 0, -1).alias("t"), (pl.int_range(120) // 4).alias("g"), (pl.col("z") * 3 + 1).alias("w")
    )
    column = {"ordered": "t", "group": "g", "column": "part"}[kind]
    loaded = rows(frame, target=["z", "n", "w"], task="regression", split={"kind": kind, "column": column})
    y = np.concatenate([part.y.double() * loaded.target_scale + loaded.target_mean for part in held(loaded)])
    np.testing.assert_allclose(np.sort(y[:, 0]), np.sort(frame["z"].to_numpy()), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[:, 2], y[:, 0] * 3 + 1, rtol=1e-4, atol=1e-4)
    own = y[: len(loaded.train)]
    reference = StandardScaler().fit(own)
    np.testing.assert_allclose(loaded.target_mean, reference.mean_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(loaded.train.y, reference.transform(own), rtol=1e-4, atol=1e-4)


def held(loaded: Data) -> list[data.Examples]:
    return [part for part in (loaded.train, loaded.validation, loaded.test) if part]


def test_a_class_that_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(DataInvalid, match="Class 'c' has 1 rows and none of them is for training"):
        told("train", "train", "test", n=[1, 2, 3], y=["a", "b", "c"])
    with pytest.raises(DataInvalid, match="a classification needs two classes"):
        told("train", "train", n=[1, 2], y=["a", "a"])
    with pytest.raises(DataInvalid, match="there is nothing to learn"):
        told("train", "train", n=[1, 2], y=[None, None])


def test_adult_is_read_from_its_two_files(shared: Path, tmp_path: Path) -> None:
    files = {TRAIN: real(shared, tmp_path, "adult_train"), TEST: real(shared, tmp_path, "adult_test")}
    split = {"kind": "given", "test": {"source": "upload", "id": TEST}}
    loaded = data.load(spec(target="column_15", split=split), files)
    assert (lengths(loaded), loaded.input_shape, loaded.classes) == ((27_677, 4_884, 16_281), (108,), ["<=50K", ">50K"])
    assert loaded.notes == ["16,281 test labels were read without their final dot."]
    assert loaded.test is not None
    assert loaded.test.y.bincount().tolist() == [12_435, 3_846]


def test_california_housing_is_split_filled_and_scaled(shared: Path, tmp_path: Path) -> None:
    files = {TRAIN: real(shared, tmp_path, "california_housing")}
    loaded = data.load(spec(target="median_house_value", task="regression"), files)
    assert (lengths(loaded), loaded.input_shape) == ((14_448, 3_096, 3_096), (13,))
    torch.testing.assert_close(loaded.train.x[:, :8].std(0, correction=0), torch.ones(8), rtol=1e-4, atol=0)


def test_fashion_mnist_is_images(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/fashion-mnist"
    x = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    y = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    np.savez(tmp_path / "fashion.npz", X=x.reshape(-1, 28, 28), y=y)
    parts = {"target": None, "split": {"kind": "stratified"}, "scaler": {"kind": "minmax"}}
    loaded = data.load(spec(**parts), {TRAIN: tmp_path / "fashion.npz"})
    assert (lengths(loaded), loaded.input_shape) == ((7_000, 1_500, 1_500), (1, 28, 28))
    assert loaded.train.y.bincount().tolist() == [700] * 10
    assert json.loads(loaded.preprocessing.model_dump_json())["features"]["scale"] == [255.0]
