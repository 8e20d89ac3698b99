"""Every call × everybody who may not make it: nobody without a key, and nobody into another's things."""

import re
import tempfile
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from jobs import db, ids, keys
from jobs.settings import Settings
from tests.api.conftest import WINE
from tests.attacks.conftest import headers

OPEN = {"/livez", "/readyz", "/metrics", "/v1/datasets/builtin"}
OPERATORS = ("/v1/keys", "/v1/audit", "/v1/workers")
LOOKS = {("POST", "/v1/jobs/validate"), ("POST", "/v1/jobs/{job_id}/predict")}
BODIES: dict[str, Any] = {
    "/v1/jobs": WINE,
    "/v1/jobs/validate": WINE,
    "/v1/jobs/{job_id}": {"priority": 1},
    "/v1/jobs/{job_id}/predict": {"rows": [{"a": 1}]},
    "/v1/datasets": {"rows": [{"a": 1}]},
    "/v1/webhooks": {"url": "https://example.org"},
    "/v1/webhooks/{webhook_id}": {"enabled": False},
    "/v1/keys": {"owner": "eve", "scope": "admin"},
}
PREFIXES = {"job_id": "job", "dataset_id": "ds", "webhook_id": "wh", "delivery_id": "msg", "checkpoint_id": "ckpt"}


def contract() -> dict[str, Any]:
    """Every address and its calls."""
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Any] = create_app(Settings(data_dir=Path(folder))).openapi()["paths"]
    return paths


def calls() -> list[tuple[str, str]]:
    """Method and address of every call that needs a key."""
    paths = contract()
    return [(method.upper(), path) for path, methods in paths.items() if path not in OPEN for method in methods]


CALLS = calls()
OWNED = [call for call in CALLS if not call[1].startswith(OPERATORS)]
WITH_IDS = [call for call in OWNED if "{" in call[1]]


def send(client: TestClient, call: tuple[str, str], given: dict[str, str], who: dict[str, str]) -> Any:
    method, path = call
    address = re.sub(r"\{(\w+)\}", lambda found: given.get(found[1], "x"), path)
    body = BODIES.get(path) if method in ("POST", "PATCH") else None
    return client.request(method, address, headers=who, json=body)


@pytest.fixture(autouse=True)
def forgiven(guarded: FastAPI) -> None:
    """Wrong keys of earlier tests do not count."""
    guarded.state.gate.guesses.clear()


def test_the_contract_says_which_calls_need_a_key() -> None:
    free = {path for path, methods in contract().items() for call in methods.values() if not call.get("security")}
    assert free == OPEN


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_nobody_comes_in_without_a_key(
    client: TestClient, database: db.Database, belongings: dict[str, str], call: tuple[str, str]
) -> None:
    with database.writing() as session:
        made = keys.create(session, "ann", "admin", None)
        keys.revoke(session, made.key.id)
    wrong = made.token[:-1] + ("0" if made.token[-1] != "0" else "1")
    shown = [None, "", "Bearer", f"Bearer {made.token}", f"Bearer {wrong}", "Bearer fitd_x_y", f"Basic {made.token}"]
    for text in shown:
        answer = send(client, call, belongings, {} if text is None else {"Authorization": text})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), text
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("call", WITH_IDS, ids=" ".join)
def test_anothers_things_are_as_if_they_were_not_there(
    client: TestClient, bob: dict[str, str], belongings: dict[str, str], call: tuple[str, str]
) -> None:
    missing = {name: ids.new(PREFIXES[name]) if name in PREFIXES else "none" for name in belongings}
    theirs, nobodys = send(client, call, belongings, bob), send(client, call, missing, bob)
    assert theirs.status_code == nobodys.status_code == 404
    assert shape(theirs.text, belongings) == shape(nobodys.text, missing)


def shape(text: str, given: dict[str, str]) -> str:
    """An answer without what differs between any two."""
    for value in given.values():
        text = text.replace(value, "ID")
    return re.sub(r'"request_id":"[^"]+"', "", text)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/datasets", "/v1/webhooks"])
def test_lists_and_cursors_show_nothing_of_another(
    client: TestClient, ann: dict[str, str], bob: dict[str, str], belongings: dict[str, str], path: str
) -> None:
    theirs = belongings[{"/v1/jobs": "job_id", "/v1/datasets": "dataset_id", "/v1/webhooks": "webhook_id"}[path]]
    above_all = theirs.partition("_")[0] + "_" + "z" * 26
    own = client.get(path, params={"after": above_all}, headers=ann).json()["data"]
    assert theirs in [item["id"] for item in own]
    for query in ({}, {"after": theirs}, {"after": above_all}):
        assert client.get(path, params=query, headers=bob).json()["data"] == []


def test_anothers_idempotency_key_is_ones_own(
    client: TestClient, bob: dict[str, str], belongings: dict[str, str]
) -> None:
    made = client.post("/v1/jobs", json=WINE, headers={**bob, "Idempotency-Key": "k"})
    assert (made.status_code, made.json()["id"] == belongings["job_id"]) == (201, False)


def test_anothers_dataset_cannot_be_trained_on(
    client: TestClient, bob: dict[str, str], belongings: dict[str, str]
) -> None:
    spec = {"dataset": {"source": "upload", "id": belongings["dataset_id"]}, "target": "a"}
    answer = client.post("/v1/jobs", json=spec, headers=bob)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "not_found")


def test_anothers_stream_is_not_there(client: TestClient, bob: dict[str, str], belongings: dict[str, str]) -> None:
    live = {**bob, "Accept": "text/event-stream"}
    assert client.get(f"/v1/jobs/{belongings['job_id']}/events", headers=live).status_code == 404


def test_a_stream_ends_when_its_key_is_revoked(client: TestClient, database: db.Database, ann: dict[str, str]) -> None:
    job = client.post("/v1/jobs", json=WINE, headers=ann).json()
    with database.writing() as session:
        made = keys.create(session, "ann", "read", None)

    def revoke() -> None:
        with database.writing() as session:
            keys.revoke(session, made.key.id)

    Timer(0.5, revoke).start()
    live = {"Authorization": f"Bearer {made.token}", "Accept": "text/event-stream"}
    told = client.get(job["links"]["events"], headers=live).text
    assert (told.count("event: "), "event: queued" in told) == (2, True)


@pytest.mark.parametrize("field", ["owner", "status", "attempt", "id", "lease_owner", "parent", "result"])
def test_what_is_the_services_cannot_be_sent(client: TestClient, ann: dict[str, str], field: str) -> None:
    assert client.post("/v1/jobs", json={**WINE, field: "bob"}, headers=ann).status_code == 422


@pytest.mark.parametrize("call", OWNED, ids=" ".join)
def test_a_key_to_look_changes_nothing(
    client: TestClient, database: db.Database, belongings: dict[str, str], call: tuple[str, str]
) -> None:
    answer = send(client, call, belongings, headers(database, "ann", "read"))
    if call[0] == "GET" or call in LOOKS:
        assert answer.status_code not in (401, 403)
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("call", [call for call in CALLS if call[1].startswith(OPERATORS)], ids=" ".join)
def test_only_operators_see_keys_and_workers(
    client: TestClient, database: db.Database, ann: dict[str, str], call: tuple[str, str]
) -> None:
    given = {"key_id": ids.new("key"), "name": "w1"}
    assert send(client, call, given, ann).status_code == 403
    assert send(client, call, given, headers(database, "root", "admin")).status_code in (200, 201, 404)


def test_no_row_and_no_answer_holds_a_secret(client: TestClient, database: db.Database) -> None:
    root = headers(database, "root", "admin")
    made = client.post("/v1/keys", json={"owner": "ann"}, headers=root).json()
    secret = made["token"].rpartition("_")[2]
    assert secret not in client.get("/v1/keys", headers=root).text
    with database.reading() as session:
        assert secret not in str([vars(row) for row in keys.list_all(session)])
