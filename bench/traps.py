"""Small files that ask for much: each must be refused within the limits of a reader, and by its own reason."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

GIB = 1 << 30
Fields = dict[int, "Value"]
Value = int | bytes | list["Value"] | Fields
"""What a Thrift struct holds, by number."""


class Wide(int):
    """A 64-bit number: Thrift tells it from one of 32."""


def write(folder: Path) -> Iterator[Path]:
    """All of them, one after another."""
    for name, make in TRAPS.items():
        path = folder / name
        path.write_bytes(make())
        yield path


def _archive(members: dict[str | zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _liar() -> bytes:
    """The same, with 1,000 bytes in its headers."""
    size = GIB // 4
    return _archive({"a/1.png": bytes(size)}).replace(struct.pack("<I", size), struct.pack("<I", 1000))


def _link() -> bytes:
    link = zipfile.ZipInfo("a/passwd.png")
    link.external_attr = 0o120777 << 16
    return _archive({link: b"/etc/passwd"})


def _array(shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return _archive({"X.npy": head.getvalue(), "y.npy": head.getvalue()})


def _pickle() -> bytes:
    array = io.BytesIO()
    np.save(array, np.array([{}], dtype=object), allow_pickle=True)
    return _archive({"X.npy": array.getvalue(), "y.npy": array.getvalue()})


def _picture(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def _deep() -> bytes:
    return b'[{"a":' + b"[" * 1_000_000


def _keys(count: int) -> bytes:
    """Every row has a column of its own."""
    return json.dumps([{str(i): 1} for i in range(count)], separators=(",", ":")).encode()


# Parquet by hand, for what no writer writes: a column, a dictionary page, a data page; fields as in parquet.thrift.


def parquet(rows: int, run: int, value: bytes | None = None, dictionary_size: int | None = None) -> bytes:
    """`rows` in the footer, `run` in the page; all are the same number, or the same text `value`."""
    plain = struct.pack("<q", 7) if value is None else struct.pack("<I", len(value)) + value
    packed = gzip.compress(plain, mtime=0)
    pages = [
        _page({1: 2, 2: dictionary_size or len(plain), 3: len(packed), 7: {1: 1, 2: 0}}, packed),
        _page(*_data(run)),
    ]
    kind, place = (2 if value is None else 6), 4 + len(pages[0])
    size = len(b"".join(pages))
    column: Fields = {1: kind, 2: [8, 3], 3: [b"a"], 4: 2, 5: Wide(rows), 6: Wide(size), 7: Wide(size), 9: Wide(place)}
    column[11] = Wide(4)
    element: Fields = {1: kind, 3: 0, 4: b"a"}
    if value is not None:
        element[6] = 0
    group: Fields = {1: [{2: Wide(4), 3: column}], 2: Wide(size), 3: Wide(rows)}
    footer = _struct({1: 1, 2: [{4: b"schema", 5: 1}, element], 3: Wide(rows), 4: [group]})
    return b"PAR1" + b"".join(pages) + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _data(run: int) -> tuple[Fields, bytes]:
    """One run of indices, 0 all of them, one bit wide."""
    indices = b"\x01" + _varint(run << 1) + b"\x00"
    packed = gzip.compress(indices, mtime=0)
    return {1: 0, 2: len(indices), 3: len(packed), 5: {1: min(run, 2**31 - 1), 2: 8, 3: 3, 4: 3}}, packed


def _page(header: Fields, content: bytes) -> bytes:
    return _struct(header) + content


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _struct(fields: Fields) -> bytes:
    """In Thrift's compact protocol."""
    written, before = b"", 0
    for number, value in sorted(fields.items()):
        written += bytes([(number - before) << 4 | _kind(value)]) + _value(value)
        before = number
    return written + b"\x00"


def _kind(value: Value) -> int:
    match value:
        case Wide():
            return 6
        case int():
            return 5
        case bytes():
            return 8
        case list():
            return 9
        case dict():
            return 12


def _value(value: Value) -> bytes:
    match value:
        case int():
            return _varint(value << 1)
        case bytes():
            return _varint(len(value)) + value
        case list():
            return bytes([len(value) << 4 | _kind(value[0])]) + b"".join(map(_value, value))
        case dict():
            return _struct(value)


def _words() -> bytes:
    """A hundred columns of as many values, each of which takes four times as many bytes as characters."""
    lines = (",".join(f"{row}{chr(0x20000) * 100}{column}" for column in range(100)) for row in range(101))
    return "\n".join(lines).encode()


TRAPS: dict[str, Callable[[], bytes]] = {
    "rows_for_64_gib.parquet": lambda: parquet(8 * GIB, 8 * GIB),
    "rows_for_2_gib.parquet": lambda: parquet(GIB // 4, GIB // 4),
    "one_text_a_million_times.parquet": lambda: parquet(1 << 20, 1 << 20, b"x" * (1 << 20)),
    "dictionary_of_2_gib.parquet": lambda: parquet(10, 10, dictionary_size=2**31 - 1),
    "one_line_again_and_again.csv.gz": lambda: gzip.compress(b"1\n" * (GIB // 8), 9, mtime=0),
    "nothing_but_zeros.zip": lambda: _archive({"a/1.png": bytes(GIB // 4)}),
    "zeros_that_lie.zip": _liar,
    "slip.zip": lambda: _archive({"../../a/1.png": b"x"}),
    "slip_from_the_root.zip": lambda: _archive({"/etc/1.png": b"x"}),
    "link.zip": _link,
    "pixels_for_3_gib.zip": lambda: _archive({"a/1.png": _picture(60_000)}),
    "shape_for_64_gib.npz": lambda: _array((8 * GIB, 1)),
    "objects.npz": _pickle,
    "million_brackets.json": _deep,
    "a_column_in_every_row.json": lambda: _keys(30_000),
    "million_columns.csv": lambda: b"a," * 1_000_000 + b"a\n" + b"1," * 1_000_000 + b"1\n",
    "million_quoted_columns.csv": lambda: b'"a",' * 1_000_000 + b"1\n" + b'"1",' * 1_000_000 + b"1\n",
    "quote_without_end.csv": lambda: b'a,b\n1,"' + b"x\n" * 32_000_000,
    "long_name.csv": lambda: b"a" * 4_000_000 + b",b\ninf,1\ninf,2\n",
    "long_words.csv": _words,
}
