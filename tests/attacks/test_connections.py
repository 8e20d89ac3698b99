"""Connections that only wait, talk without end, or read slowly, where no proxy is in front."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio
import httpx2
import prometheus_client
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import access, exposition, guard
from api.overload import Overload
from client.stack import free_port
from jobs import db, runlog
from jobs.settings import Settings
from tests.api import server
from tests.api.conftest import WINE
from tests.attacks import hasty
from tests.attacks.conftest import headers
from tests.fleet import until

HOST = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
FIRST = b"GET /livez" + HOST
WHOLE = FIRST + b"\r\n"
TOLD = FIRST + b"Content-Length: 1000\r\n\r\n"
KEYLESS = b"POST /v1/jobs" + HOST + b"Content-Type: application/json\r\nAuthorization: Bearer fitd_x\r\n"
BEGUN = KEYLESS + b"Content-Length: 1000\r\n\r\n"
CHUNKED = KEYLESS + b"Transfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"POST /v1/datasets" + HOST + b"Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
LONG = b"GET /openapi.json" + HOST + b"\r\n"
LAST = b"GET /openapi.json" + HOST + b"Connection: close\r\n\r\n"
NEVER = 15.0
"""Seconds after which a connection counts as left open."""


@pytest.fixture(scope="module")
def narrow_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    with server.running(tmp_path_factory.mktemp("narrow"), FITD_MAX_REQUESTS="1") as running:
        yield running


@pytest.fixture
def narrow(narrow_for_all: server.Server) -> server.Server:
    """A service that works on one request at a time, and on none now: whoever came before has left."""
    until(lambda: httpx2.get(f"{narrow_for_all.url}/v1/jobs").status_code == 200, 10)
    return narrow_for_all


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A service that closes in seconds what it otherwise closes in half a minute, and lets much be asked ahead."""
    with server.running(tmp_path_factory.mktemp("impatient"), hasty.__name__) as running:
        yield running


def closed_after(connection: socket.socket, first: bytes, drip: bytes = b"") -> float:
    """Seconds until the service hangs up on somebody who says this, and then something again and again."""
    began = time.monotonic()
    connection.sendall(first)
    connection.settimeout(0.2)
    while time.monotonic() - began < NEVER:
        try:
            if not connection.recv(1000):
                break
        except TimeoutError:
            connection.sendall(drip)
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        pytest.param(b"", b"", id="silent"),
        pytest.param(b"", b"\r\n", id="empty lines"),
        pytest.param(FIRST, b"", id="stops in the headers"),
        pytest.param(FIRST, b"X: y\r\n", id="a header again and again"),
        pytest.param(WHOLE + FIRST, b"a", id="the second request never ends"),
    ],
)
def test_a_head_that_does_not_end_is_not_waited_for(impatient: server.Server, first: bytes, drip: bytes) -> None:
    with impatient.connected() as one:
        assert 0.5 * hasty.PATIENCE < closed_after(one, first, drip) < NEVER


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        pytest.param(WHOLE, b"\r\n", id="empty lines after an answer"),
        pytest.param(TOLD, b"{", id="a body that nobody reads"),
        pytest.param(BEGUN, b"{", id="a body that was refused"),
        pytest.param(CHUNKED, b"1\r\n{\r\n", id="a body without end that was refused"),
    ],
)
def test_who_asks_for_nothing_more_is_not_waited_for(impatient: server.Server, first: bytes, drip: bytes) -> None:
    with impatient.connected() as one:
        assert 0.5 * hasty.PATIENCE < closed_after(one, first, drip) < NEVER


def hung_up(connection: socket.socket) -> bool:
    """Whether the other side has, whatever it had sent before."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


@pytest.mark.parametrize("asked", [LONG * 200, LONG * 20 + LAST], ids=["many answers", "a last answer"])
def test_who_reads_nothing_is_hung_up_on(impatient: server.Server, asked: bytes) -> None:
    with impatient.connected(4096) as one:
        one.sendall(asked)
        until(lambda: hung_up(one), NEVER)


def test_requests_ahead_of_their_answers_are_so_many_and_no_more(narrow: server.Server) -> None:
    with narrow.connected() as one:
        one.sendall(WHOLE * guard.AHEAD)
        heard = b""
        while heard.count(b"HTTP/1.1 200") < guard.AHEAD:
            heard += one.recv(10_000)
        with pytest.raises(ConnectionError):
            one.sendall(WHOLE * 200_000)
    assert httpx2.get(f"{narrow.url}/livez").status_code == 200
    assert "Traceback" not in narrow.log.read_text()


@pytest.mark.slow
def test_who_reads_slowly_gets_everything(impatient: server.Server) -> None:
    with impatient.connected(4096) as one:
        one.sendall(LONG * 19 + LAST)
        heard, began = bytearray(), time.monotonic()
        while time.monotonic() - began < 2 * hasty.UNREAD:
            heard += one.recv(2000)
            time.sleep(0.05)
        slow = len(heard)
        while some := one.recv(1_000_000):
            heard += some
    assert heard.count(b"HTTP/1.1 200 OK") == 20
    assert slow < len(heard) / 2


def test_who_sends_slowly_is_listened_to(impatient: server.Server) -> None:
    head = b"POST /v1/datasets" + HOST + b"Content-Type: text/csv\r\nContent-Length: 8\r\n\r\n"
    with impatient.connected() as one:
        one.sendall(head + b"a,b")
        time.sleep(2 * hasty.PATIENCE)
        one.sendall(b"\n1,2\n")
        assert one.recv(100).startswith(b"HTTP/1.1 201")


@pytest.mark.slow
def test_a_stream_outlives_every_patience(impatient: server.Server) -> None:
    job = httpx2.post(f"{impatient.url}/v1/jobs", json=WINE).json()["links"]
    with httpx2.stream("GET", impatient.url + job["events"], headers={"accept": "text/event-stream"}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: created"
        time.sleep(hasty.PATIENCE + hasty.UNREAD)
        httpx2.post(f"{impatient.url}{job['self']}/cancel").raise_for_status()
        assert "event: cancelled" in list(lines)


def test_one_address_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    with server.running(tmp_path, FITD_MAX_CONNECTIONS_PER_ADDRESS="4") as service, ExitStack() as open_:
        held = [open_.enter_context(service.connected()) for _ in range(4)]
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{service.url}/livez")
        held[0].sendall(LAST)
        assert held[0].recv(100).startswith(b"HTTP/1.1 200")
        held[1].close()
        until(lambda: answers_again(f"{service.url}/livez"), 10)


def answers_again(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def test_the_port_of_metrics_is_guarded_as_the_api_is(tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 0)
    with server.running(tmp_path, hasty.__name__, FITD_METRICS_PORT=str(port)) as service, ExitStack() as open_:
        before = threads(service)
        held = [open_.enter_context(metrics(port)) for _ in range(exposition.CONNECTIONS)]
        for one in held:
            one.sendall(b"G")
        with metrics(port) as more:
            assert closed_after(more, b"") < hasty.PATIENCE / 2
        assert threads(service) < before + exposition.CONNECTIONS / 2
        assert closed_after(held[0], b"E", b"T") < NEVER
        until(lambda: answers_again(f"http://127.0.0.1:{port}/metrics"), NEVER)


def metrics(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


def threads(service: server.Server) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))


def test_behind_a_proxy_all_may_have_one_address(tmp_path: Path) -> None:
    proxied = {"FITD_MAX_CONNECTIONS_PER_ADDRESS": "1", "FITD_BEHIND_PROXY": "true"}
    with server.running(tmp_path, **proxied) as service, service.connected(), service.connected():
        assert httpx2.get(f"{service.url}/livez").status_code == 200


@pytest.mark.parametrize("endless", [b"X" * 200, b"X: y\r\n" * 25], ids=["one line", "many headers"])
@pytest.mark.parametrize("first", [FIRST, UPLOAD + b"0\r\n"], ids=["before a body", "behind a body"])
def test_a_head_without_end_is_refused(narrow: server.Server, first: bytes, endless: bytes) -> None:
    assert_refused(narrow, first, endless)


def test_pieces_of_a_body_have_so_much_around_them_and_no_more(narrow: server.Server) -> None:
    assert_refused(narrow, UPLOAD + b"1;", b"x" * 200)


def assert_refused(service: server.Server, first: bytes, endless: bytes) -> None:
    with service.connected() as one:
        one.sendall(first)
        end = time.monotonic() + 30
        with suppress(ConnectionError):  # its answer was lost with the connection
            while not select.select([one], [], [], 0)[0]:
                assert time.monotonic() < end, "a head without end was taken"
                one.sendall(endless)
            assert one.recv(100).startswith(b"HTTP/1.1 400")


def test_a_key_behind_the_body_lets_nobody_in(tmp_path: Path) -> None:
    asked = b"GET /v1/jobs" + HOST + b"Transfer-Encoding: chunked\r\n"
    with server.running(tmp_path, FITD_REQUIRE_KEYS="true") as service:
        database = db.connect(Settings(data_dir=tmp_path).database)
        key = b"Authorization: " + headers(database, "ann")["Authorization"].encode() + b"\r\n"
        database.engine.dispose()
        answers = [answered(service, asked + rest) for rest in (key + b"\r\n0\r\n", b"\r\n0\r\n" + key)]
    assert answers == [b"HTTP/1.1 200", b"HTTP/1.1 401"]


def answered(service: server.Server, request: bytes) -> bytes:
    with service.connected() as one:
        one.sendall(request + b"\r\n")
        return one.recv(12)


async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
    """Works and works."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await anyio.sleep_forever()


async def asked(app: ASGIApp, path: str, statuses: list[int]) -> None:
    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "state": {"request_id": "x"}}
    await app(scope, receive, send)


def test_who_does_not_read_takes_nobodys_place(narrow: server.Server) -> None:
    job = httpx2.post(f"{narrow.url}/v1/jobs", json=WINE).json()
    database = db.connect(Settings(data_dir=narrow.log.parent).database)
    with database.writing() as session:
        runlog.append(session, job["id"], 1, [runlog.Line("info", "x" * 1900)] * 4000)
    ask = f"GET {job['links']['log']}".encode() + HOST + b"Accept: text/plain\r\n\r\n"
    with ExitStack() as open_:
        for _ in range(3):
            one, heard = open_.enter_context(narrow.connected(4096)), b""
            one.sendall(ask)
            while b"INFO" not in heard:
                heard += one.recv(1000)
        assert [httpx2.get(f"{narrow.url}/v1/jobs").status_code for _ in range(5)] == [200] * 5
    database.engine.dispose()


def test_who_watches_the_service_takes_nobodys_place_and_has_one() -> None:
    statuses: list[int] = []

    async def crowd() -> None:
        app = Overload(lasting, requests=1, streams=1)
        async with anyio.create_task_group() as callers:
            for path in ("/v1/jobs", *["/readyz"] * 5, "/livez"):
                callers.start_soon(asked, app, path, statuses)
                await anyio.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()

    anyio.run(crowd)
    assert statuses == [200] * 5 + [503, 200]


def test_metrics_on_their_own_port_are_gathered_four_at_a_time(tmp_path: Path) -> None:
    statuses: list[int] = []
    go_on = threading.Event()

    class Slow(Collector):
        def collect(self) -> Iterator[Metric]:
            go_on.wait(NEVER)
            return iter(())

    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(Slow())
    gate = access.Gate(db.connect(Settings(data_dir=tmp_path).database), Settings(require_keys=True))

    async def crowd() -> None:
        app = exposition.create(registry, gate)
        async with anyio.create_task_group() as callers:
            for _ in range(6):
                callers.start_soon(asked, app, "/metrics", statuses)
            while len(statuses) < 2:
                await anyio.sleep(0.01)
            go_on.set()

    anyio.run(crowd)
    assert statuses == [503] * 2 + [200] * 4


def test_the_guard_lets_ordinary_requests_pass(narrow: server.Server) -> None:
    with httpx2.Client(base_url=narrow.url) as client:
        answers = [client.get("/livez", headers={"x-pad": "p" * 8000}).status_code for _ in range(20)]
        body = b"a,b\n" + b"1,2\n" * 100_000
        sent = client.post("/v1/datasets", content=body, headers={"content-type": "text/csv"})
    assert (set(answers), sent.status_code) == ({200}, 201)
