"""Health, metrics, request ids, pages and the contract itself."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from api import telemetry
from api.app import create_app
from jobs import db, migrate, store
from jobs.settings import Settings
from tests.api.conftest import HOME, WINE


def test_a_living_process_says_so(client: TestClient) -> None:
    answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": {}})


def test_readiness_names_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings)
    with TestClient(app, HOME) as client:
        before = client.get("/readyz")
        migrate.upgrade(settings.database)
        after = client.get("/readyz")
    assert (before.status_code, before.headers["retry-after"]) == (503, "2")
    assert before.json()["checks"]["database"].startswith("the schema is at revision None")
    assert after.json()["checks"]["database"] == after.json()["checks"]["artifacts"] == "ok"


def test_metrics_tell_of_requests_and_of_the_queue(client: TestClient, submit: Callable[..., dict[str, Any]]) -> None:
    job = submit()
    submit()
    client.post(f"/v1/jobs/{job['id']}/cancel")
    client.get("/v1/elsewhere")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    cancelled = (("method", "POST"), ("route", "/v1/jobs/{job_id}/cancel"), ("status", "202"))
    unmatched = (("method", "GET"), ("route", "unmatched"), ("status", "404"))
    assert samples["fitd_http_request_seconds_count", cancelled] == 1
    assert samples["fitd_http_request_seconds_count", unmatched] == 1
    assert samples["fitd_jobs", (("status", "queued"),)] == samples["fitd_queue_depth", ()] == 1
    assert samples["fitd_jobs", (("status", "cancelled"),)] == 1
    assert 0 <= samples["fitd_queue_oldest_seconds", ()] < 60


@pytest.mark.parametrize(
    "version", ["abc", "1.x", "", pytest.param("1" * 5000, id="5000 digits"), "\xe9", "-1", "1.0.0"]
)
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_whatever_version_is_accepted_metrics_come(client: TestClient, kind: str, version: str) -> None:
    answer = client.get("/metrics", headers={b"accept": f"{kind}; version={version}".encode("latin-1")})
    assert (answer.status_code, "fitd_queue_depth" in answer.text) == (200, True)


def test_what_has_ended_is_counted_again_only_after_a_rest(
    database: db.Database, submit: Callable[..., dict[str, Any]], client: TestClient
) -> None:
    queue = telemetry.Queue(database)

    def cancelled() -> float:
        client.post(f"/v1/jobs/{submit()['id']}/cancel")
        (jobs,) = (family for family in queue.collect() if family.name == "fitd_jobs")
        (sample,) = (sample for sample in jobs.samples if sample.labels == {"status": "cancelled"})
        return sample.value

    assert [cancelled(), cancelled()] == [1, 1]
    queue.again_at = 0.0
    assert cancelled() == 3


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False)])
def test_a_request_id_is_kept_if_it_is_harmless(client: TestClient, given: str, kept: bool) -> None:
    answer = client.get("/livez", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert re.fullmatch("[A-Za-z0-9._-]+", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        ("nonsense", None),
    ],
)
def test_a_trace_goes_on_with_the_job(client: TestClient, database: db.Database, given: str, trace: str | None) -> None:
    job = client.post("/v1/jobs", json=WINE, headers={"traceparent": given}).json()["id"]
    with database.reading() as session:
        kept = store.get(session, "local", job).traceparent or ""
    assert telemetry.TRACEPARENT.fullmatch(kept)
    assert kept != given
    assert trace is None or kept[3:35] == trace


def test_every_answer_has_the_headers_of_a_careful_service(client: TestClient) -> None:
    for path in ("/livez", "/v1/jobs", "/nothing", "/docs", "/docs/vendor/swagger-ui.css", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_the_contract_is_written_once(app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mock(wraps=app.openapi)
    monkeypatch.setattr(app, "openapi", made)
    assert {client.get("/openapi.json").content for _ in range(3)} == {JSONResponse(app.openapi()).body}
    assert made.call_count == 2


def test_the_docs_need_nothing_from_elsewhere_and_no_inline_script(client: TestClient) -> None:
    answer = client.get("/docs")
    needed = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert re.findall(r"<script(?![^>]*src=)", answer.text) == []
    assert [client.get(f"/{path}").status_code for path in needed] == [200] * 4
    assert "http" not in "".join(needed)


def test_every_operation_has_a_name_of_its_own_and_says_what_can_go_wrong(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert sorted(set(names)) == sorted(names)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)+", name) for name in names)
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert {"400", "422", "500", "503"} <= operation["responses"].keys()
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]


def test_the_contract_names_things_as_people_would(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert [name for name in schemas if "__" in name or "-" in name or "[" in name] == []


def test_the_api_needs_no_torch() -> None:
    code = (
        "import sys, api.app, api.__main__\n"
        "print([name for name in ('torch', 'polars', 'sklearn', 'worker', 'trainer', 'celery.worker')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
