"""Whether a table's first record names its columns, and the names."""

import polars as pl

from jobs.errors import DataInvalid
from trainer.sources import columns

Names = list[str]


def part(cells: pl.DataFrame) -> tuple[Names, pl.DataFrame, tuple[str, ...]]:
    """A name for every column, the rows of data, and what a person should know of the guess."""
    if not _has_header(cells):
        note = "The first line looks like data, so the columns are named column_1, column_2, …"
        return _names((None,) * cells.width), cells, (note,)
    if cells.height == 1:
        raise DataInvalid("The file has a header and no data: it needs at least one line below the header.")
    given = cells.row(0)
    names = _names(given)
    renamed = [name for name, first in zip(names, given, strict=True) if first not in (None, name)]
    more = ", …" if len(renamed) > 5 else ""
    note = f"Columns that had the name of another ({len(renamed)}) are now called {', '.join(renamed[:5])}{more}"
    return names, cells[1:], (note,) if renamed else ()


def _has_header(cells: pl.DataFrame) -> bool:
    """The first record names the columns if it is text throughout and differs from the rest: it stands above another
    type, or only one name is blank and no name comes again in its own column.
    """
    first, body = cells[:1], cells[1:]
    if any(_typed(column) for column in first):
        return False
    named = [(name, column) for name, column in zip(first.row(0), body, strict=True) if name is not None]
    if any(_typed(column) for _, column in named):
        return True
    return len(named) >= cells.width - 1 and not any(name in column for name, column in named)


def _typed(column: pl.Series) -> bool:
    return column.null_count() < column.len() and columns.guess(column).dtype != pl.String


def _names(header: tuple[str | None, ...]) -> Names:
    """Each used once: a column without a name, or with one that is taken, is told by its place."""
    names: dict[str, None] = {}
    for place, given in enumerate(header, start=1):
        name = given or f"column_{place}"
        while name in names:
            name = f"{name}_{place}"
        names[name] = None
    return list(names)
