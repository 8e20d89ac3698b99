"""Says every few seconds that the worker lives, and renews the leases of all that it holds, whatever else is slow."""

import threading
import time

import structlog

from jobs import db, leases, workers
from jobs.workers import Equipment
from worker.place import Place

log = structlog.get_logger()

AGAIN = 1.0
"""Seconds until the next try when the database is away."""


def start(place: Place, equipment: Equipment, asleep: threading.Event) -> threading.Thread:
    """Beats until `asleep` is set, through a drain to its end; then the worker is gone from the list."""
    thread = threading.Thread(target=_beats, args=(place, equipment, asleep), name="heartbeat", daemon=True)
    thread.start()
    return thread


def _beats(place: Place, equipment: Equipment, asleep: threading.Event) -> None:
    pause = 0.0
    while not asleep.wait(pause):
        try:
            beat(place, equipment)
            pause = place.settings.heartbeat_seconds
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)
            pause = AGAIN
        except Exception:  # a beat that fails must not be the last one
            log.exception("heartbeat_failed")
            pause = AGAIN


def beat(place: Place, equipment: Equipment) -> None:
    """One round: the worker's row, then every lease. The first of a process replaces what one of its name, that died
    without a word, has left: a drain that was asked of that one, too."""
    holds = list(place.holds)
    began = time.monotonic()
    with place.database.writing() as session:
        name = place.settings.worker_name
        if not place.pulse.felt or workers.beat(session, name, equipment.gpus) is None:
            workers.arrive(session, name, equipment)
        lease = place.settings.lease_seconds
        answers = [leases.renew(session, hold.job.id, hold.job.attempt, lease) for hold in holds]
    place.pulse.at, place.pulse.felt = began, True
    for hold, status in zip(holds, answers, strict=True):
        hold.renewed(status, began)
