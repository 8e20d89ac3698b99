"""What makes lost messages and lost workers harmless: looks for work unasked, takes back what is not renewed."""

import threading
import time
from dataclasses import dataclass, field

import structlog

from jobs import db, leases, workers
from jobs.leases import Held
from worker import slots
from worker.place import Place

log = structlog.get_logger()

TICK = 2.0
"""Seconds between two rounds, at most. Many workers may make them at once."""


def start(place: Place) -> threading.Thread:
    """Runs rounds until the worker stops."""
    thread = threading.Thread(target=_rounds, args=(place,), name="reconciler", daemon=True)
    thread.start()
    return thread


def _rounds(place: Place) -> None:
    watch = Watch(place.settings.lease_seconds)
    pause = min(TICK, watch.lease / 10)
    while not place.stopping:
        try:
            obey(place)
            slots.look(place)
            reap(place, watch)
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)
            watch.forget()
        except Exception:  # a round that fails must not be the last one
            log.exception("reconciler_failed")
        time.sleep(pause)


def obey(place: Place) -> None:
    """Drains, or ends a drain, as was asked."""
    with place.database.reading() as session:
        asked = workers.drain_asked(session, place.settings.worker_name)
    if asked != place.drain_asked.is_set():
        log.info("drain_asked" if asked else "drain_over")
        (place.drain_asked.set if asked else place.drain_asked.clear)()


@dataclass
class Watch:
    """Sees leases expire without a common clock: one that has not changed for its own length has run out.

    Of the time between two looks at most a quarter of a lease counts: what froze or slowed this process may have done
    so to the holders, too. After an outage of the database they get a whole lease to renew.
    """

    lease: float
    seen: dict[Held, float] = field(default_factory=dict)
    """The held jobs, each by the time that counted until it was first seen so."""
    looked_at: float = 0.0
    counted: float = 0.0

    def silent(self, held: set[Held], now: float) -> list[Held]:
        """Of the held jobs, those whose workers have been silent; `now` in seconds of a clock that never jumps."""
        self.counted += min(now - self.looked_at, self.lease / 4)
        self.looked_at = now
        self.seen = {one: self.seen.get(one, self.counted) for one in held}
        return [one for one, since in self.seen.items() if self.counted - since > self.lease]

    def skip(self, now: float) -> None:
        """The time since the last look does not count."""
        self.looked_at = now

    def forget(self) -> None:
        """Begins anew."""
        self.seen = {}


def reap(place: Place, watch: Watch) -> None:
    """Gives jobs whose lease has run out back to the queue, each by a transaction of its own."""
    if time.monotonic() - place.pulse.at > watch.lease / 2:  # others may be silent for the reason that this one is
        return watch.skip(time.monotonic())
    with place.database.reading() as session:
        held = leases.held(session)
    for job_id, attempt, until in watch.silent(held, time.monotonic()):
        with place.database.writing() as session:
            reaped = leases.reap(session, job_id, attempt, until)
        if reaped:
            log.warning("lease_expired", job_id=job_id, attempt=attempt)
