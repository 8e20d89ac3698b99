"""What a worker has: settings, database, artifacts, slots, equipment; and whether it is to stop."""

import os
import queue
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from celery.worker import state

from jobs import artifacts, db
from jobs.artifacts import Artifacts
from jobs.db import Database
from jobs.settings import Settings
from worker.holds import Hold


class Gone(Exception):
    """The artifact store has not, or no longer, the bytes of a dataset that it was given."""


@dataclass(eq=False)
class Pulse:
    """When the database last took a word of this worker, in seconds of a clock that never jumps."""

    at: float = field(default_factory=time.monotonic)
    felt: bool = False
    """Whether it has taken any."""


@dataclass(frozen=True)
class Place:
    """Shared by all threads of one worker process."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    gpus: list[str] = field(default_factory=list)
    """Their names; slots take them in turn. None while those there were are lost."""
    slots: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue, repr=False)
    """Numbers of the free ones: one per job that may run at a time."""
    holds: set[Hold] = field(default_factory=set, repr=False)
    """On its jobs; the heartbeat renews their leases."""
    reading: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by the one thread that reads uploads."""
    looking: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by the one thread that looks for lost GPUs."""
    resolving: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by the one thread that resolves jobs which waited for a dataset."""
    pulse: Pulse = field(default_factory=Pulse, repr=False)
    drain_asked: threading.Event = field(default_factory=threading.Event, repr=False)
    over: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when the process ends for a reason of its own."""

    @property
    def stopping(self) -> bool:
        """Whether this process ends. Celery sets its values to an exit code, and 0 is one."""
        return self.over.is_set() or state.should_stop is not None or state.should_terminate is not None

    @property
    def draining(self) -> bool:
        """Whether this worker saves and hands back what it runs and takes nothing: it stops, or was asked to."""
        return self.stopping or self.drain_asked.is_set()

    @property
    def scratch(self) -> Path:
        """A folder of this worker alone."""
        return self.settings.scratch / self.settings.worker_name

    @property
    def threads(self) -> int:
        """Cores for each slot: one thread too many costs more than one too few."""
        return self.settings.threads or max(1, _cores() // self.settings.slots)

    @property
    def has_room(self) -> bool:
        """Whether the disks under scratch files, artifacts and database can take what a job writes."""
        self.settings.scratch.mkdir(parents=True, exist_ok=True)
        least = self.settings.least_free_bytes
        here = shutil.disk_usage(self.settings.scratch).free > least
        return here and self.artifacts.has_room(least) and self.database.has_room(least)

    def local(self, path: str, sha256: str) -> Path:
        """A local copy of a dataset's bytes, fetched once.

        Raises:
            Gone: they are not there, or not those that were stored.
        """
        copy = self.settings.scratch / "datasets" / sha256
        try:
            os.utime(copy)  # a copy that was touched lately is not tidied away
        except FileNotFoundError:
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(f"{sha256}.{os.getpid()}.{threading.get_ident()}.partial")
            try:
                self._fetch(path, partial, sha256)
                partial.rename(copy)
            finally:
                partial.unlink(missing_ok=True)  # a disk that it does not fit on has its room again
        return copy

    def _fetch(self, path: str, target: Path, sha256: str) -> None:
        try:
            self.artifacts.fetch(path, target)
        except FileNotFoundError as error:
            raise Gone("A dataset's bytes are not in the artifact store any more.") from error
        if artifacts.sha256(target) != sha256:
            raise Gone("A dataset's bytes in the artifact store are damaged.")
        with target.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut may leave the name and not the bytes


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def open_(settings: Settings, gpus: list[str]) -> Place:
    """Connects to everything; nothing is written yet."""
    place = Place(settings, db.connect(settings.database), artifacts.connect(settings.artifacts), gpus)
    for number in range(settings.slots):
        place.slots.put(number)
    return place
