"""Delimited text (CSV): separator, header and types are found out from the content."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from jobs.errors import DataInvalid
from trainer.sources import columns
from trainer.sources.content import MAX_COLUMNS, Table

SEPARATORS = ",;\t|"

_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_SAMPLE = 1 << 16
_SAMPLE_RECORDS = 100
_CHUNK = 10_000


def read(path: Path) -> Table:
    """One record per line (RFC 4180), cells separated by a comma, semicolon, tab or bar; all records equally wide.

    A line of nothing but missing values counts as blank and is skipped.
    """
    text, warnings = _decode(path.read_bytes())
    cells = _cells(text, _separator(text))
    if cells.is_empty():
        raise DataInvalid("The file holds no value: it needs a header line and data lines.")
    if _has_header(cells):
        names, cells = _names(cells.row(0)), cells[1:]
    else:
        names = _names((None,) * cells.width)
        warnings += ("The first line looks like data, so the columns are named column_1, column_2, …",)
    if cells.is_empty():
        raise DataInvalid("The file has a header and no data: it needs at least one line below the header.")
    frame = pl.DataFrame([columns.infer(cell.alias(name)) for name, cell in zip(names, cells, strict=True)])
    return Table(frame, warnings=warnings)


def _decode(content: bytes) -> tuple[str, tuple[str, ...]]:
    """UTF-8, with or without a byte order mark; UTF-16 with one; anything else counts as Latin-1."""
    warnings: tuple[str, ...] = ()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = _utf16(content)
    else:
        _refuse_binary(content)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
            warnings = ("The file is not UTF-8; it was read as Latin-1.",)
    if not text.strip():
        raise DataInvalid("The file is empty: it needs a header line and data lines.")
    return (text if "\n" in text else text.replace("\r", "\n")), warnings


def _utf16(content: bytes) -> str:
    try:
        return content.decode("utf-16")
    except UnicodeDecodeError as error:
        raise DataInvalid(
            f"The file starts as UTF-16 text and breaks at byte {error.start}: save it as UTF-8."
        ) from error


def _refuse_binary(content: bytes) -> None:
    if found := _BINARY.search(content):
        line = content.count(b"\n", 0, found.start()) + 1
        raise DataInvalid(
            f"The file is no text: line {line} holds the control byte 0x{found[0].hex()}. "
            "Send delimited text, Parquet, NPZ, or a zip of images in class folders, not packed any further."
        )


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
        records = [len(record) for record in islice(reader, _SAMPLE_RECORDS) if record]
    except csv.Error:
        return 0
    widths = set(records[:-1] if cut and len(records) < _SAMPLE_RECORDS else records)
    return widths.pop() if len(widths) == 1 else 0


def _cells(text: str, separator: str) -> pl.DataFrame:
    """Every record, the header too, as cleaned text. Without quotes a record is a line, and cut 3 times faster."""
    cells = _quoted(text, separator) if '"' in text else _split(text, separator)
    return cells.select(columns.clean(column) for column in cells).filter(~pl.all_horizontal(pl.all().is_null()))


def _split(text: str, separator: str) -> pl.DataFrame:
    lines = pl.Series(text.split("\n"))
    filled = lines.str.strip_chars() != ""
    widths = lines.str.count_matches(separator, literal=True) + 1
    width = _checked(widths.filter(filled)[0])
    if odd := (filled & (widths != width)).arg_true().to_list():
        raise _ragged(odd[0] + 1, widths[odd[0]], width, separator)
    return lines.filter(filled).str.split_exact(separator, width - 1).struct.unnest()


def _quoted(text: str, separator: str) -> pl.DataFrame:
    records = _records(text, separator)
    chunks = []
    while chunk := list(islice(records, _CHUNK)):
        chunks.append(pl.DataFrame([pl.Series(str(i), cells) for i, cells in enumerate(zip(*chunk, strict=True))]))
    return pl.concat(chunks) if chunks else pl.DataFrame()


def _records(text: str, separator: str) -> Iterator[list[str]]:
    """All records that are not blank lines, checked to be equally wide."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    width = 0
    try:
        for record in reader:
            if len(record) < 2 and not "".join(record).strip():
                continue
            width = width or _checked(len(record))
            if len(record) != width:
                raise _ragged(reader.line_num, len(record), width, separator)
            yield record
    except csv.Error as error:
        raise DataInvalid(
            f"Line {reader.line_num} cannot be cut into cells: {error}. "
            "A cell with quotes must be quoted as a whole, and each quote in it doubled."
        ) from error


def _checked(width: int) -> int:
    if width > MAX_COLUMNS:
        raise DataInvalid(f"The file has {width:,} columns, and at most {MAX_COLUMNS:,} are read: leave some out.")
    return width


def _ragged(line: int, found: int, width: int, separator: str) -> DataInvalid:
    return DataInvalid(
        f"Line {line} has {found} cells and the first line has {width}: add what is missing, "
        f"or put double quotes around a cell that contains {separator!r}."
    )


def _has_header(cells: pl.DataFrame) -> bool:
    """The first record names the columns if it is text throughout (one name may be blank) and differs from the rest:
    some column has another type below it, or no name comes again in its own column.
    """
    first, body = cells[:1], cells[1:]
    if sum(first.null_count().row(0)) > 1 or any(_typed(column) for column in first):
        return False
    return any(_typed(column) for column in body) or not any(
        name is not None and name in column for name, column in zip(first.row(0), body, strict=True)
    )


def _typed(column: pl.Series) -> bool:
    return column.null_count() < column.len() and columns.guess(column).dtype != pl.String


def _names(header: tuple[str | None, ...]) -> list[str]:
    names = [name or f"column_{i}" for i, name in enumerate(header, start=1)]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataInvalid(f"{count} columns are named '{name}': give each a name of its own.")
    return names
