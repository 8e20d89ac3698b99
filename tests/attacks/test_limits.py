"""Quotas, rates and origins: what one owner, one address or one foreign page may not do."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import access
from api.access import Bucket
from api.app import create_app
from jobs import claims, datasets, deliveries, history, holdings, keys, leases, retention, store, webhooks
from jobs.profiles import builtin
from jobs.record import MetricPoint, Usage
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.every import METADATA
from tests.api import server
from tests.api.conftest import HOME, WINE
from tests.jobs.samples import file

CSV = {"content-type": "text/csv"}
HOOK = {"url": "https://hooks.example.com/fitd"}
ROWS = [{"a": n, "y": n % 2, "t": "z" * 9_000} for n in range(100)]
LARGE = {"dataset": {"source": "rows", "rows": ROWS}, "target": "y", "features": {"exclude": ["t"]}}


def app_of(folder: Path, **settings: Any) -> FastAPI:
    app = create_app(Settings(data_dir=folder, **settings))
    METADATA.create_all(app.state.database.engine)
    return app


def service(folder: Path, **settings: Any) -> TestClient:
    return TestClient(app_of(folder, **settings), HOME)


@contextmanager
def service_for(owner: str, folder: Path, **settings: Any) -> Iterator[TestClient]:
    """A client with a key of this owner's."""
    with service(folder, require_keys=True, **settings) as client:
        with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
            client.headers["Authorization"] = f"Bearer {keys.create(session, owner, 'submit', None).token}"
        yield client


def test_an_owner_has_so_many_waiting_jobs_and_no_more(tmp_path: Path) -> None:
    with service(tmp_path, max_waiting_jobs=2) as client:
        first = client.post("/v1/jobs", json=WINE, headers={"Idempotency-Key": "k"}).json()
        assert client.post("/v1/jobs", json=WINE).status_code == 201
        refused = client.post("/v1/jobs", json=WINE)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_reached")
        assert int(refused.headers["retry-after"]) > 0
        assert client.post("/v1/jobs", json=WINE, headers={"Idempotency-Key": "k"}).json()["id"] == first["id"]
        client.post(f"{first['links']['self']}/cancel")
        assert client.post("/v1/jobs", json=WINE).status_code == 201


def test_no_other_way_leads_past_a_full_queue(tmp_path: Path) -> None:
    with service(tmp_path, max_waiting_jobs=1) as client:
        ended = client.post("/v1/jobs", json=WINE).json()["links"]["self"]
        client.post(f"{ended}/cancel")
        paused = client.post("/v1/jobs", json=WINE).json()["links"]["self"]
        client.post(f"{paused}/pause")
        for refused in (client.post("/v1/jobs", json=WINE), client.post(f"{ended}/retry")):
            assert (refused.status_code, refused.json()["code"]) == (429, "quota_reached")
        assert client.post(f"{paused}/resume").json()["status"] == "queued"


def test_an_owner_stores_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    with service(tmp_path, max_stored_bytes=10) as client:
        assert client.post("/v1/datasets", content=b"a,b\n1,2\n", headers=CSV).status_code == 201
        refused = client.post("/v1/datasets", content=b"a,b\n3,4\n", headers=CSV)
        assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")
        assert len(client.get("/v1/datasets").json()["data"]) == 1


def test_an_owner_has_so_many_unread_datasets_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_UNREAD", 1)
    with service(tmp_path) as client:
        assert client.post("/v1/datasets", content=b"a,b\n1,2\n", headers=CSV).status_code == 201
        assert client.post("/v1/datasets", json={"url": "https://data.example/a.csv"}).status_code == 201
        refused = client.post("/v1/datasets", content=b"a,b\n3,4\n", headers=CSV)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_reached")
        assert len(client.get("/v1/datasets").json()["data"]) == 2


def test_an_owner_has_so_many_waiting_tests_of_webhooks_and_no_more(tmp_path: Path) -> None:
    with service(tmp_path) as client:
        hook = client.post("/v1/webhooks", json={"url": "https://hooks.example/"}).json()["id"]
        answers = [client.post(f"/v1/webhooks/{hook}/test") for _ in range(deliveries.MOST_TESTS + 1)]
        assert [answer.status_code for answer in answers] == [202] * deliveries.MOST_TESTS + [429]


def test_the_same_bytes_again_count_with_what_is_told_of_them(tmp_path: Path) -> None:
    with service(tmp_path, max_stored_bytes=50_000) as client:
        assert upload(client) == 201
        with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
            row = datasets.claim(session, "w", 30)
            assert row
            datasets.settle(session, row.id, row.attempt, builtin()["iris"], [{"a": "x" * 10_000}], None)
        assert [upload(client) for _ in range(4)] == [201, 201, 409, 409]


def upload(client: TestClient) -> int:
    return client.post("/v1/datasets", content=b"a\n1\n", headers=CSV).status_code


def test_specs_cannot_fill_the_database_by_being_cancelled(tmp_path: Path) -> None:
    with service(tmp_path, max_stored_bytes=4_000_000) as client:
        answers = []
        for _ in range(4):
            answers.append(client.post("/v1/jobs", json=LARGE))
            if answers[-1].status_code == 201:
                client.post(f"{answers[-1].json()['links']['self']}/cancel")
        assert [answer.status_code for answer in answers] == [201, 201, 409, 409]
        assert answers[-1].json()["code"] == "limit_reached"
        assert client.post("/v1/jobs", json=WINE).status_code == 201
        ended = answers[0].json()["links"]["self"]
        assert client.post(f"{ended}/retry").status_code == 409
        assert client.delete(ended).status_code == 204
        assert client.post("/v1/jobs", json=LARGE).status_code == 201


def test_small_jobs_cannot_fill_the_database_by_being_cancelled(tmp_path: Path) -> None:
    with service(tmp_path, max_recorded_bytes=25_000) as client:
        ended = []
        while (answer := client.post("/v1/jobs", json={**WINE, "name": "x" * 100})).status_code == 201:
            ended.append(answer.json()["links"]["self"])
            client.post(f"{ended[-1]}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "limit_reached")
        assert "delete jobs that have ended" in answer.json()["detail"]
        assert 1 < len(ended) < 25_000 / holdings.JOB_BYTES
        assert client.post(f"{ended[0]}/retry").status_code == 409
        assert client.delete(ended[0]).status_code == 204
        statuses = [client.post("/v1/jobs", json={**WINE, "name": "x" * 100}).status_code for _ in range(2)]
        assert statuses == [201, 409]


def test_jobs_cannot_fill_the_store(database_url: str, tmp_path: Path) -> None:
    wide = {**WINE, "model": {"kind": "mlp", "hidden": [3000, 3000]}, "checkpoint": {"keep": 1}}
    with service_for("wide", tmp_path, max_result_bytes=10**9, database_url=database_url) as client:
        answers = [client.post("/v1/jobs", json=wide) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [201, 201, 409, 409]
        assert answers[-1].json()["code"] == "limit_reached"
        assert "1000000000 bytes together" in answers[-1].json()["detail"]
        first = answers[0].json()["links"]["self"]
        client.post(f"{first}/cancel")
        assert client.post("/v1/jobs", json=wide).status_code == 201
        assert client.post(f"{first}/retry").status_code == 409


def test_results_of_ended_jobs_count_until_they_are_deleted(database_url: str, tmp_path: Path) -> None:
    with service_for("long", tmp_path, max_result_bytes=10**7, database_url=database_url) as client:
        ended = client.post("/v1/jobs", json={**WINE, "priority": 9}).json()["links"]["self"]
        with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
            job = claims.claim(session, "w", 30)
            assert job
            model = file(job, "model", kind="artifact", bytes=10**7)
            assert leases.keep(session, job.id, job.attempt, model, 2) == []
            assert leases.finish(session, job.id, job.attempt, Status.SUCCEEDED, "Done.", usage=Usage())
        refused = client.post("/v1/jobs", json=WINE)
        assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")
        assert client.post("/v1/datasets", content=b"a\n1\n", headers=CSV).status_code == 201
        assert client.delete(ended).status_code == 204
        assert client.post("/v1/jobs", json=WINE).status_code == 201


def test_pausing_without_end_ends(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PAUSES", 3)
    with service_for("restless", tmp_path, database_url=database_url) as client:
        job = client.post("/v1/jobs", json=WINE).json()["links"]["self"]

        def moved(action: str) -> int:
            return client.post(f"{job}/{action}").status_code

        assert [(moved("pause"), moved("pause"), moved("resume")) for _ in range(3)] == [(202, 202, 202)] * 3
        refused = client.post(f"{job}/pause")
        assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")
        assert "paused 3 times" in refused.json()["detail"]
        assert moved("cancel") == 202


def test_a_job_of_many_values_is_deleted_in_small_transactions(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 5)
    sizes = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("DELETE"):
            sizes.append((statement.split()[2], cursor.rowcount))

    points = [MetricPoint(name="loss", step=step, epoch=1, value=0.5, nonfinite=None) for step in range(12)]
    with service_for("chatty", tmp_path, database_url=database_url) as client:
        database = client.app.state.database  # type: ignore[attr-defined]
        job = client.post("/v1/jobs", json=WINE).json()
        with database.writing() as session:
            history.append(session, job["id"], 1, points)
        sa.event.listen(database.engine, "after_cursor_execute", note)
        assert (client.delete(job["links"]["self"]).status_code, sizes) == (409, [])
        client.post(f"{job['links']['self']}/cancel")
        assert client.delete(job["links"]["self"]).status_code == 204
        assert client.get(job["links"]["self"]).status_code == 404
    assert (sizes[:2], [table for table, _ in sizes[2:]]) == ([("metrics", 5)] * 2, ["jobs"])


def test_rows_of_more_than_a_megabyte_are_for_a_dataset(tmp_path: Path) -> None:
    rows = [{**row, "t": "z" * 12_000} for row in ROWS]
    with service(tmp_path) as client:
        for call in ("/v1/jobs", "/v1/jobs/validate"):
            answer = client.post(call, json={**LARGE, "dataset": {"source": "rows", "rows": rows}})
            (fault,) = answer.json()["errors"]
            assert (answer.status_code, fault["pointer"], fault["code"]) == (422, "/dataset/rows", "spec_too_large")
            assert "upload its rows as a dataset" in fault["detail"]


def test_a_list_of_large_jobs_comes_in_short_pages(tmp_path: Path) -> None:
    with service(tmp_path) as client:
        made = [client.post("/v1/jobs", json=LARGE).json()["id"] for _ in range(4)]
        first = client.get("/v1/jobs", params={"limit": 200})
        rest = client.get("/v1/jobs", params={"limit": 200, "after": first.json()["next"]})
        assert max(len(answer.content) for answer in (first, rest)) < 5 << 20
        assert [job["id"] for answer in (first, rest) for job in answer.json()["data"]] == made[::-1]


def test_a_bucket_gives_what_it_holds_and_then_what_flows_in() -> None:
    bucket = Bucket(rate=2, size=3)
    assert [bucket.take(100) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [bucket.take(101) for _ in range(3)] == [0, 0, 0.5]
    assert [bucket.take(4000) for _ in range(4)] == [0, 0, 0, 0.5]


def test_an_owner_who_asks_too_often_waits(tmp_path: Path) -> None:
    with service(tmp_path, require_keys=True, requests_per_second=1) as client:
        with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
            token = keys.create(session, "ann", "read", None).token
        who = {"Authorization": f"Bearer {token}"}
        answers = [client.get("/v1/jobs", headers=who) for _ in range(40)]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) > 20  # a slow machine gets some more answers meanwhile
        assert (refused[0].json()["code"], refused[0].headers["retry-after"]) == ("rate_limited", "1")
        assert client.get("/livez").status_code == 200


def test_an_address_that_guesses_keys_is_not_listened_to(tmp_path: Path) -> None:
    with service(tmp_path, require_keys=True, wrong_keys_per_minute=20) as client:
        guesses = [client.get("/v1/jobs", headers={"Authorization": f"Bearer fitd_x_{n}"}) for n in range(25)]
        statuses = [guess.status_code for guess in guesses]
        assert statuses == [401] * 20 + [429] * 5


def test_who_guesses_locks_no_holder_of_a_key_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REMEMBERED", 0.0)
    app = app_of(tmp_path, require_keys=True)
    with app.state.database.writing() as session:
        token = keys.create(session, "ann", "read", None).token
    with TestClient(app, HOME) as client:
        for shown in [token, *(f"fitd_x_{number}" for number in range(25)), token]:
            answer = client.get("/v1/jobs", headers={"Authorization": f"Bearer {shown}"})
    assert answer.status_code == 200


FOREIGN = [
    {"host": "evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1.evil.example:8000"},
    {"host": "10.0.0.1"},
    {"host": "0.0.0.0"},
    {"host": ""},
    {"host": "[::1"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"X-Forwarded-Host": "fitd.example"},
    {"X-Real-IP": "192.0.2.7"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_cannot_use_a_service_without_keys(tmp_path: Path, headers: dict[str, str]) -> None:
    with service(tmp_path) as client:
        answer = client.post("/v1/jobs", json=WINE, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert client.get("/v1/jobs").json()["data"] == []


def test_a_proxy_that_was_not_announced_opens_nothing(tmp_path: Path) -> None:
    with server.running(tmp_path) as api, api.connected() as plain:
        plain.sendall(b"GET /v1/jobs HTTP/1.0\r\nHost: 127.0.0.1:8000\r\n\r\n")  # as by `proxy_pass` alone
        assert plain.recv(65536).startswith(b"HTTP/1.1 403 ")


OWN = [
    {"host": "localhost:8000"},
    {"host": "[::1]:8000"},
    {"host": "127.0.0.1", "origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
]


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_swagger_ui_of_this_machine_can(tmp_path: Path, headers: dict[str, str]) -> None:
    with service(tmp_path) as client:
        assert client.post("/v1/jobs", json=WINE, headers=headers).status_code == 201


def test_a_service_that_others_reach_asks_for_keys(tmp_path: Path) -> None:
    for settings in ({"host": "0.0.0.0"}, {"host": "192.0.2.1"}, {"behind_proxy": True}, {"require_keys": True}):
        with service(tmp_path, **settings) as client:
            assert client.get("/v1/jobs").status_code == 401


def test_the_pages_can_be_left_out(tmp_path: Path) -> None:
    with service(tmp_path, docs=False) as client:
        assert client.get("/docs").status_code == 404


def test_who_asks_many_times_at_once_gets_no_more_than_in_turn(database_url: str, tmp_path: Path) -> None:
    limits = {"max_waiting_jobs": 2, "max_stored_bytes": 60, "database_url": database_url}
    with service(tmp_path, **limits) as client, ThreadPoolExecutor(8) as threads:

        def at_once(path: str, **call: Any) -> list[int]:
            return sorted(threads.map(lambda _: client.post(path, **call).status_code, range(24)))

        assert at_once("/v1/jobs", json=WINE) == [201] * 2 + [429] * 22
        assert at_once("/v1/webhooks", json=HOOK) == [201] * webhooks.MOST + [409] * (24 - webhooks.MOST)
        uploaded = at_once("/v1/datasets", content=b"a\n" + b"1\n" * 9, headers=CSV)
        stored = uploaded.count(201)
        assert stored <= 3  # fewer where two that were on their way refused each other
        assert uploaded == [201] * stored + [409] * (24 - stored)
        imported = at_once("/v1/datasets", json={"url": "https://data.example.com/set.csv"})
        assert (imported, len(client.get("/v1/datasets").json()["data"])) == ([201] * 24, stored + 1)


def test_a_filter_a_hundred_times_is_one_filter(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url=database_url) as client:
        made = client.post("/v1/jobs", json={**WINE, "metadata": {"team": "a"}}).json()["id"]
        for query in (["status=queued"], ["metadata[team]=a"], ["status=queued", "status=running"]):
            asked = "&".join([*query * (99 // len(query)), "metadata[team]=a"])
            found = client.get(f"/v1/jobs?{asked}").json()["data"]
            assert [job["id"] for job in found] == [made]
        many = client.get("/v1/jobs?" + "&".join(f"metadata[k{number}]=1" for number in range(100)))
        assert (many.status_code, many.json()["data"]) == (200, [])
        assert client.get("/v1/jobs?" + "&".join(["status=queued"] * 101)).status_code == 400


def test_what_a_database_refuses_is_not_told_to_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = app_of(tmp_path)
    engine = app.state.database.engine
    with engine.connect() as connection:
        pages = connection.scalar(sa.text("PRAGMA page_count"))

    @sa.event.listens_for(engine, "begin")
    def full(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    hook = {"url": HOOK["url"] + "d" * 1500}
    with TestClient(app, HOME) as client:
        client.get("/v1/jobs")
        statuses = [client.post("/v1/webhooks", json=hook).status_code for _ in range(webhooks.MOST)]
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert 503 in statuses
    assert any("database_unavailable" in line and "full" in line for line in lines)
    assert not any("whsec_" in line or "d" * 100 in line for line in lines)
