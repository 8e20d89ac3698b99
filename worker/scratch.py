"""The scratch folder of a machine: what attempts left behind, and local copies of datasets."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from jobs import states
from jobs.tables.jobs import Job
from worker.place import Place

FOLDER = re.compile(r"(job_\w+)-a(\d+)")
IN_USE = 3600.0
"""Seconds for which whatever was touched is left alone: a child may have been told of it and not have opened it yet."""
UNUSED = 7 * 86_400.0
"""Seconds after which a copy of a dataset goes."""


def clear_attempts(place: Place) -> int:
    """Removes the folders of attempts that nobody holds any more; answers how many."""
    left = {folder: _attempt(folder) for folder in place.settings.scratch.glob("*/job_*-a*") if _idle(folder) > IN_USE}
    with place.database.reading() as session:
        of_these = Job.id.in_({job_id for job_id, _ in left.values()})
        query = sa.select(Job.id, Job.attempt).where(of_these, Job.status.in_(states.HELD))
        held = {(row.id, row.attempt) for row in session.execute(query)}
    gone = [folder for folder, attempt in left.items() if attempt not in held]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)


def clear_earlier(place: Place, job: Job) -> None:
    """Removes what attempts before this one left on this machine; one that still runs is fenced, and fails."""
    for folder in place.settings.scratch.glob(f"*/{job.id}-a*"):
        if _attempt(folder)[1] < job.attempt:
            shutil.rmtree(folder, ignore_errors=True)


def trim_datasets(place: Place) -> int:
    """Removes copies of datasets that nobody has used for long, or that there is no room for; answers how many. A child
    that has one open reads on."""
    room, gone = place.settings.scratch_bytes, 0
    for copy, idle, size in sorted(_copies(place.settings.scratch / "datasets"), key=lambda found: found[1]):
        room -= size
        if idle > IN_USE and (idle > UNUSED or room < 0 or copy.suffix == ".partial"):
            copy.unlink(missing_ok=True)
            room += size
            gone += 1
    return gone


def _attempt(folder: Path) -> tuple[str, int]:
    parts = FOLDER.fullmatch(folder.name)
    return (parts[1], int(parts[2])) if parts else ("", 0)


def _idle(path: Path) -> float:
    """Seconds since it was touched."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _copies(folder: Path) -> Iterator[tuple[Path, float, int]]:
    for copy in folder.glob("*"):
        with suppress(FileNotFoundError):
            found = copy.stat()
            yield copy, time.time() - found.st_mtime, found.st_size
