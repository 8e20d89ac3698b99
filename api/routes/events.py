"""What happened to a job, as pages and as a live stream; and the lines of its log."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Annotated

import anyio
import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api import context, overload, paging, problems, schemas, strict
from jobs import db, errors, events, keys, quotas, runlog, states, store
from jobs.keys import Caller
from jobs.tables.jobs import Job

router = APIRouter(prefix="/v1/jobs", tags=["runs"], route_class=strict.StrictRoute)

POLL = 0.25
"""Seconds between two looks into the database,"""
REST = 1.0
"""growing to so many while nothing happens: no event is told later than that."""
OWNERS = 8
"""Of all streams that may be open, one owner may have one in so many."""
KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy cuts the stream."""
BATCH = 500
"""Events or lines read at once."""

LIVE = "text/event-stream"
Accept = Annotated[str, Header(include_in_schema=False)]
STREAM: problems.Responses = {
    200: {
        "description": "A page; with `Accept: text/event-stream` a live stream of the same objects.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "The stream was read to its end; do not connect again."},
}
LINES: problems.Responses = {
    200: {"description": "A page; as text all lines.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


async def _one_more(request: Request, caller: context.Caller, accept: Accept = "") -> None:
    """Takes one of the streams that an owner may have.

    Raises:
        QuotaReached: they are all open.
    """
    streams: overload.Shares = request.app.state.streams
    if LIVE in accept and not streams.take(caller, request.state.places):
        text = f"{streams.most} of your event streams are open already, as many as may; close some, or read pages."
        raise errors.QuotaReached(quotas.WAIT, text)


@router.get(
    "/{job_id}/events",
    dependencies=[Depends(_one_more)],
    response_model=schemas.EventPage,
    responses={**STREAM, **problems.documented(404)},
    summary="List or follow a job's events",
)
def list_events(
    job_id: context.JobId,
    caller: context.Caller,
    database: context.Database,
    stopping: context.Stopping,
    after: paging.AfterSeq = 0,
    limit: paging.LineLimit = 100,
    last_event_id: Annotated[paging.Number | context.Absent, Header(description="Where a stream goes on.")] = None,
    accept: Accept = "",
) -> schemas.EventPage | Response:
    """Events in order. A stream resumes behind `Last-Event-ID` (or `after`) without gap or repeat, and ends after
    the terminal event."""
    live = LIVE in accept
    start = last_event_id if live and last_event_id is not None else after
    with database.reading() as session:
        job = store.get(session, caller.owner, job_id)
        found = [] if live else [_shown(row) for row in events.page(session, job_id, start, limit + 1)]
    if not live:
        return paging.cut(schemas.EventPage, found, limit, "seq")
    if job.status in states.TERMINAL and start >= job.event_seq:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    look = partial(_read, database, caller, job_id)
    return StreamingResponse(_stream(look, start, stopping), 200, headers, LIVE)


def _shown(row: object) -> schemas.Event:
    return schemas.Event.model_validate(row)


Look = Callable[[int], Sequence[schemas.Event] | None]


async def _stream(look: Look, after: int, stopping: threading.Event) -> AsyncIterator[bytes]:
    """Holds neither connection nor thread between two looks."""
    silence, pause = 0.0, POLL
    while not stopping.is_set():
        found = await anyio.to_thread.run_sync(look, after)
        if found is None:
            return
        for event in found:
            yield format_sse_event(data_str=event.model_dump_json(), event=event.kind, id=str(event.seq))
            after = event.seq
            if event.kind in states.TERMINAL:
                return
        silence, pause = (0.0, POLL) if found else (silence + pause, min(REST, 1.5 * pause))
        if silence >= KEEP_ALIVE:
            yield KEEPALIVE_COMMENT
            silence = 0.0
        await anyio.sleep(pause)


def _read(database: db.Database, caller: Caller, job_id: str, after: int) -> Sequence[schemas.Event] | None:
    """None when the job has been deleted, or the caller's key revoked."""
    with database.reading() as session:
        last = session.scalar(sa.select(Job.event_seq).where(Job.id == job_id, Job.owner == caller.owner))
        if last is None or not keys.is_valid(session, caller.key_id):
            return None
        if last <= after:
            return []
        return [_shown(row) for row in events.page(session, job_id, after, BATCH)]


@router.get(
    "/{job_id}/log",
    response_model=schemas.LogPage,
    responses={**LINES, **problems.documented(404)},
    summary="Read a run's log",
)
def list_log_lines(
    job_id: context.JobId,
    owner: context.Owner,
    database: context.Database,
    after: paging.AfterSeq = 0,
    limit: paging.LineLimit = 100,
    accept: Accept = "",
) -> schemas.LogPage | Response:
    """The run's lines in order. With `Accept: text/plain` all of them behind `after`, as text."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        rows = runlog.page(session, job_id, after, limit + 1)
        found = [schemas.LogLine.model_validate(row) for row in rows]
    if "text/plain" in accept:
        return StreamingResponse(_text(database, job_id, after), media_type="text/plain")
    return paging.cut(schemas.LogPage, found, limit, "seq")


def _text(database: db.Database, job_id: str, after: int) -> Iterator[str]:
    while True:
        with database.reading() as session:
            rows = runlog.page(session, job_id, after, BATCH)
        if not rows:
            return
        yield "".join(f"{row.at:%Y-%m-%dT%H:%M:%S.%fZ} {row.level.upper()} {row.message}\n" for row in rows)
        after = rows[-1].seq
