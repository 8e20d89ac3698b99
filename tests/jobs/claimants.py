"""`python -m tests.jobs.claimants URL`: workers that claim and finish jobs, and reapers, each a process, until all have
ended. Prints what they did as JSON."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from jobs import claims, db, leases, states
from jobs.record import Usage
from jobs.states import Status
from jobs.tables.jobs import Job
from worker.reconciler import Watch

WORKERS, REAPERS = 8, 2
LEASE = 1.0
"""Seconds."""
LOST = 7
"""One in so many first attempts ends without a word."""
Said = dict[str, list[Any]]


def over(database: db.Database) -> bool:
    """Whether all jobs have ended."""
    with database.reading() as session:
        return session.scalar(sa.select(Job.id).where(Job.status.not_in(states.TERMINAL)).limit(1)) is None


def work(database: db.Database, name: str) -> Said:
    """Takes jobs and finishes them."""
    said: Said = {"claims": [], "finished": [], "reaped": []}
    while True:
        with database.writing() as session:
            job = claims.claim(session, name, LEASE)
        if job is None:
            if over(database):
                return said
            time.sleep(0.05)
            continue
        said["claims"].append([job.id, job.attempt])
        if job.attempt == 1 and len(said["claims"]) % LOST == 0:
            continue
        with database.writing() as session:
            done = leases.finish(session, job.id, job.attempt, Status.SUCCEEDED, "It ended.", usage=Usage())
        said["finished"] += [job.id] if done else []


def reap(database: db.Database, name: str) -> Said:
    """Gives back what is not renewed."""
    said: Said = {"claims": [], "finished": [], "reaped": []}
    watch = Watch(LEASE)
    while not over(database):
        with database.reading() as session:
            held = leases.held(session)
        for job_id, attempt, until in watch.silent(held, time.monotonic()):
            with database.writing() as session:
                if leases.reap(session, job_id, attempt, until):
                    said["reaped"].append(job_id)
        time.sleep(LEASE / 10)
    return said


def forked(act: Callable[[db.Database, str], Said], url: str, name: str, folder: Path) -> int:
    """A process that does this and writes down what came of it; its id."""
    pid = os.fork()
    if pid:
        return pid
    (folder / name).write_text(json.dumps(act(db.connect(url), name)))
    os._exit(0)


def main(url: str) -> dict[str, Any]:
    """What all did together."""
    began = time.monotonic()
    with TemporaryDirectory() as path:
        folder = Path(path)
        crew = [forked(work, url, f"w{number}", folder) for number in range(WORKERS)]
        crew += [forked(reap, url, f"r{number}", folder) for number in range(REAPERS)]
        exits = [os.waitpid(pid, 0)[1] for pid in crew]
        assert not any(exits), exits
        said = [json.loads(file.read_text()) for file in folder.iterdir()]
    together = {name: [done for one in said for done in one[name]] for name in ("claims", "finished")}
    return {**together, "reaped": sum(len(one["reaped"]) for one in said), "seconds": time.monotonic() - began}


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout)
