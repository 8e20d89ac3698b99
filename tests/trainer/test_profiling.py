"""What a profile says of a dataset."""

import json
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from jobs.spec.profile import LONGEST, SOME, ColumnProfile, DatasetProfile, ValueCount, told
from trainer.sources import profiling
from trainer.sources.content import Images, Table
from worker.child import MOST_TOLD


def column(values: list[Any]) -> ColumnProfile:
    (only,) = profiling.profile(Table(pl.DataFrame({"x": values}))).columns
    return only


def warnings(values: list[Any]) -> list[str]:
    return profiling.profile(Table(pl.DataFrame({"x": values}))).warnings


def test_a_numeric_column_has_its_moments_and_counts() -> None:
    assert column([1, 3, 3, None]) == ColumnProfile(
        name="x",
        kind="numeric",
        integer=True,
        missing=1,
        distinct=2,
        min=1,
        max=3,
        mean=7 / 3,
        std=float(np.std([1, 3, 3])),
        top=[ValueCount(value="3", count=2), ValueCount(value="1", count=1)],
        rarest=1,
    )


def test_a_boolean_column_is_numeric_and_says_so() -> None:
    facts = column([True, False, True])
    assert (facts.kind, facts.boolean, facts.integer, facts.mean) == ("numeric", True, False, 2 / 3)
    assert facts.top == [ValueCount(value="true", count=2), ValueCount(value="false", count=1)]


def test_text_is_categorical_until_nearly_every_value_is_different() -> None:
    assert column(["a", "b", "a"]).kind == "categorical"
    assert column([str(i) + "x" for i in range(100)]).kind == "categorical"
    assert column([str(i) + "x" for i in range(101)]).kind == "text"
    assert column([f"{i % 101}x" for i in range(202)]).kind == "categorical"


def test_a_date_has_no_moments() -> None:
    facts = column([datetime(2020, 1, 1), None])
    assert (facts.kind, facts.missing, facts.min) == ("datetime", 1, None)


def test_up_to_a_hundred_values_are_all_counted() -> None:
    assert len(column(list(range(100))).top) == 100
    assert len(column(list(range(101))).top) == SOME


def test_a_column_without_values_is_profiled() -> None:
    assert column([None, None]) == ColumnProfile(name="x", kind="numeric", missing=2, distinct=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([None, None], "no values"),
        ([2.5, 2.5, None], "the same value"),
        ([None, None, None, 1.5, 2.5], "missing in 60%"),
        ([3, 4, 7], "numbers the rows"),
        ([9, 4, 1], "numbers the rows"),
        ([f"{i}x" for i in range(200)], "free text or an identifier (200 different values)"),
    ],
)
def test_what_a_person_should_know_is_a_warning(values: list[Any], words: str) -> None:
    (warning,) = warnings(values)
    assert words in warning


@pytest.mark.parametrize("values", [[3, 1, 2], [1.5, 2.5], ["a", "b"], [None, 1.5, 2.5], [1, 1, 2]])
def test_what_is_usual_is_no_warning(values: list[Any]) -> None:
    assert warnings(values) == []


def test_images_have_a_shape_and_a_label() -> None:
    data = Images(np.zeros((2, 5, 4, 3), np.uint8), pl.Series("label", ["cat", "dog"]))
    profile = profiling.profile(data)
    assert profile == DatasetProfile(layout="images", rows=2, columns=profile.columns, image=(3, 5, 4), target="label")
    assert [(column.name, column.distinct) for column in profile.columns] == [("label", 2)]


def test_long_words_are_cut_where_they_are_only_shown() -> None:
    words = [f"{n}{'x' * 200_000}" for n in range(100)]
    data = Table(pl.DataFrame({"x": words, "y": ["short"] * 100}))
    profile, preview = profiling.profile(data), profiling.preview(data, 100)
    assert {len(top.value) for top in profile.columns[0].top} == {LONGEST}
    assert preview[0] == {"x": "0" + "x" * (LONGEST - 2) + "…", "y": "short"}
    assert profile.columns[0].distinct == len(preview) == 100
    assert len(profile.model_dump_json()) + len(json.dumps(preview)) < 40_000


@pytest.mark.parametrize(
    ("distinct", "width", "count"),
    [(100, 100, 100), (101, 100, 10), (100, 101, 10), (99, 101, 99), (11, 1_000, 10), (4, 10_000, 4), (5, 10_000, 1)],
)
def test_many_columns_tell_few_values_each(distinct: int, width: int, count: int) -> None:
    assert told(distinct, width) == count


def test_a_preview_of_wide_rows_has_as_many_as_fit() -> None:
    wide = Table(pl.DataFrame({f"column {n}": [0.1] * 100 for n in range(1_000)}))
    rows = profiling.preview(wide, 100)
    assert 1 < len(rows) < 100
    assert len(json.dumps(rows)) < profiling.PREVIEW_BYTES + 1_000


def test_a_hundred_warnings_are_told() -> None:
    constant = Table(pl.DataFrame({str(n): [0.5, 0.5] for n in range(150)}))
    found = profiling.profile(constant).warnings
    assert (len(found), found[-1]) == (101, "50 more warnings are left out.")


@pytest.mark.slow
@pytest.mark.parametrize("values", [3, 1_000], ids=["few different values", "only different values"])
def test_ten_thousand_columns_are_told_within_the_limit(values: int) -> None:
    dice = np.random.default_rng(0)
    data = Table(pl.DataFrame({f"a column of numbers {n}": dice.integers(0, values, 100) / 7 for n in range(10_000)}))
    profile, preview = profiling.profile(data), profiling.preview(data, 100)
    assert len(preview) > 0
    assert len(profile.model_dump_json()) + len(json.dumps(preview)) < MOST_TOLD
