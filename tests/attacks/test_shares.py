"""Bodies that are begun and not ended, and event streams: what one owner, or all together, may have open at once."""

import json
import select
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api import access, overload
from jobs import db, ids
from jobs.keys import Caller
from jobs.settings import Settings
from tests.api import server
from tests.api.conftest import WINE
from tests.attacks.conftest import headers
from tests.fleet import until

MIB = 1024**2
LARGE = overload.SMALL
CSV = {"Content-Type": "text/csv"}
Key = dict[str, str]


@pytest.fixture(scope="module")
def service(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """One that needs keys and has little room."""
    few = {"FITD_REQUIRE_KEYS": "true", "FITD_MAX_STORED_BYTES": str(3 * MIB), "FITD_DATABASE_URL": database_url}
    bodies = {"FITD_MAX_BODY_BYTES": str(MIB), "FITD_MAX_BODIES_BYTES": str(2 * MIB), "FITD_MAX_STREAMS": "16"}
    with server.running(tmp_path_factory.mktemp("service"), **few, **bodies) as running:
        yield running


@pytest.fixture
def owners(service: server.Server, database_url: str) -> Iterator[tuple[Key, Key]]:
    """Two, as their keys; nobody whose bodies of another test may still be on their way."""
    database = db.connect(Settings(data_dir=service.log.parent, database_url=database_url).database)
    yield headers(database, ids.new("ann")), headers(database, ids.new("bob"))
    database.engine.dispose()


@contextmanager
def sending(service: server.Server, path: str, size: int, key: Key, content: bytes) -> Iterator[socket.socket]:
    """A request whose body has so many bytes, of which these are sent."""
    kind = "text/csv" if path == "/v1/datasets" else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n"
    with service.connected() as one:
        one.sendall(f"{head}Authorization: {key['Authorization']}\r\n\r\n".encode() + content)
        yield one


def answer(one: socket.socket) -> tuple[int, str]:
    """Status and code of what the service says."""
    response = HTTPResponse(one)
    response.begin()
    return response.status, json.load(response)["code"]


def uploaded(service: server.Server, key: Key, size: int) -> Any:
    return httpx2.post(f"{service.url}/v1/datasets", content=b"1,2\n" * (size // 4), headers={**CSV, **key})


def answered(open_: list[socket.socket], number: int) -> list[tuple[int, str]]:
    """What so many of these, or more, are told while the others wait."""
    until(lambda: len(select.select(open_, [], [], 0)[0]) >= number, 30)
    return [answer(one) for one in select.select(open_, [], [], 0)[0]]


def test_uploads_on_their_way_are_what_their_owner_stores(service: server.Server, owners: tuple[Key, Key]) -> None:
    ann, bob = owners
    half = b"1,2\n" * (MIB // 2)
    with ExitStack() as open_:
        sent = [open_.enter_context(sending(service, "/v1/datasets", 100 * MIB, ann, half)) for _ in range(2)]
        assert set(answered(sent, 1)) == {(409, "limit_reached")}
        assert uploaded(service, bob, 2 * MIB).status_code == 201
    until(lambda: uploaded(service, ann, 2 * MIB).status_code == 201, 30)
    with sending(service, "/v1/datasets", 100 * MIB, ann, half) as third:
        assert answered([third], 1) == [(409, "limit_reached")]


def test_an_owner_has_so_many_bodies_on_their_way_and_no_more(service: server.Server, owners: tuple[Key, Key]) -> None:
    ann, bob = owners
    with ExitStack() as open_:
        paths = ["/v1/jobs", "/v1/datasets"] * (overload.BODIES // 2 + 1)
        sent = [open_.enter_context(sending(service, path, 3 * LARGE, ann, b" " * 2 * LARGE)) for path in paths]
        assert answered(sent, 2) == [(429, "quota_reached")] * 2
        with sending(service, "/v1/datasets", 8, bob, b"a,b") as one:
            assert httpx2.post(f"{service.url}/v1/jobs", json=WINE, headers=ann).status_code == 201
            one.sendall(b"\n1,2\n")
            assert one.recv(100).startswith(b"HTTP/1.1 201")
    until(lambda: not refused(service, ann), 30)


def refused(service: server.Server, key: Key) -> bool:
    """Whether no further body of this owner is taken."""
    with sending(service, "/v1/jobs", 3 * LARGE, key, b" " * 2 * LARGE) as one:
        one.settimeout(0.5)
        try:
            return answer(one) == (429, "quota_reached")
        except TimeoutError:
            return False


def test_bodies_together_take_so_much_memory_and_no_more(service: server.Server, owners: tuple[Key, Key]) -> None:
    ann, bob = owners
    large = {**WINE, "metadata": {"text": "x" * (MIB // 2)}}
    with ExitStack() as open_:

        def full() -> bool:  # a body may be refused for one of the other owner that is being answered
            open_.enter_context(sending(service, "/v1/jobs/validate", MIB, ann, b" " * (MIB - 1)))
            return bool(validated(service, bob, large).status_code == 503)

        until(full, 30)
        assert int(validated(service, bob, large).headers["retry-after"]) > 0
        assert validated(service, bob, WINE).status_code == 200
    until(lambda: validated(service, bob, large).status_code != 503, 30)


def test_an_owner_leaves_some_places_to_others(tmp_path: Path) -> None:
    with (
        server.running(tmp_path, FITD_REQUIRE_KEYS="true", FITD_MAX_REQUESTS="4") as few,
        ThreadPoolExecutor(8) as many,
    ):
        database = db.connect(Settings(data_dir=tmp_path).database)
        ann, bob = headers(database, "ann"), headers(database, "bob")
        with database.writing():  # nobody else can write
            asked = [many.submit(httpx2.post, f"{few.url}/v1/jobs", json=WINE, headers=ann) for _ in range(8)]
            until(lambda: sum(one.done() for one in asked) >= 5, 30)  # she has three places at most
            for _ in range(5):
                until(lambda: httpx2.get(f"{few.url}/v1/jobs", headers=bob).status_code == 200, 30)
        told = Counter(one.result().status_code for one in asked)
        assert set(told) <= {201, 429, 503}  # 503 where several came at one moment
        assert told[201] <= 3
        database.engine.dispose()


@pytest.mark.parametrize(
    ("owners", "places"),
    [
        pytest.param("a" * 32, {"a": 24}, id="one owner"),
        pytest.param("ab" * 32, {"a": 14, "b": 13}, id="two"),
        pytest.param("a" * 32 + "b" * 32 + "c", {"a": 24, "b": 6, "c": 1}, id="one after another"),
    ],
)
def test_owners_have_the_fewer_places_the_less_they_leave_free(owners: str, places: dict[str, int]) -> None:
    bound, open_ = overload.Places(32), ExitStack()
    taken: Counter[str] = Counter()
    for owner in owners:
        with ExitStack() as one:
            if bound.take(one) and bound.own(Caller(owner, "read", "key"), one):
                taken[owner] += 1
                open_.push(one.pop_all())
    assert taken == places
    open_.close()
    assert (bound.free, bound.owners.taken) == (32, Counter())


def test_where_nobody_needs_a_key_all_places_are_everybodys() -> None:
    bound = overload.Places(4)
    with ExitStack() as open_:
        assert [bound.take(open_) and bound.own(access.LOCAL, open_) for _ in range(5)] == [True] * 4 + [False]


def validated(service: server.Server, key: Key, spec: dict[str, Any]) -> Any:
    return httpx2.post(f"{service.url}/v1/jobs/validate", json=spec, headers=key)


def test_an_owner_has_so_many_streams_open_and_no_more(service: server.Server, owners: tuple[Key, Key]) -> None:
    ann, bob = owners
    with ExitStack() as open_:
        first = followed(service, ann, open_)
        assert [first.status_code, followed(service, ann, open_).status_code] == [200, 200]
        third = followed(service, ann, open_)
        assert (third.status_code, json.loads(third.read())["code"]) == (429, "quota_reached")
        assert followed(service, bob, open_).status_code == 200
        first.close()
        until(lambda: followed(service, ann, open_).status_code == 200, 30)


def followed(service: server.Server, key: Key, open_: ExitStack) -> httpx2.Response:
    """A stream of a new job's events."""
    job = httpx2.post(f"{service.url}/v1/jobs", json=WINE, headers=key).json()
    live = {**key, "Accept": "text/event-stream"}
    return open_.enter_context(httpx2.stream("GET", service.url + job["links"]["events"], headers=live))
