"""Predictions by the model of a job."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from sqlalchemy.orm import Session

from api import context, examples, problems, strict
from api.predicting import Model
from api.prediction_schemas import Labelled, PredictionRows, Predictions, Source, Valued
from jobs import errors, files, states, store
from jobs.states import Status
from jobs.tables.jobs import File

router = APIRouter(prefix="/v1/jobs", tags=["runs"], route_class=strict.StrictRoute)

MODEL = "model.onnx"


@router.post(
    "/{job_id}/predict",
    response_model=Predictions,
    responses=problems.documented(404, 409, 413, 415),
    summary="Predict rows",
)
def predict_rows(
    job_id: context.JobId,
    body: Annotated[PredictionRows, Body(openapi_examples=examples.ROWS)],
    owner: context.Owner,
    database: context.Database,
    models: context.Models,
) -> Response:
    """What the job's model says of rows shaped like the training rows: the same preprocessing, and no training code."""
    with database.reading() as session:
        file = _model(session, owner, job_id)
    with models.held(owner, file) as model:
        data = _predictions(model, owner, body.rows)
    found = Predictions(object="list", data=data, model=Source(job_id=job_id, sha256=file.sha256))
    return Response(found.model_dump_json(), media_type="application/json")  # written here, not in the event loop


def _model(session: Session, owner: str, job_id: str) -> File:
    job = store.get(session, owner, job_id)
    if job.status is Status.FAILED:
        raise errors.NoModel("The job failed, and its model is not to be relied on: mend the spec and post it again.")
    try:
        return files.artifact(session, job_id, MODEL)
    except errors.NotFound:
        if job.status not in states.TERMINAL:
            raise errors.NoModel(f"The job is {job.status}: ask again when it has succeeded.") from None
        if job.status is not Status.SUCCEEDED:
            raise errors.NoModel(f"The job is {job.status} and left no model: retry it.") from None
        raise errors.NoModel("The job left no model.onnx: `onnx_refused` in its metrics.json says why.") from None


def _predictions(model: Model, owner: str, rows: list[dict[str, Any]]) -> list[Labelled | Valued]:
    found, classes = model.predict(owner, rows), model.signature.classes
    if classes is None:
        named = (dict(zip(model.signature.targets, row, strict=True)) for row in found["values"].tolist())
        return [Valued(values=values) for values in named]
    pairs = zip(found["label"].tolist(), found["probabilities"].tolist(), strict=True)
    return [Labelled(label=label, probabilities=dict(zip(classes, row, strict=True))) for label, row in pairs]
