"""Cells of a row as a `model.onnx` takes them: text is read as in an uploaded file, by the type of training."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs import cells
from jobs.spec.profile import MISSING
from jobs.spec.signature import ColumnInput, ImageInputs

_EPOCH = datetime(1970, 1, 1)
_PER_DAY = 86_400_000_000


class Misfit(ValueError):
    """A cell that its column cannot take; the message says what it takes."""


Read = Callable[[Any], float | str]


def reader(column: ColumnInput) -> Read:
    """What reads this column's cells.

    Raises, when called:
        Misfit: the cell is no such thing.
    """
    match column.kind:
        case "number":
            return _number
        case "date":
            return _date
        case "category":
            return _Known.of(column.categories).read


def _number(cell: Any) -> float:
    match cell:
        case None:
            return math.nan
        case bool() | int() | float():
            return float(cell)
        case str():
            text = cell.strip()
            if text in MISSING:
                return math.nan
            value = cells.boolean(text) if (number := cells.real(text)) is None else number
            if value is not None:
                return float(value)
    raise Misfit("Must be a number, a boolean, or null where it is missing.")


def _date(cell: Any) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip() in MISSING):
        return math.nan
    moment = _microseconds(cell.strip()) if isinstance(cell, str) else None
    if moment is None:
        raise Misfit("Must be a date as in 2026-01-31 or 2026-01-31T12:00:00Z, or null where it is missing.")
    return moment / _PER_DAY


def _microseconds(text: str) -> int | None:
    """Since 1970-01-01, UTC."""
    moment = cells.moment(text)
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class _Known:
    """The categories of a column, by their text and by the values that they are the text of."""

    texts: frozenset[str]
    numbers: dict[float, str]
    moments: dict[int, str]
    booleans: frozenset[str]

    @classmethod
    def of(cls, categories: list[str]) -> "_Known":
        numeric = all(cells.real(text) is not None and not cells.is_code(text) for text in categories)
        moments = {moment: text for text in categories if (moment := _microseconds(text)) is not None}
        return cls(
            frozenset(categories),
            {float(text): text for text in categories} if numeric else {},
            moments if len(moments) == len(categories) else {},
            frozenset(categories) if {*categories} <= {"true", "false"} else frozenset(),
        )

    def read(self, cell: Any) -> str:
        """The category's text; that of an unseen one is as it came."""
        if isinstance(cell, list | dict):
            raise Misfit("Must be a text, a number, a boolean, or null where it is missing.")
        text = cell.strip() if isinstance(cell, str) else json.dumps(cell)
        if cell is None or text in MISSING:
            return ""
        if text in self.texts:
            return text
        if self.numbers and (number := cells.real(text)) is not None:
            return self.numbers.get(number, text)
        if self.booleans:
            return text.lower()
        moment = _microseconds(text) if self.moments else None
        return text if moment is None else self.moments.get(moment, text)


def pixels(cell: Any, image: ImageInputs) -> npt.NDArray[Any]:
    """[H, W, C] of nested lists H×W×C, or H×W if there is one channel.

    Raises:
        Misfit: it is no such image.
    """
    shape = (image.height, image.width, image.channels)
    numbers = _numbers(cell, shape)
    if numbers is None and image.channels == 1:
        numbers = _numbers(cell, shape[:2])
    if numbers is None:
        raise _unlike(image)
    values = np.array(numbers, np.float64)
    if image.is_bytes and not ((values >= 0) & (values <= 255) & (values % 1 == 0)).all():
        raise _unlike(image)
    if not image.is_bytes and not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise _unlike(image)
    return values.reshape(shape).astype(np.uint8 if image.is_bytes else np.float32)


def _numbers(cell: Any, shape: tuple[int, ...]) -> list[int | float] | None:
    """What nested lists of this shape hold, in order. numpy would find the shape by itself, and make texts as wide as
    the longest of them."""
    parts = [cell]
    for length in shape:
        if any(type(part) is not list or len(part) != length for part in parts):
            return None
        parts = list(chain.from_iterable(parts))
    return parts if {*map(type, parts)} <= {int, float} else None


def _unlike(image: ImageInputs) -> Misfit:
    shape = f"{image.height} rows of {image.width} pixels"
    channels = "" if image.channels == 1 else f" of {image.channels} channels"
    numbers = "whole numbers from 0 to 255" if image.is_bytes else "numbers"
    return Misfit(f"Must be an image as nested arrays: {shape}{channels}, {numbers}.")
