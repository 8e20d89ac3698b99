"""Events and log lines, as pages and as streams."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.routes import events as event_routes
from jobs import claims, db, events, leases, runlog, store
from jobs.keys import Caller
from jobs.record import Usage
from jobs.states import Status

Submit = Callable[..., dict[str, Any]]
LIVE = {"accept": "text/event-stream"}


@dataclass(frozen=True)
class Sent:
    """One event of a stream."""

    id: int
    kind: str
    data: dict[str, Any]


def read(text: str) -> list[Sent]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append(Sent(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def run(database: db.Database, progress: int = 3, pause: float = 0.0) -> None:
    """Claims the next job, says something about it, ends it."""
    with database.writing() as session:
        job = claims.claim(session, "w", 30)
    assert job is not None
    for n in range(progress):
        time.sleep(pause)
        with database.writing() as session:
            events.append(session, job.id, "progress", f"Epoch {n}.", data={"epoch": n})
    with database.writing() as session:
        leases.finish(session, job.id, 1, Status.SUCCEEDED, "Done.", usage=Usage(), stop_reason="max_epochs")


def test_events_come_in_pages(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit()
    run(database)
    first = client.get(job["links"]["events"], params={"limit": 4}).json()
    rest = client.get(job["links"]["events"], params={"limit": 4, "after": first["next"]}).json()
    kinds = [event["kind"] for page in (first, rest) for event in page["data"]]
    assert kinds == ["created", "queued", "started", "progress", "progress", "progress", "succeeded"]
    assert [event["seq"] for event in first["data"] + rest["data"]] == [1, 2, 3, 4, 5, 6, 7]
    assert (first["has_more"], rest["has_more"], rest["next"]) == (True, False, None)


def test_a_stream_has_the_events_of_the_pages_and_ends(
    client: TestClient, database: db.Database, submit: Submit
) -> None:
    job = submit()
    run(database)
    answer = client.get(job["links"]["events"], headers=LIVE)
    page = client.get(job["links"]["events"]).json()["data"]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [sent.data for sent in read(answer.text)] == page
    assert [(sent.id, sent.kind) for sent in read(answer.text)] == [(event["seq"], event["kind"]) for event in page]


def test_a_stream_follows_a_run_to_its_end(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit()
    worker = threading.Thread(target=run, args=(database, 4, 0.2))
    worker.start()
    answer = client.get(job["links"]["events"], headers=LIVE)
    worker.join()
    assert [sent.id for sent in read(answer.text)] == list(range(1, 9))
    assert read(answer.text)[-1].kind == "succeeded"


@pytest.mark.parametrize("after", range(7))
def test_a_stream_resumes_without_gap_or_repeat(
    client: TestClient, database: db.Database, submit: Submit, after: int
) -> None:
    job = submit()
    run(database)
    by_header = client.get(job["links"]["events"], headers={**LIVE, "last-event-id": str(after)}, params={"after": 1})
    by_query = client.get(job["links"]["events"], headers=LIVE, params={"after": after})
    assert [sent.id for sent in read(by_header.text)] == list(range(after + 1, 8))
    assert by_query.text == by_header.text


@pytest.mark.parametrize("after", [7, 8, 1000])
def test_a_stream_that_was_read_to_its_end_is_not_opened_again(
    client: TestClient, database: db.Database, submit: Submit, after: int
) -> None:
    job = submit()
    run(database)
    answer = client.get(job["links"]["events"], headers={**LIVE, "last-event-id": str(after)})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_silent_stream_is_kept_alive(
    client: TestClient, app: FastAPI, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routes, "KEEP_ALIVE", 0.5)
    job = submit()
    threading.Timer(1.4, app.state.stopping.set).start()
    answer = client.get(job["links"]["events"], headers={**LIVE, "last-event-id": "2"})
    assert answer.text in (": ping\n\n" * pings for pings in (1, 2, 3))


def test_a_silent_stream_looks_more_rarely(
    client: TestClient, app: FastAPI, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def look(database: db.Database, caller: Caller, job_id: str, after: int) -> list[Any]:
        looks.append(after)
        return []

    monkeypatch.setattr(event_routes, "POLL", 0.01)
    monkeypatch.setattr(event_routes, "REST", 0.3)
    monkeypatch.setattr(event_routes, "_read", look)
    threading.Timer(1.5, app.state.stopping.set).start()
    client.get(submit()["links"]["events"], headers=LIVE)
    assert 3 < len(looks) < 20


def test_a_stream_ends_when_its_job_is_deleted(client: TestClient, database: db.Database, submit: Submit) -> None:
    job = submit()

    def delete() -> None:
        time.sleep(0.5)
        with database.writing() as session:
            store.cancel(session, "local", job["id"])
            store.delete(session, "local", job["id"])

    deletion = threading.Thread(target=delete)
    deletion.start()
    answer = client.get(job["links"]["events"], headers=LIVE)
    deletion.join()
    assert [sent.kind for sent in read(answer.text)] == ["created", "queued"]


def test_a_stream_holds_no_connection_while_it_waits(
    client: TestClient, app: FastAPI, database: db.Database, submit: Submit
) -> None:
    job = submit()
    in_use: list[int] = []

    def look() -> None:
        for _ in range(20):
            time.sleep(0.05)
            in_use.append(database.engine.pool.checkedout())  # type: ignore[attr-defined]
        app.state.stopping.set()

    watch = threading.Thread(target=look)
    watch.start()
    client.get(job["links"]["events"], headers=LIVE)
    watch.join()
    assert in_use.count(0) > 10


@pytest.mark.parametrize("bad", ["-1", "x", "1.5", str(2**70)])
def test_a_wrong_event_id_is_refused(client: TestClient, submit: Submit, bad: str) -> None:
    answer = client.get(submit()["links"]["events"], headers={**LIVE, "last-event-id": bad})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/header/last-event-id")


@pytest.fixture
def logged(database: db.Database, submit: Submit) -> dict[str, Any]:
    """A job with 1,200 lines of log."""
    job = submit()
    with database.writing() as session:
        runlog.append(session, job["id"], 1, [runlog.Line("info", f"line {n}") for n in range(1, 1200)])
        runlog.append(session, job["id"], 1, [runlog.Line("warning", "bell \a, escape \x1b[31m and\nnewline")])
    return job


def test_log_lines_come_in_pages(client: TestClient, logged: dict[str, Any]) -> None:
    first = client.get(logged["links"]["log"], params={"limit": 2}).json()
    assert [(line["seq"], line["level"], line["message"]) for line in first["data"]] == [
        (1, "info", "line 1"),
        (2, "info", "line 2"),
    ]
    assert client.get(logged["links"]["log"], params={"after": first["next"]}).json()["data"][0]["seq"] == 3


def test_the_log_as_text_is_whole_and_printable(client: TestClient, logged: dict[str, Any]) -> None:
    answer = client.get(logged["links"]["log"], headers={"accept": "text/plain"})
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(lines) == 1200
    assert lines[0].endswith("Z INFO line 1")
    assert lines[-1].endswith("Z WARNING bell  , escape  [31m and newline")
