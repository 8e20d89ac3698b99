"""The metrics of a run over its steps."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.record import MetricPoint
from jobs.tables.jobs import Metric

INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def append(session: Session, job_id: str, attempt: int, points: Sequence[MetricPoint]) -> None:
    """Adds points; one that is there already stays: a worker repeats a batch if it cannot tell that it arrived."""
    if points:
        rows = [{"job_id": job_id, "attempt": attempt, **point.model_dump()} for point in points]
        session.execute(INSERT[session.get_bind().dialect.name](Metric).on_conflict_do_nothing(), rows)


def truncate(session: Session, job_id: str, step: int) -> None:
    """Forgets what lies behind a step."""
    session.execute(sa.delete(Metric).where(Metric.job_id == job_id, Metric.step > step))


def read(
    session: Session, job_id: str, names: Sequence[str] | None, from_step: int | None, to_step: int | None
) -> dict[str, list[MetricPoint]]:
    """Points by metric, each in order of steps."""
    query = sa.select(Metric.name, Metric.step, Metric.epoch, Metric.value, Metric.nonfinite).where(
        Metric.job_id == job_id
    )
    if names:
        query = query.where(Metric.name.in_(names))
    if from_step is not None:
        query = query.where(Metric.step >= from_step)
    if to_step is not None:
        query = query.where(Metric.step <= to_step)
    series: dict[str, list[MetricPoint]] = {}
    for row in session.execute(query.order_by(Metric.name, Metric.step)).mappings():
        series.setdefault(row["name"], []).append(MetricPoint.model_construct(**row))
    return series


def thin(points: list[MetricPoint], most: int) -> list[MetricPoint]:
    """At most `most` of the points, spikes kept: the first, the last, and of each bucket between them the lowest,
    the highest and the first that is not finite. Exact where the points fit; fewer than 5 show the ends only."""
    if len(points) <= most:
        return points
    if most < 5:
        return [points[0], points[-1]][:most]
    inner = points[1:-1]
    buckets = (most - 2) // (3 if any(point.value is None for point in inner) else 2)
    edges = [len(inner) * bucket // buckets for bucket in range(buckets + 1)]
    chosen = [points[0]]
    for start, end in zip(edges, edges[1:], strict=False):
        chosen += _extremes(inner[start:end])
    return [*chosen, points[-1]]


def _extremes(bucket: list[MetricPoint]) -> list[MetricPoint]:
    broken = [point for point in bucket if point.value is None][:1]
    finite = [point for point in bucket if point.value is not None]
    extremes = [pick(finite, key=lambda point: point.value or 0.0) for pick in (min, max) if finite]
    unique = {point.step: point for point in broken + extremes}
    return [unique[step] for step in sorted(unique)]
