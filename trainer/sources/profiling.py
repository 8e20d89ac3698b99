"""What a dataset looks like: the facts that the rules decide by, and what a person should know before training."""

import json
from collections.abc import Iterator
from typing import Literal, cast

import polars as pl
from pydantic import JsonValue

from jobs.spec.profile import ALL, SOME, ColumnProfile, DatasetProfile, ValueCount
from trainer.sources import columns
from trainer.sources.content import Images, Table

_TEXT_DISTINCT = 100
_MOSTLY = 0.5


def profile(data: Table | Images) -> DatasetProfile:
    """Whole numbers and decimals are `numeric`, and booleans too: as features they are 0 and 1."""
    warnings = [*data.warnings, *(warning for column in data.frame for warning in _warnings(column))]
    return DatasetProfile(
        layout="images" if isinstance(data, Images) else "table",
        rows=data.rows,
        columns=[_column(column) for column in data.frame],
        image=_image(data) if isinstance(data, Images) else None,
        target=data.target,
        warnings=warnings,
    )


def kind(column: pl.Series) -> Literal["numeric", "categorical", "datetime", "text"]:
    """`text` has over 100 different values, more than half as many as rows that have one: prose, or an identifier."""
    if isinstance(column.dtype, pl.Datetime):
        return "datetime"
    if column.dtype != pl.String:
        return "numeric"
    distinct = column.drop_nulls().n_unique()
    return "text" if distinct > max(_TEXT_DISTINCT, _MOSTLY * column.count()) else "categorical"


def preview(data: Table | Images, rows: int) -> list[dict[str, JsonValue]]:
    """The first rows, as JSON; of images, their labels."""
    return cast("list[dict[str, JsonValue]]", json.loads(data.frame.head(rows).write_json()))


def _column(column: pl.Series) -> ColumnProfile:
    counts = columns.counts(column)
    top = counts.head(ALL if counts.height <= ALL else SOME)
    return ColumnProfile(
        name=column.name,
        kind=kind(column),
        integer=column.dtype == pl.Int64 and counts.height > 0,
        boolean=column.dtype == pl.Boolean,
        missing=column.null_count(),
        distinct=counts.height,
        top=[
            ValueCount(value=value, count=count)
            for value, count in zip(columns.as_text(top["value"]), top["count"], strict=True)
        ],
        rarest=counts["count"][-1] if counts.height else None,
        **_statistics(column),
    )


def _statistics(column: pl.Series) -> dict[str, float]:
    if kind(column) != "numeric" or column.count() == 0:
        return {}
    numbers = column.cast(pl.Float64)
    facts = {"min": numbers.min(), "max": numbers.max(), "mean": numbers.mean(), "std": numbers.std(ddof=0)}
    return cast("dict[str, float]", facts)


def _image(data: Images) -> tuple[int, int, int]:
    _, height, width, channels = data.pixels.shape
    return channels, height, width


def _warnings(column: pl.Series) -> Iterator[str]:
    name, rows, present = column.name, column.len(), column.count()
    distinct = column.drop_nulls().n_unique()
    if present == 0:
        yield f"Column '{name}' has no values: leave it out."
    elif distinct == 1:
        yield f"Column '{name}' has the same value in every row that has one: it tells nothing."
    if 0 < present < (1 - _MOSTLY) * rows:
        yield f"Column '{name}' is missing in {1 - present / rows:.0%} of the rows."
    if column.dtype == pl.Int64 and distinct == rows > 1 and (column.is_sorted() or column.is_sorted(descending=True)):
        yield f"Column '{name}' numbers the rows: leave it out unless the order means something."
    if kind(column) == "text":
        yield f"Column '{name}' is free text or an identifier ({distinct:,} different values): it cannot be a feature."
