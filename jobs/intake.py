"""Datasets on their way into the store: watched as they come, so that what will be refused at its end does not fill the
disk before."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from jobs import datasets, db, errors, ids, quotas
from jobs.artifacts import Artifacts
from jobs.settings import Settings

log = structlog.get_logger()

Row = TypeVar("Row")

EVERY = 4 * 1024**2
"""Bytes of one dataset between two looks at what is left for it."""


@dataclass(eq=False)
class _Coming:
    owner: str
    size: int = 0


@dataclass(frozen=True)
class Intake:
    """Lets datasets in as long as there is room on the disk and in what their owner may store."""

    database: db.Database
    artifacts: Artifacts
    settings: Settings
    coming: list[_Coming] = field(default_factory=list)
    """All that are on their way through this process."""

    async def put(self, owner: str, key: str, chunks: AsyncIterator[bytes]) -> tuple[int, str]:
        """Stores a stream as it comes; answers its length in bytes and its SHA-256.

        Raises:
            NoRoom: the disk is nearly full.
            LimitReached: the owner's datasets, and those on their way, would have more bytes together than they may.
        """
        one = _Coming(owner)
        self.coming.append(one)
        try:
            return await self.artifacts.put_stream(key, self._watched(one, chunks))
        finally:
            self.coming.remove(one)

    def keep(self, owner: str, key: str, sha256: str, write: Callable[[Session, str], Row]) -> Row:
        """Gives a file that came under `key` the key that it stays under, and has `write` name that in a row, in the
        owner's turn; answers what `write` does: something true, if it did. The file may stay under its old key, too.

        No transaction is open while the store works, which may take minutes. Equal bytes share a file, and it is
        written anew: it may be lost, or damaged. A key that no row names is never named again, but by whoever has just
        made it up; so it needs no lock to remove what is there, however late.
        """
        with self.database.reading() as session:
            shared = datasets.path_of(session, sha256)
        if shared:
            self.artifacts.copy(key, shared)
            with self.database.writing() as session:
                quotas.in_turn(session, owner)
                if datasets.pin(session, sha256, shared):
                    return write(session, shared)
        return self._keep_apart(owner, key, f"datasets/{ids.new('up')}/{sha256}", write)

    def _keep_apart(self, owner: str, key: str, path: str, write: Callable[[Session, str], Row]) -> Row:
        self.artifacts.move(key, path)
        named = False
        try:
            with self.database.writing() as session:
                quotas.in_turn(session, owner)
                row = write(session, path)
                named = bool(row)  # or may be: a commit that fails may have been made
            return row
        finally:
            if not named:
                self.artifacts.drop(path)

    async def _watched(self, one: _Coming, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left, again = self.settings.max_stored_bytes, 0
        async for chunk in chunks:
            one.size += len(chunk)
            if one.size >= again or self._size(one.owner) > left:
                try:
                    left, again = await asyncio.to_thread(self._left, one.owner), one.size + EVERY
                except db.AWAY as error:  # asked again with the next bytes; it has the last word
                    log.warning("database_away", error=type(error).__name__)
                if self._size(one.owner) > left:
                    raise quotas.full(self.settings.max_stored_bytes)
            yield chunk

    def _size(self, owner: str) -> int:
        return sum(one.size for one in list(self.coming) if one.owner == owner)

    def _left(self, owner: str) -> int:
        if not self.artifacts.has_room(self.settings.least_free_bytes):
            raise errors.NoRoom
        with self.database.reading() as session:
            return self.settings.max_stored_bytes - quotas.stored(session, owner)
