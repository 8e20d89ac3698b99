"""A database with very many jobs, made fast: a few real rows, copied by the database itself under other names."""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from jobs import ids, profiles, rules, store
from jobs.db import Database
from jobs.spec.job import JobSpec
from jobs.tables.jobs import Attempt, Event, File, Job, Metric

CHUNK = 10_000
"""Jobs of a transaction."""
OWNERS = [f"owner-{number}" for number in range(20)]
OWNER = OWNERS[0]
"""Has a third of all jobs."""
NAMES = ["nightly", "weekly", "try", "final"]
TEAMS = ["vision", "text", "sound"]
POINTS = 10_000
"""Of one job: two metrics, half of them each."""
DAYS = 100
"""Over which the ended jobs are spread."""
SPEC = JobSpec.model_validate({"dataset": {"source": "builtin", "name": "wine"}})

_seed = sa.Table(
    "bench_seed",
    sa.MetaData(),
    *(sa.Column(name, sa.String) for name in ("id", "owner", "name", "status", "dataset_id")),
    *(sa.Column(name, sa.Double) for name in ("at", "ended")),
    sa.Column("priority", sa.Integer),
    sa.Column("details", sa.JSON),
)
_numbers = sa.Table("bench_numbers", _seed.metadata, sa.Column("n", sa.Integer))


class Sizes(NamedTuple):
    """How much there is."""

    queued: int
    finished: int
    points: int


def fill(database: Database, sizes: Sizes) -> Sequence[str]:
    """Adds jobs; answers the ids of those that have `POINTS` points."""
    template = _template(database)
    _seed.metadata.create_all(database.engine)
    with database.writing() as session:
        session.execute(sa.insert(_numbers), [{"n": n} for n in range(POINTS // 2)])
    for chunk in _chunks(sizes):
        with database.writing() as session:
            session.execute(sa.insert(_seed), chunk)
            for statement in _copies(template):
                session.execute(statement)
            session.execute(sa.delete(_seed))
    with database.reading() as session:
        bare = sa.not_(sa.exists().where(Metric.job_id == Job.id))
        ended = sa.select(Job.id).where(Job.finished_at.is_not(None), Job.owner == OWNER, bare).order_by(Job.id)
        metered = list(session.scalars(ended.limit(sizes.points // POINTS)))
    for job_id in metered:
        with database.writing() as session:
            session.execute(_points(job_id))
    _seed.metadata.drop_all(database.engine)
    return metered


def _template(database: Database) -> str:
    """A real job, to copy from."""
    resolved = rules.resolve(SPEC, profiles.builtin()["wine"], None)
    with database.writing() as session:
        return store.create(session, "template", SPEC, resolved).id


def _chunks(sizes: Sizes) -> Iterator[list[dict[str, Any]]]:
    dice, total, now = random.Random(0), sizes.queued + sizes.finished, time.time()
    for start in range(0, total, CHUNK):
        yield [
            _row(dice, number >= sizes.finished, now - DAYS * 86_400 * (1 - number / total))
            for number in range(start, min(total, start + CHUNK))
        ]


def _row(dice: random.Random, waits: bool, at: float) -> dict[str, Any]:
    ended = dice.choices(["succeeded", "failed", "cancelled"], [90, 9, 1])[0]
    return {
        "id": ids.first("job", at)[:-8] + f"{dice.getrandbits(32):08x}",
        "owner": dice.choices(OWNERS, [10] + [1] * (len(OWNERS) - 1))[0],
        "name": dice.choice(NAMES),
        "status": "queued" if waits else ended,
        "dataset_id": dice.choice(["ds_common", "ds_rare", None]),
        "at": at,
        "ended": None if waits else at + 60,
        "priority": dice.choices([0, 5, -5], [8, 1, 1])[0],
        "details": {"team": dice.choice(TEAMS)},
    }


def _copies(template: str) -> Iterator[sa.Insert]:
    """Jobs, their first and last events, and the attempts of those that have ended."""
    jobs, seed = Job.__table__, _seed.c
    given: dict[str, Any] = {name: seed[name] for name in ("id", "owner", "name", "status", "dataset_id", "priority")}
    times = dict.fromkeys(("created_at", "queued_at", "updated_at", "not_before"), seed.at)
    given |= {**times, "finished_at": seed.ended, "metadata": seed.details, "event_seq": sa.literal(3)}
    values = [given.get(column.name, column) for column in jobs.c]
    copied = sa.select(*values).join_from(_seed, jobs, jobs.c.id == template)
    yield sa.insert(Job).from_select(jobs.c.keys(), copied)
    event = ("job_id", "seq", "kind", "at", "attempt", "level", "message", "data")
    for seq, kind in enumerate(("created", "queued", "started"), 1):
        rest = (sa.literal("info"), sa.literal("Something happened."), sa.literal({}, sa.JSON))
        row = sa.select(seed.id, sa.literal(seq), sa.literal(kind), seed.at, sa.literal(1), *rest)
        yield sa.insert(Event).from_select(event, row)
    attempt = ("job_id", "n", "worker", "started_at", "ended_at", "exit")
    row = sa.select(seed.id, sa.literal(1), sa.literal("worker"), seed.at, seed.ended, seed.status)
    yield sa.insert(Attempt).from_select(attempt, row.where(seed.ended.is_not(None)))
    yield from map(_file, ("checkpoint", "artifact"))


def _file(kind: str) -> sa.Insert:
    """One of each job that has ended."""
    words = {"kind": kind, "name": "last", "content_type": "x/y", "sha256": "00", "path": "jobs/last"}
    values: dict[str, Any] = {name: sa.literal(value) for name, value in words.items()}
    values |= {name: sa.literal(1) for name in ("attempt", "step", "epoch", "bytes")}
    values |= {name: sa.false() for name in ("is_best", "resumable")}
    values |= {"id": sa.literal(kind[0]) + _seed.c.id, "job_id": _seed.c.id, "created_at": _seed.c.at}
    values["metrics"] = sa.literal({}, sa.JSON)
    return sa.insert(File).from_select(list(values), sa.select(*values.values()).where(_seed.c.ended.is_not(None)))


def _points(job_id: str) -> sa.Insert:
    n = _numbers.c.n
    names = sa.union_all(sa.select(sa.literal("loss").label("name")), sa.select(sa.literal("val_loss"))).subquery()
    row = sa.select(sa.literal(job_id), names.c.name, n, sa.literal(1), n, sa.literal(1.0) / (n + 1))
    ordered = row.select_from(names.join(_numbers, sa.true())).order_by(names.c.name, n)
    return sa.insert(Metric).from_select(("job_id", "name", "step", "attempt", "epoch", "value"), ordered)
