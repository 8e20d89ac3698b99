"""A multipart form read as it comes, so that a file of gigabytes passes through and is never spooled."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

MOST_FIELD_BYTES = 1000
"""Of a field other than the file."""
FIELDS = frozenset({"file", "name"})
"""Each once; what is kept of a form ends with them."""


@dataclass
class Form:
    """`file` goes out in pieces; small fields are kept."""

    boundary: bytes
    fields: dict[str, str] = field(default_factory=dict)
    """Of other fields, complete once the file has been read."""
    filename: str | None = None
    """What the caller names the file; None until the field `file` has been seen."""
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _part: str = ""
    _complete: bool = False
    _ready: list[bytes] = field(default_factory=list)

    async def file(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The bytes of the field `file`.

        Raises:
            HTTPException: 400, the form is broken.
        """
        try:
            parser = self._parser()
            async for chunk in chunks:
                parser.write(chunk)
                for piece in self._ready:
                    yield piece
                self._ready.clear()
        except FormParserError:
            raise HTTPException(400, "The form is broken: check its boundary.") from None
        if not self._complete:  # the parser itself would take the first half of a file for the whole
            raise HTTPException(400, "The form ends before its last boundary.")

    def _parser(self) -> python_multipart.MultipartParser:
        return python_multipart.MultipartParser(
            self.boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_begin": self._header_begins,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_ends,
                "on_end": self._ends,
            },
        )

    def _part_begins(self) -> None:
        self._disposition, self._part = b"", ""

    def _header_begins(self) -> None:
        self._name, self._value = bytearray(), bytearray()

    def _header_ends(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part, self._value = options.get(b"name", b"").decode("utf-8", "replace"), bytearray()
        if self._part not in FIELDS:
            raise HTTPException(400, "The form has a field other than `file` and `name`.")
        if self._part in self.fields or (self._part == "file" and self.filename is not None):
            raise HTTPException(400, f"The form has the field `{self._part}` twice.")
        if self._part == "file":
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._ready.append(data[start:end])
        elif len(self._value) + end - start > MOST_FIELD_BYTES:
            raise HTTPException(400, f"A field of the form has more than {MOST_FIELD_BYTES} bytes.")
        else:
            self._value += data[start:end]

    def _part_ends(self) -> None:
        if self._part != "file":
            self.fields[self._part] = self._value.decode("utf-8", "replace")

    def _ends(self) -> None:
        self._complete = True
