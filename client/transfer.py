"""Files on their way up and down."""

import hashlib
from pathlib import Path

from client import errors, http

ATTEMPTS = 5


def upload(wire: http.Wire, url: str, data: str | Path | bytes, name: str | None) -> bytes:
    """The answer to a multipart upload; a file is streamed, never read whole."""
    if isinstance(data, bytes):
        if name is None:
            raise ValueError("bytes need a name whose suffix tells their format, such as rows.csv")
        return wire.send("POST", url, files={"file": (name, data)}).content
    with Path(data).open("rb") as file:
        return wire.send("POST", url, files={"file": (name or Path(data).name, file)}).content


def download(wire: http.Wire, url: str, sha256: str, to: Path) -> Path:
    """Fetches into `to`, by way of `to` + `.part`, which a later call goes on from."""
    part = to.with_name(to.name + ".part")
    to.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _append(wire, url, part)
        except errors.Unreachable:
            if attempt == ATTEMPTS:
                raise
            continue
        if _sha256(part) == sha256:
            return part.replace(to)
        part.unlink()
    raise errors.Damaged(f"{to.name} never arrived with the promised SHA-256")


def _append(wire: http.Wire, url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with wire.stream("GET", url, headers=headers) as response, part.open("ab") as file:
            if response.status_code != 206:
                file.truncate(0)
            for block in response.iter_bytes():
                file.write(block)
    except errors.ApiError as error:
        if error.status != 416:  # nothing behind what is there: it may be whole
            raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
