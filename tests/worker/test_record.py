"""What the store cannot do for a run does not end it."""

from pathlib import Path

import pytest

from jobs import artifacts, db
from jobs.settings import Settings
from jobs.tables.every import METADATA
from tests.jobs.samples import file, kinds, running
from worker.holds import Hold
from worker.place import Place
from worker.record import Record


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = Settings(data_dir=tmp_path)
    database = db.connect(settings.database)
    METADATA.create_all(database.engine)
    return Place(settings, database, artifacts.connect(settings.artifacts))


def undeletable(place: Place, path: str) -> Path:
    """What the store finds under this key and cannot remove."""
    assert place.artifacts.root is not None
    kept = place.artifacts.root / path / "x"
    kept.parent.mkdir(parents=True)
    kept.touch()
    return kept


def test_a_file_that_cannot_be_removed_stays_and_the_run_goes_on(place: Place) -> None:
    job = running(place.database)
    record = Record(place, Hold(job))
    left = undeletable(place, "jobs/old")
    record.keep(file(job, "best", id="ckpt_1", path="jobs/old", is_best=True))
    record.keep(file(job, "best", id="ckpt_2", path="jobs/new", is_best=True, step=2))
    record.resumed(0)
    assert left.exists()
    assert kinds(place.database, job)[-3:] == ["checkpoint", "checkpoint", "resumed"]
