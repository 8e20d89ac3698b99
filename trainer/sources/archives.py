"""Zip archives: which members count, and whether they may be opened. Nothing is ever unpacked to disk."""

import stat
import zipfile
from pathlib import PurePosixPath

from jobs.errors import DataInvalid
from trainer.sources.content import MAX_BYTES

MAX_MEMBERS = 1_000_000
MAX_RATIO = 200
"""A member of over a megabyte that shrinks by more than this is a bomb; arrays, which may be all zeros, excepted."""

_MEGABYTE = 1 << 20


def members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive in its order, without folders, hidden files and what macOS adds; each safe to open."""
    found = [info for info in archive.infolist() if not (info.is_dir() or _hidden(info))]
    if len(found) > MAX_MEMBERS:
        raise DataInvalid(f"The archive has {len(found):,} files, and at most {MAX_MEMBERS:,} are read: send fewer.")
    if sum(info.file_size for info in found) > MAX_BYTES:
        raise DataInvalid(f"The archive unpacks to more than {MAX_BYTES >> 30} GiB: send less.")
    for info in found:
        _refuse_trap(info)
    return found


def _hidden(info: zipfile.ZipInfo) -> bool:
    return any(part == "__MACOSX" or part.startswith(".") and part != ".." for part in _parts(info))


def _parts(info: zipfile.ZipInfo) -> tuple[str, ...]:
    return PurePosixPath(info.filename.replace("\\", "/")).parts


def _refuse_trap(info: zipfile.ZipInfo) -> None:
    parts = _parts(info)
    if ".." in parts or parts[0].endswith(("/", ":")):
        raise DataInvalid(f"'{info.filename}' points out of the archive: use plain relative names.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataInvalid(f"'{info.filename}' is a link: put the file itself into the archive.")
    if info.flag_bits & 1:
        raise DataInvalid(f"'{info.filename}' is encrypted: send an archive without a password.")
    if _bomb(info):
        raise DataInvalid(
            f"'{info.filename}' unpacks to {info.file_size:,} bytes from {info.compress_size:,}: that is a bomb."
        )


def most_unpacked(packed: int) -> int:
    """Bytes that so many packed ones may become."""
    return min(MAX_BYTES, max(_MEGABYTE, MAX_RATIO * packed))


def _bomb(info: zipfile.ZipInfo) -> bool:
    return info.file_size > most_unpacked(info.compress_size) and not info.filename.endswith(".npy")
