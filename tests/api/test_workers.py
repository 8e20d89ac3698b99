"""Workers as operators see them, and what jobs wait for them."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from jobs import claims, db, workers
from jobs.tables.jobs import Job
from jobs.tables.workers import Worker
from jobs.workers import Equipment

Submit = Callable[..., dict[str, Any]]
VERSIONS = {"fitd": "1", "torch": "2", "python": "3", "spec": "1"}


def arrived(database: db.Database, name: str, gpus: list[str] | None = None) -> None:
    with database.writing() as session:
        workers.arrive(session, name, Equipment(slots=1, threads=2, gpus=gpus or [], versions=VERSIONS))


def claimed(database: db.Database, name: str) -> None:
    with database.writing() as session:
        assert claims.claim(session, name, 30) is not None


def statuses(client: TestClient) -> dict[str, str]:
    return {worker["name"]: worker["status"] for worker in client.get("/v1/workers").json()["data"]}


def reason(client: TestClient, job: dict[str, Any]) -> tuple[str, str]:
    why = client.get(job["links"]["self"]).json()["status_reason"]
    return why["code"], why["message"]


def test_a_worker_shows_what_it_has_and_does(client: TestClient, database: db.Database, submit: Submit) -> None:
    arrived(database, "w1", ["H200"])
    job = submit()
    claimed(database, "w1")
    (worker,) = client.get("/v1/workers").json()["data"]
    assert worker.pop("started_at") == worker.pop("seen_at")
    assert worker == {
        "object": "worker",
        "name": "w1",
        "status": "working",
        "slots": 1,
        "threads": 2,
        "gpus": ["H200"],
        "versions": VERSIONS,
        "jobs": [job["id"]],
    }


def test_a_drained_worker_is_told_and_told_otherwise(client: TestClient, database: db.Database, submit: Submit) -> None:
    arrived(database, "w1")
    submit()
    claimed(database, "w1")
    seen = [client.post("/v1/workers/w1/drain").json()["status"]]
    with database.writing() as session:
        asked = workers.beat(session, "w1", [])
        session.execute(sa.update(Job).values(lease_owner=None))
    seen.append(client.post("/v1/workers/w1/drain").json()["status"])
    seen.append(client.post("/v1/workers/w1/resume").json()["status"])
    assert (asked, seen) == (True, ["draining", "drained", "idle"])


@pytest.mark.parametrize("call", ["drain", "resume"])
def test_only_a_worker_that_is_there_can_be_asked(client: TestClient, call: str) -> None:
    assert client.post(f"/v1/workers/w9/{call}").status_code == 404


def test_a_silent_worker_is_called_silent_and_then_forgotten(client: TestClient, database: db.Database) -> None:
    arrived(database, "w1")
    arrived(database, "w2")
    with database.writing() as session:
        session.execute(sa.update(Worker).where(Worker.name == "w2").values(seen_at=db.now(-workers.SILENT - 1)))
    assert statuses(client) == {"w1": "idle", "w2": "silent"}
    with database.writing() as session:
        session.execute(sa.update(Worker).where(Worker.name == "w2").values(seen_at=db.now(-workers.FORGOTTEN - 1)))
        workers.forget(session)
    assert statuses(client) == {"w1": "idle"}


def test_a_waiting_job_says_what_it_waits_for(client: TestClient, database: db.Database, submit: Submit) -> None:
    job, other = submit(priority=1), submit()
    assert reason(client, job)[0] == "no_worker"
    arrived(database, "w1")
    assert reason(client, job) == ("next_slot", "A free slot takes it within seconds.")
    claimed(database, "w1")
    third = submit()
    assert reason(client, third) == ("slots_busy", "All 1 slots are busy; 1 job goes first.")
    assert reason(client, other) == ("slots_busy", "All 1 slots are busy.")
    client.post("/v1/workers/w1/drain")
    assert reason(client, other)[0] == "no_worker"


def test_a_job_that_no_worker_can_run_says_so(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit(device="cuda")
    arrived(database, "w1")
    assert reason(client, job)[0] == "no_gpu"
    arrived(database, "w2", ["H200"])
    assert reason(client, job)[0] == "next_slot"
    with database.writing() as session:
        session.execute(sa.update(Job).values(spec_version=2))
    assert reason(client, job)[0] == "newer_spec"


def test_a_job_that_was_lost_says_when_it_is_tried_again(
    client: TestClient, database: db.Database, submit: Submit
) -> None:
    job = submit()
    arrived(database, "w1")
    with database.writing() as session:
        session.execute(sa.update(Job).values(not_before=db.now(20), attempt=2, status_code="exit_-9"))
    assert reason(client, job)[0] == "backing_off"
    assert reason(client, job)[1].startswith("Attempt 2 was lost (exit_-9); the next waits ")
