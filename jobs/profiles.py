"""Profiles that are known without reading a file: of the builtin sets, and of rows written into a spec."""

import functools
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from importlib import resources
from typing import Literal, TypeAlias

from pydantic import JsonValue

from jobs import cells, errors
from jobs.spec.profile import MISSING, MOST_COLUMNS, ColumnProfile, DatasetProfile, ValueCount, shortened, told

Value: TypeAlias = int | float | bool | datetime | str


@functools.cache
def builtin() -> dict[str, DatasetProfile]:
    """By name. `python -m trainer.sources.builtin` writes the file; a test compares it with the data."""
    text = resources.files("jobs").joinpath("builtin.json").read_text()
    return {name: DatasetProfile.model_validate(profile) for name, profile in json.loads(text).items()}


def of_rows(rows: list[dict[str, JsonValue]]) -> DatasetProfile:
    """Of inline rows, as the trainer will read them; a column that is not in a row is missing there.

    Raises:
        DataInvalid: they have more columns than are read.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(_text(value))
    if len(found) > MOST_COLUMNS:
        text = f"The rows have {len(found):,} columns together, and at most {MOST_COLUMNS:,} are read: leave some out."
        raise errors.DataInvalid(text)
    columns = [_column(name, texts, len(rows), len(found)) for name, texts in found.items()]
    return DatasetProfile(layout="table", rows=len(rows), columns=columns)


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else json.dumps(value)


def _column(name: str, texts: list[str], rows: int, width: int) -> ColumnProfile:
    """`texts` are the cells of those of the rows that have any."""
    values = _values([text for text in texts if text not in MISSING])
    counts = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    top = counts[: told(len(counts), width)]
    return ColumnProfile(
        name=name,
        kind=_kind(values, len(counts)),
        integer=bool(values) and all(type(value) is int for value in values),
        boolean=bool(values) and all(isinstance(value, bool) for value in values),
        missing=rows - len(values),
        distinct=len(counts),
        top=[ValueCount(value=shortened(_named(value)), count=n) for value, n in top],
        rarest=counts[-1][1] if counts else None,
        **_statistics(numbers),
    )


def _values(texts: list[str]) -> list[Value]:
    """As the narrowest of whole numbers, numbers, booleans and dates that every text fits; else the texts."""
    readers: list[Callable[[str], Value | None]] = [cells.whole, cells.real, cells.boolean, cells.moment]
    for read in readers:
        values = [value for text in texts if (value := read(text)) is not None]
        if len(values) == len(texts):
            coded = read in (cells.whole, cells.real) and any(map(cells.is_code, texts))
            return list(texts) if coded else values
    return list(texts)


def _kind(values: list[Value], distinct: int) -> Literal["numeric", "categorical", "datetime", "text"]:
    if values and isinstance(values[0], datetime):
        return "datetime"
    if values and isinstance(values[0], str):
        return "text" if distinct > max(100, 0.5 * len(values)) else "categorical"
    return "numeric"


def _named(value: Value) -> str:
    """As the trainer names a category."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _statistics(numbers: list[float]) -> dict[str, float]:
    if not numbers:
        return {}
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) * (number - mean) for number in numbers) / len(numbers)
    return {"min": min(numbers), "max": max(numbers), "mean": mean, "std": math.sqrt(variance)}
