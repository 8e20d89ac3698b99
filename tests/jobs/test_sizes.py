"""What datasets and jobs take in the database: counted, and shown no more at a time than fits."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import datasets, db, errors, holdings, listing, migrate, profiles, quotas, store
from jobs.allowances import USUAL
from jobs.spec import job as job_spec
from jobs.spec.data import Features
from jobs.spec.job import JobSpec
from jobs.spec.profile import ColumnProfile, DatasetProfile
from jobs.states import Status
from jobs.tables.jobs import HEAVY, Job

from .samples import found
from .test_datasets import SHA, read, submitted, uploaded
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
