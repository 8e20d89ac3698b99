"""Whoever has much to be done, or has it done slowly, keeps nobody else waiting."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.turns import Rounds, Turns
from jobs import artifacts, db, deliveries, webhooks
from jobs.settings import Settings
from jobs.tables.every import METADATA
from tests.api.conftest import HOME, WINE
from tests.fleet import until
from tests.jobs.conftest import database, migrated_postgres, migrated_sqlite  # noqa: F401
from tests.worker.receivers import receiving, status
from worker import delivering
from worker.place import Place


def test_many_long_answers_of_one_owner_hold_up_nobody_else() -> None:
    made: list[str] = []

    def parts(owner: str) -> Iterator[str]:
        for _ in range(4):
            made.append(owner)
            yield "a part"

    async def read(turns: Turns, owner: str) -> None:
        assert [part async for part in turns.taken(owner, parts(owner))] == ["a part"] * 4

    async def crowd() -> None:
        turns = Turns()
        async with anyio.create_task_group() as readers:
            for owner in ["ann"] * 50 + ["bob"]:
                readers.start_soon(read, turns, owner)

    anyio.run(crowd)
    assert (len(made), [at for at, owner in enumerate(made) if owner == "bob"][-1] < 40) == (204, True)


def test_many_who_wait_for_one_owner_hold_up_nobody_else() -> None:
    rounds, worked = Rounds(1), list[str]()

    def work(owner: str) -> None:
        with rounds.taken(owner):
            worked.append(owner)

    with ThreadPoolExecutor(32) as threads, rounds.taken("eve"):
        for owner in ["ann"] * 20 + ["bob"] * 2:
            threads.submit(work, owner)
        until(lambda: sum(len(waiting) for waiting in rounds.waiting.values()) == 22, 10)
    assert worked == ["ann", "bob"] * 2 + ["ann"] * 18
    assert (rounds.free, rounds.waiting) == (1, {})


def test_jobs_that_may_be_large_are_shown_to_owners_in_turn(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    METADATA.create_all(app.state.database.engine)
    rounds: Rounds = app.state.rounds
    with TestClient(app, HOME) as client, ThreadPoolExecutor(4) as threads:
        paths = ["/v1/jobs", client.post("/v1/jobs", json=WINE).json()["links"]["self"]]
        with rounds.taken("ann"), rounds.taken("ann"):
            asked = [threads.submit(client.get, path) for path in paths]
            until(lambda: sum(len(waiting) for waiting in rounds.waiting.values()) == 2, 10)
            assert client.get("/v1/datasets").status_code == 200
        assert [one.result().status_code for one in asked] == [200, 200]


def slowly(handler: Any) -> None:
    time.sleep(0.1)
    status(200)(handler)


def test_a_slow_receiver_of_many_messages_holds_up_nobody_else(
    database: db.Database,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(data_dir=tmp_path, private_networks="127.0.0.0/8")
    here = Place(settings, database, artifacts.connect(settings.artifacts))
    monkeypatch.setattr(delivering, "TICK", 0.01)
    monkeypatch.setattr(deliveries, "MOST_TESTS", 80)
    with receiving(slowly) as slow, receiving(status(200)) as other:
        with database.writing() as session:
            first = webhooks.create(session, "ann", slow.url, webhooks.TERMINAL, None)
            second = webhooks.create(session, "bob", other.url, webhooks.TERMINAL, None)
            for _ in range(80):
                deliveries.test(session, "ann", first.id)
            deliveries.test(session, "bob", second.id)
        thread = delivering.start(here)
        while not other.seen and len(slow.seen) < 80:
            time.sleep(0.01)
        before = len(slow.seen)
        here.over.set()
        for sender in (thread, *(one for one in threading.enumerate() if one.name == "deliver")):
            sender.join()
    assert before < 40
