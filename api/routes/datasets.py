"""Datasets: uploaded or to be fetched, listed, read, previewed, deleted."""

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import context, dataset_schemas, paging, problems, strict, uploads
from jobs import datasets, db, imports, profiles, queue, quotas
from jobs.intake import Intake
from jobs.spec.values import Text

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=strict.StrictRoute)

BINARY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
FORM = {
    "type": "object",
    "properties": {"file": BINARY["schema"], "name": {"type": "string", "description": "Cut off at 200 characters."}},
    "required": ["file"],
    "additionalProperties": False,
}
JSON = (dataset_schemas.RowsUpload, dataset_schemas.UrlImport)
ROWS = [{"a": 1, "b": 2.5, "sum": 3.5}, {"a": 4, "b": None, "sum": 4}]
EXAMPLES = {
    "rows": {"summary": "A small table", "value": {"name": "sums", "rows": ROWS}},
    "url": {"summary": "A file elsewhere", "value": {"url": "https://data.example.com/prices.csv"}},
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file as it is, or in the field `file` of a form, a small table as JSON, or the URL where a "
        "worker is to fetch it. CSV and TSV, also in gzip, Parquet, NPZ with `X` and `y`, zip of folders of images: "
        "one folder per class.",
        "content": {
            "multipart/form-data": {"schema": FORM},
            "application/json": {
                "schema": {"anyOf": [kind.model_json_schema() for kind in JSON]},
                "examples": EXAMPLES,
            },
            **dict.fromkeys(sorted(uploads.RAW), BINARY),
        },
    }
}


@router.post(
    "",
    status_code=201,
    responses=problems.documented(413, 415),
    openapi_extra=BODY,
    summary="Upload a dataset",
)
async def create_dataset(
    request: Request,
    owner: context.Submitter,
    database: context.Database,
    intake: context.Intake,
    response: Response,
    name: Annotated[Text | context.Absent, Query(description="For people; else the file's name.")] = None,
) -> dataset_schemas.Dataset:
    """Stores the bytes, once however often they are sent, and rings for a worker to read them. It is `profiling` until
    then, and `ready` at once if you have sent the same bytes before. What a URL names is fetched by a worker first."""
    received = await uploads.receive(request, owner, intake)
    if name:
        received = dataclasses.replace(received, name=name)
    match received:
        case uploads.Named():
            shown = await run_in_threadpool(_expect, database, owner, received)
        case uploads.Received():
            try:
                shown = await run_in_threadpool(_store, intake, owner, received)
            finally:
                await run_in_threadpool(intake.artifacts.drop, received.key)
            if shown.status == "profiling":
                queue.hint(queue.READ, shown.id)
    response.headers["Location"] = f"/v1/datasets/{shown.id}"
    return shown


def _expect(database: db.Database, owner: str, named: uploads.Named) -> dataset_schemas.Dataset:
    with database.writing() as session:
        return dataset_schemas.Dataset.model_validate(
            imports.create(session, owner, named.name or "dataset", named.url)
        )


def _store(intake: Intake, owner: str, received: uploads.Received) -> dataset_schemas.Dataset:
    def write(session: Session, path: str) -> dataset_schemas.Dataset:
        known = datasets.twin(session, owner, received.sha256)
        dataset = datasets.create(session, owner, received.name or "dataset", path, received.size, received.sha256)
        if known:
            dataset.status, dataset.profile, dataset.preview = known.status, known.profile, known.preview
            dataset.told_bytes = known.told_bytes
        session.flush()
        quotas.check_stored(session, owner, intake.settings.max_stored_bytes)
        quotas.check_unread(session, owner, datasets.MOST_UNREAD)
        return dataset_schemas.Dataset.model_validate(dataset)

    return intake.keep(owner, received.key, received.sha256, write)


@router.get("", responses=problems.documented(), summary="List datasets")
def list_datasets(
    owner: context.Owner, database: context.Database, after: paging.DatasetCursor, limit: paging.Limit = 20
) -> dataset_schemas.DatasetPage:
    """Newest first."""
    with database.reading() as session:
        found = datasets.page(session, owner, after, limit)
    shown = [dataset_schemas.Dataset.model_validate(row) for row in found.rows]
    return paging.part(dataset_schemas.DatasetPage, shown, "id", more=found.more)


@router.get("/builtin", responses=problems.documented(), summary="List builtin datasets")
def list_builtin_datasets() -> dataset_schemas.BuiltinPage:
    """The small real datasets that ship with scikit-learn, with their profiles; they need no upload."""
    found = [
        dataset_schemas.BuiltinDataset.model_validate({"object": "builtin_dataset", "name": name, "profile": profile})
        for name, profile in profiles.builtin().items()
    ]
    return dataset_schemas.BuiltinPage(object="list", data=found, has_more=False, next=None)


@router.get("/{dataset_id}", responses=problems.documented(404), summary="Read a dataset")
def get_dataset(
    dataset_id: context.DatasetId, owner: context.Owner, database: context.Database
) -> dataset_schemas.Dataset:
    """What is known of a dataset: its profile once a worker has read it, or why it could not be read."""
    with database.reading() as session:
        return dataset_schemas.Dataset.model_validate(datasets.get(session, owner, dataset_id))


@router.get("/{dataset_id}/rows", responses=problems.documented(404), summary="Preview a dataset")
def list_dataset_rows(
    dataset_id: context.DatasetId, owner: context.Owner, database: context.Database, limit: paging.Limit = 20
) -> dataset_schemas.DatasetRows:
    """The first rows as they were read, at most 100 and 512 KiB of them, long words cut off; none until the dataset is
    `ready`."""
    with database.reading() as session:
        row = datasets.get(session, owner, dataset_id)
        rows = row.preview[:limit]
    total = row.profile.rows if row.profile else None
    return dataset_schemas.DatasetRows(object="list", data=rows, total=total)


@router.delete("/{dataset_id}", status_code=204, responses=problems.documented(404, 409), summary="Delete a dataset")
def delete_dataset(
    dataset_id: context.DatasetId, owner: context.Submitter, database: context.Database, artifacts: context.Artifacts
) -> None:
    """Removes a dataset that no unfinished job needs, and its bytes if no other dataset has the same."""
    with database.writing() as session:
        path = datasets.delete(session, owner, dataset_id)
    if path:
        artifacts.drop(path)
