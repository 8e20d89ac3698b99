"""A slot that is free takes work: when it is rung for, and by itself, so that no lost message matters."""

import queue
import threading
from collections.abc import Callable

import structlog

from jobs import claims, datasets, unresolved
from worker import profiling, training
from worker.place import Place

log = structlog.get_logger()

WORK = ("train", "read", "resolve")
"""Names of the threads that work without Celery."""


def train(place: Place) -> None:
    """Works in a free slot on the best jobs until none is left or the worker drains; without a free one, not at all."""
    try:
        slot = place.slots.get_nowait()
    except queue.Empty:
        return
    try:
        while not place.draining and _has_room(place) and training.train_next(place, slot):
            continue
    finally:
        place.slots.put(slot)


def read(place: Place) -> None:
    """Reads uploaded files, one at a time, until none is left or the worker drains."""
    if not place.reading.acquire(blocking=False):
        return
    try:
        while not place.draining and _has_room(place) and profiling.read_next(place):
            look(place)  # the file's jobs may have waited for it
    finally:
        place.reading.release()


def resolve(place: Place) -> None:
    """Resolves jobs that waited for a file, until none is left or the worker drains."""
    if not place.resolving.acquire(blocking=False):
        return
    try:
        while not place.draining and unresolved.resolve(place.database, place.settings.allowance):
            look(place)  # there may be a slot for one of them
    finally:
        place.resolving.release()


def look(place: Place) -> None:
    """Starts what there is to do, as far as slots are free. Called every few seconds, it makes up for any broker."""
    if place.draining:
        return
    with place.database.reading() as session:
        jobs = not place.slots.empty() and claims.any_ready(session, gpu=bool(place.gpus))
        files = not place.reading.locked() and datasets.any_unread(session)
        left = not place.resolving.locked() and unresolved.any_left(session)
    for _ in range(place.slots.qsize() if jobs else 0):
        _start(train, place)
    if files:
        _start(read, place)
    if left:
        _start(resolve, place)


def _start(work: Callable[[Place], None], place: Place) -> None:
    # Not a daemon: a process that stops waits for it, as Celery does for its own threads.
    threading.Thread(target=_guarded, args=(work, place), name=work.__name__).start()


def _guarded(work: Callable[[Place], None], place: Place) -> None:
    try:
        work(place)
    except Exception as error:  # the database is away, say: the next look tries again
        log.warning("work_failed", work=work.__name__, error=type(error).__name__)


def _has_room(place: Place) -> bool:
    if not place.has_room:
        log.warning("disk_full", least_free_bytes=place.settings.least_free_bytes)
        return False
    return True
