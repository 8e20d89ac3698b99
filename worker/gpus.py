"""A GPU may be lost while a worker runs. Nothing that needs one is claimed then, until it is back."""

import threading

import structlog

from worker import children
from worker.place import Place

log = structlog.get_logger()

AGAIN = 30.0
"""Seconds between two looks for a GPU that was lost."""


def doubt(place: Place) -> None:
    """A child has found no GPU, or one that fails: until a look finds one, this worker has none."""
    if place.looking.acquire(blocking=False):
        place.gpus.clear()
        threading.Thread(target=_look, args=(place,), name="gpus", daemon=True).start()


def _look(place: Place) -> None:
    try:
        while not place.stopping and not _found(place):
            place.over.wait(AGAIN)
    finally:
        place.looking.release()


def _found(place: Place) -> bool:
    try:
        place.gpus[:] = children.equipped().gpus
    except Exception as error:  # a driver that fails ends the child; it may be mended by the next look
        log.warning("look_failed", error=type(error).__name__)
    log.warning("gpus_looked_for", found=list(place.gpus))
    return bool(place.gpus)
