"""Rows 24 and 26 of the fault matrix, at the database: owners, workers and reapers at one job in the same moment."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import claims, db, errors, leases, states, store
from jobs.record import Usage
from jobs.states import Status
from jobs.tables.jobs import Attempt, Event, Job

from .samples import RESOLVED, SPEC, created, file, found, running

STATUS_OF = {"started": Status.RUNNING, "requeued": Status.QUEUED} | {status.value: status for status in Status}
CROWDED = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.xdist_group("faults")]
"""Its ten processes leave no room for a fleet."""
Work = Callable[[Session, Job], object]

OWNERS: dict[str, Work] = {
    "cancel": lambda session, job: store.cancel(session, job.owner, job.id),
    "pause": lambda session, job: store.pause(session, job.owner, job.id),
    "resume": lambda session, job: store.resume(session, job.owner, job.id),
}
WORKERS: dict[str, Work] = {
    "claim": lambda session, job: claims.claim(session, "w2", 30),
    "finish": lambda session, job: finish(session, job, Status.SUCCEEDED),
    "release": lambda session, job: leases.release(session, job.id, job.attempt, "exit_1", counted=True),
    "keep": lambda session, job: leases.keep(session, job.id, job.attempt, file(job, job.id, id=job.id), 2),
    "reap": lambda session, job: [leases.reap(session, *held) for held in leases.held(session)],
}


def finish(session: Session, job: Job, status: Status) -> bool:
    return leases.finish(session, job.id, job.attempt, status, "It ended.", usage=Usage())


def beginning(database: db.Database, owner: str, worker: str) -> Job:
    """A job in a state in which both have something to do."""
    job = created(database) if worker == "claim" else running(database)
    if owner == "resume":
        with database.writing() as session:
            store.pause(session, job.owner, job.id)
    return job


def race(database: db.Database, threads: ThreadPoolExecutor, job: Job, *works: Work) -> None:
    """All at once, each in a transaction of its own."""
    barrier = Barrier(len(works))

    def run(work: Work) -> None:
        barrier.wait()
        try:
            with database.writing() as session:
                work(session, job)
        except errors.IllegalMove:
            return

    list(threads.map(run, works))


def see_through(database: db.Database, job: Job) -> None:
    """What workers and the owner do next, until the job has ended."""
    for _ in range(6):
        now = found(database, job)
        if now.status in states.TERMINAL:
            return
        with database.writing() as session:
            match now.status:
                case Status.QUEUED:
                    claims.claim(session, "w3", 30)
                case Status.RUNNING:
                    finish(session, now, Status.SUCCEEDED)
                case Status.PAUSING | Status.CANCELLING:
                    leases.release(session, now.id, now.attempt, "drained", counted=False)
                case Status.PAUSED:
                    store.resume(session, now.owner, now.id)


def faults(database: db.Database) -> Iterator[str]:
    """Jobs that are stuck, have not one end, moved where they may not, or whose attempts do not count from 1."""
    with database.reading() as session:
        jobs = session.execute(sa.select(Job.id, Job.status, Job.attempt)).all()
        kinds = grouped(session, sa.select(Event.job_id, Event.kind).order_by(Event.seq))
        ended = grouped(session, sa.select(Attempt.job_id, Attempt.n).where(Attempt.ended_at.is_not(None)))
    for job_id, now, attempt in jobs:
        path = [STATUS_OF[kind] for kind in kinds[job_id] if kind in STATUS_OF]
        if [status for status in path if status in states.TERMINAL] != [now]:
            yield f"{job_id} is {now} after {kinds[job_id]}"
        if any(after not in states.ALLOWED[before] for before, after in pairwise(path)):
            yield f"{job_id} moved {path}"
        if sorted(ended[job_id]) != list(range(1, attempt + 1)):
            yield f"{job_id} has not ended {attempt} attempts"


def grouped(session: Session, query: sa.Select[Any, Any]) -> dict[str, list[Any]]:
    """The second column by the first."""
    found: dict[str, list[Any]] = defaultdict(list)
    for key, value in session.execute(query):
        found[key].append(value)
    return found


@pytest.mark.parametrize("rounds", [3, pytest.param(67, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_row_24_whoever_comes_first_a_job_has_one_end(database: db.Database, rounds: int) -> None:
    with ThreadPoolExecutor(2) as threads:
        for owner, worker in product(OWNERS, WORKERS):
            for _ in range(rounds):
                job = beginning(database, owner, worker)
                race(database, threads, job, OWNERS[owner], WORKERS[worker])
                see_through(database, job)
    assert list(faults(database)) == []
    with database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == rounds * 15


def queue_up(database: db.Database, jobs: int) -> None:
    for _ in range(0, jobs, 50):
        with database.writing() as session:
            for _ in range(50):
                store.create(session, "ann", SPEC, RESOLVED)


@pytest.mark.parametrize("jobs", [50, *(pytest.param(many, marks=CROWDED) for many in (5_000, 50_000))])
def test_row_26_eight_workers_and_two_reapers_claim_nothing_twice(database: db.Database, jobs: int) -> None:
    queue_up(database, jobs)
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.jobs.claimants", url]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    claimed = Counter(tuple(claim) for claim in said["claims"])
    assert [claim for claim, times in claimed.items() if times > 1] == []
    assert Counter(said["finished"]).most_common(1)[0][1] == 1
    assert len({job for job, _ in claimed}) == len(said["finished"]) == jobs
    assert said["reaped"] > 0
    assert list(faults(database)) == []
