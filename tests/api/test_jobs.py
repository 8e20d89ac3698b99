"""Submitting, checking, listing, reading, changing, cancelling, retrying and deleting jobs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import examples
from jobs import artifacts, claims, datasets, db, files, leases, unresolved
from jobs.allowances import USUAL
from jobs.profiles import builtin
from jobs.record import Failure, Usage
from jobs.spec.job import JobSpec
from jobs.states import Status
from tests.api.conftest import WINE

Submit = Callable[..., dict[str, Any]]
MISSING = "job_01m7x9mw64s8g21cjat5bc3d91"


def end(database: db.Database, job: str, status: Status = Status.FAILED) -> None:
    """Claims the queue's first job and ends it."""
    error = Failure(error_class="training", code="diverged", message="It went wrong.")
    with database.writing() as session:
        claimed = claims.claim(session, "w", 30)
        assert claimed is not None
        assert claimed.id == job
        failed = error if status is Status.FAILED else None
        leases.finish(session, job, 1, status, "It ended.", usage=Usage(), error=failed)


def test_a_new_job_is_queued_resolved_and_says_where_it_is(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json=WINE)
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["status"], job["queue"]) == ("queued", {"name": "fitd", "priority": 0, "position": 0})
    assert job["resolved_spec"]["task"] == "classification"
    assert job["allowed_actions"] == ["pause", "cancel"]
    assert client.get(f"/v1/jobs/{job['id']}").json() == job


@pytest.mark.parametrize("name", ["classification", "regression", "images"])
def test_the_examples_run_as_they_stand(client: TestClient, name: str) -> None:
    spec = examples.SPECS[name]["value"]
    assert client.post("/v1/jobs", json=spec).status_code == 201
    check = client.post("/v1/jobs/validate", json=spec).json()
    assert check["estimate"]["parameters"] > 0
    assert check["resolution"] != []


def test_the_example_for_an_upload_has_the_right_shape() -> None:
    assert JobSpec.model_validate(examples.UPLOADED).epochs == 50


def test_a_check_stores_nothing(client: TestClient) -> None:
    client.post("/v1/jobs/validate", json=WINE)
    assert client.get("/v1/jobs").json() == {"object": "list", "data": [], "has_more": False, "next": None}


def test_every_fault_of_the_rules_is_listed(client: TestClient) -> None:
    spec = {**WINE, "target": "nowhere", "optimizer": {"kind": "sgd", "nesterov": True}}
    answer = client.post("/v1/jobs", json=spec)
    assert (answer.status_code, answer.json()["code"]) == (422, "spec_invalid")
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/target", "/optimizer/nesterov"}


def test_a_job_waits_for_the_profile_of_its_dataset(client: TestClient, database: db.Database, submit: Submit) -> None:
    dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers={"content-type": "text/csv"}).json()["id"]
    choice = {"dataset": {"source": "upload", "id": dataset}, "target": "target"}
    waiting = submit(**choice)
    check = client.post("/v1/jobs/validate", json=choice).json()
    assert (waiting["resolved_spec"], waiting["status_reason"]["code"]) == (None, "dataset_profiling")
    assert (check["resolved_spec"], check["estimate"]) == (None, None)
    assert [warning["code"] for warning in check["warnings"]] == ["dataset_profiling"]
    with database.writing() as session:
        row = datasets.claim(session, "w", 30)
        assert row is not None
        datasets.settle(session, row.id, row.attempt, builtin()["wine"], [], None)
    while unresolved.resolve(database, USUAL):
        continue
    resolved = client.get(f"/v1/jobs/{waiting['id']}").json()
    assert resolved["resolved_spec"]["task"] == "classification"


def test_one_key_and_body_make_one_job(client: TestClient) -> None:
    first = client.post("/v1/jobs", json=WINE, headers={"Idempotency-Key": "k 1"})
    again = client.post("/v1/jobs", json=dict(reversed(WINE.items())), headers={"Idempotency-Key": "k 1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert "idempotent-replayed" not in first.headers


def test_a_key_with_another_body_is_refused(client: TestClient) -> None:
    client.post("/v1/jobs", json=WINE, headers={"Idempotency-Key": "k"})
    other = client.post("/v1/jobs", json={**WINE, "seed": 1}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_must_be_short_and_printable(client: TestClient, key: str) -> None:
    answer = client.post("/v1/jobs", json=WINE, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/header/Idempotency-Key")


def test_many_requests_at_once_with_one_key_make_one_job(client: TestClient) -> None:
    def send(_: int) -> tuple[int, str]:
        answer = client.post("/v1/jobs", json=WINE, headers={"Idempotency-Key": "k"})
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))
    assert sorted(status for status, _ in answers) == [200] * 15 + [201]
    assert len({job for _, job in answers}) == len(client.get("/v1/jobs").json()["data"]) == 1


def test_a_job_that_has_not_changed_is_not_sent_again(client: TestClient, submit: Submit) -> None:
    submit()
    job = submit()
    first = client.get(job["links"]["self"])
    again = client.get(job["links"]["self"], headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


def test_the_etag_changes_with_the_job_and_with_its_place_in_the_queue(client: TestClient, submit: Submit) -> None:
    ahead, job = submit(), submit()
    tags = [client.get(job["links"]["self"]).headers["etag"]]
    client.post(f"/v1/jobs/{ahead['id']}/cancel")
    tags.append(client.get(job["links"]["self"]).headers["etag"])
    client.patch(job["links"]["self"], json={"name": "n"})
    tags.append(client.get(job["links"]["self"]).headers["etag"])
    assert len(set(tags)) == 3


def test_name_priority_and_metadata_can_be_changed(client: TestClient, submit: Submit) -> None:
    job = submit(name="old", metadata={"a": "1"})
    changed = client.patch(job["links"]["self"], json={"priority": 5, "metadata": {"b": "2"}}).json()
    assert (changed["name"], changed["queue"]["priority"], changed["metadata"]) == ("old", 5, {"b": "2"})
    assert client.get(job["links"]["self"]).json() == changed


@pytest.mark.parametrize("patch", [{}, {"name": None}, {"priority": 101}, {"status": "queued"}, {"metadata": {"a": 1}}])
def test_nothing_else_can_be_changed(client: TestClient, submit: Submit, patch: dict[str, Any]) -> None:
    job = submit()
    assert client.patch(job["links"]["self"], json=patch).status_code == 422
    assert client.get(job["links"]["self"]).json() == job


def test_a_waiting_job_is_cancelled_at_once_and_for_good(client: TestClient, submit: Submit) -> None:
    job = submit()
    answer = client.post(f"/v1/jobs/{job['id']}/cancel")
    again = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, again.status_code) == (202, 202)
    assert (answer.json()["status"], answer.json()["stop_reason"]) == ("cancelled", "cancelled")
    assert again.json() == answer.json()


def test_a_job_that_ended_cannot_be_cancelled(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit()
    end(database, job["id"])
    answer = client.post(f"/v1/jobs/{job['id']}/cancel")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "illegal_move")
    assert problem["allowed_actions"] == ["retry", "delete"]


def test_a_retry_is_a_new_job_and_repeating_it_gives_the_same(
    client: TestClient, database: db.Database, submit: Submit
) -> None:
    job = submit(seed=3)
    end(database, job["id"])
    answer = client.post(f"/v1/jobs/{job['id']}/retry")
    again = client.post(f"/v1/jobs/{job['id']}/retry").json()
    new = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, new["links"]["self"])
    assert (new["parent"], new["spec"], new["status"]) == (job["id"], job["spec"], "queued")
    assert again == new
    assert new["id"] != job["id"]


def test_a_repeated_retry_is_answered_whatever_became_of_the_dataset(
    client: TestClient, database: db.Database, artifacts: artifacts.Artifacts
) -> None:
    dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"}).json()
    spec = {"dataset": {"source": "upload", "id": dataset["id"]}, "target": "b"}
    job = client.post("/v1/jobs", json=spec).json()
    client.post(f"/v1/jobs/{job['id']}/cancel")
    new = client.post(f"/v1/jobs/{job['id']}/retry").json()
    client.post(f"/v1/jobs/{new['id']}/cancel")
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    again = client.post(f"/v1/jobs/{job['id']}/retry")
    assert (again.status_code, again.json()["id"]) == (202, new["id"])


def test_a_job_that_ended_well_is_not_retried(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit()
    end(database, job["id"], Status.SUCCEEDED)
    assert client.post(f"/v1/jobs/{job['id']}/retry").status_code == 409


def test_an_ended_job_is_deleted_with_its_files(
    client: TestClient, database: db.Database, artifacts: artifacts.Artifacts, submit: Submit, tmp_path: Path
) -> None:
    job = submit()
    (tmp_path / "model").write_bytes(b"weights")
    path = files.key(job["id"], 1, "model")
    artifacts.put(path, tmp_path / "model")
    end(database, job["id"])
    assert client.delete(job["links"]["self"]).status_code == 204
    assert client.get(job["links"]["self"]).status_code == 404
    with pytest.raises(FileNotFoundError):
        list(artifacts.read(path))


def test_a_job_that_has_not_ended_is_not_deleted(client: TestClient, submit: Submit) -> None:
    answer = client.delete(submit()["links"]["self"])
    assert (answer.status_code, answer.json()["allowed_actions"]) == (409, ["pause", "cancel"])


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/events"),
        ("GET", "/metrics"),
        ("GET", "/log"),
        ("GET", "/checkpoints"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/model"),
        ("GET", "/checkpoints/ckpt_01m7x9mw64s8g21cjat5bc3d91"),
        ("GET", "/checkpoints/ckpt_01m7x9mw64s8g21cjat5bc3d91/content"),
    ],
)
def test_what_does_not_exist_is_not_found(client: TestClient, method: str, rest: str) -> None:
    body: dict[str, Any] = {"json": {"name": "n"}} if method == "PATCH" else {}
    for job in (MISSING, "job_x", "x%00", "%F0%9F%92%A5"):
        answer = client.request(method, f"/v1/jobs/{job}{rest}", **body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
