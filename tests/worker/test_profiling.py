"""Uploaded files, read in a child that may be killed."""

import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bench import traps
from jobs import datasets, db, migrate
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


def uploaded(here: Place, content: bytes) -> str:
    """A file that waits to be read."""
    assert here.artifacts.root is not None
    path = here.artifacts.root / "datasets" / "x"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with here.database.writing() as session:
        return datasets.create(session, "ann", "x", "datasets/x", len(content), "x").id


def refused(here: Place, content: bytes) -> str:
    """Why the dataset is invalid; the reader that comes next works."""
    id = uploaded(here, content)
    assert profiling.read_next(here) is True
    dataset = found(here.database, id)
    assert (dataset.status, dataset.attempt) == ("invalid", 1)
    assert dataset.error
    return f"{dataset.error.error_class}/{dataset.error.code}: {dataset.error.message}"


def found(database: db.Database, id: str) -> Dataset:
    with database.reading() as session:
        return datasets.get(session, "ann", id)


def kill_the_reader() -> None:
    until(multiprocessing.active_children)
    (reader,) = multiprocessing.active_children()
    assert reader.pid
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
