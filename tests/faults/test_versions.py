"""Row 29 of the matrix: while an update goes on, older parts meet what newer ones wrote."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from jobs import db
from jobs.spec import job as job_spec
from jobs.tables.jobs import Job
from tests.faults.conftest import SHORT, Accepted
from tests.fleet import Fleet, until

FUTURE = {"dataset": {"source": "stream"}, "model": {"kind": "mixture", "experts": 8}}
CSV = b"x,y\n" + b"".join(b"%d,%d\n" % (row, row % 2) for row in range(50))
"""Bytes that no other test of the room has sent: those would have been read already."""


@contextmanager
def written_by_a_newer_one(fleet: Fleet, job_id: str) -> Iterator[None]:
    """For the length of the block, a job that waits looks as a later version of the service would have stored it."""
    database = fleet.database()
    columns = {name: sa.type_coerce(getattr(Job, name), sa.JSON) for name in ("spec", "resolved_spec")}
    with database.reading() as session:
        before = session.execute(sa.select(*columns.values()).where(Job.id == job_id)).one()
    _rewrite(database, job_id, job_spec.VERSION + 1, [value and FUTURE for value in before])
    try:
        yield
    finally:
        _rewrite(database, job_id, job_spec.VERSION, list(before))
        database.engine.dispose()


def _rewrite(database: db.Database, job_id: str, version: int, specs: list[Any]) -> None:
    spec, resolved = (sa.literal(value, sa.JSON(none_as_null=True)) for value in specs)
    with database.writing() as session:
        changed = sa.update(Job).where(Job.id == job_id, Job.status == "queued", Job.attempt == 0)
        found = session.execute(
            changed.values(spec=spec, resolved_spec=resolved, spec_version=version).returning(Job.id)
        )
        assert found.all() == [(job_id,)]


def asked(fleet: Fleet, path: str) -> tuple[int, str | None, str | None]:
    """Status, code and `Retry-After`, asked once."""
    answer = httpx2.get(f"{fleet.url}{path}")
    return answer.status_code, answer.json().get("code"), answer.headers.get("retry-after")


def test_row_29_a_newer_spec_waits_for_a_newer_worker(fleet: Fleet, accepted: Accepted) -> None:
    accepted.expect(SHORT)
    fleet.stop("worker")
    newer = accepted.submit(SHORT)
    with written_by_a_newer_one(fleet, newer.id):
        fleet.start("worker")
        older = accepted.submit(SHORT)
        assert fleet.client.wait(older.id, 60).status == "succeeded"
        # To skip it would make a list that lies; the next to answer may be an api that can read it.
        for path in (f"/v1/jobs/{newer.id}", "/v1/jobs", "/v1/jobs?status=queued"):
            assert asked(fleet, path) == (503, "newer_record", "2")
        assert asked(fleet, "/v1/jobs?status=succeeded&limit=1") == (200, None, None)
    accepted.check()


@pytest.mark.slow
def test_row_29_a_file_that_a_newer_job_waits_for_is_left_to_a_newer_reader(fleet: Fleet, accepted: Accepted) -> None:
    fleet.stop("worker")
    files = [fleet.client.upload(CSV, name=f"{name}.csv") for name in ("newer", "older")]
    specs = [{"dataset": {"source": "upload", "id": file.id}, "target": "y", "epochs": 2} for file in files]
    newer, older = (fleet.client.submit(spec) for spec in specs)
    accepted |= {newer.id: None, older.id: None}
    with written_by_a_newer_one(fleet, newer.id):
        fleet.start("worker")
        assert fleet.client.wait(older.id, 60).status == "succeeded"
        assert [fleet.client.dataset(file.id).status for file in files] == ["profiling", "ready"]
    until(lambda: fleet.client.dataset(files[0].id).status == "ready")
    accepted.check()
