"""What a run says about itself."""

from fastapi import APIRouter

from api import context, problems, schemas, strict
from jobs import store

router = APIRouter(prefix="/v1/jobs", tags=["runs"], route_class=strict.StrictRoute)


@router.get("/{job_id}/diagnostics", responses=problems.documented(404), summary="Read a run's diagnostics")
def get_diagnostics(job_id: context.JobId, owner: context.Owner, database: context.Database) -> schemas.Diagnostics:
    """Findings with evidence and a JSON patch for the next spec, and the flow of gradients that some rest on."""
    with database.reading() as session:
        said = store.get(session, owner, job_id).diagnostics
    if said is None:
        return schemas.Diagnostics(object="diagnostics", findings=None, flow=[])
    return schemas.Diagnostics(object="diagnostics", findings=said.findings, flow=said.flow)
