"""The numbers of a run over its steps, as JSON, CSV or JSON Lines."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api import context, paging, problems, schemas, strict
from jobs import history, store
from jobs.record import MetricPoint

router = APIRouter(prefix="/v1/jobs", tags=["runs"], route_class=strict.StrictRoute)

COLUMNS = ("name", "step", "epoch", "value", "nonfinite")
BATCH = 1000
"""Points written at once."""
FORMS: problems.Responses = {
    200: {
        "description": "As JSON by metric; as CSV or JSON Lines one point a line.",
        "content": {"text/csv": {"schema": {"type": "string"}}, "application/jsonl": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/{job_id}/metrics",
    response_model=schemas.MetricHistory,
    responses={**FORMS, **problems.documented(404)},
    summary="Read a run's metrics",
)
def get_metrics(
    job_id: context.JobId,
    owner: context.Owner,
    database: context.Database,
    names: Annotated[list[str] | context.Absent, Query(description="Only these metrics; all without it.")] = None,
    from_step: Annotated[paging.Number, Query()] = 0,
    to_step: Annotated[paging.Number | context.Absent, Query()] = None,
    max_points: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000)] | context.Absent,
        Query(description="Per metric; lowest and highest of each bucket survive."),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> schemas.MetricHistory | Response:
    """The history, exact unless `max_points` thins it. A value that is not finite is null and says what it was."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        series = history.read(session, job_id, names, from_step, to_step)
    if max_points:
        series = {name: history.thin(points, max_points) for name, points in series.items()}
    if "text/csv" in accept:
        return StreamingResponse(_csv(series), media_type="text/csv")
    if "application/jsonl" in accept:
        return StreamingResponse(_lines(series), media_type="application/jsonl")
    return schemas.MetricHistory(
        object="metrics", data={name: [_value(point) for point in points] for name, points in series.items()}
    )


def _value(point: MetricPoint) -> schemas.MetricValue:
    return schemas.MetricValue.model_construct(
        step=point.step, epoch=point.epoch, value=point.value, nonfinite=point.nonfinite
    )


def _batches(series: Mapping[str, Sequence[MetricPoint]]) -> Iterator[Sequence[MetricPoint]]:
    for points in series.values():
        for start in range(0, len(points), BATCH):
            yield points[start : start + BATCH]


def _csv(series: Mapping[str, Sequence[MetricPoint]]) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\r\n"
    for batch in _batches(series):
        text = io.StringIO()
        csv.writer(text).writerows([getattr(point, column) for column in COLUMNS] for point in batch)
        yield text.getvalue()


def _lines(series: Mapping[str, Sequence[MetricPoint]]) -> Iterator[str]:
    for batch in _batches(series):
        yield "".join(point.model_dump_json() + "\n" for point in batch)
