"""Uploaded files, read in a child that may be killed."""

import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench import traps
from jobs import datasets, db, migrate
from jobs.artifacts import Artifacts
from jobs.settings import Settings
from jobs.tables.datasets import Dataset
from tests.fleet import until
from worker import children, place, profiling
from worker.place import Place

HUGE = b"a,b\n" + b"1234567.5,2345678.25\n" * 3_000_000
"""Seconds of work for a reader."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    settings = Settings(data_dir=tmp_path)
    migrate.upgrade(settings.database)
    children.warm()
    found = place.open_(settings, [])
    yield found
    found.database.engine.dispose()


def uploaded(here: Place, content: bytes, name: str = "x") -> str:
    """A file that waits to be read."""
    assert here.artifacts.root is not None
    path = here.artifacts.root / "datasets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with here.database.writing() as session:
        stored = f"datasets/{name}", len(content), sha256(content).hexdigest()
        return datasets.create(session, "ann", name, *stored).id


def refused(here: Place, content: bytes) -> str:
    """Why the dataset is invalid; the reader that comes next works."""
    id = uploaded(here, content)
    assert profiling.read_next(here) is True
    dataset = found(here.database, id)
    assert (dataset.status, dataset.attempt) == ("invalid", 1)
    assert dataset.error
    return f"{dataset.error.error_class}/{dataset.error.code}: {dataset.error.message}"


def test_what_is_told_of_a_file_counts_as_stored(here: Place) -> None:
    content = b"a,b\n1,2\n"
    short = replace(here, settings=here.settings.model_copy(update={"max_stored_bytes": 100}))
    assert refused(short, content).startswith("data/limit_reached: Your datasets and large specs may have 100 bytes")


@pytest.mark.parametrize("content", [b"a,b\n1,3\n", None])
def test_a_file_that_is_damaged_or_gone_from_the_store_is_to_be_uploaded_again(
    here: Place, content: bytes | None
) -> None:
    id = uploaded(here, b"a,b\n1,2\n")
    assert here.artifacts.root is not None
    path = here.artifacts.root / "datasets" / "x"
    path.write_bytes(content) if content else path.unlink()
    assert profiling.read_next(here) is True
    error = found(here.database, id).error
    assert error is not None
    assert (error.code, error.message.endswith("Upload it again.")) == ("data_gone", True)


def test_a_file_that_cannot_be_had_lets_the_next_one_go_first(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = uploaded(here, b"a,b\n1,2\n"), uploaded(here, b"a,b\n1,3\n", "y")
    fetch = Artifacts.fetch

    def failing(self: Artifacts, path: str, target: Path) -> None:
        if path == "datasets/x":
            raise PermissionError(path)
        fetch(self, path, target)

    monkeypatch.setattr(Artifacts, "fetch", failing)
    assert [profiling.read_next(here) for _ in range(3)] == [False, True, False]
    assert [found(here.database, id).status for id in (first, second)] == ["profiling", "ready"]
    with here.database.writing() as session:
        session.execute(sa.update(Dataset).where(Dataset.id == first).values(lease_until=db.now(-1)))
        again = datasets.claim(session, "w", 30)
    assert again is not None
    assert (again.id, again.deaths) == (first, 0)


def found(database: db.Database, id: str) -> Dataset:
    with database.reading() as session:
        return datasets.get(session, "ann", id)


def kill_the_reader(*, and_its_server: bool = False) -> None:
    until(multiprocessing.active_children)
    (reader,) = multiprocessing.active_children()
    assert reader.pid
    if and_its_server:
        os.kill(int(Path(f"/proc/{reader.pid}/stat").read_text().split()[3]), signal.SIGKILL)
    with suppress(ProcessLookupError):  # the worker may have ended the orphan by now
        os.kill(reader.pid, signal.SIGKILL)


def test_a_file_that_takes_too_much_memory_is_invalid(here: Place) -> None:
    settings = here.settings.model_copy(update={"reader_memory_bytes": 5 << 28})
    small = replace(here, settings=settings)
    assert re.match("data/.* memory", refused(small, HUGE))


def test_a_file_that_takes_too_long_is_invalid(here: Place) -> None:
    quick = replace(here, settings=here.settings.model_copy(update={"reader_seconds": 1.0}))
    assert refused(quick, HUGE) == "data/too_slow: Reading took more than 1 seconds; upload a smaller file."


def test_a_bomb_is_invalid(here: Place) -> None:
    assert "268,435,456 rows" in refused(here, traps.TRAPS["rows_for_2_gib.parquet"]())


def test_a_reader_that_is_killed_is_the_fault_of_its_file_only_when_it_happens_again(here: Place) -> None:
    id = uploaded(here, HUGE)
    states = []
    with ThreadPoolExecutor(1) as thread:
        for _ in range(datasets.MOST_DEATHS):
            reading = thread.submit(profiling.read_next, here)
            kill_the_reader()
            assert reading.result() is False
            states.append(found(here.database, id).status)
    assert states == ["profiling"] * datasets.MOST_DEATHS
    assert profiling.read_next(here) is False
    dataset = found(here.database, id)
    assert (dataset.status, dataset.error and dataset.error.code) == ("invalid", "poison")


def test_a_reader_that_is_killed_with_what_it_was_forked_from_is_not_the_fault_of_its_file(here: Place) -> None:
    id = uploaded(here, HUGE)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(profiling.read_next, here)
        kill_the_reader(and_its_server=True)
        assert reading.result() is False
    dataset = found(here.database, id)
    assert (dataset.status, dataset.deaths, dataset.error) == ("profiling", 1, None)
