"""Delimited text (CSV): separator, quoting, header and types are found out from the content."""

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import polars as pl

from jobs.errors import DataInvalid
from jobs.spec.profile import MOST_COLUMNS
from trainer.sources import columns, encodings, headers
from trainer.sources.content import Table

SEPARATORS = ",;\t|"

_SAMPLE = 1 << 16
_SAMPLE_RECORDS = 100
_CHUNK = 10_000
_NAMED = 5
"""Lines that a message names one by one."""


@dataclass(frozen=True)
class _Odd:
    """Numbers of the lines that are no whole record."""

    short: list[int] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)

    def warnings(self) -> Iterator[str]:
        if self.short:
            yield f"Fewer cells than the first line, the last ones count as missing: {_named(self.short)}."
        if self.comments:
            yield f"A comment after a #, skipped: {_named(self.comments)}."


def read(content: bytes) -> Table:
    """One record per line (RFC 4180), cells separated by a comma, semicolon, tab or bar.

    A record with fewer cells than the first lacks the last ones, unless most do; one with more is refused. A line of
    nothing but missing values counts as blank and is skipped, and so is a comment: one cell that begins with #.
    """
    text, guesses = encodings.decode(content)
    if not text.strip():
        raise DataInvalid("The file is empty: it needs a header line and data lines.")
    text = text if "\n" in text else text.replace("\r", "\n")
    cells, odd = _cells(text, _separator(text))
    if cells.is_empty():
        raise DataInvalid("The file holds no value: it needs a header line and data lines.")
    names, cells, notes = headers.part(cells)
    frame = pl.DataFrame([columns.infer(cell.alias(name)) for name, cell in zip(names, cells, strict=True)])
    return Table(frame, warnings=(*guesses, *odd.warnings(), *notes))


def _separator(text: str) -> str:
    """The separator that cuts the first records into equally many cells, most of them if several do."""
    sample = text[:_SAMPLE]
    widths = {separator: _width(sample, separator, cut=len(text) > _SAMPLE) for separator in SEPARATORS}
    best = max(widths, key=lambda separator: widths[separator])
    first = sample.partition("\n")[0]
    return best if widths[best] > 1 else max(SEPARATORS, key=first.count)


def _width(sample: str, separator: str, cut: bool) -> int:
    """Cells per record, 0 if the records differ."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        records = [len(record) for record in islice(reader, _SAMPLE_RECORDS) if record and not _comment(record)]
    except csv.Error:
        return 0
    widths = set(records[:-1] if cut and len(records) < _SAMPLE_RECORDS else records)
    return widths.pop() if len(widths) == 1 else 0


def _comment(record: list[str]) -> bool:
    return len(record) == 1 and record[0].startswith("#")


def _cells(text: str, separator: str) -> tuple[pl.DataFrame, _Odd]:
    """Every record, the header too, as cleaned text. Without quotes a record is a line, and cut 3 times faster."""
    cells, odd = _quoted(text, separator) if '"' in text else _split(text, separator)
    if 2 * len(odd.short) > cells.height:
        raise DataInvalid(
            f"Most lines have fewer cells than the first ({_named(odd.short)}): "
            "let it name the columns, and take out notes above and below the table."
        )
    cells = cells.select(columns.clean(column) for column in cells)
    return cells.filter(~pl.all_horizontal(pl.all().is_null())), odd


def _split(text: str, separator: str) -> tuple[pl.DataFrame, _Odd]:
    lines = pl.Series(text.split("\n"))
    widths = lines.str.count_matches(separator, literal=True) + 1
    comments = lines.str.strip_chars_start().str.starts_with("#") & (widths == 1) & (separator in text)
    filled = (lines.str.strip_chars() != "") & ~comments
    if not filled.any():
        return pl.DataFrame(), _Odd()
    width = _checked(widths.filter(filled)[0])
    if long := _numbers(filled & (widths > width)):
        raise _too_long(long, widths[long[0] - 1], width, separator)
    cells = lines.filter(filled).str.split_exact(separator, width - 1).struct.unnest()
    return cells, _Odd(_numbers(filled & (widths < width)), _numbers(comments))


def _numbers(lines: pl.Series) -> list[int]:
    return (lines.arg_true() + 1).to_list()


def _quoted(text: str, separator: str) -> tuple[pl.DataFrame, _Odd]:
    """Quotes within quotes are doubled. Where that leads nowhere, they may follow a backslash."""
    try:
        return _parsed(text, separator, None)
    except DataInvalid:
        with suppress(DataInvalid):
            if '\\"' in text:
                return _parsed(text, separator, "\\")
        raise


def _parsed(text: str, separator: str, escape: str | None) -> tuple[pl.DataFrame, _Odd]:
    odd, chunks = _Odd(), []
    records = _records(text, separator, escape, odd)
    while chunk := list(islice(records, _CHUNK)):
        chunks.append(pl.DataFrame([pl.Series(str(i), cells) for i, cells in enumerate(zip(*chunk, strict=True))]))
    return pl.concat(chunks) if chunks else pl.DataFrame(), odd


def _records(text: str, separator: str, escape: str | None, odd: _Odd) -> Iterator[list[str]]:
    """All records that are no blank lines, made equally wide; what had to be done for that is noted."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True, escapechar=escape
    )
    width = 0
    try:
        for record in reader:
            if len(record) < 2 and not "".join(record).strip():
                continue
            if len(record) < 2 and width != 1 and _comment(record) and separator in text:
                odd.comments.append(reader.line_num)
                continue
            width = width or _checked(len(record))
            if len(record) > width:
                raise _too_long([reader.line_num], len(record), width, separator)
            if len(record) < width:
                odd.short.append(reader.line_num)
                record += [""] * (width - len(record))
            yield record
    except csv.Error as error:
        raise DataInvalid(
            f"Line {reader.line_num} cannot be cut into cells: {error}. "
            "A cell with quotes must be quoted as a whole, and each quote in it doubled."
        ) from error


def _checked(width: int) -> int:
    if width > MOST_COLUMNS:
        raise DataInvalid(f"The file has {width:,} columns, and at most {MOST_COLUMNS:,} are read: leave some out.")
    return width


def _too_long(lines: list[int], found: int, width: int, separator: str) -> DataInvalid:
    others = f" (others differ too: {_named(lines[1:])})" if len(lines) > 1 else ""
    return DataInvalid(
        f"Line {lines[0]} has {found} cells and the first line has {width}{others}: take out notes above the table, "
        f"or put double quotes around a cell that contains {separator!r}."
    )


def _named(lines: list[int]) -> str:
    more = f" and {len(lines) - _NAMED:,} more" if len(lines) > _NAMED else ""
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_NAMED]))}{more}"
