"""One column: from what a file holds to one of a table's five types, and on to numbers or text."""

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.errors import DataInvalid
from jobs.spec.profile import MISSING

_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_CODE = r"^[+-]?0\d"
_LOCAL = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f")
_ZONED = ("%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
_MOMENT = pl.Datetime("us")
_MICROSECONDS_PER_DAY = 86_400_000_000


def clean(text: pl.Series) -> pl.Series:
    """Blanks around the text stripped, marks of a missing value made null."""
    text = text.str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def infer(text: pl.Series) -> pl.Series:
    """Text as the type that it fits, with its infinities refused."""
    return _finite(guess(text))


def guess(text: pl.Series) -> pl.Series:
    """Text as the narrowest of whole numbers, numbers, booleans, ISO 8601 dates that *every* value fits, else text.

    Numbers with leading zeros (08123) are codes, and stay text.
    """
    text = clean(text)
    for read in (_whole, _real, _boolean, _moment):
        column = read(text)
        if column.null_count() == text.null_count():
            coded = column.dtype.is_numeric() and text.str.contains(_CODE).any()
            return text if coded else column
    return text


def readable(column: pl.Series) -> bool:
    """Whether a table can keep it: lists, structs, times of day and bytes that are no text it cannot."""
    if column.dtype.is_nested() or column.dtype in (pl.Time, pl.Duration, pl.Object):
        return False
    try:
        return column.dtype != pl.Binary or column.cast(pl.String).len() == column.len()
    except pl.exceptions.PolarsError:
        return False


def canonical(column: pl.Series) -> pl.Series:
    """A column that already has a type, as the type that a table keeps it in."""
    dtype = column.dtype
    if dtype == pl.Boolean:
        return column
    if dtype.is_integer():
        return _narrow(column)
    if dtype.is_numeric() or dtype == pl.Null:
        return _finite(column.cast(pl.Float64))
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _utc(column)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return clean(column.cast(pl.String))
    if dtype == pl.Binary:
        return clean(_decoded(column))
    raise _unread(column)


def as_text(column: pl.Series) -> pl.Series:
    """Each value as a category is named: whole numbers without a fraction (3.0 is `3`), booleans `true` and `false`."""
    text = column.cast(pl.String)
    if column.dtype != pl.Float64:
        return text
    whole = column.cast(pl.Int64, strict=False)
    return text.zip_with((column != whole).fill_null(True), whole.cast(pl.String))


def distinct(column: pl.Series) -> list[str]:
    """The values present, in the order of their type (10 after 9, false before true), named as `as_text` does."""
    return as_text(column.drop_nulls().unique().sort()).to_list()


def counts(column: pl.Series) -> pl.DataFrame:
    """The values present and their `count`, most frequent first, the smaller value first where they tie."""
    found = column.drop_nulls().alias("value").value_counts(name="count")
    return found.sort("count", "value", descending=[True, False])


def most_frequent(column: pl.Series) -> str:
    return str(as_text(counts(column)["value"])[0])


def as_numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    """Each value as a number, NaN where missing: booleans are 0 and 1, dates are days since 1970-01-01."""
    if isinstance(column.dtype, pl.Datetime):
        return (column.to_physical() / _MICROSECONDS_PER_DAY).to_numpy()
    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() > column.null_count():
        odd = column.filter(numbers.is_null() & column.is_not_null())[0]
        raise DataInvalid(
            f"Column '{column.name}' must hold numbers, and '{odd}' is none: mend it, or declare it categorical."
        )
    return numbers.to_numpy()


def _whole(text: pl.Series) -> pl.Series:
    return text.cast(pl.Int64, strict=False)


def _real(text: pl.Series) -> pl.Series:
    return text.cast(pl.Float64, strict=False)


def _boolean(text: pl.Series) -> pl.Series:
    lower = text.str.to_lowercase()
    return (lower == "true").set(~lower.is_in(("true", "false")), None)


def _moment(text: pl.Series) -> pl.Series:
    if not text.str.contains(_ISO).all():
        return pl.Series(text.name, [None] * text.len(), _MOMENT)
    spaced = pl.lit(text.str.replace("T", " "))
    local = [spaced.str.to_datetime(form, strict=False, time_unit="us") for form in _LOCAL]
    zoned = [spaced.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone(None) for form in _ZONED]
    return pl.select(pl.coalesce(local + zoned).alias(text.name)).to_series()


def _decoded(column: pl.Series) -> pl.Series:
    """Some writers store text as bytes."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise _unread(column) from None


def _unread(column: pl.Series) -> DataInvalid:
    return DataInvalid(
        f"Column '{column.name}' holds {column.dtype}, which is not read: make it numbers, text or dates, or drop it."
    )


def _narrow(column: pl.Series) -> pl.Series:
    whole = column.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == column.null_count() else column.cast(pl.Float64)


def _utc(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(_MOMENT)


def _finite(column: pl.Series) -> pl.Series:
    """NaN made null; an infinity is refused, because no mean and no scale survives one."""
    if not column.dtype.is_float():
        return column
    if infinite := column.is_infinite().arg_true().to_list():
        raise DataInvalid(
            f"Column '{column.name}' holds an infinite number in data row {infinite[0] + 1}: "
            "replace it by a number or leave the cell empty."
        )
    return column.fill_nan(None)
