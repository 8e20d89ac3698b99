"""What waits for a store that is slower than the run saves, and what goes first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from jobs import artifacts, db
from jobs.settings import Settings
from jobs.tables.every import METADATA
from tests.jobs.samples import running
from tests.worker.stores import Slow, slowed
from trainer.reports import Saved
from worker.place import Place
from worker.uploads import Uploads

What = Literal["checkpoint", "resume", "best", "result"]


@pytest.fixture
def uploads(tmp_path: Path) -> Iterator[Uploads]:
    """Of a job that keeps two checkpoints, into a store that takes nothing yet."""
    settings = Settings(data_dir=tmp_path)
    database = db.connect(settings.database)
    METADATA.create_all(database.engine)
    place, store = slowed(Place(settings, database, artifacts.connect(settings.artifacts)), 60)
    folder = tmp_path / "run"
    folder.mkdir()
    yield Uploads(place, running(database), folder, 2)
    store.awake.set()


def announce(uploads: Uploads, what: What, step: int, name: str = "", *, resumable: bool = False) -> None:
    """As a child does that has written the file."""
    name = name or f"{what}-{step}"
    (uploads.folder / name).write_text(name)
    uploads.add(Saved(what=what, name=name, content_type="x/y", step=step, epoch=1, resumable=resumable))


def left(uploads: Uploads) -> list[str]:
    return sorted(file.name for file in uploads.folder.iterdir())


def sent(uploads: Uploads) -> list[str]:
    """All that were waiting, in the order in which they went."""
    assert isinstance(uploads.place.artifacts, Slow)
    uploads.place.artifacts.awake.set()
    paths = []
    while not uploads.all_stored:
        uploads.wait(10)
        paths += [Path(file.path).name for file in uploads.stored()]
    return paths


def test_what_will_not_be_kept_does_not_wait(uploads: Uploads) -> None:
    for step in range(1, 100):
        announce(uploads, "checkpoint", step, resumable=True)
        announce(uploads, "best", step)
    assert left(uploads) == ["best-99", "checkpoint-1", "checkpoint-98", "checkpoint-99"]  # the first is under way


def test_kinds_take_turns_and_of_each_the_newest_goes_first(uploads: Uploads) -> None:
    for step in (1, 2, 3):
        announce(uploads, "checkpoint", step, resumable=True)
        announce(uploads, "best", step)
    announce(uploads, "result", 3)
    assert sent(uploads) == ["checkpoint-1", "best-3", "result-3", "checkpoint-3", "checkpoint-2"]
    assert left(uploads) == []


def test_what_a_run_goes_on_from_goes_first_if_it_has_to_be_left(uploads: Uploads) -> None:
    announce(uploads, "checkpoint", 1)
    announce(uploads, "best", 2)
    announce(uploads, "checkpoint", 2)
    announce(uploads, "resume", 2, resumable=True)
    uploads.hasten()
    assert sent(uploads) == ["checkpoint-1", "resume-2", "best-2", "checkpoint-2"]


@pytest.mark.parametrize("what", ["checkpoint", "resume"])
def test_a_snapshot_that_nobody_asked_for_goes_when_there_is_a_newer_one(uploads: Uploads, what: What) -> None:
    announce(uploads, "checkpoint", 1)
    announce(uploads, "resume", 2, resumable=True)
    announce(uploads, what, 3, resumable=True)
    assert left(uploads) == sorted(["checkpoint-1", f"{what}-3"])


def test_results_never_go(uploads: Uploads) -> None:
    names = ["model", "metrics", "report"]
    for name in names:
        announce(uploads, "result", 5, name)
    assert sorted(sent(uploads)) == sorted(names)
