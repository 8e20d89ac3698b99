"""Rows 14 to 17 of the matrix: the database is away, is cut off in a COMMIT, restarts under load, is stormed."""

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from client.answers import Job
from jobs import engines, migrate
from jobs.settings import Settings
from tests.api import server
from tests.api.conftest import HOME, WINE
from tests.faults.conftest import SHORT, Accepted, Measured
from tests.faults.runs import exits
from tests.faults.wires import When, wire
from tests.fleet import Fleet, digits, until
from tests.servers import made, stopped

STEADY = digits(epochs=1500)
LASTING = digits(epochs=9000, checkpoint={"save_freq": 10_000})
"""They are still at it when the database comes back."""
HOLDER = """
import sys
from pysqlite3 import dbapi2
connection = dbapi2.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""
Outage = Callable[[], AbstractContextManager[None]]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process keeps the write lock of a SQLite database."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()


@pytest.fixture
def outage(fleet: Fleet, request: pytest.FixtureRequest) -> Outage:
    """What takes the database away for the length of a block."""
    if "FITD_DATABASE_URL" in fleet.environment:
        return lambda: stopped(request.getfixturevalue("postgres_server"))
    return lambda: locked(fleet.settings.data_dir / "fitd.db")


def progress(fleet: Fleet, job: Job) -> int:
    found = fleet.client.job(job.id).progress
    return found.step if found else 0


def cpu_seconds(pid: int) -> float:
    """Of a process; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def submitted(url: str, spec: Any = SHORT, **headers: str) -> httpx2.Response:
    """Asked once; whoever repeats does so himself."""
    return httpx2.post(f"{url}/v1/jobs", json=spec, headers=headers, timeout=60)


def problem(answer: httpx2.Response) -> tuple[int, str, str | None, str]:
    found = answer.json()
    return answer.status_code, found["code"], answer.headers.get("retry-after"), answer.headers["content-type"]


AWAY = (503, "database_unavailable", "2", "application/problem+json")


@pytest.mark.parametrize(("seconds", "spec"), [(8, STEADY), pytest.param(60, LASTING, marks=pytest.mark.slow)])
def test_row_14_a_run_goes_on_while_the_database_is_away(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None], outage: Outage, seconds: int, spec: Any
) -> None:
    accepted.expect(spec)
    failing("worker", "", FITD_STALL_SECONDS="6")  # who cannot be recorded has not fallen silent
    job = accepted.submit(spec)
    until(lambda: progress(fleet, job) > 0)
    child = fleet.child()
    with outage():
        gone, spent = time.monotonic(), cpu_seconds(child)
        assert problem(submitted(fleet.url)) == AWAY
        until(lambda: time.monotonic() - gone > seconds, 2 * seconds)
        assert cpu_seconds(child) - spent > seconds / 10
    accepted.check()
    assert exits(fleet, job) == ["succeeded"]


def retried(url: str, name: str, key: dict[str, str]) -> tuple[int, int]:
    """The status of the same submit again, and how many jobs there are of it."""
    again = submitted(url, {**WINE, "name": name}, **key)
    found = httpx2.get(f"{url}/v1/jobs", params={"name": name}).json()["data"]
    return again.status_code, len(found)


@pytest.mark.parametrize(("when", "again"), [("before", 201), ("after", 200)])
def test_row_15_a_connection_cut_in_a_commit(postgres: sa.Engine, tmp_path: Path, when: When, again: int) -> None:
    with made(postgres) as url, wire(url) as line, server.running(tmp_path, FITD_DATABASE_URL=line.url) as running:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        submitted(running.url, WINE)
        line.cut_at = when
        assert problem(submitted(running.url, {**WINE, "name": "cut"}, **key)) == AWAY
        assert (line.cuts, *retried(running.url, "cut", key)) == (1, again, 1)


def fail_next_submit(app: FastAPI, when: When) -> None:
    """The disk does not take its COMMIT, or takes it and does not say so."""
    submits = []

    @sa.event.listens_for(app.state.database.engine, "before_cursor_execute")
    def note(connection: sa.Connection, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith("INSERT INTO jobs"):
            submits.append(connection)

    @sa.event.listens_for(app.state.database.engine, "commit")
    def fail(connection: sa.Connection) -> None:
        if submits != [connection]:
            return
        if when == "after":
            connection.exec_driver_sql("COMMIT")
        raise sa.exc.OperationalError("COMMIT", None, OSError(5, "Input/output error"))


@pytest.mark.parametrize(("when", "again"), [("before", 201), ("after", 200)])
def test_row_15_a_commit_that_the_disk_does_not_take(tmp_path: Path, when: When, again: int) -> None:
    settings = Settings(data_dir=tmp_path)
    migrate.upgrade(settings.database)
    app = create_app(settings)
    with TestClient(app, HOME, raise_server_exceptions=False) as client:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        fail_next_submit(app, when)
        first = client.post("/v1/jobs", json=WINE, headers=key)
        second = client.post("/v1/jobs", json=WINE, headers=key)
        statuses = [first.status_code, second.status_code]
        assert (statuses, len(client.get("/v1/jobs").json()["data"])) == ([503, again], 1)


class Load:
    """Requests of all kinds, in threads, until it is enough."""

    def __init__(self, url: str, job: Job) -> None:
        self.url, self.job, self.enough = url, job, Event()
        self.made: list[str] = []
        self.answers: list[tuple[float, int]] = []
        """When each came, and its status."""

    def run(self) -> None:
        """Until `enough` is set."""
        with ThreadPoolExecutor(4) as threads:
            for work, pause in ((self._read, 0.01), (self._list, 0.02), (self._change, 0.02), (self._submit, 0.5)):
                threads.submit(self._repeat, work, pause)

    def _repeat(self, work: Callable[[httpx2.Client], httpx2.Response], pause: float) -> None:
        with httpx2.Client(base_url=self.url, timeout=60) as client:
            while not self.enough.wait(pause):
                answer = work(client)
                self.answers.append((time.monotonic(), answer.status_code))

    def _read(self, client: httpx2.Client) -> httpx2.Response:
        return client.get(f"/v1/jobs/{self.job.id}")

    def _list(self, client: httpx2.Client) -> httpx2.Response:
        return client.get("/v1/jobs")

    def _change(self, client: httpx2.Client) -> httpx2.Response:
        return client.patch(f"/v1/jobs/{self.job.id}", json={"metadata": {"at": str(len(self.answers))}})

    def _submit(self, client: httpx2.Client) -> httpx2.Response:
        answer = client.post("/v1/jobs", json=SHORT)
        if answer.status_code == 201:
            self.made.append(answer.json()["id"])
        return answer


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_row_16_postgresql_restarts_under_load(
    shared_fleet: Fleet, request: pytest.FixtureRequest, mode: Any, measured: Measured
) -> None:
    if "FITD_DATABASE_URL" not in shared_fleet.environment:
        pytest.skip("SQLite has no server to restart")
    fleet, accepted = request.getfixturevalue("fleet"), request.getfixturevalue("accepted")
    accepted.expect(SHORT)
    job = accepted.submit(STEADY)
    until(lambda: progress(fleet, job) > 0)
    load = Load(fleet.url, job)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(load.run)
        try:
            until(lambda: len(load.made) > 1)
            with stopped(request.getfixturevalue("postgres_server"), mode):
                pass
            back, before = time.monotonic(), len(load.made)
            until(lambda: len(load.made) > before)
        finally:
            load.enough.set()
        running.result()
    assert {status for _, status in load.answers} <= {200, 201, 503}
    late = [at - back for at, status in load.answers if status == 503]
    measured(f"{mode}: from its return to the last refusal", max(late, default=0.0), 5)
    accepted |= dict.fromkeys(load.made, accepted.references.of(SHORT))
    accepted.check()
    assert fleet.client.job(job.id).attempt == 1


def test_row_17_a_storm_of_writers_locks_no_client_out(tmp_path: Path, measured: Measured) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(server.running(tmp_path))
        jobs = [submitted(running.url, WINE).json()["id"] for _ in range(7)]
        command = [sys.executable, "-m", "tests.faults.writers", Settings(data_dir=tmp_path).database, "5"]
        writers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE)) for _ in jobs]
        threads = stack.enter_context(ThreadPoolExecutor(8))
        times = list(threads.map(lambda _: timed(running.url), range(80)))
        outputs = [writer.communicate()[0] for writer in writers]
        assert [writer.returncode for writer in writers] == [0] * 7
        assert {status for _, status in times} == {201}
        assert "locked" not in running.log.read_text()
        measured("p99 of a submit", p99([seconds for seconds, _ in times]), engines.BUSY_SECONDS)
        writes = [seconds for output in outputs for seconds in json.loads(output)]
        measured("p99 of a write of metrics", p99(writes), engines.BUSY_SECONDS)


def timed(url: str) -> tuple[float, int]:
    """Seconds and status of a submit."""
    began = time.monotonic()
    status = submitted(url, WINE).status_code
    return time.monotonic() - began, status


def p99(seconds: list[float]) -> float:
    return round(statistics.quantiles(seconds, n=100)[98], 3)
