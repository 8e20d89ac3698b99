"""Files of a run as rows: kept, replaced, pruned, forgotten."""

from collections import Counter

import pytest
import sqlalchemy as sa

from jobs import db, files, leases, store
from jobs.record import Failure
from jobs.states import Status
from jobs.tables.jobs import Attempt, File

from .samples import HALFWAY, claimed, file, kinds, metrics, running
from .test_leases import USAGE, lost, point


def test_a_resumed_run_forgets_what_lies_behind_its_checkpoint(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        leases.record(session, job.id, 1, [point(1), point(2), point(3)], HALFWAY, {}, None, USAGE, 30)
    lost(database, job, counted=False)
    again = claimed(database)
    with database.writing() as session:
        assert leases.resume_from(session, job.id, 2, 2) == []
        leases.record(session, job.id, 2, [point(3)], HALFWAY, {}, None, USAGE, 30)
        assert session.get_one(Attempt, (job.id, again.attempt)).resumed_from_step == 2
    assert metrics(database, job.id) == {"loss": [point(1), point(2), point(3)]}


def test_a_run_that_begins_anew_leaves_no_checkpoint_of_before(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        for step in (49, 50):
            leases.keep(session, job.id, 1, file(job, f"s{step}", step=step, resumable=True), 2)
    lost(database, job, counted=False)
    again = claimed(database)
    with database.writing() as session:
        assert leases.resume_from(session, job.id, 2, 0) == ["jobs/s49", "jobs/s50"]
        leases.keep(session, job.id, 2, file(again, "s1", step=1, resumable=True), 2)
        assert session.scalars(sa.select(File.name)).all() == ["s1"]


def test_a_file_replaces_the_one_of_its_name(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        leases.keep(session, job.id, 1, file(job, "last"), 9)
        leases.keep(session, job.id, 1, file(job, "last", id="ckpt_new", step=2), 9)
        leases.keep(session, job.id, 1, file(job, "model", kind="artifact"), 9)
        assert session.scalars(sa.select(File.id).order_by(File.id)).all() == ["ckpt_model", "ckpt_new"]
    assert Counter(kinds(database, job))["checkpoint"] == 2


def test_what_a_new_checkpoint_supersedes_is_named(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        superseded = [
            leases.keep(session, job.id, 1, file(job, name, id=f"ckpt_{step}", step=step, path=f"{name}{step}"), 2)
            for step, name in enumerate(["resume", "a", "b", "resume", "c"])
        ]
    assert superseded == [[], [], [], ["resume0"], ["a1"]]


def test_what_a_run_would_go_on_from_is_gone_with_its_end(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        for name in ("step", "resume"):
            leases.keep(session, job.id, 1, file(job, name, id=f"ckpt_{name}", path=name), 2)
        assert leases.finish(session, job.id, 1, Status.FAILED, "It ended.", usage=USAGE)
        assert [one.name for one in files.list_of(session, job.id, "checkpoint")] == ["step"]


UNFORESEEN = Failure(error_class="internal", code="internal_error", message="A defect.")
NON_FINITE = Failure(error_class="training", code="non_finite", message="The loss is not finite.")


@pytest.mark.parametrize(
    ("status", "error", "left"),
    [
        (Status.SUCCEEDED, None, ["model"]),
        (Status.TIMED_OUT, None, ["model"]),
        (Status.FAILED, NON_FINITE, ["model"]),
        (Status.FAILED, UNFORESEEN, []),
        (Status.CANCELLED, None, []),
    ],
)
def test_only_a_run_that_went_to_its_end_leaves_results(
    database: db.Database, status: Status, error: Failure | None, left: list[str]
) -> None:
    job = running(database)
    with database.writing() as session:
        leases.keep(session, job.id, 1, file(job, "model", kind="artifact"), 9)
        if status is Status.CANCELLED:
            store.cancel(session, "ann", job.id)
        assert leases.finish(session, job.id, 1, status, "It ended.", usage=USAGE, error=error)
        assert [one.name for one in files.list_of(session, job.id, "artifact")] == left


def test_one_checkpoint_is_the_best(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        leases.keep(session, job.id, 1, file(job, "one", is_best=True), 9)
        leases.keep(session, job.id, 1, file(job, "two", is_best=True), 9)
        leases.keep(session, job.id, 1, file(job, "three"), 9)
        assert session.scalars(sa.select(File.name).where(File.is_best)).all() == ["two"]
