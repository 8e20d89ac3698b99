"""What a worker has: settings, database, artifacts, slots."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from celery.worker import state

from jobs import artifacts, db
from jobs.artifacts import Artifacts
from jobs.db import Database
from jobs.settings import Settings


@dataclass(frozen=True)
class Place:
    """Shared by all threads of one worker process."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    slots: threading.Semaphore = field(repr=False)
    """One per job that may run at a time."""

    @property
    def scratch(self) -> Path:
        """A folder of this worker alone."""
        return self.settings.scratch / self.settings.worker_name

    @property
    def threads(self) -> int:
        """Cores for each slot: one thread too many costs more than one too few."""
        return max(1, (os.cpu_count() or 1) // self.settings.slots)

    def local(self, path: str, sha256: str) -> Path:
        """A local copy of a dataset's bytes, fetched once."""
        copy = self.settings.scratch / "datasets" / sha256
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(f"{sha256}.{threading.get_ident()}.partial")
            self.artifacts.fetch(path, partial)
            partial.rename(copy)
        return copy


def open_(settings: Settings) -> Place:
    """Connects to everything; nothing is written yet."""
    store = artifacts.connect(settings.artifacts)
    return Place(settings, db.connect(settings.database), store, threading.Semaphore(settings.slots))


def draining() -> bool:
    """Whether this worker was asked to stop. Celery sets the value to an exit code, and 0 is one."""
    return state.should_stop is not None or state.should_terminate is not None
