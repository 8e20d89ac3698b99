"""Connections that only wait, talk without end, or read slowly, where no proxy is in front."""

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import guard
from api.overload import Overload
from tests.api import server

FIRST = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A service that works on one request at a time."""
    with server.running(tmp_path_factory.mktemp("narrow"), FITD_MAX_REQUESTS="1") as running:
        yield running


def connected(service: server.Server) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname or "", address.port or 0), 20)


def closed_after(connection: socket.socket, first: bytes, drip: bytes = b"") -> float:
    """Seconds until the service hangs up on somebody who says this, and then this again and again."""
    began = time.monotonic()
    connection.sendall(first)
    connection.settimeout(1.0)
    while time.monotonic() - began < 2 * guard.PATIENCE:
        try:
            if not connection.recv(1000):
                break
        except TimeoutError:
            connection.sendall(drip)
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "drip"),
    [
        pytest.param(b"", b"", id="silent"),
        pytest.param(FIRST, b"", id="stops in the headers"),
        pytest.param(FIRST, b"X: y\r\n", id="a header every second"),
        pytest.param(FIRST + b"\r\n" + FIRST, b"a", id="the second request never ends"),
    ],
)
def test_a_head_that_does_not_end_is_not_waited_for(narrow: server.Server, first: bytes, drip: bytes) -> None:
    with connected(narrow) as one:
        assert guard.PATIENCE - 1 < closed_after(one, first, drip) < guard.PATIENCE + 3


@pytest.mark.parametrize("endless", [b"X" * 200, b"X: y\r\n" * 25], ids=["one line", "many headers"])
def test_a_head_without_end_is_refused(narrow: server.Server, endless: bytes) -> None:
    with connected(narrow) as one:
        one.sendall(FIRST)
        said = b""
        for _ in range(10_000):
            try:
                one.sendall(endless)
            except ConnectionError:
                break
        else:
            pytest.fail("two megabytes of head were taken")
        one.settimeout(5)
        try:
            said = one.recv(100)
        except ConnectionError:  # its answer was lost with the connection
            return
        assert said.startswith(b"HTTP/1.1 400")


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """One answer is long, and its reader does not read."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/long":
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        await anyio.sleep_forever()
    await send({"type": "http.response.body", "body": b"all"})


async def asked(app: ASGIApp, path: str, statuses: list[int]) -> None:
    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "state": {"request_id": "x"}}
    await app(scope, receive, send)


def test_who_reads_slowly_takes_nobodys_place() -> None:
    statuses: list[int] = []

    async def crowd() -> None:
        app = Overload(answers, requests=1, streams=1)
        async with anyio.create_task_group() as readers:
            for path in ("/long", "/long", "/short"):
                readers.start_soon(asked, app, path, statuses)
                await anyio.wait_all_tasks_blocked()
            readers.cancel_scope.cancel()

    anyio.run(crowd)
    assert statuses == [200, 200, 200]


def test_the_guard_lets_ordinary_requests_pass(narrow: server.Server) -> None:
    with httpx2.Client(base_url=narrow.url) as client:
        answers = [client.get("/livez", headers={"x-pad": "p" * 8000}).status_code for _ in range(20)]
        body = b"a,b\n" + b"1,2\n" * 100_000
        sent = client.post("/v1/datasets", content=body, headers={"content-type": "text/csv"})
    assert (set(answers), sent.status_code) == ({200}, 201)
