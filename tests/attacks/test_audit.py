"""Whoever changed something can be found; nothing secret is written down."""

from collections import Counter
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from api import audit
from jobs import db, ids
from jobs.keys import Caller
from jobs.tables.keys import Audit
from tests.api.conftest import WINE
from tests.attacks.conftest import headers


def entries(client: TestClient, app: FastAPI, root: dict[str, str]) -> list[dict[str, Any]]:
    app.state.trail.write()
    found: list[dict[str, Any]] = client.get("/v1/audit", headers=root).json()["data"]
    return found


def test_every_change_and_every_try_is_on_record(
    client: TestClient, guarded: FastAPI, database: db.Database, ann: dict[str, str]
) -> None:
    root = headers(database, "root", "admin")
    job = client.post("/v1/jobs", json=WINE, headers=ann)
    client.get("/v1/jobs", headers=ann)
    client.post("/v1/jobs/validate", json=WINE, headers=ann)
    client.post("/v1/keys", json={"owner": "eve"}, headers=ann)
    found = [(entry["owner"], entry["action"], entry["status"]) for entry in entries(client, guarded, root)]
    assert found == [("ann", "create_key", 403), ("ann", "create_job", 201)]
    (last,) = [entry for entry in entries(client, guarded, root) if entry["action"] == "create_job"]
    assert last["request_id"] == job.headers["x-request-id"]


def test_a_key_shows_when_it_was_used(
    client: TestClient, guarded: FastAPI, database: db.Database, ann: dict[str, str]
) -> None:
    root = headers(database, "root", "admin")
    client.get("/v1/jobs", headers=ann)
    entries(client, guarded, root)
    keys = client.get("/v1/keys", headers=root).json()["data"]
    assert {key["owner"]: key["last_used_at"] is not None for key in keys}["ann"]


def test_who_is_refused_again_and_again_does_not_fill_the_table(guarded: FastAPI, database: db.Database) -> None:
    trail: audit.Trail = guarded.state.trail
    caller = Caller(owner=ids.new("eve"), scope="submit", key_id=None)
    call = {"action": "create_job", "path": "/v1/jobs", "request_id": "r"}
    with capture_logs() as lines:
        for _ in range(200):
            for status in (201, 403, 422, 429, 503):
                trail.add(caller, status=status, **call)
    trail.write()
    with database.reading() as session:
        statuses = Counter(session.scalars(sa.select(Audit.status).where(Audit.owner == caller.owner)))
    assert (statuses[201], statuses[429], statuses[503], len(lines)) == (200, 0, 0, 1000)
    assert all(100 <= statuses[status] < 150 for status in (403, 422))
