"""The metrics of a run over its steps. There may be millions: they are read and thinned in batches."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.db import Database
from jobs.record import MetricPoint
from jobs.tables.jobs import Metric

INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
BATCH = 1000
"""Points that are read at once."""


class Point(NamedTuple):
    """A value of the metric that is being read."""

    step: int
    epoch: int
    value: float | None
    """None where it is not finite."""
    nonfinite: str | None


Batches = Iterable[Sequence[Point]]
"""Of one metric, in order of steps."""


@dataclass(frozen=True)
class Series:
    """The points of one metric that were asked for, as they were counted."""

    job_id: str
    name: str
    first: int
    last: int
    """Steps."""
    size: int
    finite: int


def append(session: Session, job_id: str, attempt: int, points: Sequence[MetricPoint]) -> None:
    """Adds points; one that is there already stays: a worker repeats a batch if it cannot tell that it arrived."""
    if points:
        rows = [{"job_id": job_id, "attempt": attempt, **point.model_dump()} for point in points]
        session.execute(INSERT[session.get_bind().dialect.name](Metric).on_conflict_do_nothing(), rows)


def truncate(session: Session, job_id: str, step: int) -> None:
    """Forgets what lies behind a step."""
    session.execute(sa.delete(Metric).where(Metric.job_id == job_id, Metric.step > step))


def series(
    session: Session, job_id: str, names: Sequence[str] | None, from_step: int | None, to_step: int | None
) -> list[Series]:
    """What there is to read, by name."""
    counts = sa.func.min(Metric.step), sa.func.max(Metric.step), sa.func.count(), sa.func.count(Metric.value)
    query = sa.select(Metric.job_id, Metric.name, *counts).where(Metric.job_id == job_id)
    if names:
        query = query.where(Metric.name.in_(names))
    if from_step is not None:
        query = query.where(Metric.step >= from_step)
    if to_step is not None:
        query = query.where(Metric.step <= to_step)
    return [Series(*row) for row in session.execute(query.group_by(Metric.job_id, Metric.name).order_by(Metric.name))]


def batches(database: Database, wanted: Series) -> Iterator[list[Point]]:
    """The points, in order of steps. Each batch has a transaction of its own, so that whoever reads slowly holds none:
    of a run that is resumed meanwhile, the later batches are those of the new attempt."""
    its = sa.and_(Metric.job_id == wanted.job_id, Metric.name == wanted.name, Metric.step <= wanted.last)
    query = sa.select(Metric.step, Metric.epoch, Metric.value, Metric.nonfinite).where(its).order_by(Metric.step)
    after = wanted.first - 1
    while after < wanted.last:
        with database.reading() as session:
            batch = [Point(*row) for row in session.execute(query.where(Metric.step > after).limit(BATCH))]
        if batch:
            yield batch
        after = batch[-1].step if len(batch) == BATCH else wanted.last


def read(database: Database, wanted: Series, most: int | None) -> Batches:
    """The points; at most `most` of them, if that is not None. Fewer than 5 show the ends only."""
    if most is None or wanted.size <= most:
        return batches(database, wanted)
    if most < 5:
        ends = [replace(wanted, last=wanted.first), replace(wanted, first=wanted.last)][:most]
        return itertools.chain.from_iterable(batches(database, end) for end in ends)
    return thin(batches(database, wanted), wanted.size, most, finite=wanted.finite == wanted.size)


def thin(found: Batches, size: int, most: int, *, finite: bool) -> Iterator[list[Point]]:
    """At most `most` of `size` points, spikes kept: the first, the last, and of each bucket between them the lowest,
    the highest and the first that is not finite. After each batch comes what is sure by then, so that nobody waits for
    all of them."""
    buckets, inner = (most - 2) // (2 if finite else 3), size - 2
    at, number, bucket = 0, -1, _Bucket()
    for batch in found:
        chosen: list[Point] = []
        for point in batch:
            its = (at * buckets - 1) // inner  # -1 has the first point alone, `buckets` the last
            if its != number:
                chosen += bucket.shown
                number, bucket = its, _Bucket()
            bucket.add(point)
            at += 1
        yield chosen
    yield bucket.shown


@dataclass
class _Bucket:
    """Points beside each other, of which three may be shown."""

    lowest: tuple[float, Point] | None = None
    highest: tuple[float, Point] | None = None
    broken: Point | None = None

    def add(self, point: Point) -> None:
        """Of equals the first counts."""
        if point.value is None:
            self.broken = self.broken or point
            return
        if self.lowest is None or point.value < self.lowest[0]:
            self.lowest = point.value, point
        if self.highest is None or point.value > self.highest[0]:
            self.highest = point.value, point

    @property
    def shown(self) -> list[Point]:
        """In order of steps."""
        unique = {extreme[1] for extreme in (self.lowest, self.highest) if extreme}
        return sorted(unique | ({self.broken} if self.broken else set()))
