"""Pausing and resuming jobs."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import claims, datasets, db, unresolved
from jobs.allowances import USUAL
from jobs.profiles import builtin

from .test_jobs import end

Submit = Callable[..., dict[str, Any]]


def test_a_waiting_job_is_paused_and_resumed(client: TestClient, submit: Submit) -> None:
    here = submit()["links"]["self"]
    for _ in range(2):  # once more changes nothing
        paused = client.post(f"{here}/pause")
        assert (paused.status_code, paused.json()["status"]) == (202, "paused")
    assert paused.json()["allowed_actions"] == ["resume", "cancel"]
    for _ in range(2):
        resumed = client.post(f"{here}/resume")
        assert (resumed.status_code, resumed.json()["status"]) == (202, "queued")
    events = client.get(f"{here}/events").json()["data"]
    assert [event["kind"] for event in events] == ["created", "queued", "paused", "queued"]


def test_a_running_job_is_asked_to_pause(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit()
    here = job["links"]["self"]
    with database.writing() as session:
        claims.claim(session, "w", 30)
    paused = client.post(f"{here}/pause").json()
    assert (paused["status"], paused["allowed_actions"]) == ("pausing", ["cancel"])
    assert paused["status_reason"] == {"code": "pausing", "message": "The run is being saved."}
    refused = client.post(f"{here}/resume")
    assert (refused.status_code, refused.json()["allowed_actions"]) == (409, ["cancel"])


@pytest.mark.parametrize(("verb", "actions"), [("pause", ["retry", "delete"]), ("resume", ["retry", "delete"])])
def test_an_ended_job_is_neither_paused_nor_resumed(
    client: TestClient, database: db.Database, submit: Submit, verb: str, actions: list[str]
) -> None:
    job = submit()
    end(database, job["id"])
    refused = client.post(f"{job['links']['self']}/{verb}")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_move")
    assert refused.json()["allowed_actions"] == actions


def test_a_job_paused_before_its_dataset_was_read_is_resolved_all_the_same(
    client: TestClient, database: db.Database, submit: Submit
) -> None:
    dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers={"content-type": "text/csv"}).json()["id"]
    here = submit(dataset={"source": "upload", "id": dataset}, target="target")["links"]["self"]
    client.post(f"{here}/pause")
    with database.writing() as session:
        row = datasets.claim(session, "w", 30)
        assert row is not None
        datasets.settle(session, row.id, row.attempt, builtin()["wine"], [], None)
    while unresolved.resolve(database, USUAL):
        continue
    paused = client.get(here).json()
    assert (paused["status"], paused["resolved_spec"]["task"]) == ("paused", "classification")
    assert client.post(f"{here}/resume").json()["queue"]["position"] == 0
