"""Whatever goes wrong is told in one form."""

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs import db, engines
from jobs.tables.every import METADATA
from tests.api.conftest import WINE


def test_a_problem_has_every_member(client: TestClient) -> None:
    answer = client.get("/v1/nothing")
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.pop("request_id") == answer.headers["x-request-id"]
    assert problem == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such thing here.",
        "instance": "/v1/nothing",
        "code": "not_found",
    }


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("PUT", "/v1/jobs/job_01m7x9mw64s8g21cjat5bc3d91", "DELETE, GET, PATCH"),
        ("DELETE", "/livez", "GET"),
        ("DELETE", "/v1/datasets/builtin", "GET"),
        ("POST", "/docs", "GET"),
    ],
)
def test_a_method_that_is_not_answered(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("GET", "/v1/jobs/x"), ("PUT", "/v1/jobs")])
def test_a_wrong_address_costs_nothing(app: FastAPI, client: TestClient, method: str, path: str) -> None:
    client.request(method, path)
    assert app.openapi_schema is None  # a second of the processor's time


def test_a_defect_of_ours_is_a_500_that_tells_nothing(app: FastAPI, client: TestClient) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise ValueError("secret")

    answer = client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/datasets", "/metrics"])
def test_without_its_tables_the_database_is_unavailable(client: TestClient, database: db.Database, path: str) -> None:
    METADATA.drop_all(database.engine)
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "2"


def test_a_database_that_stays_locked_is_a_503(
    client: TestClient, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.05)
    with database.writing() as session:
        session.execute(sa.text("SELECT 1"))
        answer = client.post("/v1/jobs", json=WINE)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert client.post("/v1/jobs", json=WINE).status_code == 201


def test_an_exhausted_pool_is_a_503(app: FastAPI, client: TestClient, database: db.Database) -> None:
    app.state.database = db.Database(
        sa.create_engine(
            database.engine.url, module=database.engine.dialect.dbapi, pool_size=1, max_overflow=0, pool_timeout=0.1
        )
    )
    with app.state.database.engine.connect():
        answer = client.get("/v1/jobs")
    app.state.database.engine.dispose()
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


def test_a_nul_in_the_query_is_malformed(client: TestClient) -> None:
    for query in ("name=a%00b", "metadata[a]=%00", "metadata[%00]=a"):
        answer = client.get(f"/v1/jobs?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
