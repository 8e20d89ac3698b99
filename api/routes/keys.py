"""Keys, for those who run the service; and who did what."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api import context, key_schemas, paging, problems, strict
from jobs import ids, keys

router = APIRouter(prefix="/v1", tags=["operations"], route_class=strict.StrictRoute)

KeyId = Annotated[str, Path(pattern=rf"^key_{ids.PATTERN}$")]


@router.post("/keys", status_code=201, responses=problems.documented(413, 415), summary="Make a key")
def create_key(
    request: key_schemas.KeyRequest, operator: context.Operator, database: context.Database, response: Response
) -> key_schemas.NewKey:
    """The token is in this answer and nowhere else."""
    with database.writing() as session:
        made = keys.create(session, request.owner, request.scope, request.name)
        shown = key_schemas.Key.model_validate(made.key)
    response.headers["Location"] = f"/v1/keys/{shown.id}"
    return key_schemas.NewKey(**shown.model_dump(), token=made.token)


@router.get("/keys", responses=problems.documented(), summary="List keys")
def list_keys(operator: context.Operator, database: context.Database) -> key_schemas.KeyPage:
    """Every key, revoked ones too, newest first."""
    with database.reading() as session:
        shown = [key_schemas.Key.model_validate(row) for row in keys.list_all(session)]
    return key_schemas.KeyPage(object="list", data=shown, has_more=False, next=None)


@router.delete("/keys/{key_id}", responses=problems.documented(404), summary="Revoke a key")
def revoke_key(key_id: KeyId, operator: context.Operator, database: context.Database) -> key_schemas.Key:
    """Ends it for good, within five seconds. Repeating it changes nothing."""
    with database.writing() as session:
        return key_schemas.Key.model_validate(keys.revoke(session, key_id))


@router.get("/audit", responses=problems.documented(), summary="Read the audit trail")
def list_audit(
    operator: context.Operator, database: context.Database, after: paging.AuditCursor, limit: paging.Limit = 20
) -> key_schemas.AuditPage:
    """Calls that changed something, or tried to, newest first; a second or so behind."""
    with database.reading() as session:
        shown = [key_schemas.AuditEntry.model_validate(row) for row in keys.audit(session, after, limit + 1)]
    return paging.cut(key_schemas.AuditPage, shown, limit, "id")
