"""What a dataset looks like: the facts that the rules decide by, gathered once by the trainer's reader."""

from typing import Literal

from pydantic import Field

from jobs.spec.values import Part

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?", "-")
"""Cells that stand for a gap, blanks around them ignored."""
MOST_COLUMNS = 10_000
"""Of a table."""
ALL, SOME = 100, 10
"""Up to ALL different values, a profile counts each; of more, only SOME."""
FEW, TOGETHER = 4, 10_000
"""All columns count TOGETHER so many values, so that each of many has fewer; FEW different ones are always counted, as
many as name the parts of a split."""
LONGEST = 100
"""Characters of a value that are shown: nothing is decided by them."""


def shortened(value: str) -> str:
    """A value as it is shown."""
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def told(distinct: int, width: int) -> int:
    """How many of its values are counted for a column, one of `width`."""
    each = max(1, TOGETHER // width)
    return distinct if distinct <= min(ALL, max(FEW, each)) else min(SOME, each)


class ValueCount(Part):
    """How often a value occurs."""

    value: str
    count: int


class ColumnProfile(Part):
    """One column of a table, or the labels of an array or image set."""

    name: str
    kind: Literal["numeric", "categorical", "datetime", "text"]
    """`text` is free text or an identifier: nearly every value is different, so no network here can use it."""
    integer: bool = False
    """All values are whole numbers."""
    boolean: bool = False
    """All values are true or false."""
    missing: int = 0
    """Gaps; see `MISSING`."""
    distinct: int
    """Different values, missing not counted."""
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    """ddof 0."""
    top: list[ValueCount] = []
    """All values up to 100 different ones, so that class counts are exact there; of more, the 10 most frequent. Fewer
    in a table of more than 100 columns; a value of more than 100 characters is cut off."""
    rarest: int | None = None
    """Count of the rarest value."""


class DatasetProfile(Part):
    """A table (`columns`), or images (`image`, and one column `label`)."""

    layout: Literal["table", "images"]
    rows: int
    columns: list[ColumnProfile]
    """In file order. Images have one, `label`; a two-dimensional array has `x0`, `x1`, … and `y`."""
    image: tuple[int, int, int] | None = None
    """Channels, height, width."""
    target: str | None = None
    """The column that is the target unless the spec names another."""
    warnings: list[str] = []
    """What the reader noticed, for people."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Of the file's bytes; empty for builtin sets and inline rows."""

    def by_name(self) -> dict[str, ColumnProfile]:
        """The columns by their names, gathered anew: who looks for many keeps it."""
        return {column.name: column for column in self.columns}
