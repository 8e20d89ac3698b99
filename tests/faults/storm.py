"""Faults at random moments, planned by a seed: the same seed gives the same kinds at the same times."""

import json
import os
import random
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from client import errors
from jobs import states
from jobs.tables.jobs import File, Job
from tests.faults.test_brokers import forged
from tests.fleet import Fleet

EVERY = 6.0
"""Seconds between two faults, on average."""
PLANS = [
    *(f"checkpoint.{place}:kill:5" for place in ("written", "synced", "renamed")),
    *(f"{place}:kill:3" for place in ("file.put", "file.stored", "file.committed", "claim.committed")),
    *(f"finish.{place}:kill:2" for place in ("begun", "committed")),
    *(f"{place}:eio:4" for place in ("checkpoint.written", "file.put")),
    *(f"{place}:sleep6:4" for place in ("checkpoint.written", "file.put")),
]
"""What a worker, or a child of it, meets once."""
LONGEST = 10.0
"""Seconds that a freeze, a lock, a pause or a drain lasts at most: more than two leases."""


class Fault(NamedTuple):
    """What is to happen."""

    at: float
    """Seconds from the beginning."""
    kind: str
    pick: float
    """In [0, 1): which of those whom it could hit."""
    length: float
    """Seconds."""


class Hit(NamedTuple):
    """A job whose attempt a fault has ended, or may have."""

    job_id: str
    at: float
    """Seconds since 1970."""


def plan(seed: int, seconds: float) -> Iterator[Fault]:
    """The faults of one storm, in order."""
    rng, at = random.Random(seed), 0.0
    while (at := at + rng.expovariate(1 / EVERY)) < seconds:
        (kind,) = rng.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
        yield Fault(round(at, 2), kind, round(rng.random(), 6), round(rng.uniform(0.2, LONGEST), 2))


@dataclass
class Storm:
    """Strikes a fleet, and remembers whom it hit."""

    fleet: Fleet
    log: TextIO
    cancelled: set[str] = field(default_factory=set)
    """Jobs whose end somebody has asked for."""
    hits: list[Hit] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    planned: dict[str, dict[str, str]] = field(default_factory=dict)
    """Environments of parts that are about to be started again."""
    over: threading.Event = field(default_factory=threading.Event)
    """Ends whatever lasts."""

    def strike(self, fault: Fault) -> None:
        """Makes it happen, to its end, and writes it down."""
        began = time.time()
        try:
            what = KINDS[fault.kind][1](self, fault)
        except (OSError, redis.RedisError, SQLAlchemyError, errors.ClientError) as error:
            what = f"nothing: {type(error).__name__}"  # another fault was there first
        self.counts[fault.kind] += not what.startswith("nothing")
        self.write(time=round(began, 3), **fault._asdict(), hit=what)

    # --- whom

    def worker(self, pick: float) -> str:
        """One that runs."""
        names = sorted(name for name in self.fleet.parts if name.startswith("worker") and self.fleet.is_alive(name))
        return str(chosen(names, pick))

    def worker_pid(self, pick: float) -> int:
        """Of one that runs."""
        return self.fleet.parts[self.worker(pick)].pid

    def children(self, worker: int) -> list[int]:
        """Of one worker: the fork server stands between."""
        return [pid for pid in self.fleet.children() if _parent(_parent(pid)) == worker]

    def hurt(self, worker: int) -> None:
        """The attempts of a worker are about to end."""
        now, mine = time.time(), Job.lease_owner == f"{socket.gethostname()}-{worker}"
        jobs = self.ask(sa.select(Job.id).where(mine))
        self.hits += [Hit(job_id, now) for job_id in jobs]
        self.write(time=round(now, 3), worker=worker, held=list(jobs))

    def write(self, **what: Any) -> None:
        """A line of the log."""
        self.log.write(json.dumps(what) + "\n")
        self.log.flush()

    def ask(self, query: sa.Select[Any]) -> Sequence[Any]:
        """What the database says."""
        database = self.fleet.database()
        try:
            with database.reading() as session:
                return session.scalars(query).all()
        finally:
            database.engine.dispose()

    def job(self, pick: float, *where: sa.ColumnElement[bool]) -> str:
        """One that has not ended."""
        return str(chosen(self.ask(sa.select(Job.id).where(Job.status.not_in(states.TERMINAL), *where)), pick))

    def freeze(self, seconds: float, *pids: int) -> str:
        """Processes stand still for a while."""
        with self.fleet.frozen(*pids):
            self.over.wait(seconds)
        return f"{pids}"


def chosen(several: Sequence[Any], pick: float) -> Any:
    """One of several; `ProcessLookupError` if there is none."""
    if not several:
        raise ProcessLookupError
    return several[int(pick * len(several))]


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0


# --- the kinds


def _kill(name: str) -> Callable[[Storm, Fault], str]:
    def kill(storm: Storm, fault: Fault) -> str:
        storm.fleet.parts[name].kill()
        if name == "broker" and fault.pick < 0.5:
            storm.fleet.parts[name].wait()
            storm.fleet.empty_broker()
        return name

    return kill


def _end_worker(number: signal.Signals) -> Callable[[Storm, Fault], str]:
    def end(storm: Storm, fault: Fault) -> str:
        worker = storm.worker_pid(fault.pick)
        storm.hurt(worker)
        os.kill(worker, number)
        return f"worker {worker}"

    return end


def _plant(storm: Storm, fault: Fault) -> str:
    """A worker is restarted, and fails once at a place of its own."""
    name, plan = storm.worker(fault.pick), chosen(PLANS, fault.length / LONGEST % 1)
    folder = tempfile.mkdtemp(dir=storm.fleet.folder)  # visits are counted over the worker and its children
    storm.planned[name] = {"FITD_FAIL": plan, "FITD_FAIL_DIR": folder}
    storm.hurt(storm.fleet.parts[name].pid)
    storm.fleet.parts[name].terminate()
    return f"{name} {plan}"


def _fill_broker(storm: Storm, fault: Fault) -> str:
    """It takes no message for a while; one that is killed meanwhile comes back as it was."""
    with storm.fleet.broker() as broker:
        broker.config_set("maxmemory", "1mb")
        storm.over.wait(fault.length)
        broker.config_set("maxmemory", "0")
    return "broker"


def _kill_child(storm: Storm, fault: Fault) -> str:
    child = chosen(storm.fleet.children(), fault.pick)
    storm.hurt(_parent(_parent(child)))
    os.kill(child, signal.SIGKILL)
    return f"child {child}"


def _freeze_worker(storm: Storm, fault: Fault) -> str:
    """With its children, or, every other time, without."""
    worker = storm.worker_pid(fault.pick)
    storm.hurt(worker)
    return storm.freeze(fault.length, worker, *(storm.children(worker) if fault.length < LONGEST / 2 else ()))


def _freeze_child(storm: Storm, fault: Fault) -> str:
    """Now and then for so long that it is taken for hung."""
    return storm.freeze(4 * fault.length, chosen(storm.fleet.children(), fault.pick))


def _freeze(name: str) -> Callable[[Storm, Fault], str]:
    return lambda storm, fault: storm.freeze(fault.length, storm.fleet.parts[name].pid)


def _restart_api(storm: Storm, fault: Fault) -> str:
    storm.fleet.parts["api"].terminate()
    return "api"


def _flush(storm: Storm, fault: Fault) -> str:
    with storm.fleet.broker() as broker:
        broker.flushall()
    return "broker"


def _forge(storm: Storm, fault: Fault) -> str:
    job_id = storm.job(fault.pick)
    with storm.fleet.broker() as broker:
        broker.lpush("fitd:fitd", *forged(job_id, 40))
    return job_id


def _damage(storm: Storm, fault: Fault) -> str:
    """The newest checkpoint of a job that runs loses a bit, or its second half."""
    newest = sa.select(File.path).join(Job, Job.id == File.job_id).where(Job.status == "running", File.resumable)
    path = storm.fleet.settings.data_dir / "artifacts" / chosen(storm.ask(newest.order_by(File.created_at.desc())), 0)
    with path.open("r+b") as file:
        half = path.stat().st_size // 2
        file.seek(half)
        if fault.pick < 0.5:
            file.truncate()
        else:
            byte = file.read(1)
            file.seek(half)
            file.write(bytes([byte[0] ^ 1]))
    return str(path.name)


def _cancel(storm: Storm, fault: Fault) -> str:
    job_id = storm.job(fault.pick)
    storm.cancelled.add(job_id)
    with suppress(errors.ApiError):  # it has ended
        storm.fleet.client.cancel(job_id)
    return job_id


def _pause(storm: Storm, fault: Fault) -> str:
    job_id = storm.job(fault.pick)
    storm.fleet.client.pause(job_id)
    storm.over.wait(fault.length)
    with suppress(errors.ClientError):  # it is still being saved, or has ended; the end of the storm resumes all
        storm.fleet.client.resume(job_id)
    return job_id


def _drain(storm: Storm, fault: Fault) -> str:
    workers = storm.fleet.client.workers
    worker = chosen([one for one in workers.list() if one.status != "silent"], fault.pick).name
    storm.hurt(int(worker.rsplit("-", 1)[1]))
    workers.drain(worker)
    storm.over.wait(fault.length)
    workers.resume(worker)
    return str(worker)


def _lock(storm: Storm, fault: Fault) -> str:
    """Nobody else writes meanwhile; to PostgreSQL's table of jobs, nor reads."""
    database = storm.fleet.database()
    try:
        with database.writing() as session:
            if database.engine.dialect.name == "postgresql":
                session.execute(sa.text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
            storm.over.wait(fault.length)
    finally:
        database.engine.dispose()
    return "database"


def _cut(storm: Storm, fault: Fault) -> str:
    """Every connection to PostgreSQL ends, in whatever it does. SQLite has none."""
    text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    database = storm.fleet.database()
    if database.engine.dialect.name == "sqlite":
        return _lock(storm, fault)
    with database.reading() as session:
        session.execute(sa.text(f"{text} AND pid <> pg_backend_pid()"))
    database.engine.dispose()
    return "database"


KINDS: dict[str, tuple[int, Callable[[Storm, Fault], str]]] = {
    "worker killed": (3, _end_worker(signal.SIGKILL)),
    "worker restarted": (2, _end_worker(signal.SIGTERM)),
    "worker frozen": (2, _freeze_worker),
    "worker drained": (1, _drain),
    "worker with a failpoint": (2, _plant),
    "child killed": (3, _kill_child),
    "child frozen": (2, _freeze_child),
    "api killed": (2, _kill("api")),
    "api restarted": (1, _restart_api),
    "api frozen": (1, _freeze("api")),
    "broker killed": (2, _kill("broker")),
    "broker frozen": (1, _freeze("broker")),
    "broker flushed": (1, _flush),
    "broker full": (1, _fill_broker),
    "messages forged": (1, _forge),
    "checkpoint damaged": (2, _damage),
    "job cancelled": (1, _cancel),
    "job paused": (2, _pause),
    "database locked": (1, _lock),
    "connections cut": (1, _cut),
}
"""How often each kind comes, relative to the others, and what it does."""
