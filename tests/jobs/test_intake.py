"""Datasets on their way: let in while there is room, counted while they come, forgotten when they end."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs import artifacts, datasets, db, errors, intake
from jobs.intake import Intake
from jobs.settings import Settings

CHUNK = bytes(1000)


@pytest.fixture
def taken(database: db.Database, tmp_path: Path) -> Intake:
    settings = Settings(data_dir=tmp_path, max_stored_bytes=10_000, least_free_bytes=1_000_000)
    return Intake(database, artifacts.connect(settings.artifacts), settings)


async def chunks(number: int, before: Callable[[int], None] = lambda _: None) -> AsyncIterator[bytes]:
    for n in range(number):
        before(n)
        yield CHUNK


def put(taken: Intake, number: int, before: Callable[[int], None] = lambda _: None) -> int:
    """Bytes that were stored."""
    return asyncio.run(taken.put("ann", "uploads/x", chunks(number, before)))[0]


def stored(taken: Intake, owner: str) -> None:
    with taken.database.writing() as session:
        datasets.create(session, owner, "x", "datasets/x", 5000, "0" * 64)


def test_so_much_of_one_owner_comes_in_and_no_more(taken: Intake) -> None:
    assert put(taken, 10) == 10_000
    with pytest.raises(errors.LimitReached):
        put(taken, 11)
    stored(taken, "bob")
    assert put(taken, 10) == 10_000
    stored(taken, "ann")
    with pytest.raises(errors.LimitReached):
        put(taken, 6)
    assert (put(taken, 5), taken.coming) == (5000, [])


def test_of_two_that_have_come_as_far_the_one_that_ends_is_forgotten(taken: Intake) -> None:
    first_goes_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield CHUNK
        await first_goes_on.wait()
        yield CHUNK

    async def both() -> None:
        first = asyncio.create_task(taken.put("ann", "uploads/x", slowly()))
        while not taken.coming or not taken.coming[0].size:
            await asyncio.sleep(0.01)
        await taken.put("ann", "uploads/y", chunks(1))
        assert [one.size for one in taken.coming] == [len(CHUNK)]
        first_goes_on.set()
        await first

    asyncio.run(both())
    assert taken.coming == []


def test_what_is_stored_meanwhile_counts(taken: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "EVERY", 2000)
    came: list[int] = []

    def before(number: int) -> None:
        came.append(number)
        if number == 4:
            stored(taken, "ann")

    with pytest.raises(errors.LimitReached):
        put(taken, 10, before)
    assert came[-1] < 8


def test_a_disk_that_fills_up_is_noticed(taken: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "EVERY", 2000)
    free = iter([3_000_000, 2_000_000, 500_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with pytest.raises(errors.NoRoom):
        put(taken, 10)
    assert taken.coming == []
