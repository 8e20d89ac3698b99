"""From the bytes of a text file to its characters."""

import re

from jobs.errors import DataInvalid

_MARKS_16 = (b"\xff\xfe", b"\xfe\xff")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_JAPANESE = re.compile(r"[\u3000-\u9fff]{2,}")


def decode(content: bytes) -> tuple[str, tuple[str, ...]]:
    """UTF-8, with or without a byte order mark; UTF-16 with one; Shift-JIS where that makes words; else Latin-1.

    Beside the text: what a person should know of the guess.
    """
    if content.startswith(_MARKS_16):
        content = _from_16(content)
    _refuse_binary(content)
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    japanese = _shift_jis(content)
    name, text = ("Latin-1", content.decode("latin-1")) if japanese is None else ("Shift-JIS", japanese)
    return text, (f"The file is not UTF-8 (line {line}); it was read as {name}.",)


def _from_16(content: bytes) -> bytes:
    try:
        return content.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        raise DataInvalid(
            f"The file starts as UTF-16 text and breaks at byte {error.start}: save it as UTF-8."
        ) from error


def _refuse_binary(content: bytes) -> None:
    if found := _BINARY.search(content):
        line = content.count(b"\n", 0, found.start()) + 1
        raise DataInvalid(
            f"The file is no text, line {line} holds the control byte 0x{found[0].hex()}: "
            "send delimited text (as UTF-16 only with its byte order mark), Parquet, NPZ, or a zip of images in class "
            "folders."
        )


def _shift_jis(content: bytes) -> str | None:
    """Nearly any accented Latin letter and its neighbour make one character of Shift-JIS too, but it stands alone; kana
    and kanji come in runs."""
    try:
        text = content.decode("shift_jis")
    except UnicodeDecodeError:
        return None
    in_words = sum(len(run) for run in _JAPANESE.findall(text))
    return text if 2 * in_words > len(_FOREIGN.findall(text)) else None
