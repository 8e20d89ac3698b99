"""The numbers of a run over its steps, as JSON, CSV or JSON Lines: never whole in memory, however many they are."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api import context, paging, problems, schemas, strict
from jobs import history, store

router = APIRouter(prefix="/v1/jobs", tags=["runs"], route_class=strict.StrictRoute)

COLUMNS = ("name", *history.Point._fields)
JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
FORMS: problems.Responses = {
    200: {
        "description": "As JSON by metric; as CSV or JSON Lines one point a line.",
        "content": {"text/csv": {"schema": {"type": "string"}}, "application/jsonl": {"schema": {"type": "string"}}},
    }
}
Named = Iterable[tuple[str, history.Batches]]
"""Metrics and their points."""


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
    turns: context.Turns,
    names: Annotated[list[str] | context.Absent, Query(description="Only these metrics; all without it.")] = None,
    from_step: Annotated[paging.Number, Query()] = 0,
    to_step: Annotated[paging.Number | context.Absent, Query()] = None,
    max_points: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000)] | context.Absent,
        Query(description="Per metric; lowest and highest of each bucket survive."),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The history, exact unless `max_points` thins it. A value that is not finite is null and says what it was."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        wanted = history.series(session, job_id, names, from_step, to_step)
    found = ((one.name, history.read(database, one, max_points)) for one in wanted)
    forms = {"text/csv": _csv, "application/jsonl": _lines}
    kind, written = next(((kind, form) for kind, form in forms.items() if kind in accept), ("application/json", _json))
    return StreamingResponse(turns.taken(owner, written(found)), media_type=kind)


def _json(found: Named) -> Iterator[str]:
    yield '{"object":"metrics","data":{'
    for number, (name, batches) in enumerate(found):
        yield f"{',' if number else ''}{JSON.encode(name)}:["
        begun = False
        for batch in batches:
            points = ",".join(JSON.encode(point._asdict()) for point in batch)
            yield f",{points}" if begun and points else points
            begun = begun or bool(points)
        yield "]"
    yield "}}"


def _csv(found: Named) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\r\n"
    for name, batches in found:
        for batch in batches:
            text = io.StringIO()
            csv.writer(text).writerows((name, *point) for point in batch)
            yield text.getvalue()


def _lines(found: Named) -> Iterator[str]:
    for name, batches in found:
        for batch in batches:
            yield "".join(JSON.encode({"name": name, **point._asdict()}) + "\n" for point in batch)
