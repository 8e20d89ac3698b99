"""What a dataset looks like: the facts that the rules decide by, and what a person should know before training."""

import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal, cast

import polars as pl
from pydantic import JsonValue

from jobs.spec.profile import LONGEST, ColumnProfile, DatasetProfile, ValueCount, shortened, told
from trainer.sources import columns
from trainer.sources.content import Images, Table

MOST_WARNINGS = 100
PREVIEW_BYTES = 512 << 10
"""Of a preview as JSON."""

_TEXT_DISTINCT = 100
_MOSTLY = 0.5


def profile(data: Table | Images) -> DatasetProfile:
    """Whole numbers and decimals are `numeric`, and booleans too: as features they are 0 and 1."""
    warnings = [*data.warnings, *(warning for column in data.frame for warning in _warnings(column))]
    if more := len(warnings[MOST_WARNINGS:]):
        warnings[MOST_WARNINGS:] = [f"{more:,} more warnings are left out."]
    return DatasetProfile(
        layout="images" if isinstance(data, Images) else "table",
        rows=data.rows,
        columns=[_column(column, data.frame.width) for column in data.frame],
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
    """The first rows, as JSON, no more than fit into `PREVIEW_BYTES`; of images, their labels."""
    head = data.frame.head(rows).with_columns(pl.col(pl.String).str.head(LONGEST + 1))
    found = [{name: _shown(value) for name, value in row.items()} for row in json.loads(head.write_json())]
    sizes = accumulate(len(json.dumps(row)) for row in found)
    return [row for row, size in zip(found, sizes, strict=True) if size <= PREVIEW_BYTES]


def _shown(value: JsonValue) -> JsonValue:
    return shortened(value) if isinstance(value, str) else value


def _column(column: pl.Series, width: int) -> ColumnProfile:
    counts = columns.counts(column)
    top = counts.head(told(counts.height, width))
    values = columns.as_text(top["value"]).str.head(LONGEST + 1)
    return ColumnProfile(
        name=column.name,
        kind=kind(column),
        integer=column.dtype == pl.Int64 and counts.height > 0,
        boolean=column.dtype == pl.Boolean,
        missing=column.null_count(),
        distinct=counts.height,
        top=[
            ValueCount(value=shortened(value), count=count) for value, count in zip(values, top["count"], strict=True)
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
