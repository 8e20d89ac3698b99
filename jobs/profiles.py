"""Profiles that are known without reading a file: of the builtin sets, and of rows written into a spec."""

import functools
import json
import math
import statistics
from collections import Counter
from importlib import resources

from pydantic import JsonValue

from jobs.spec.profile import ColumnProfile, DatasetProfile, ValueCount


@functools.cache
def builtin() -> dict[str, DatasetProfile]:
    """By name. `python -m trainer.builtin` writes the file; a test compares it with the data."""
    text = resources.files("jobs").joinpath("builtin.json").read_text()
    return {name: DatasetProfile.model_validate(profile) for name, profile in json.loads(text).items()}


def of_rows(rows: list[dict[str, JsonValue]]) -> DatasetProfile:
    """Of inline rows; a column that is not in a row is missing there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return DatasetProfile(layout="table", rows=len(rows), columns=[_column(name, rows) for name in names])


def _column(name: str, rows: list[dict[str, JsonValue]]) -> ColumnProfile:
    values = [row[name] for row in rows if row.get(name) is not None]
    counts = Counter(str(value) for value in values)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    numeric = len(numbers) == len(values) > 0
    return ColumnProfile(
        name=name,
        kind="numeric" if numeric else "categorical",
        integer=numeric and all(number.is_integer() for number in numbers),
        boolean=bool(values) and all(isinstance(value, bool) for value in values),
        missing=len(rows) - len(values),
        distinct=len(counts),
        min=min(numbers) if numeric else None,
        max=max(numbers) if numeric else None,
        mean=math.fsum(numbers) / len(numbers) if numeric else None,
        std=statistics.pstdev(numbers) if numeric else None,
        top=[ValueCount(value=value, count=count) for value, count in counts.most_common(100)],
        rarest=min(counts.values(), default=None),
    )
