"""What datasets and jobs take, and jobs in the artifact store: counted, and shown no more at a time than fits."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import (
    artifacts,
    datasets,
    db,
    errors,
    estimate,
    files,
    holdings,
    leases,
    listing,
    migrate,
    profiles,
    quotas,
    retention,
    store,
    unresolved,
)
from jobs.allowances import USUAL
from jobs.record import Usage
from jobs.spec import job as job_spec
from jobs.spec.data import Features
from jobs.spec.job import JobSpec
from jobs.spec.profile import ColumnProfile, DatasetProfile
from jobs.states import Status
from jobs.tables.jobs import HEAVY, File, Job

from .samples import claimed, created, file, finished, found, running
from .test_datasets import SHA, read, settled, submitted, uploaded
from .test_datasets import spec as on

FILTER = listing.Filter()


def spec(size: int) -> JobSpec:
    """Of about so many bytes."""
    rows = [{"x": row, "y": "ab"[row % 2], "t": "z" * (size // 100)} for row in range(100)]
    given = {"source": "rows", "rows": rows}
    return JobSpec.model_validate({"dataset": given, "target": "y", "features": {"exclude": ["t"]}})


def sent(session: Session, wanted: JobSpec) -> Job:
    return store.create(session, "ann", wanted, datasets.resolve(session, "ann", wanted, USUAL))


def fits(session: Session, most: int) -> bool:
    try:
        quotas.check_stored(session, "ann", most)
    except errors.LimitReached:
        return False
    return True


def test_what_is_told_of_a_dataset_counts_as_stored(database: db.Database) -> None:
    known = uploaded(database)
    read(database)
    with database.writing() as session:
        told = datasets.get(session, "ann", known.id).told_bytes
        assert told > 500
        assert [fits(session, known.bytes + told - more) for more in (0, 1)] == [True, False]


def test_a_large_spec_counts_as_stored_and_a_small_one_does_not(database: db.Database) -> None:
    with database.writing() as session:
        small, large = sent(session, spec(HEAVY // 4)), sent(session, spec(2 * HEAVY))
        assert small.spec_bytes < HEAVY < large.spec_bytes == job_spec.size(large.spec)
        assert [fits(session, 2 * large.spec_bytes - more) for more in (0, 1)] == [True, False]
        store.cancel(session, "ann", large.id)
        assert not fits(session, 1)
        store.delete(session, "ann", large.id)
        assert fits(session, 0)


def test_what_jobs_take_is_known_without_counting_them(database: db.Database) -> None:
    with database.writing() as session:
        jobs = [sent(session, spec(size)) for size in (1000, 2 * HEAVY)]
        sizes = [2 * job.spec_bytes + holdings.JOB_BYTES for job in jobs]
        assert session.scalar(sa.select(holdings.of("ann"))) == sum(sizes)
        for job in jobs:
            store.cancel(session, "ann", job.id)
        store.delete(session, "ann", jobs[0].id)
        assert session.execute(sa.select(holdings.of("ann"), holdings.of("bob"))).one() == (sizes[1], 0)


def booked(database: db.Database) -> int:
    """Bytes of files that ann's jobs have by her account, which is that of all her jobs together."""
    with database.reading() as session:
        total: int = session.execute(sa.select(holdings.files_of("ann"))).scalar_one()
        assert total == sum(session.scalars(sa.select(Job.file_bytes)))
        real = sa.select(sa.func.coalesce(sa.func.sum(File.bytes), 0)).where(File.job_id == Job.id).scalar_subquery()
        wrong = sa.or_(Job.file_bytes < real, sa.and_(Job.file_bytes != real, Job.finished_at.is_not(None)))
        assert session.scalars(sa.select(Job.id).where(wrong)).all() == []
    return total


def kept(database: db.Database, job: Job, name: str, size: int, **fields: object) -> None:
    with database.writing() as session:
        row = file(job, name, id=f"{job.id[-9:]}-{name}-{size}", path=f"{job.id}/{name}", bytes=size, **fields)
        assert leases.keep(session, job.id, job.attempt, row, 2) is not None


def test_files_of_jobs_are_counted_as_they_come_and_go(database: db.Database, tmp_path: Path) -> None:
    job = running(database)
    assert (estimated := booked(database)) > 0
    kept(database, job, "small", 1)
    assert booked(database) == estimated
    for step, name in enumerate("abcd"):
        kept(database, job, name, 10 * estimated + step, step=step)
    kept(database, job, files.RESUME, 7, step=9)
    kept(database, job, "model", estimated, kind="artifact")
    assert booked(database) == 21 * estimated + 2 + 3 + 7
    with database.writing() as session:
        assert leases.resume_from(session, job.id, job.attempt, 2)
    assert booked(database) == 21 * estimated + 2 + 3 + 7
    with database.writing() as session:
        leases.finish(session, job.id, job.attempt, Status.SUCCEEDED, "Done.", usage=Usage())
    assert booked(database) == 11 * estimated + 2
    retention.Walk([retention.CHECKPOINTS]).step(database, artifacts.connect(tmp_path.as_uri()), -1)
    assert booked(database) == estimated
    with database.writing() as session:
        store.delete(session, "ann", job.id)
    assert booked(database) == 0


def test_a_job_without_end_counts_by_its_estimate(database: db.Database) -> None:
    waiting, other = created(database), created(database)
    estimated = booked(database) // 2
    with database.writing() as session:
        store.cancel(session, "ann", waiting.id)
    assert booked(database) == estimated
    job = claimed(database)
    kept(database, job, "model", 5, kind="artifact")
    with database.writing() as session:
        leases.finish(session, other.id, job.attempt, Status.FAILED, "Broken.", usage=Usage())
    assert (booked(database), estimated > 5) == (0, True)
    finished(database, Status.SUCCEEDED)
    assert booked(database) == 0


def test_what_many_write_at_once_is_counted(database: db.Database) -> None:
    held = [running(database) for _ in range(4)]

    def work(job: Job) -> None:
        for step in range(6):
            kept(database, job, f"s{step}", 1_000_000 + step, step=step)
            created(database)
        with database.writing() as session:
            leases.finish(session, job.id, job.attempt, Status.SUCCEEDED, "Done.", usage=Usage())

    before = booked(database)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, held))
    assert booked(database) == 24 * before // 4 + 4 * (2_000_000 + 4 + 5)


def test_a_job_that_waited_for_its_dataset_finds_no_room_for_its_files(database: db.Database) -> None:
    dataset = uploaded(database)
    jobs = [submitted(database, on(dataset)) for _ in range(3)]
    assert booked(database) == 0
    with database.writing() as session:
        taken = datasets.claim(session, "w1", 30)
        assert taken
        settled(session, taken)
        resolved = datasets.resolved(session, "ann", jobs[0].spec, USUAL)
        assert resolved
    size = estimate.estimate(resolved).disk_bytes
    while unresolved.resolve(database, USUAL._replace(result_bytes=2 * size)):
        pass
    assert booked(database) == 2 * size
    (failed,) = [job for job in (found(database, job) for job in jobs) if job.status is Status.FAILED]
    assert failed.error
    assert (failed.error.error_class, failed.error.code, failed.file_bytes) == ("data", "limit_reached", 0)


def test_files_of_before_they_were_counted_are_counted_by_the_migration(empty: str) -> None:
    migrate.upgrade(empty)
    database = db.connect(empty)
    finished(database, Status.SUCCEEDED)
    job = running(database)
    kept(database, job, "a", 1_000_000)
    kept(database, job, "b", 2_000_000)
    migrate.downgrade(empty, "0010")
    migrate.upgrade(empty)
    assert booked(database) == 3_000_000
    database.engine.dispose()


def test_a_spec_is_no_file(database: db.Database) -> None:
    names = [f"{n:0200}" for n in range(6_000)]
    wide: dict[str, Any] = {"dataset": {"source": "builtin", "name": "wine"}, "features": {"exclude": names}}
    for wanted, pointer in ((spec(job_spec.MOST_BYTES), "/dataset/rows"), (JobSpec.model_validate(wide), "")):
        with database.writing() as session, pytest.raises(errors.SpecInvalid) as caught:
            sent(session, wanted)
        assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [(pointer, "spec_too_large")]


def test_a_page_of_large_jobs_is_short(database: db.Database) -> None:
    ids = []
    for _ in range(5):
        with database.writing() as session:
            ids.append(sent(session, spec(900_000)).id)
    pages, after = [], None
    with database.reading() as session:
        while after != min(ids):
            rows, more = listing.page(session, "ann", FILTER, after, 200)
            pages.append([job.id for job in rows])
            after = rows[-1].id
            assert more == (after != min(ids))
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sum(pages, []) == sorted(ids, reverse=True)


def test_a_page_of_large_datasets_is_short_and_without_their_rows(database: db.Database) -> None:
    wide = DatasetProfile(
        layout="table",
        rows=1,
        columns=[ColumnProfile(name=f"{n:0200}", kind="numeric", distinct=1) for n in range(5_000)],
    )
    for n in range(4):
        uploaded(database, sha256=f"{n:064}")
        read(database, wide)
    with database.reading() as session:
        rows, more = datasets.page(session, "ann", None, 200)
        assert (len(rows), more) == (2, True)
        assert all("preview" in sa.inspect(row).unloaded for row in rows)


def test_an_item_that_is_larger_than_a_page_has_one_of_its_own() -> None:
    most = listing.MOST_BYTES
    assert listing.cut([("c", most + 1), ("b", 1), ("a", 1)], 2) == (["c"], True)
    assert listing.cut([("b", most), ("a", 0)], 2) == (["b", "a"], False)
    assert listing.cut([("b", 1), ("a", 1)], 1) == (["b"], True)
    assert listing.cut([], 1) == ([], False)


def test_of_equal_files_only_the_one_that_is_asked_for_is_loaded(database: db.Database) -> None:
    mine = [uploaded(database, owner).id for owner in ("ann", "bob", "ann")][0]
    read(database)
    loaded: list[str] = []
    with database.writing() as session:
        sa.event.listen(session, "loaded_as_persistent", lambda _, row: loaded.append(row.id))
        known = datasets.twin(session, "ann", SHA)
    assert (known and known.id, loaded) == (mine, [mine])


def test_a_job_that_does_not_fit_its_dataset_says_so_in_few_words(database: db.Database) -> None:
    dataset = uploaded(database)
    absent = Features(exclude=[f"absent {n}" for n in range(5_000)])
    job = submitted(database, on(dataset).model_copy(update={"features": absent}))
    read(database, profiles.builtin()["wine"])
    job = found(database, job)
    assert job.status is Status.FAILED
    assert job.error
    assert (len(job.error.errors or []), len(job.error.message) < 11_000) == (100, True)


def test_what_older_versions_wrote_is_measured_by_the_migration(empty: str) -> None:
    migrate.upgrade(empty)
    database = db.connect(empty)
    known = uploaded(database)
    read(database)
    with database.writing() as session:
        jobs = [sent(session, spec(size)).id for size in (HEAVY // 4, 2 * HEAVY)]
    migrate.downgrade(empty, "0006")
    migrate.upgrade(empty)
    with database.reading() as session:
        small, large = (store.get(session, "ann", id) for id in jobs)
        assert datasets.get(session, "ann", known.id).told_bytes > 500
        assert (small.spec_bytes, large.spec_bytes > 2 * HEAVY) == (0, True)
    database.engine.dispose()
