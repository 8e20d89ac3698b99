"""Files in the artifact store that no row names: a crash between file and row, an attempt that had lost its job."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import sqlalchemy as sa

from jobs import states
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
        gone = old["uploads"]
        for folder, unnamed in (("jobs", self._of_jobs), ("datasets", self._of_datasets)):
            gone += chain.from_iterable(map(unnamed, _batches(old[folder])))
        for path in gone:
            self.artifacts.delete(path)
        return len(gone)

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

    def _of_datasets(self, paths: Sequence[str]) -> Sequence[str]:
        """Those that no row names; none ever will, whoever sends the same bytes (`Intake.keep`)."""
        contents = [path.rpartition("/")[2] for path in paths]
        with self.database.reading() as session:
            named = set(session.scalars(sa.select(Dataset.path).where(Dataset.sha256.in_(contents))))
        return [path for path in paths if path not in named]


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))
