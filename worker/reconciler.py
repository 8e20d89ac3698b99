"""What makes lost messages and lost workers harmless: rings again for what waits, takes back what is not renewed."""

import threading
import time

import structlog
from sqlalchemy.exc import OperationalError

from jobs import datasets, leases, queue
from worker.place import Place, draining

log = structlog.get_logger()

TICK = 2.0
"""Seconds between two rounds. Many workers may make them at once."""


def start(place: Place) -> threading.Thread:
    """Runs rounds until the worker drains."""
    thread = threading.Thread(target=_rounds, args=(place,), name="reconciler", daemon=True)
    thread.start()
    return thread


def _rounds(place: Place) -> None:
    connected_since = time.monotonic()
    while not draining():
        try:
            ring(place)
            # After an outage every lease looks expired: their holders get one lease's time to renew.
            if time.monotonic() - connected_since > place.settings.lease_seconds:
                reap(place)
        except OperationalError as error:
            log.warning("database_away", error=str(error.orig))
            connected_since = time.monotonic()
        except Exception:  # a round that fails must not be the last one
            log.exception("reconciler_failed")
        time.sleep(TICK)


def ring(place: Place) -> None:
    """Hints again for jobs and datasets that nobody has taken."""
    with place.database.writing() as session:
        jobs = leases.to_hint(session, limit=2 * place.settings.slots)
        unread = datasets.to_hint(session, limit=4)
    for id in jobs:
        queue.ring(queue.TRAIN, id)
    for id in unread:
        queue.ring(queue.READ, id)


def reap(place: Place) -> None:
    """Gives jobs whose lease has expired back to the queue."""
    with place.database.writing() as session:
        for job_id, attempt in leases.expired(session):
            if leases.release(session, job_id, attempt, "lease_expired", counted=True):
                log.warning("lease_expired", job_id=job_id, attempt=attempt)
