"""Datasets on their way: let in while there is room, counted while they come, forgotten when they end, kept once."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import artifacts, datasets, db, errors, intake, quotas
from jobs.artifacts import Artifacts
from jobs.intake import Intake
from jobs.settings import Settings
from jobs.tables.datasets import Dataset

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


# What has come is kept


def kept(taken: Intake, owner: str = "ann", most: int = 10_000) -> Dataset:
    """A dataset of one chunk that came and was named; of so many bytes that its owner may store."""
    size, sha = asyncio.run(taken.put(owner, "uploads/x", chunks(1)))

    def write(session: Session, path: str) -> Dataset:
        dataset = datasets.create(session, owner, "x", path, size, sha)
        quotas.check_stored(session, owner, most)
        return dataset

    try:
        return taken.keep(owner, "uploads/x", sha, write)
    finally:
        taken.artifacts.drop("uploads/x")


def files(taken: Intake) -> list[str]:
    return [entry.path for folder in ("uploads", "datasets") for entry in taken.artifacts.entries(folder)]


def deleted(taken: Intake, dataset: Dataset) -> None:
    with taken.database.writing() as session:
        path = datasets.delete(session, dataset.owner, dataset.id)
    if path:
        taken.artifacts.delete(path)


def test_equal_bytes_share_a_file_that_is_written_anew(taken: Intake) -> None:
    first = kept(taken)
    taken.artifacts.delete(first.path)
    second = kept(taken, "bob")
    assert (second.path, files(taken)) == (first.path, [first.path])
    assert first.path.rpartition("/")[2] == first.sha256
    deleted(taken, first)
    assert b"".join(taken.artifacts.read(second.path)) == CHUNK
    deleted(taken, second)
    assert files(taken) == []
    assert kept(taken).path != first.path  # whoever removes that may yet be at it


def test_no_transaction_is_open_while_the_store_works(taken: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, int] = {}
    for name in ("move", "copy", "delete"):
        act = getattr(Artifacts, name)

        def watched(place: Artifacts, *keys: str, name: str = name, act: Callable[..., None] = act) -> None:
            opened[name] = opened.get(name, 0) + taken.database.engine.pool.checkedout()  # type: ignore[attr-defined]
            act(place, *keys)

        monkeypatch.setattr(Artifacts, name, watched)
    for dataset in [kept(taken), kept(taken)]:
        deleted(taken, dataset)
    assert opened == {"move": 0, "copy": 0, "delete": 0}


def test_bytes_whose_file_another_deletes_meanwhile_get_one_of_their_own(
    taken: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, copy = kept(taken, "bob"), Artifacts.copy

    def then_deleted(place: Artifacts, source: str, target: str) -> None:
        copy(place, source, target)
        deleted(taken, other)

    monkeypatch.setattr(Artifacts, "copy", then_deleted)
    dataset = kept(taken)
    assert dataset.path != other.path
    assert (files(taken), b"".join(taken.artifacts.read(dataset.path))) == ([dataset.path], CHUNK)


def test_what_is_refused_leaves_no_file(taken: Intake) -> None:
    with pytest.raises(errors.LimitReached):
        kept(taken, most=999)
    assert files(taken) == []
    first = kept(taken)
    with pytest.raises(errors.LimitReached):
        kept(taken, most=1999)
    assert files(taken) == [first.path]


def test_a_commit_of_which_nothing_is_heard_may_have_been_made(taken: Intake) -> None:
    def cut(session: Session) -> None:
        raise sa.exc.OperationalError("COMMIT", None, ConnectionError())

    sa.event.listen(Session, "after_commit", cut, once=True)
    with pytest.raises(sa.exc.OperationalError):
        kept(taken)
    with taken.database.reading() as session:
        assert files(taken) == session.scalars(sa.select(Dataset.path)).all()
