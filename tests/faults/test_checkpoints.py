"""Rows 3, 4, 19 and 20 of the matrix: what is written is cut off, slow, refused by the disk, damaged, gone."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from client.answers import Job
from jobs import artifacts
from jobs.tables.jobs import File
from tests.faults.conftest import SHORT, Accepted
from tests.faults.runs import exits, resumed, trained
from tests.fleet import Fleet, digits, until

CHILD = ["checkpoint.written", "checkpoint.synced", "checkpoint.renamed"]
WORKER = ["file.put", "file.stored", "file.committed"]
END = ["finish.committed", "finish.begun", "claim.committed"]
Failing = Callable[..., Path]
SAVING = digits(epochs=12, checkpoint={"save_freq": 20})
"""480 steps, 24 checkpoints."""
ALL_KEPT = digits(epochs=12, checkpoint={"save_freq": 20, "keep": 100})
"""The same, and none that waits to be stored is superseded."""
OFTEN = digits(epochs=12, checkpoint={"save_freq": 10})
"""48 checkpoints."""


def events(fleet: Fleet, job: Job, kind: str) -> list[str]:
    """What they say."""
    return [event.message for event in fleet.client.follow(job.id) if event.kind == kind]


def visits(folder: Path, name: str) -> int:
    """How often processes have been at a failpoint."""
    return (folder / name).stat().st_size if (folder / name).exists() else 0


def resumable(fleet: Fleet, job: Job) -> list[File]:
    """What the job could go on from, oldest first."""
    database = fleet.database()
    with database.reading() as session:
        mine = sa.select(File).where(File.job_id == job.id, File.resumable)
        found = list(session.scalars(mine.order_by(File.step)))
    database.engine.dispose()
    return found


def each_killed(fleet: Fleet, plans: list[str]) -> None:
    """Ends as many workers, each at a place of its own."""
    for number, plan in enumerate(plans):
        fleet.start(f"worker{number}", FITD_FAIL=plan)
    until(lambda: not any(fleet.is_alive(f"worker{number}") for number in range(len(plans))), 120)


def torn(fleet: Fleet, accepted: Accepted) -> list[str]:
    """Checkpoints that were stored and could not be read."""
    return [said for id in accepted for said in events(fleet, fleet.client.job(id), "checkpoint_refused")]


# --- row 3


def test_row_3_a_child_killed_inside_a_write(fleet: Fleet, accepted: Accepted, failing: Failing) -> None:
    accepted.expect(SAVING)
    failing("worker", ",".join(f"{point}:kill:{5 + 10 * number}" for number, point in enumerate(CHILD)))
    job = accepted.submit(SAVING)
    accepted.check()
    assert torn(fleet, accepted) == []
    assert exits(fleet, job) == ["exit_-9"] * 3 + ["succeeded"]
    assert all(step and step % 20 == 0 for step in resumed(fleet, job)[1:])


def test_row_3_a_worker_killed_inside_an_upload(fleet: Fleet, accepted: Accepted) -> None:
    accepted.expect(SAVING)
    fleet.stop("worker")
    jobs = [accepted.submit(SAVING) for _ in WORKER]
    each_killed(fleet, [f"{point}:kill:5" for point in WORKER])
    fleet.start("worker")
    accepted.check()
    assert torn(fleet, accepted) == []
    ends = [exit for job in jobs for exit in exits(fleet, job)]
    assert sorted(filter(None, ends)) == ["lease_expired"] * 3 + ["succeeded"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("point", CHILD)
def test_row_3_children_killed_twenty_times_inside_writes(
    fleet: Fleet, accepted: Accepted, failing: Failing, point: str
) -> None:
    accepted.expect(OFTEN)
    failing("worker", f"{point}:kill:3x20")  # of an attempt's writes, the second is new
    job = accepted.submit(OFTEN)
    accepted.check()
    assert torn(fleet, accepted) == []
    assert exits(fleet, job) == ["exit_-9"] * 20 + ["succeeded"]


@pytest.mark.slow
@pytest.mark.parametrize("point", WORKER)
def test_row_3_workers_killed_twenty_times_inside_uploads(fleet: Fleet, accepted: Accepted, point: str) -> None:
    accepted.expect(ALL_KEPT)
    fleet.stop("worker")
    for first in (2, 12):
        for _ in range(10):
            accepted.submit(ALL_KEPT)
        each_killed(fleet, [f"{point}:kill:{nth}" for nth in range(first, first + 10)])
        fleet.start("worker")
        accepted.check()
        fleet.stop("worker")
    assert torn(fleet, accepted) == []
    ends = Counter(attempt.exit for id in accepted for attempt in fleet.client.job(id).attempts)
    assert ends["succeeded"] == 20
    assert ends["lease_expired"] == ends.total() - 20 >= 20  # ten workers may leave each other no time for a heartbeat


# --- row 4


def test_row_4_workers_killed_around_the_end_and_after_a_claim(fleet: Fleet, accepted: Accepted) -> None:
    accepted.expect(SHORT)
    fleet.stop("worker")
    jobs = [accepted.submit(SHORT) for _ in END]
    each_killed(fleet, [f"{point}:kill" for point in END])
    fleet.start("worker")
    accepted.check()
    ends = [exit for job in jobs for exit in exits(fleet, job)]
    assert sorted(filter(None, ends)) == ["lease_expired"] * 2 + ["succeeded"] * 3


# --- row 19


@pytest.mark.parametrize("point", ["checkpoint.written", pytest.param("file.put", marks=pytest.mark.slow)])
def test_row_19_a_write_that_fails_is_tried_again(
    fleet: Fleet, accepted: Accepted, failing: Failing, point: str
) -> None:
    accepted.expect(SAVING)
    failing("worker", f"{point}:eio:5")
    job = accepted.submit(SAVING)
    accepted.check()
    assert exits(fleet, job) == ["io_error", "succeeded"]
    assert (resumed(fleet, job)[1] or 0) >= 20


@pytest.mark.slow
def test_row_19_writes_that_always_fail_end_the_job(fleet: Fleet, accepted: Accepted, failing: Failing) -> None:
    failing("worker", "checkpoint.written:eio:1+")
    job = fleet.client.submit(SHORT)
    accepted[job.id] = None
    accepted.check()
    error = fleet.client.job(job.id).error
    assert error is not None
    assert (error.error_class, error.code, exits(fleet, job)) == ("infrastructure", "poison", ["io_error"] * 3)


@pytest.mark.parametrize(
    ("point", "seconds"), [pytest.param("checkpoint.written", 2, marks=pytest.mark.slow), ("file.put", 6)]
)
def test_row_19_training_and_heartbeat_go_on_beside_a_slow_write(
    fleet: Fleet, accepted: Accepted, failing: Failing, point: str, seconds: int
) -> None:
    spec = digits(epochs=1000, checkpoint={"save_freq": "epoch"})
    accepted.expect(spec)
    folder = failing("worker", f"{point}:sleep{seconds}:1")
    job = accepted.submit(spec)
    until(lambda: visits(folder, point) == 1)
    before = trained(fleet, job)
    until(lambda: trained(fleet, job) > before + 40)
    assert visits(folder, point) == 1, "the write was over by then"
    accepted.check()
    assert exits(fleet, job) == ["succeeded"]


# --- row 20

CSV = b"x,y\n" + b"".join(b"%d,%d\n" % (row, row % 2) for row in range(60))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def deleted(path: Path) -> None:
    path.unlink()


def test_row_20_a_damaged_checkpoint_is_passed_over(fleet: Fleet, accepted: Accepted) -> None:
    accepted.expect(SAVING)
    fleet.restart("worker", FITD_SLOTS="5", FITD_FAIL="checkpoint.written:sleep100:5")  # each child has written some
    jobs = [accepted.submit(SAVING) for _ in range(5)]
    until(lambda: all(len(resumable(fleet, job)) == 2 for job in jobs), 100)
    fleet.kill("worker")
    kept = [resumable(fleet, job) for job in jobs]
    store = artifacts.connect(fleet.settings.artifacts).root
    assert store is not None
    for damage, (_, newest) in zip([flipped, truncated, emptied, deleted], kept[:4], strict=True):
        damage(store / newest.path)
    for file in kept[4]:
        flipped(store / file.path)
    fleet.start("worker")
    accepted.check()
    assert [resumed(fleet, job) for job in jobs] == [[None, older.step] for older, _ in kept[:4]] + [[None, 0]]
    assert [len(events(fleet, job, "checkpoint_refused")) for job in jobs] == [1, 1, 1, 1, 2]


@pytest.mark.slow
def test_row_20_a_job_whose_data_is_gone_is_given_up(fleet: Fleet, accepted: Accepted) -> None:
    file = fleet.client.wait_dataset(fleet.client.upload(CSV, name="xy.csv").id, timeout=60)
    fleet.stop("worker")
    job = fleet.client.submit({"dataset": {"source": "upload", "id": file.id}, "target": "y"})
    for folder in (fleet.settings.data_dir / "artifacts", fleet.settings.scratch):
        next(folder.glob(f"datasets/**/{file.sha256}")).unlink()
    fleet.start("worker")
    accepted[job.id] = None
    accepted.check()
    error = fleet.client.job(job.id).error
    assert (exits(fleet, job), error and error.code) == (["data_gone"] * 3, "poison")
