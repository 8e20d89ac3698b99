"""Files: datasets, checkpoints, results. A local folder or an S3-compatible store, by URL."""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

CHUNK = 1024 * 1024
STAGED = re.compile(r"#\d+$")
"""How a local store names a file that is still being written."""


class Entry(NamedTuple):
    """A file in the store."""

    path: str
    modified: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Artifacts:
    """Where files live. A put is all or nothing and is on disk when it returns."""

    store: ObjectStore
    root: Path | None
    """The folder of a local store."""

    def put(self, path: str, source: Path) -> None:
        """Stores a file under a key of ours."""
        obstore.put(self.store, path, source)
        self._settle(path)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> tuple[int, str]:
        """Stores a stream as it comes; answers its length in bytes and its SHA-256."""
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        await obstore.put_async(self.store, path, counted())
        await asyncio.to_thread(self._settle, path)
        return size, digest.hexdigest()

    def move(self, source: str, target: str) -> None:
        """Gives a file another key, over what may be there."""
        obstore.rename(self.store, source, target)
        self._settle(target)

    def copy(self, source: str, target: str) -> None:
        """Gives a file a second key, over what may be there."""
        if self.root:
            self.put(target, self.root / source)
        else:
            obstore.copy(self.store, source, target)

    def fetch(self, path: str, target: Path) -> None:
        """Copies a file to a local path.

        Raises:
            FileNotFoundError: there is none under this key.
        """
        found = obstore.get(self.store, path)
        with target.open("wb") as file:
            for chunk in found.stream(min_chunk_size=CHUNK):
                file.write(chunk)

    def read(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to but without `end`, in chunks.

        Raises:
            FileNotFoundError: there is none under this key.
        """
        size = obstore.head(self.store, path)["size"]
        end = size if end is None else min(end, size)
        for offset in range(start, end, CHUNK):
            yield bytes(obstore.get_range(self.store, path, start=offset, end=min(offset + CHUNK, end)))

    def delete(self, path: str) -> None:
        """Removes a file; one that is not there is gone already."""
        if self.root and STAGED.search(path):
            (self.root / path).unlink(missing_ok=True)
            return
        try:
            obstore.delete(self.store, path)
        except FileNotFoundError:
            return

    def drop(self, path: str) -> None:
        """Removes a file if the store lets it; what stays behind is an orphan, and removed as one."""
        with suppress(obstore.exceptions.BaseError):
            self.delete(path)

    def delete_all(self, folder: str) -> None:
        """Removes every file below a folder, also one that no row speaks of."""
        for page in obstore.list(self.store, folder):
            obstore.delete(self.store, [item["path"] for item in page])

    def entries(self, folder: str) -> Iterator[Entry]:
        """Every file below a folder, listed as one goes on; also what a crash left half-written."""
        if self.root:
            for file, modified in _below(self.root / folder):
                yield Entry(file.relative_to(self.root).as_posix(), modified)
            return
        for page in obstore.list(self.store, folder, chunk_size=1000):
            for item in page:
                yield Entry(item["path"], item["last_modified"].timestamp())

    def has_room(self, least: int) -> bool:
        """Whether more than so many bytes are free; of a remote store that is not known, and taken for granted."""
        return self.root is None or shutil.disk_usage(self.root).free > least

    def _settle(self, path: str) -> None:
        """Makes a local file outlive a power cut: its bytes, then its name."""
        if self.root is None:
            return
        file = self.root / path
        for place in (file, *file.parents[: len(Path(path).parts)]):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def connect(url: str) -> Artifacts:
    """The store behind `file:///path` or `s3://bucket/prefix`."""
    if url.startswith("file:"):
        root = Path(url2pathname(urlsplit(url).path))
        root.mkdir(parents=True, exist_ok=True)
        return Artifacts(LocalStore(root, mkdir=True, automatic_cleanup=True), root)
    return Artifacts(from_url(url), None)


def _below(folder: Path) -> Iterator[tuple[Path, float]]:
    """Files and when they were last written; what goes away meanwhile may be left out."""
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry.path))
            else:
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat().st_mtime


def sha256(path: Path) -> str:
    """Of a local file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
