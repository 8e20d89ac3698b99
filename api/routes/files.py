"""Checkpoints and results: lists and bytes."""

import base64
import itertools

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from api import conditions, context, problems, schemas, strict, views
from jobs import artifacts, errors, files, store
from jobs.tables.jobs import File

router = APIRouter(prefix="/v1/jobs", tags=["runs"], route_class=strict.StrictRoute)

BYTES: problems.Responses = {
    200: {"description": "The bytes.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The part that `Range` asked for."},
    304: {"description": "They are what `If-None-Match` says."},
    **problems.documented(404, 416),
}


@router.get("/{job_id}/checkpoints", responses=problems.documented(404), summary="List checkpoints")
def list_checkpoints(job_id: context.JobId, owner: context.Owner, database: context.Database) -> schemas.CheckpointPage:
    """Those that are kept: the best, the last, and as many before it as the spec says."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        shown = [views.checkpoint(row) for row in files.list_of(session, job_id, "checkpoint")]
    return schemas.CheckpointPage(object="list", data=shown, has_more=False, next=None)


@router.get("/{job_id}/checkpoints/{checkpoint_id}", responses=problems.documented(404), summary="Read a checkpoint")
def get_checkpoint(
    job_id: context.JobId, checkpoint_id: context.CheckpointId, owner: context.Owner, database: context.Database
) -> schemas.SavedCheckpoint:
    """What is known of a checkpoint, without its bytes."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        return views.checkpoint(files.checkpoint(session, job_id, checkpoint_id))


@router.head("/{job_id}/checkpoints/{checkpoint_id}/content", include_in_schema=False)
@router.get(
    "/{job_id}/checkpoints/{checkpoint_id}/content",
    response_class=Response,
    responses=BYTES,
    summary="Download a checkpoint",
)
def get_checkpoint_content(
    job_id: context.JobId,
    checkpoint_id: context.CheckpointId,
    owner: context.Owner,
    database: context.Database,
    artifacts: context.Artifacts,
    request: Request,
) -> Response:
    """The bytes; ranges, `If-Range` and `If-None-Match` are honoured, the `ETag` is their SHA-256."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        file = files.checkpoint(session, job_id, checkpoint_id)
    return _content(request, artifacts, file)


@router.get("/{job_id}/artifacts", responses=problems.documented(404), summary="List results")
def list_artifacts(job_id: context.JobId, owner: context.Owner, database: context.Database) -> schemas.ArtifactPage:
    """What the run left: model, preprocessing, report."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        shown = [views.artifact(row) for row in files.list_of(session, job_id, "artifact")]
    return schemas.ArtifactPage(object="list", data=shown, has_more=False, next=None)


@router.head("/{job_id}/artifacts/{name}", include_in_schema=False)
@router.get("/{job_id}/artifacts/{name}", response_class=Response, responses=BYTES, summary="Download a result")
def get_artifact(
    job_id: context.JobId,
    name: context.ArtifactName,
    owner: context.Owner,
    database: context.Database,
    artifacts: context.Artifacts,
    request: Request,
) -> Response:
    """The bytes; ranges, `If-Range` and `If-None-Match` are honoured, the `ETag` is their SHA-256."""
    with database.reading() as session:
        store.get(session, owner, job_id)
        file = files.artifact(session, job_id, name)
    return _content(request, artifacts, file)


def _content(request: Request, place: artifacts.Artifacts, file: File) -> Response:
    headers = _headers(file)
    if conditions.matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    part = _part(request, file, headers["ETag"])
    start, end = part or (0, file.bytes)
    if part and start >= end:
        detail = f"The file has {file.bytes} bytes; none of them are in this range."
        return problems.answer(
            request, 416, "range_not_satisfiable", detail, {"Content-Range": f"bytes */{file.bytes}"}
        )
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(None, status, headers, file.content_type)
    chunks = place.read(file.path, start, end)
    try:
        first = next(chunks, b"")  # opens the file while the answer can still be another
    except FileNotFoundError:
        raise errors.NotFound("The bytes of this file are gone from the artifact store.") from None
    return StreamingResponse(itertools.chain([first], chunks), status, headers, file.content_type)


def _headers(file: File) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return {
        "ETag": f'"{file.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{file.name}"',
    }


def _part(request: Request, file: File, tag: str) -> tuple[int, int] | None:
    wanted = request.headers.get("range")
    fresh = request.headers.get("if-range", tag) == tag
    return conditions.window(wanted, file.bytes) if wanted and fresh else None
