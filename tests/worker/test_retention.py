"""A worker tidies up: by policy, and what crashes left on its disk."""

import os
import time
from pathlib import Path

import pytest

from jobs import artifacts, db
from jobs.artifacts import Artifacts
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.every import METADATA
from tests.jobs.samples import counts, finished, running
from worker import scratch
from worker.place import Place
from worker.retention import Retention

HOUR = 3600.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = Settings(data_dir=tmp_path, scratch_bytes=250, keep_jobs_days=1e-9, keep_metrics_days=7)
    database = db.connect(settings.database)
    METADATA.create_all(database.engine)
    return Place(settings, database, artifacts.connect(settings.artifacts))


def touched(path: Path, hours: float, size: int = 100) -> Path:
    """A file that was last touched so many hours ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - hours * HOUR,) * 2)
    return path


def folder(place: Place, name: str, hours: float) -> Path:
    path = place.settings.scratch / "some-worker" / name
    touched(path / "resume.safetensors", hours)
    os.utime(path, (time.time() - hours * HOUR,) * 2)
    return path


def test_folders_of_attempts_that_nobody_holds_are_removed(place: Place) -> None:
    job = running(place.database)
    held = folder(place, f"{job.id}-a1", 9)
    young = folder(place, "job_1-a1", 0.5)
    gone = [folder(place, name, 9) for name in (f"{job.id}-a0", "job_1-a2")]
    assert scratch.clear_attempts(place) == 2
    assert [path.exists() for path in [held, young, *gone]] == [True, True, False, False]


def test_copies_that_are_not_used_are_removed(place: Place) -> None:
    copies = place.settings.scratch / "datasets"
    kept = touched(copies / "aa", 24)
    gone = [touched(copies / "bb", 8 * 24), touched(copies / "cc.1.partial", 2)]
    assert scratch.trim_datasets(place) == 2
    assert [path.exists() for path in [kept, *gone]] == [True, False, False]


def test_copies_that_there_is_no_room_for_go_oldest_first(place: Place) -> None:
    copies = [touched(place.settings.scratch / "datasets" / str(hours), hours) for hours in (2, 3, 4, 5)]
    assert scratch.trim_datasets(place) == 2
    assert [path.exists() for path in copies] == [True, True, False, False]


def test_copies_that_a_child_may_be_about_to_open_stay(place: Place) -> None:
    copies = [touched(place.settings.scratch / "datasets" / str(number), 0.5) for number in range(5)]
    assert scratch.trim_datasets(place) == 0
    assert all(path.exists() for path in copies)


def test_a_round_does_a_bit_of_everything(place: Place) -> None:
    finished(place.database, Status.SUCCEEDED)
    touched(place.settings.data_dir / "artifacts/jobs/job_1/a1/x", 48)
    folder(place, "job_1-a2", 9)
    gone = {
        "jobs": 1,
        "metrics": 0,
        "deliveries": 0,
        "messages": 0,
        "audit": 0,
        "times": 0,
        "workers": 0,
        "orphans": 1,
        "attempts": 1,
        "copies": 0,
    }
    keeper = Retention(place)
    assert keeper.round() == gone
    assert keeper.round() == dict.fromkeys(gone, 0)
    assert counts(place.database) == {}


def test_a_step_that_fails_leaves_the_others_theirs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Artifacts, folder: str) -> None:
        raise OSError("The store is away.")

    monkeypatch.setattr(Artifacts, "entries", away)
    folder(place, "job_1-a2", 9)
    assert Retention(place).round() == {
        "jobs": 0,
        "metrics": 0,
        "deliveries": 0,
        "messages": 0,
        "audit": 0,
        "times": 0,
        "workers": 0,
        "attempts": 1,
        "copies": 0,
    }
