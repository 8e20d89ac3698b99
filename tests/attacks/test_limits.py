"""Quotas, rates and origins: what one owner, one address or one foreign page may not do."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.access import Bucket
from api.app import create_app
from jobs import keys
from jobs.settings import Settings
from jobs.tables.every import METADATA
from tests.api.conftest import HOME, WINE

CSV = {"content-type": "text/csv"}


def service(folder: Path, **settings: Any) -> TestClient:
    app = create_app(Settings(data_dir=folder, **settings))
    METADATA.create_all(app.state.database.engine)
    return TestClient(app, HOME)


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
        paused = client.post("/v1/jobs", json=WINE).json()["links"]["self"]
        client.post(f"{paused}/pause")
        ended = client.post("/v1/jobs", json=WINE).json()["links"]["self"]
        client.post(f"{ended}/cancel")
        assert client.post("/v1/jobs", json=WINE).status_code == 201
        for call in (f"{paused}/resume", f"{ended}/retry"):
            refused = client.post(call)
            assert (refused.status_code, refused.json()["code"]) == (429, "quota_reached")
        assert client.get(paused).json()["status"] == "paused"


def test_an_owner_stores_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    with service(tmp_path, max_stored_bytes=10) as client:
        assert client.post("/v1/datasets", content=b"a,b\n1,2\n", headers=CSV).status_code == 201
        refused = client.post("/v1/datasets", content=b"a,b\n3,4\n", headers=CSV)
        assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")
        assert len(client.get("/v1/datasets").json()["data"]) == 1


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
        answers = [client.get("/v1/jobs", headers=who) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("rate_limited", "1")
        assert client.get("/livez").status_code == 200


def test_an_address_that_guesses_keys_is_not_listened_to(tmp_path: Path) -> None:
    with service(tmp_path, require_keys=True, wrong_keys_per_minute=20) as client:
        guesses = [client.get("/v1/jobs", headers={"Authorization": f"Bearer fitd_x_{n}"}) for n in range(25)]
        statuses = [guess.status_code for guess in guesses]
        assert statuses == [401] * 20 + [429] * 5


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
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_cannot_use_a_service_without_keys(tmp_path: Path, headers: dict[str, str]) -> None:
    with service(tmp_path) as client:
        answer = client.post("/v1/jobs", json=WINE, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert client.get("/v1/jobs").json()["data"] == []


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
