"""Checkpoints and results: lists, bytes, ranges, conditions."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import conditions
from jobs import db, files, ids
from jobs.artifacts import Artifacts
from jobs.tables.jobs import File

CONTENT = bytes(range(256)) * 10_000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def job(
    database: db.Database, artifacts: Artifacts, submit: Callable[..., dict[str, Any]], tmp_path: Path
) -> dict[str, Any]:
    """A job with two checkpoints and one result, the same 2.5 MB each."""
    job = submit()
    (tmp_path / "content").write_bytes(CONTENT)
    made: list[tuple[int, files.Kind, str]] = [
        (200, "checkpoint", "b"),
        (100, "checkpoint", "a"),
        (200, "artifact", "model.safetensors"),
    ]
    for step, kind, name in made:
        artifacts.put(f"jobs/{job['id']}/{kind}-{step}", tmp_path / "content")
        with database.writing() as session:
            session.add(row(job["id"], kind, step, name))
    return job


def row(job: str, kind: files.Kind, step: int, name: str) -> File:
    return File(
        id=ids.new("ckpt"), job_id=job, kind=kind, name=name, attempt=1, step=step, epoch=step // 100,
        path=f"jobs/{job}/{kind}-{step}", content_type="application/octet-stream", bytes=len(CONTENT), sha256=SHA,
        created_at=db.now(), is_best=step == 100, resumable=True, metrics={"val_loss": 0.5},
    )  # fmt: skip


@pytest.fixture
def content(client: TestClient, job: dict[str, Any]) -> str:
    """Where a checkpoint's bytes are."""
    found: str = client.get(job["links"]["checkpoints"]).json()["data"][0]["content"]
    return found


def test_checkpoints_are_listed_and_read(client: TestClient, job: dict[str, Any]) -> None:
    listed = client.get(job["links"]["checkpoints"]).json()["data"]
    first = listed[0]
    assert [(found["step"], found["is_best"]) for found in listed] == [(100, True), (200, False)]
    assert (first["object"], first["bytes"], first["sha256"]) == ("checkpoint", len(CONTENT), SHA)
    assert client.get(f"{job['links']['checkpoints']}/{first['id']}").json() == first


def test_results_are_listed_and_fetched_by_name(client: TestClient, job: dict[str, Any]) -> None:
    (listed,) = client.get(job["links"]["artifacts"]).json()["data"]
    assert (listed["object"], listed["name"]) == ("artifact", "model.safetensors")
    assert listed["content"] == f"{job['links']['artifacts']}/model.safetensors"
    assert client.get(listed["content"]).content == CONTENT


def test_bytes_come_whole_with_their_digest_and_never_as_a_page(client: TestClient, content: str) -> None:
    answer = client.get(content)
    assert answer.content == CONTENT
    assert answer.headers["etag"] == f'"{SHA}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(SHA)).decode()}:"
    assert answer.headers["content-disposition"] == 'attachment; filename="a"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("0-0", 0, 1), ("100-1999999", 100, 2_000_000), ("2559999-", 2_559_999, 2_560_000), ("-5", 2_559_995, 2_560_000)],
)
def test_a_part_can_be_asked_for(client: TestClient, content: str, wanted: str, start: int, end: int) -> None:
    answer = client.get(content, headers={"range": f"bytes={wanted}"})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/2560000"


@pytest.mark.parametrize("wanted", ["bytes=2560000-", "bytes=9999999-99999999", "bytes=-0"])
def test_a_part_outside_is_refused(client: TestClient, content: str, wanted: str) -> None:
    answer = client.get(content, headers={"range": wanted})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */2560000"


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,5-6", "rows=0-1", "bytes=5-1", "bytes=-", "bytes=x", "bytes=1" + "0" * 99]
)
def test_a_range_that_means_nothing_is_ignored(client: TestClient, content: str, wanted: str) -> None:
    assert client.get(content, headers={"range": wanted}).status_code == 200


def test_a_download_resumes_only_what_it_began(client: TestClient, content: str) -> None:
    same = client.get(content, headers={"range": "bytes=5-", "if-range": f'"{SHA}"'})
    other = client.get(content, headers={"range": "bytes=5-", "if-range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_bytes_that_the_caller_has_are_not_sent_again(client: TestClient, content: str) -> None:
    answer = client.get(content, headers={"if-none-match": f'W/"{SHA}"'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_head_tells_the_size(client: TestClient, content: str) -> None:
    answer = client.head(content)
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "2560000", b"")


def test_bytes_that_are_gone_are_not_found(client: TestClient, artifacts: Artifacts, job: dict[str, Any]) -> None:
    artifacts.delete(f"jobs/{job['id']}/artifact-200")
    answer = client.get(f"{job['links']['artifacts']}/model.safetensors")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["other", "%2e%2e", "..%2fx", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a%00", "x" * 200])
def test_no_name_leads_elsewhere(client: TestClient, job: dict[str, Any], name: str) -> None:
    assert client.get(f"{job['links']['artifacts']}/{name}").status_code == 404


def test_a_file_of_another_job_is_not_found(client: TestClient, job: dict[str, Any], content: str) -> None:
    other = client.post("/v1/jobs", json={"dataset": {"source": "builtin", "name": "iris"}}).json()["id"]
    assert client.get(content.replace(job["id"], other)).status_code == 404


def test_an_empty_file_has_no_part() -> None:
    assert conditions.window("bytes=0-", 0) == (0, 0)
