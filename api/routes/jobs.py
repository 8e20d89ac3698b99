"""Jobs: submitted, checked, listed, read, changed, cancelled, retried, deleted."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from sqlalchemy.exc import IntegrityError

from api import conditions, context, examples, paging, problems, schemas, strict, views
from jobs import datasets, db, estimate, failpoints, files, idempotency, ids, listing, queue, quotas, retention, store
from jobs.settings import Settings
from jobs.spec import job as job_spec
from jobs.spec.explained import Notice
from jobs.spec.job import JobSpec
from jobs.spec.values import Text
from jobs.states import Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=strict.StrictRoute)


def _dated(time: str) -> str:
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]", time):  # pydantic would take a number for seconds since 1970
        raise ValueError("Must be a time as in RFC 3339, for example 2026-01-31T12:00:00Z.")
    return time


Spec = Annotated[JobSpec, Body(openapi_examples=examples.SPECS)]
Key = Annotated[
    Annotated[str, Field(pattern="^[ -~]{1,255}$")] | context.Absent,
    Header(
        alias="Idempotency-Key",
        description="Any text of yours: the same key with the same body makes one job, however often it is sent.",
    ),
]
DatasetId = Annotated[str, Field(pattern=f"^ds_{ids.PATTERN}$")]
Time = Annotated[AwareDatetime, BeforeValidator(_dated)]
METADATA = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "description": "Only jobs with these pairs: `metadata[team]=vision`.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
REPLAYED: problems.Responses = {
    200: {"model": schemas.Job, "description": "The job that this key made before (`Idempotent-Replayed: true`)."}
}


@router.post(
    "",
    status_code=201,
    responses={**REPLAYED, **problems.documented(413, 415)},
    summary="Submit a job",
)
def create_job(
    spec: Spec,
    owner: context.Submitter,
    database: context.Database,
    traceparent: context.Traceparent,
    settings: context.Settings,
    response: Response,
    idempotency_key: Key = None,
) -> schemas.Job:
    """Stores the job, resolved and explained, and rings for a worker. A dataset may still be `profiling`."""
    asked = _Asked(owner, spec, idempotency_key, traceparent, settings)
    try:
        shown, made = _submit(database, asked)
    except IntegrityError:  # another request with this key was first; now its job is there to be found
        shown, made = _submit(database, asked)
    failpoints.reach("submit.committed")
    if made and shown.resolved_spec:
        queue.hint(queue.TRAIN, shown.id)
    response.headers["Location"] = shown.links.self
    if not made:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return shown


class _Asked(NamedTuple):
    """A submit."""

    owner: str
    spec: JobSpec
    key: str | None
    traceparent: str
    settings: Settings


def _submit(database: db.Database, asked: _Asked) -> tuple[schemas.Job, bool]:
    """The job, and whether it is new."""
    digest, owner = job_spec.digest(asked.spec), asked.owner
    with database.writing() as session:
        if asked.key and (known := idempotency.find(session, owner, asked.key, digest)):
            return views.job(session, store.get(session, owner, known)), False
        quotas.in_turn(session, owner)
        resolved = datasets.resolve(session, owner, asked.spec, asked.settings.allowance)
        job = store.create(session, owner, asked.spec, resolved, traceparent=asked.traceparent)
        quotas.check_job(session, job, asked.settings)
        if asked.key:
            idempotency.remember(session, owner, asked.key, digest, job.id)
        return views.job(session, job), True


@router.post("/validate", responses=problems.documented(413, 415), summary="Check a spec")
def validate_job(
    spec: Spec, owner: context.Owner, database: context.Database, settings: context.Settings
) -> schemas.Validation:
    """A dry run: what every `auto` would become and why, what to look at, what it would cost. Stores nothing."""
    with database.reading() as session:
        resolved = datasets.resolve(session, owner, spec, settings.allowance)
    if resolved is None:
        text = "The dataset is still being read; ask again when it is ready."
        waiting = Notice(code="dataset_profiling", path="/dataset", message=text)
        return schemas.Validation(
            object="validation", resolved_spec=None, resolution=[], warnings=[waiting], estimate=None
        )
    return schemas.Validation(
        object="validation",
        resolved_spec=resolved.spec,
        resolution=resolved.decisions,
        warnings=resolved.notices,
        estimate=estimate.estimate(resolved),
    )


@router.get(
    "",
    response_model=schemas.JobPage,
    responses=problems.documented(),
    openapi_extra={"parameters": [METADATA]},
    summary="List jobs",
)
def list_jobs(
    request: Request,
    owner: context.Owner,
    database: context.Database,
    rounds: context.Rounds,
    after: paging.JobCursor,
    status: Annotated[list[Status] | context.Absent, Query(description="Any of these.")] = None,
    name: Annotated[Text | context.Absent, Query(description="Exactly this name.")] = None,
    dataset: Annotated[DatasetId | context.Absent, Query(description="Trained or tested on it.")] = None,
    created_after: Annotated[Time | context.Absent, Query(description="RFC 3339 with an offset.")] = None,
    created_before: Annotated[Time | context.Absent, Query(description="RFC 3339 with an offset.")] = None,
    limit: paging.Limit = 20,
) -> Response:
    """Newest first: filtered, then sorted, then cut into pages."""
    chosen = listing.Filter(status, name, _metadata(request), dataset, created_after, created_before)
    with rounds.taken(owner):
        with database.reading() as session:
            found = listing.page(session, owner, chosen, after, limit)
            shown = views.jobs(session, found.rows)
        return _written(paging.part(schemas.JobPage, shown, "id", more=found.more))


def _written(shown: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    """Made here, not in the event loop: specs may be large."""
    return Response(shown.model_dump_json(), headers=headers, media_type="application/json")


def _metadata(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    return {found[1]: value for name, value in pairs if (found := re.fullmatch(r"metadata\[(.*)\]", name, re.DOTALL))}


@router.get(
    "/{job_id}",
    response_model=schemas.Job,
    responses={304: {"description": "It is still as `If-None-Match` says."}, **problems.documented(404)},
    summary="Read a job",
)
def get_job(
    job_id: context.JobId,
    owner: context.Owner,
    database: context.Database,
    rounds: context.Rounds,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """The job as it is now, with a weak `ETag` for polling."""
    with rounds.taken(owner):
        with database.reading() as session:
            job = store.get(session, owner, job_id)
            shown = views.job(session, job)
        tag = views.etag(shown, job)
        if conditions.matches(if_none_match, tag):
            return Response(status_code=304, headers={"ETag": tag})
        return _written(shown, {"ETag": tag})


@router.patch("/{job_id}", responses=problems.documented(404, 413, 415), summary="Change a job")
def update_job(
    job_id: context.JobId, patch: schemas.JobPatch, owner: context.Submitter, database: context.Database
) -> schemas.Job:
    """Changes name, priority or metadata; what is not sent stays."""
    changed: dict[str, Any] = {"name": None, "priority": None, "metadata": None, **patch.model_dump(exclude_unset=True)}
    with database.writing() as session:
        return views.job(session, store.change(session, owner, job_id, **changed))


@router.delete("/{job_id}", status_code=204, responses=problems.documented(404, 409), summary="Delete a job")
def delete_job(
    job_id: context.JobId, owner: context.Submitter, database: context.Database, artifacts: context.Artifacts
) -> None:
    """Removes a job that has ended, with its events, metrics and files."""
    with database.reading() as session:
        store.check_ended(session, owner, job_id)
    retention.lighten(database, job_id)
    with database.writing() as session:
        store.delete(session, owner, job_id)
    artifacts.delete_all(files.folder(job_id))


@router.post("/{job_id}/cancel", status_code=202, responses=problems.documented(404, 409), summary="Cancel a job")
def cancel_job(job_id: context.JobId, owner: context.Submitter, database: context.Database) -> schemas.Job:
    """A waiting job ends at once, a running one as soon as its process is gone. Repeating it changes nothing."""
    with database.writing() as session:
        return views.job(session, store.cancel(session, owner, job_id))


@router.post("/{job_id}/pause", status_code=202, responses=problems.documented(404, 409), summary="Pause a job")
def pause_job(job_id: context.JobId, owner: context.Submitter, database: context.Database) -> schemas.Job:
    """A waiting job leaves the queue, a running one saves itself and frees its slot. Repeating it changes nothing."""
    with database.writing() as session:
        return views.job(session, store.pause(session, owner, job_id))


@router.post("/{job_id}/resume", status_code=202, responses=problems.documented(404, 409), summary="Resume a job")
def resume_job(job_id: context.JobId, owner: context.Submitter, database: context.Database) -> schemas.Job:
    """A paused job takes its old place in the queue and goes on from where it was saved, to the same bits. Repeating
    it changes nothing."""
    with database.writing() as session:
        shown = views.job(session, store.resume(session, owner, job_id))
    if shown.status is Status.QUEUED and shown.resolved_spec:
        queue.hint(queue.TRAIN, shown.id)
    return shown


@router.post("/{job_id}/retry", status_code=202, responses=problems.documented(404, 409), summary="Retry a job")
def retry_job(
    job_id: context.JobId,
    owner: context.Submitter,
    database: context.Database,
    settings: context.Settings,
    response: Response,
) -> schemas.Job:
    """A new job with the spec of one that ended without success, its `parent`. Repeating it gives the same new job."""
    with database.writing() as session:
        quotas.in_turn(session, owner)
        job, made = store.retry(
            session, owner, job_id, lambda spec: datasets.resolve(session, owner, spec, settings.allowance)
        )
        if made:
            quotas.check_job(session, job, settings)
        shown = views.job(session, job)
    if shown.resolved_spec:
        queue.hint(queue.TRAIN, shown.id)
    response.headers["Location"] = shown.links.self
    return shown
