"""Why a job that waits is not running, for people and programs."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session

from jobs import claims, waiting, workers
from jobs.leases import LONGEST_BACKOFF
from jobs.states import Status
from jobs.tables.jobs import Job
from jobs.tables.workers import Worker


class Reason(NamedTuple):
    """A stable code, and words."""

    code: str | None
    message: str | None


ASKED = {Status.PAUSING: "The run is being saved.", Status.CANCELLING: "The job's process is being stopped."}
"""What a worker has yet to do."""


class _Fleet(NamedTuple):
    """What waiting jobs wait for."""

    now: datetime
    alive: Sequence[Worker]
    """Workers that are heard of and take jobs."""
    busy: int
    """Their slots that are taken."""

    @property
    def slots(self) -> int:
        return sum(worker.slots for worker in self.alive)


def of(session: Session, jobs: Sequence[Job], places: Mapping[str, int]) -> dict[str, Reason]:
    """Why each of these jobs is where it is; `places` as `waiting.positions` has them."""
    queued = any(job.status is Status.QUEUED for job in jobs)
    fleet = _fleet(session) if queued else None
    return {job.id: _reason(job, places.get(job.id), fleet) for job in jobs}


def _fleet(session: Session) -> _Fleet:
    now = workers.now(session)
    alive = [one for one in workers.list_all(session) if workers.is_heard_of(one, now) and not one.drain_asked]
    held = workers.holdings(session)
    return _Fleet(now, alive, sum(len(held[one.name]) for one in alive if one.name in held))


def _reason(job: Job, place: int | None, fleet: _Fleet | None) -> Reason:
    if job.status in ASKED:
        return Reason(job.status, ASKED[job.status])
    if job.status is not Status.QUEUED or fleet is None:
        return Reason(job.status_code, job.status_message)
    if place is None:
        text = "The dataset is being read; the job is resolved when that is done."
        return Reason("dataset_profiling", text)
    wait = job.not_before - fleet.now
    if timedelta(0) < wait < timedelta(seconds=LONGEST_BACKOFF):
        if job.status_code == claims.NEWER:
            return Reason("newer_record", job.status_message)
        seconds = f"{wait.total_seconds():.0f} s"
        return Reason("backing_off", f"Attempt {job.attempt} was lost ({job.status_code}); the next waits {seconds}.")
    return _shortage(job, fleet) or _queue(place, fleet)


def _shortage(job: Job, fleet: _Fleet) -> Reason | None:
    """What keeps the job waiting however long, unless somebody adds a worker."""
    if not fleet.alive:
        return Reason("no_worker", "No worker takes jobs: start one, or end the drain of one.")
    if job.needs_gpu and not any(worker.gpus for worker in fleet.alive):
        return Reason("no_gpu", "The spec asks for a GPU, and no worker that takes jobs has one.")
    if all(int(worker.versions.get("spec", "0")) < job.spec_version for worker in fleet.alive):
        return Reason("newer_spec", f"Version {job.spec_version} of specs is newer than any worker knows: update one.")
    return None


def _queue(place: int, fleet: _Fleet) -> Reason:
    before = "1 job goes" if place == 1 else f"{place}{'+' if place == waiting.MOST else ''} jobs go"
    ahead = f"; {before} first" if place else ""
    if fleet.busy >= fleet.slots:
        return Reason("slots_busy", f"All {fleet.slots} slots are busy{ahead}.")
    return Reason("next_slot", f"A free slot takes it within seconds{ahead}.")
