"""Files in the artifact store that no row names: a crash between file and row, an attempt that had lost its job."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, states
from jobs.artifacts import Artifacts, Entry
from jobs.db import Database
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import File, Job

AGE = 86_400.0
"""Seconds after which a file without a row is an orphan: by then its writer has written the row, or never will."""
ENTRIES = 5000
"""Files that a step looks at."""
BATCH = 500
REST = 6 * 3600.0
"""Seconds between two ways through the store."""


@dataclass
class Sweep:
    """A way through the whole store, over many steps."""

    database: Database
    artifacts: Artifacts
    listing: Iterator[Entry] | None = None
    again_at: float = 0.0

    def step(self) -> int:
        """Looks at the next files; answers how many of them were removed."""
        entries = self._next()
        old: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            if entry.modified < time.time() - AGE:
                old[entry.path.partition("/")[0]].append(entry.path)
        jobs = [path for some in _batches(old["jobs"]) for path in self._of_jobs(some)]
        for path in jobs + old["uploads"]:
            self.artifacts.delete(path)
        return len(jobs + old["uploads"]) + sum(map(self._drop_datasets, _batches(old["datasets"])))

    def _next(self) -> Sequence[Entry]:
        """After a listing that breaks off, the next begins anew."""
        listing, self.listing = self.listing, None
        if listing is None:
            if time.monotonic() < self.again_at:
                return []
            listing = chain.from_iterable(map(self.artifacts.entries, ("jobs", "uploads", "datasets")))
        entries = list(islice(listing, ENTRIES))
        if len(entries) == ENTRIES:
            self.listing = listing
        else:
            self.again_at = time.monotonic() + REST
        return entries

    def _of_jobs(self, paths: Sequence[str]) -> Sequence[str]:
        """Those that no row names, of jobs that nobody holds."""
        jobs = {path: path.split("/")[1] for path in paths}
        with self.database.reading() as session:
            named = set(session.scalars(sa.select(File.path).where(File.job_id.in_(set(jobs.values())))))
            held = sa.select(Job.id).where(Job.id.in_(set(jobs.values())), Job.status.in_(states.HELD))
            busy = set(session.scalars(held))
        return [path for path, job_id in jobs.items() if path not in named and job_id not in busy]

    def _drop_datasets(self, paths: Sequence[str]) -> int:
        with self.database.reading() as session:
            unnamed = _unnamed(session, paths)
        return sum(drop_dataset(self.database, self.artifacts, path, AGE) for path in unnamed)


def drop_dataset(database: Database, artifacts: Artifacts, path: str, age: float | None = None) -> bool:
    """Removes a dataset's bytes if no row names them, and, given an age, if they are older; whether it did."""
    with database.writing() as session:
        db.alone(session, "content", _content(path))  # somebody may be sending them again, whose row is not yet seen
        gone = path in _unnamed(session, [path]) and (age is None or _is_older(artifacts, path, age))
        if gone:
            artifacts.delete(path)
    return gone


def _is_older(artifacts: Artifacts, path: str, age: float) -> bool:
    try:
        return artifacts.modified(path) < time.time() - age
    except FileNotFoundError:
        return False


def _unnamed(session: Session, paths: Sequence[str]) -> Sequence[str]:
    contents = map(_content, paths)
    named = set(session.scalars(sa.select(Dataset.path).where(Dataset.sha256.in_(contents))))
    return [path for path in paths if path not in named]


def _content(path: str) -> str:
    """SHA-256 of a dataset's bytes, by which they are stored."""
    return path.rpartition("/")[2]


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))
