"""Rows 8 to 13 of the matrix: the broker is emptied, killed, stopped, frozen, full, lied to."""

import base64
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from jobs import queue
from tests.faults.conftest import SHORT, Accepted, Measured
from tests.fleet import Fleet, until


def started(fleet: Fleet, accepted: Accepted) -> bool:
    return all(fleet.client.job(id).attempt for id in accepted)


def submits(accepted: Accepted, jobs: int) -> list[float]:
    """Seconds of each."""
    times = []
    for _ in range(jobs):
        began = time.monotonic()
        accepted.submit(SHORT)
        times.append(time.monotonic() - began)
    return times


def test_row_8_a_broker_emptied_during_a_storm_of_submits(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    accepted.expect(SHORT)
    with fleet.broker() as broker, ThreadPoolExecutor(4) as threads:
        storm = [threads.submit(accepted.submit, SHORT) for _ in range(6)]
        while not all(one.done() for one in storm):
            broker.flushall()
        broker.flushall()
    began = time.monotonic()
    until(lambda: started(fleet, accepted))
    measured("until all have started", time.monotonic() - began, 15)
    accepted.check()


def test_row_9_a_broker_killed_comes_back_empty(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    accepted.expect(SHORT)
    running = accepted.submit()
    until(lambda: fleet.client.job(running.id).status == "running")
    fleet.kill("broker")
    accepted.submit(SHORT)
    fleet.empty_broker()
    fleet.start("broker")
    began = time.monotonic()
    accepted.submit(SHORT)
    accepted.check()
    measured("until all have ended", time.monotonic() - began, 60)
    assert fleet.client.job(running.id).attempt == 1


def test_row_10_without_a_broker_jobs_are_accepted_and_run(fleet: Fleet, accepted: Accepted) -> None:
    accepted.expect(SHORT)
    fleet.stop("broker")
    for _ in range(3):
        accepted.submit(SHORT)
    accepted.check()  # a worker looks for itself
    fleet.start("broker")


@pytest.mark.slow
def test_row_10_after_minutes_without_a_broker_bells_are_heard_again(
    fleet: Fleet, accepted: Accepted, measured: Measured
) -> None:
    accepted.expect(SHORT)
    fleet.stop("broker")
    began = time.monotonic()
    accepted.submit(SHORT)
    until(lambda: time.monotonic() - began > 120, 180)
    accepted.check()
    fleet.start("broker")
    with fleet.broker() as broker:
        until(lambda: heard(broker))
    measured("minutes away", (time.monotonic() - began) / 60, 4, "min")
    accepted.submit(SHORT)
    accepted.check()


def heard(broker: "redis.Redis") -> bool:
    """Whether a worker waits for messages again."""
    return any(client["cmd"] == "brpop" for client in broker.client_list())


def test_row_11_a_frozen_broker_slows_no_submit(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    accepted.expect(SHORT)
    usual = statistics.median(submits(accepted, 20))
    with fleet.frozen(fleet.parts["broker"].pid):
        frozen = submits(accepted, 20)
    measured("the slowest of 20 submits", max(frozen), 1)
    measured("the median of 20 submits, before 1", statistics.median(frozen) / usual, 3, "x")
    accepted.check()


def test_row_12_a_full_broker_loses_nothing(fleet: Fleet, accepted: Accepted) -> None:
    accepted.expect(SHORT)
    before = fleet.log("api").count("hint_failed")
    with fleet.broker() as broker:
        broker.config_set("maxmemory-policy", "noeviction")
        broker.config_set("maxmemory", "1mb")
        try:
            for _ in range(3):
                accepted.submit(SHORT)
            accepted.check()
            assert fleet.log("api").count("hint_failed") > before
        finally:
            broker.config_set("maxmemory", "0")


def test_row_13_forged_and_broken_messages_start_nothing_twice(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: fleet.client.job(job.id).status == "running")
    with fleet.broker() as broker:
        for _ in range(100):
            broker.lpush("fitd:fitd", *forged(job.id, 100))
        accepted.submit(SHORT)
        until(lambda: not broker.llen("fitd:fitd"), 200)
    accepted.check()
    assert fleet.client.job(job.id).attempt == 1
    assert fleet.is_alive("worker")


ENVELOPES: dict[str, Callable[[str], bytes]] = {
    "empty": lambda id: b"",
    "not json": lambda id: b"\x80\x04pickle",
    "a number": lambda id: b"7",
    "a list": lambda id: b"[]",
    "null": lambda id: b"null",
    "no body": lambda id: _dump({**_message([id]), "body": None}),
    "no properties": lambda id: _dump({**_message([id]), "properties": {}}),
    "no headers": lambda id: _dump({**_message([id]), "headers": {}}),
    "pickle": lambda id: _dump({**_message([id]), "content-type": "application/x-python-serialize"}),
    "yaml": lambda id: _dump({**_message([id]), "content-type": "application/x-yaml"}),
    "unknown task": lambda id: _dump(_message([id], task="os.system")),
    "no task": lambda id: _dump(_message([id], task=None)),
    "running job": lambda id: _dump(_message([id])),
    "no job": lambda id: _dump(_message(["job_0"])),
    "no argument": lambda id: _dump(_message([])),
    "three arguments": lambda id: _dump(_message([id, id, id])),
    "a dict": lambda id: _dump(_message([{"__proto__": {}}])),
    "far future": lambda id: _dump(_message([id], eta="2099-01-01T00:00:00+00:00")),
    "expired": lambda id: _dump(_message([id], expires="2001-01-01T00:00:00+00:00")),
    "large": lambda id: _dump(_message(["x" * 100_000])),
}


def forged(job_id: str, count: int) -> Iterator[bytes]:
    """Messages that nobody of ours has sent, of every kind."""
    kinds = list(ENVELOPES.values())
    return (kinds[number % len(kinds)](job_id) for number in range(count))


def _message(arguments: list[Any], **headers: Any) -> dict[str, Any]:
    """As Celery sends it."""
    body = json.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    known = {"lang": "py", "task": queue.TRAIN, "id": str(uuid.uuid4()), "eta": None, "expires": None, "retries": 0}
    delivery = {"delivery_info": {"exchange": "", "routing_key": "fitd"}, "delivery_tag": str(uuid.uuid4())}
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**known, **headers},
        "properties": {**delivery, "delivery_mode": 2, "priority": 0, "body_encoding": "base64"},
    }


def _dump(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()
