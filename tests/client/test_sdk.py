"""The SDK against a server that answers as the contract says."""

import json
import socket
from pathlib import Path

import pytest

from client import errors
from client.sdk import Client
from jobs.spec.data import Builtin
from jobs.spec.job import JobSpec
from tests.client.conftest import Canned, Reply, file, job, progress, said, stream

BYTES = bytes(range(256)) * 40
FILES = said({"data": [file("model.safetensors", BYTES)]})
SPEC = {"dataset": {"source": "builtin", "name": "iris"}}


def test_a_spec_is_sent_whole_and_its_job_comes_back(service: Canned) -> None:
    service.say("POST /v1/jobs", said(job(status="queued", new_field=1), 201))
    spec = JobSpec(dataset=Builtin(name="iris"))
    with Client(service.url) as fitd:
        sent = fitd.submit(spec)
    assert (sent.id, sent.status, sent.model_extra) == ("job_1", "queued", {"object": "job", "new_field": 1})
    assert JobSpec.model_validate_json(service.seen[0].body) == spec


def test_a_busy_service_is_asked_again_with_the_same_key(service: Canned) -> None:
    busy = said({"code": "overloaded", "title": "Busy"}, 503, Retry_After="0")
    service.say("POST /v1/jobs", busy, busy, said(job(), 201))
    with Client(service.url) as fitd:
        fitd.submit(SPEC)
    keys = {seen.headers["idempotency-key"] for seen in service.seen}
    assert (len(service.seen), len(keys)) == (3, 1)


def test_a_broken_answer_is_asked_for_again(service: Canned) -> None:
    whole = said(job())
    service.say("GET /v1/jobs/job_1", Reply(whole.body, 200, whole.headers, cut=5), whole)
    with Client(service.url) as fitd:
        assert fitd.job("job_1").id == "job_1"


def test_a_refusal_lists_every_fault(service: Canned) -> None:
    faults = [
        {"pointer": "/epochs", "code": "greater_than", "detail": "must be at least 1"},
        {"pointer": "/model/kind", "code": "unknown", "detail": "mlp, cnn or sequential"},
    ]
    problem = {"code": "spec_invalid", "title": "No", "detail": "two faults", "errors": faults, "request_id": "r1"}
    service.say("POST /v1/jobs", said(problem, 422))
    with Client(service.url) as fitd, pytest.raises(errors.ApiError) as caught:
        fitd.submit(SPEC)
    assert str(caught.value) == (
        "422 spec_invalid: two faults\n  /epochs: must be at least 1\n  /model/kind: mlp, cnn or sequential"
    )
    assert (caught.value.status, caught.value.request_id, len(service.seen)) == (422, "r1", 1)


def test_an_error_that_is_no_problem_document_is_still_an_error(service: Canned) -> None:
    service.say("GET /v1/jobs/job_1", Reply(b"bad gateway", 502))
    with Client(service.url) as fitd, pytest.raises(errors.ApiError, match="502 error: bad gateway"):
        fitd.job("job_1")


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", attempts=2) as fitd, pytest.raises(errors.Unreachable):
        fitd.job("job_1")


def test_lists_are_fetched_page_by_page(service: Canned) -> None:
    first = {"data": [job("job_2")], "has_more": True, "next": "c1"}
    service.say("GET /v1/jobs", said(first), said({"data": [job("job_1")], "has_more": False, "next": None}))
    with Client(service.url) as fitd:
        found = [entry.id for entry in fitd.jobs(status="queued", metadata={"k": "v"}, limit=1)]
    assert found == ["job_2", "job_1"]
    query = "GET /v1/jobs?status=queued&limit=1&metadata%5Bk%5D=v"
    assert service.calls() == [query, f"{query}&after=c1"]


def test_a_broken_event_stream_goes_on_without_gap_or_repeat(service: Canned) -> None:
    first = stream((1, "queued", {}), (2, "started", {}), (3, "progress", progress(1)))
    broken = Reply(first.body, 200, first.headers, cut=len(first.body) - 60)
    rest = stream((3, "progress", progress(1)), (4, "succeeded", {}))
    service.say("GET /v1/jobs/job_1/events", broken, rest)
    with Client(service.url) as fitd:
        assert [event.seq for event in fitd.follow("job_1")] == [1, 2, 3, 4]
    assert [seen.headers["last-event-id"] for seen in service.seen] == ["0", "2"]


def test_following_an_ended_job_from_its_end_ends(service: Canned) -> None:
    service.say("GET /v1/jobs/job_1/events", Reply(status=204))
    service.say("GET /v1/jobs/job_1", said(job(status="failed")))
    with Client(service.url) as fitd:
        assert list(fitd.follow("job_1", after=9)) == []


def test_waiting_ends_with_the_job_or_with_the_time(service: Canned) -> None:
    service.say("GET /v1/jobs/job_1", said(job(status="running")), said(job(status="succeeded")))
    service.say("GET /v1/jobs/job_2", said(job("job_2", status="running")))
    with Client(service.url) as fitd:
        assert fitd.wait("job_1", timeout=10).status == "succeeded"
        with pytest.raises(errors.TooSlow, match="job_2 did not end within 0 s"):
            fitd.wait("job_2", timeout=0)


def test_a_broken_download_goes_on_where_it_broke(service: Canned, tmp_path: Path) -> None:
    service.say("GET /v1/jobs/job_1/artifacts", FILES)
    rest = Reply(BYTES[5000:], 206)
    service.say("GET /files/model.safetensors", Reply(BYTES, cut=5000), rest)
    with Client(service.url) as fitd:
        path = fitd.download("job_1", "model.safetensors", tmp_path / "out")
    assert (path, path.read_bytes()) == (tmp_path / "out" / "model.safetensors", BYTES)
    assert service.seen[-1].headers["range"] == "bytes=5000-"
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_a_stale_part_is_thrown_away(service: Canned, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.part").write_bytes(b"from another run")
    service.say("GET /v1/jobs/job_1/artifacts", FILES)
    service.say("GET /files/model.safetensors", Reply(BYTES[16:], 206), Reply(BYTES))
    with Client(service.url) as fitd:
        assert fitd.download("job_1", "model.safetensors", tmp_path).read_bytes() == BYTES


def test_damaged_bytes_never_get_the_files_name(service: Canned, tmp_path: Path) -> None:
    service.say("GET /v1/jobs/job_1/artifacts", FILES)
    service.say("GET /files/model.safetensors", Reply(b"something else"))
    with Client(service.url) as fitd, pytest.raises(errors.Damaged):
        fitd.download("job_1", "model.safetensors", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_uploaded_under_its_name(service: Canned, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    service.say("POST /v1/datasets", said({"id": "ds_1", "status": "profiling"}, 201))
    service.say("GET /v1/datasets/ds_1", said({"id": "ds_1", "status": "ready", "profile": {"rows": 1}}))
    with Client(service.url) as fitd:
        sent = fitd.upload(tmp_path / "rows.csv")
        assert fitd.wait_dataset(sent.id).status == "ready"
    assert b'filename="rows.csv"' in service.seen[0].body
    assert b"a,b\n1,2\n" in service.seen[0].body


def test_a_file_elsewhere_is_named_by_its_url(service: Canned) -> None:
    url = "https://data.example.com/rows.csv"
    service.say("POST /v1/datasets", said({"id": "ds_1", "status": "profiling", "url": url}, 201))
    with Client(service.url) as fitd:
        assert [fitd.import_dataset(url, name=name).url for name in ("mine", None)] == [url, url]
    assert [json.loads(seen.body) for seen in service.seen] == [{"url": url, "name": "mine"}, {"url": url}]


def test_small_changes_are_sent_as_they_are(service: Canned) -> None:
    service.say("PATCH /v1/jobs/job_1", said(job(name="new")))
    with Client(service.url) as fitd:
        assert fitd.patch("job_1", name="new").name == "new"
    assert json.loads(service.seen[0].body) == {"name": "new"}


def test_many_rows_are_predicted_a_thousand_at_a_time(service: Canned) -> None:
    pages = [said({"data": [{"values": {"y": float(n)}}]}) for n in (1, 2)]
    service.say("POST /v1/jobs/job_1/predict", *pages)
    with Client(service.url) as fitd:
        found = fitd.predict("job_1", [{"x": n} for n in range(1200)])
    assert [one.values for one in found] == [{"y": 1.0}, {"y": 2.0}]
    assert [len(json.loads(seen.body)["rows"]) for seen in service.seen] == [1000, 200]
