"""Rows 27 and 28 of the matrix: the api dies between commit and reply, and is asked for ten times what it can do."""

import socket
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.api import server
from tests.api.conftest import WINE
from tests.faults.conftest import SHORT, Accepted
from tests.fleet import Fleet

SLOW_BODY = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"


def test_row_27_an_api_killed_after_the_commit_has_made_the_job(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None]
) -> None:
    accepted.expect(SHORT)
    failing("api", "submit.committed:kill")
    fleet.await_ready()
    key = {"Idempotency-Key": str(uuid.uuid4())}
    before = {job.id for job in fleet.client.jobs()}
    with pytest.raises(httpx2.TransportError):
        httpx2.post(f"{fleet.url}/v1/jobs", json=SHORT, headers=key)
    fleet.parts["api"].wait()
    fleet.start("api")
    fleet.await_ready()
    again = httpx2.post(f"{fleet.url}/v1/jobs", json=SHORT, headers=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert {job.id for job in fleet.client.jobs()} - before == {again.json()["id"]}
    accepted[again.json()["id"]] = accepted.references.of(SHORT)
    accepted.check()


@contextmanager
def loitering(url: str, idle: int, slow: int) -> Iterator[None]:
    """Connections that say nothing, and some that begin a body and do not go on."""
    address = urlsplit(url)
    with ExitStack() as open_:
        for number in range(idle + slow):
            one = open_.enter_context(socket.create_connection((address.hostname or "", address.port or 0)))
            if number >= idle:
                one.sendall(SLOW_BODY)
        yield


def test_row_28_ten_times_too_much_is_refused_in_order(tmp_path: Path) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(
            server.running(tmp_path, FITD_MAX_REQUESTS="4", FITD_MAX_CONNECTIONS_PER_ADDRESS="0")
        )
        stack.enter_context(loitering(running.url, idle=900, slow=100))
        client = stack.enter_context(httpx2.Client(base_url=running.url, timeout=30))
        crowd = stack.enter_context(ThreadPoolExecutor(40))
        submits = [crowd.submit(client.post, "/v1/jobs", json=WINE) for _ in range(400)]
        health = [client.get("/livez").status_code for _ in range(20)]
        answers = [submit.result() for submit in submits]
        refused = [answer for answer in answers if answer.status_code == 503]
        accepted = [answer.json()["id"] for answer in answers if answer.status_code == 201]
        assert Counter(answer.status_code for answer in answers) == {201: len(accepted), 503: len(refused)}
        assert {(one.json()["code"], one.headers["retry-after"]) for one in refused} == {("overloaded", "2")}
        assert set(health) == {200}
        found = {client.get(f"/v1/jobs/{id}").status_code for id in accepted}
        assert (bool(accepted), found) == (True, {200})
