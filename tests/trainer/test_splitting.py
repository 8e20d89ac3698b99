"""Which rows go where."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter
from sklearn.model_selection import GroupShuffleSplit, TimeSeriesSplit, train_test_split

from jobs.errors import DataInvalid
from jobs.spec.data import Split, sizes
from trainer.features import splitting
from trainer.features.splitting import Parts


def split(how: dict[str, Any], frame: pl.DataFrame, classes: list[int] | None = None, seed: int = 0) -> Parts:
    parsed: Split = TypeAdapter(Split).validate_python(how)
    return splitting.split(parsed, frame, None if classes is None else np.array(classes), seed)


def rows(count: int) -> pl.DataFrame:
    return pl.DataFrame({"x": range(count)})


def counts(parts: Parts) -> tuple[int, int, int]:
    return len(parts.train), len(parts.validation), len(parts.test)


def together(parts: Parts) -> list[int]:
    return sorted([*parts.train.tolist(), *parts.validation.tolist(), *parts.test.tolist()])


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.2, 0.0), (0.0, 0.3), (0.0, 0.0), (0.01, 0.01)])
def test_random_parts_have_the_sizes_that_the_rules_count_with(validation: float, test: float) -> None:
    parts = split({"kind": "random", "validation": validation, "test": test}, rows(101))
    assert counts(parts) == sizes(101, validation, test)
    assert together(parts) == list(range(101))


def test_the_test_rows_are_those_that_scikit_learn_holds_out() -> None:
    frame = pl.DataFrame({"g": [f"g{i % 25:02}" for i in range(100)], "t": np.random.default_rng(0).permutation(100)})
    classes = [0] * 60 + [1] * 40
    shares = {"validation": 0.1, "test": 0.2}
    by_time = frame["t"].arg_sort().to_numpy()
    *_, (past, future) = TimeSeriesSplit(n_splits=2, test_size=20).split(by_time)
    ordered = split({"kind": "ordered", "column": "t", **shares}, frame)
    expected = {
        "random": train_test_split(range(100), test_size=0.2, random_state=7)[1],
        "stratified": train_test_split(range(100), test_size=0.2, random_state=7, stratify=classes)[1],
        "group": next(GroupShuffleSplit(1, test_size=0.2, random_state=7).split(frame, groups=frame["g"]))[1],
    }
    column = {"group": {"column": "g"}}
    for kind, held in expected.items():
        parts = split({"kind": kind, **column.get(kind, {}), **shares}, frame, classes, seed=7)
        assert parts.test.tolist() == sorted(held)
    assert ordered.test.tolist() == by_time[future].tolist()
    assert [*ordered.train, *ordered.validation] == by_time[past].tolist()


def test_the_same_seed_draws_the_same_rows_and_another_draws_others() -> None:
    first, again, other = (split({"kind": "random"}, rows(100), seed=seed).test.tolist() for seed in (3, 3, 4))
    assert first == again != other


def test_more_validation_leaves_the_test_rows_alone() -> None:
    some, more = (split({"kind": "random", "validation": share}, rows(100)).test for share in (0.1, 0.3))
    assert some.tolist() == more.tolist()


def test_stratified_parts_hold_each_class_in_proportion() -> None:
    classes = [0] * 100 + [1] * 60 + [2] * 40
    parts = split({"kind": "stratified", "validation": 0.1, "test": 0.2}, rows(200), classes)
    held = [np.bincount(np.array(classes)[part]).tolist() for part in (parts.train, parts.validation, parts.test)]
    assert held == [[70, 42, 28], [10, 6, 4], [20, 12, 8]]


def test_the_only_row_of_a_class_is_trained_on() -> None:
    parts = split({"kind": "stratified"}, rows(51), [0] * 25 + [1] * 25 + [2])
    assert 50 in parts.train
    assert together(parts) == list(range(51))


@pytest.mark.parametrize("kind", ["random", "given"])
def test_every_class_keeps_a_row_to_train_on_and_the_sizes_stay(kind: str) -> None:
    classes = np.array([0] * 60 + [1] * 36 + [2, 3, 3, 4])
    how: dict[str, Any] = {"kind": kind, "validation": 0.3}
    how |= {"test": {"source": "builtin", "name": "iris"}} if kind == "given" else {"test": 0.3}
    for seed in range(30):
        parts = split(how, rows(100), classes.tolist(), seed=seed)
        assert set(classes[parts.train]) == {0, 1, 2, 3, 4}
        assert counts(parts) == sizes(100, 0.3, 0 if kind == "given" else 0.3)
        assert together(parts) == list(range(100))
        assert set(parts.rescued) <= set(parts.train)


def test_what_a_random_split_draws_is_not_touched_where_nothing_is_rare() -> None:
    classes = [0, 1] * 50
    with_classes, without = (split({"kind": "random"}, rows(100), each) for each in (classes, None))
    assert with_classes.train.tolist() == without.train.tolist()
    assert with_classes.rescued.tolist() == []


@pytest.mark.parametrize("kind", ["ordered", "group", "column"])
def test_a_split_that_means_something_is_not_changed_for_a_rare_class(kind: str) -> None:
    frame = pl.DataFrame({"g": range(20), "part": ["train"] * 18 + ["val", "test"]})
    how = {"ordered": {}, "group": {"column": "g"}, "column": {"column": "part"}}[kind]
    parts = split({"kind": kind, **how}, frame, [0, 1] * 9 + [2, 3])
    assert parts.rescued.tolist() == []


def test_too_few_rows_to_stratify_are_refused() -> None:
    with pytest.raises(DataInvalid, match="change the shares or the kind of split"):
        split({"kind": "stratified"}, rows(12), [0, 1, 2, 3] * 3)


def test_a_regression_is_not_stratified() -> None:
    with pytest.raises(DataInvalid, match="needs classes"):
        split({"kind": "stratified"}, rows(12))


def test_ordered_parts_follow_the_file_or_a_column() -> None:
    frame = pl.DataFrame({"t": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]})
    by_file = split({"kind": "ordered", "validation": 0.2, "test": 0.1}, frame)
    by_time = split({"kind": "ordered", "column": "t", "validation": 0.2, "test": 0.1}, frame)
    assert (by_file.train.tolist(), by_file.validation.tolist(), by_file.test.tolist()) == ([*range(7)], [7, 8], [9])
    assert (by_time.validation.tolist(), by_time.test.tolist()) == ([2, 1], [0])


def test_rows_without_a_time_cannot_be_ordered() -> None:
    with pytest.raises(DataInvalid, match="Column 't' orders the rows and is missing in 1"):
        split({"kind": "ordered", "column": "t"}, pl.DataFrame({"t": [1, None, 3]}))


def test_groups_stay_together() -> None:
    frame = pl.DataFrame({"g": [f"g{i % 20}" for i in range(200)]})
    parts = split({"kind": "group", "column": "g", "validation": 0.2, "test": 0.1}, frame)
    groups = [set(frame["g"][part].to_list()) for part in (parts.train, parts.validation, parts.test)]
    assert [len(group) for group in groups] == [14, 4, 2]
    assert len(set.union(*groups)) == 20


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataInvalid, match="cannot be held out"):
        split({"kind": "group", "column": "g"}, pl.DataFrame({"g": ["a", "b"]}))


def test_a_column_tells_the_parts() -> None:
    frame = pl.DataFrame({"part": ["train", "Val", "validation", "test", "train"]})
    parts = split({"kind": "column", "column": "part"}, frame)
    assert (parts.train.tolist(), parts.validation.tolist(), parts.test.tolist()) == ([0, 4], [1, 2], [3])


@pytest.mark.parametrize(("told", "words"), [("dev", "holds 'dev' in data row 2"), (None, "holds None in data row 2")])
def test_a_column_that_tells_something_else_is_refused(told: str | None, words: str) -> None:
    with pytest.raises(DataInvalid, match=words):
        split({"kind": "column", "column": "part"}, pl.DataFrame({"part": ["train", told]}))


@pytest.mark.parametrize("kind", ["group", "column", "ordered"])
def test_an_unknown_column_is_refused(kind: str) -> None:
    with pytest.raises(DataInvalid, match="column 'nope', which the data does not have"):
        split({"kind": kind, "column": "nope"}, rows(10))


@pytest.mark.parametrize(("classes", "test"), [([0, 1] * 50, [5, 5]), ([*range(100)], None), (None, None)])
def test_given_test_rows_leave_all_others_for_training_and_validation(classes: Any, test: Any) -> None:
    how = {"kind": "given", "test": {"source": "builtin", "name": "iris"}, "validation": 0.1}
    parts = split(how, rows(100), classes)
    assert counts(parts) == (90, 10, 0)
    assert test is None or np.bincount(np.array(classes)[parts.validation]).tolist() == test


def test_nothing_left_to_train_on_is_refused() -> None:
    with pytest.raises(DataInvalid, match="no row to train on"):
        split({"kind": "column", "column": "part"}, pl.DataFrame({"part": ["test"]}))
