"""What the store cannot do for a run does not end it."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from jobs import artifacts, db
from jobs.settings import Settings
from jobs.tables.every import METADATA
from tests.jobs.samples import file, found, kinds, metrics, running
from trainer.reports import Point, Progress
from worker import record as worker_record
from worker.holds import Hold, Lost
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


def reported(points: int) -> Progress:
    """So many values of a metric."""
    values = [Point(name="loss", step=step, epoch=1, value=0.5) for step in range(1, points + 1)]
    return Progress(
        epoch=1,
        epochs=2,
        step=points,
        steps=2 * points,
        lr=0.1,
        samples_per_second=None,
        points=values,
        latest={"loss": 0.5},
        best=None,
        improved=False,
        epoch_ended=True,
    )


def test_what_waited_for_the_database_is_written_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_record, "MOST_WRITTEN", 7)
    monkeypatch.setattr(worker_record, "MOST_BUFFERED", 20)
    record = Record(place, Hold(job := running(place.database)))
    record.add(reported(19))
    assert not record.is_full
    record.latest, record.points = None, []
    record.add(reported(20))
    assert record.is_full
    record.flush()
    assert [point.step for point in metrics(place.database, job.id)["loss"]] == list(range(1, 21))
    assert kinds(place.database, job).count("progress") == 3


def test_how_far_a_run_is_shows_also_where_nothing_was_measured(place: Place) -> None:
    record = Record(place, Hold(job := running(place.database)))
    for step in (5, 8):
        record.add(reported(5).model_copy(update={"step": step, "points": []}))
        record.flush()
        record.flush()
        now = found(place.database, job).progress
        assert now is not None
        assert now.step == step
    assert kinds(place.database, job).count("progress") == 2


def test_a_worker_that_stops_does_not_wait_for_its_database(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_record, "LAST_TRIES", 0.1)
    record = Record(place, Hold(running(place.database)))
    tries: list[int] = []

    def away() -> None:
        tries.append(1)
        if len(tries) == 2:
            place.over.set()
        raise sa.exc.OperationalError("", None, Exception())

    with pytest.raises(Lost):
        record._insist(away)
    assert len(tries) == 2
