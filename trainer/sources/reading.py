"""A dataset's bytes as a table or images; what they are is decided by their content, never by the file's name."""

import gzip
import json
import lzma
import re
import struct
import zipfile
import zlib
from pathlib import Path

import polars as pl
from pydantic import JsonValue, TypeAdapter, ValidationError

from jobs.errors import DataInvalid
from jobs.spec.profile import MOST_COLUMNS
from jobs.spec.values import LONGEST_NAME
from trainer.sources import archives, arrays, columns, delimited, pictures
from trainer.sources.content import MAX_BYTES, Images, Table

_PARQUET = (b"PAR1", b"PARE")
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    IndexError,  # a member without a name
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` and `numpy.lib.format` raise on bytes that are not what they claim to be."""
_BYTES_PER_VALUE = 8
_ANY_SIZE = 256 << 20
_MAX_RATIO = 1_000
"""A Parquet file of over 256 MiB once decoded that grows by more than this is a bomb."""
_NAMED = 5
"""Columns that a message names."""
_ROWS = TypeAdapter(list[dict[str, JsonValue]])
_BOM = b"\xef\xbb\xbf"
_LIST_OF_OBJECTS = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*\{")
"""How a JSON list of rows begins."""


def read(path: Path) -> Table | Images:
    """Parquet; NPZ with `X` and `y`; a zip of one folder of images per class; a JSON list of rows; else delimited text,
    as it is or in gzip.

    Whatever is wrong with the bytes is a `DataInvalid` that says what, where and how to mend it.
    """
    data = _any(path)
    for place, name in enumerate(data.frame.columns, start=1):
        if len(name) > LONGEST_NAME:  # a spec could not name it
            told = f"Column {place:,} has a name of {len(name):,} characters ('{name[:40]}…')"
            raise DataInvalid(f"{told}, and may have one of {LONGEST_NAME}: shorten it, or add a header.")
    return data


def _any(path: Path) -> Table | Images:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in _PARQUET:
        return _parquet(path)
    if magic in _ZIP:
        return _archive(path)
    content = _unzipped(path) if magic.startswith(_GZIP) else path.read_bytes()
    return _json(content) if _LIST_OF_OBJECTS.match(content) else delimited.read(content)


def _unzipped(path: Path) -> bytes:
    most = archives.most_unpacked(path.stat().st_size)
    try:
        with gzip.open(path) as file:
            content = file.read(most + 1)
    except (zlib.error, EOFError, OSError) as error:
        raise DataInvalid(f"The gzip file is damaged ({error}): pack it anew.") from error
    if len(content) > most:
        raise DataInvalid(f"The gzip file unpacks to more than {most:,} bytes: that is a bomb, or too much.")
    return content


def _json(content: bytes) -> Table:
    try:
        return from_rows(_ROWS.validate_json(content.removeprefix(_BOM)))
    except ValidationError as error:
        raise DataInvalid("The JSON is not a list of objects, one per row: write [{…}, {…}].") from error


def from_rows(rows: list[dict[str, JsonValue]]) -> Table:
    """Rows written into a spec. A column that a row leaves out is missing there; text is read as in a CSV file."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise DataInvalid("The rows hold no value: write one object per row, keyed by column.")
    _refuse_large(len(rows), len(names), MAX_BYTES)
    return Table(pl.DataFrame([_column(name, [row.get(name) for row in rows]) for name in names]))


def _column(name: str, values: list[JsonValue]) -> pl.Series:
    if any(isinstance(value, list | dict) for value in values):
        raise DataInvalid(f"Column '{name}' holds a list or an object: write one number, string or boolean per cell.")
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return columns.infer(pl.Series(name, texts, pl.String))


def _archive(path: Path) -> Table | Images:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archives.members(archive)
            if members and all(member.filename.endswith(".npy") for member in members):
                return arrays.read(archive)
            return pictures.read(archive, members)
    except _ZIP_FAULTS as error:
        raise DataInvalid(f"The archive is damaged or of an unknown kind ({error}): pack it anew.") from error


def _parquet(path: Path) -> Table:
    """Size and types are judged by the footer, before a page is decoded. Damage anywhere is refused, though the column
    be left out."""
    try:
        scan = pl.scan_parquet(path)
        schema = scan.collect_schema().to_frame()
        most = min(MAX_BYTES, max(_ANY_SIZE, _MAX_RATIO * path.stat().st_size))
        _refuse_large(scan.select(pl.len()).collect().item(), schema.width, most)
        _kept(schema)
        return _kept(scan.collect())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(str(error).partition("\n")[0][:200]) from error
    except pl.exceptions.PanicException as error:
        raise _damaged("its pages contradict its footer") from error


def _kept(frame: pl.DataFrame) -> Table:
    readable = [column for column in frame if columns.readable(column)]
    left = [f"'{column.name}'" for column in frame if not columns.readable(column)]
    told = f"{', '.join(left[:_NAMED])}{f' and {len(left) - _NAMED:,} more' if len(left) > _NAMED else ''}"
    if not readable:
        raise DataInvalid(f"No column holds numbers, text or dates, but lists, structs or bytes: write {told} flat.")
    warnings = (f"Left out, as lists, structs, times or bytes are not read: {told}.",) if left else ()
    return Table(pl.DataFrame([columns.canonical(column) for column in readable]), warnings=warnings)


def _damaged(reason: str) -> DataInvalid:
    return DataInvalid(f"The Parquet file is damaged, encrypted or of an unknown kind ({reason}): write it anew.")


def _refuse_large(rows: int, width: int, most: int) -> None:
    if rows == 0 or width == 0:
        raise DataInvalid("The file holds no rows: write at least one.")
    if width > MOST_COLUMNS:
        raise DataInvalid(f"The file has {width:,} columns, and at most {MOST_COLUMNS:,} are read: leave some out.")
    if rows * width * _BYTES_PER_VALUE > most:
        raise DataInvalid(
            f"{rows:,} rows of {width:,} columns are more than the {most:,} bytes it may become: send fewer."
        )
