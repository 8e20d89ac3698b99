"""Rows written into a spec are profiled without the trainer's reader, to the same facts."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs import errors, profiles
from jobs.spec.profile import MISSING, ColumnProfile
from trainer.sources import profiling, reading

MARKS = sorted(MISSING)
WORDS = st.sampled_from(["a", "b", "B", " a ", "ä", "e", "train", "1_000", "0x1", "1,5", "--", "٣", "T", *MARKS])
WHOLE = st.integers(-(10**20), 10**20) | st.integers(-3, 3)
REAL = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.5, 1.0, -2.0, 1e22])
NUMERALS = st.sampled_from(["1", "-1", "+1", "1.", ".5", "1e3", "1.0", "0", "007", "-01", "00.5", "9" * 19, "9" * 25])
TRUTH = st.booleans() | st.sampled_from(["true", "False", "TRUE"])
DATES = st.sampled_from(
    [
        "2024-01-02",
        "2024-01-02 03:04",
        "2024-01-02T03:04:05",
        "2024-01-02T03:04:05.678",
        "2024-01-02T03:04:05Z",
        "2024-01-02T05:04:05+02:00",
        "2024-02-30",
        "2024-13-01",
        "2024-1-2",
    ]
)
CELLS = [WHOLE, REAL, WHOLE | REAL, NUMERALS, TRUTH, DATES, WORDS, WHOLE | WORDS, TRUTH | WHOLE, NUMERALS | WHOLE]
ROWS = st.lists(st.sampled_from(CELLS), min_size=1, max_size=3).flatmap(
    lambda kinds: st.lists(
        st.fixed_dictionaries({}, optional={f"c{i}": st.none() | kind for i, kind in enumerate(kinds)}),
        min_size=1,
        max_size=12,
    ).map(lambda rows: [dict.fromkeys("c0") | rows[0], *rows[1:]])
)


def by_name(found: list[ColumnProfile]) -> dict[str, dict[str, Any]]:
    """What the rules go by: everything but the moments, which may differ by rounding."""
    return {column.name: column.model_dump(exclude={"mean", "std", "top"}) for column in found}


def moments(column: ColumnProfile) -> list[float]:
    return [moment for moment in (column.mean, column.std) if moment is not None]


@settings(max_examples=400, deadline=None)
@given(ROWS)
@example([{"x": -(10**18)}])
def test_rows_are_profiled_as_the_trainer_reads_them(rows: list[dict[str, Any]]) -> None:
    ours, theirs = profiles.of_rows(rows), profiling.profile(reading.from_rows(rows))
    assert (ours.layout, ours.rows, ours.target) == (theirs.layout, theirs.rows, theirs.target)
    assert by_name(ours.columns) == by_name(theirs.columns)
    for one, other in zip(ours.columns, theirs.columns, strict=True):
        assert moments(one) == pytest.approx(moments(other), rel=1e-6, abs=1e-9)
        if one.kind == "categorical" or one.boolean or one.integer:
            assert one.top == other.top


@pytest.mark.parametrize(("distinct", "kind"), [(100, "categorical"), (101, "text")])
def test_text_that_hardly_repeats_is_no_category(distinct: int, kind: str) -> None:
    rows: list[dict[str, Any]] = [{"x": f"word {row}"} for row in range(distinct)]
    ours, theirs = profiles.of_rows(rows), profiling.profile(reading.from_rows(rows))
    assert ours.columns == theirs.columns
    assert (ours.columns[0].kind, len(ours.columns[0].top)) == (kind, 100 if distinct == 100 else 10)


def test_a_number_too_large_for_a_float_is_no_number() -> None:
    (column,) = profiles.of_rows([{"x": 10**400}, {"x": 1}]).columns
    assert column.kind == "categorical"


def test_builtin_profiles_are_known_by_name() -> None:
    assert set(profiles.builtin()) == {"digits", "iris", "wine", "breast_cancer", "diabetes"}
    assert profiles.builtin()["digits"].image == (1, 8, 8)


def test_rows_of_more_columns_than_are_read_are_refused() -> None:
    rows: list[dict[str, Any]] = [{f"{row} {column}": 1 for column in range(10)} for row in range(1_001)]
    with pytest.raises(errors.DataInvalid, match="The rows have 10,010 columns together, and at most 10,000 are read"):
        profiles.of_rows(rows)
    assert len(profiles.of_rows(rows[:-1]).columns) == 10_000


class Row(dict[str, Any]):
    """Says how often it is looked into."""

    looks = 0

    def items(self) -> Any:
        Row.looks += 1
        return super().items()

    def get(self, *key: Any) -> Any:
        Row.looks += 1
        return super().get(*key)


def test_each_row_is_looked_into_once_however_many_columns_there_are() -> None:
    columns = profiles.of_rows([Row({f"{row} {column}": 1 for column in range(9)}) for row in range(50)]).columns
    assert (len(columns), {column.missing for column in columns}, Row.looks) == (450, {49}, 50)
