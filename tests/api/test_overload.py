"""Too much at once is turned away, and what is only connected takes nobody's place."""

import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import overload
from tests.api import server
from tests.api.conftest import HOME, WINE

LIVE = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A service that works on one request at a time, and on one stream."""
    with server.running(tmp_path_factory.mktemp("narrow"), FITD_MAX_REQUESTS="1", FITD_MAX_STREAMS="1") as running:
        yield running


def test_beyond_its_bound_it_says_so_and_recovers(narrow: server.Server) -> None:
    with httpx2.Client() as client, ThreadPoolExecutor(16) as threads:
        urls = [f"{narrow.url}/v1/jobs/validate"] * 64
        answers = list(threads.map(lambda url: client.post(url, json=WINE), urls))
        counts = Counter(answer.status_code for answer in answers)
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert set(counts) == {200, 503}
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("overloaded", "2")
        assert client.get(f"{narrow.url}/v1/jobs").status_code == 200


def test_slow_bodies_and_silent_sockets_take_nobodys_place(narrow: server.Server) -> None:
    address = urlsplit(narrow.url)
    sockets = [socket.create_connection((address.hostname or "", address.port or 0)) for _ in range(200)]
    for one in sockets[:100]:
        one.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
    assert [httpx2.get(f"{narrow.url}/v1/jobs").status_code for _ in range(5)] == [200] * 5
    assert httpx2.post(f"{narrow.url}/v1/jobs", json=WINE).status_code == 201
    for one in sockets:
        one.close()


def test_streams_have_a_bound_of_their_own(narrow: server.Server) -> None:
    job = httpx2.post(f"{narrow.url}/v1/jobs", json=WINE).json()
    events = narrow.url + job["links"]["events"]
    with httpx2.stream("GET", events, headers=LIVE) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: created"
        assert httpx2.get(events, headers=LIVE).status_code == 503
        assert httpx2.get(events).status_code == 200
        assert httpx2.get(f"{narrow.url}/livez").status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "PATIENCE", 0.0)
    with TestClient(app, HOME) as client:
        answer = client.post("/v1/jobs", json=WINE)
        assert (answer.status_code, answer.json()["code"], answer.headers["connection"]) == (408, "too_slow", "close")
        assert client.get("/v1/jobs").status_code == 200
