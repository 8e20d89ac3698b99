"""What a worker's beat says of it, and of whoever had its name before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import migrate, workers
from jobs.settings import Settings
from jobs.workers import Equipment
from worker import heartbeat, place, reconciler
from worker.place import Place

OLD, NEW = Equipment(1, 2, [], {"fitd": "1"}), Equipment(4, 8, ["H100"], {"fitd": "2"})


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[list[Place]]:
    """Of two processes of one name, one after the other."""
    settings = Settings(data_dir=tmp_path, worker_name="c0ffee-1")
    migrate.upgrade(settings.database)
    places = [place.open_(settings, []) for _ in range(2)]
    yield places
    for one in places:
        one.database.engine.dispose()


def asked(here: Place) -> None:
    with here.database.writing() as session:
        workers.ask(session, here.settings.worker_name, drain=True)


def shown(here: Place) -> list[tuple[int, int, list[str], dict[str, str]]]:
    with here.database.reading() as session:
        return [(one.slots, one.threads, one.gpus, one.versions) for one in workers.list_all(session)]


def test_a_drain_ends_with_the_process_that_was_asked(lives: list[Place]) -> None:
    first, second = lives
    heartbeat.beat(first, OLD)
    asked(first)
    reconciler.obey(first)
    heartbeat.beat(second, NEW)  # the first was killed
    reconciler.obey(second)
    assert (first.draining, second.draining) == (True, False)
    assert shown(second) == [(4, 8, ["H100"], {"fitd": "2"})]


def test_a_drain_holds_through_the_beats_of_the_process_that_was_asked(lives: list[Place]) -> None:
    here, _ = lives
    heartbeat.beat(here, OLD)
    asked(here)
    heartbeat.beat(here, OLD)
    reconciler.obey(here)
    assert here.draining


def test_a_beat_tells_of_gpus_that_were_lost(lives: list[Place]) -> None:
    here, _ = lives
    heartbeat.beat(here, equipment := Equipment(1, 2, here.gpus, {}))
    here.gpus.append("H100")
    heartbeat.beat(here, equipment)
    seen = [shown(here)[0][2]]
    here.gpus.clear()
    heartbeat.beat(here, equipment)
    assert [*seen, shown(here)[0][2]] == [["H100"], []]
