"""Lists of jobs, held against a reading of all of them."""

import random
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jobs import db, ids, listing, store
from jobs.listing import Filter
from jobs.states import Status
from jobs.tables.jobs import Job

from .samples import created, finished

NAMES, TEAMS, DATASETS = ["a", "b"], ["x", "y"], ["ds_1", "ds_2", None]


def some_jobs(database: db.Database, dice: random.Random) -> list[Job]:
    """Jobs of two owners that differ in all that can be asked for."""
    for _ in range(30):
        job = created(
            database, dice.choice(["ann", "bob"]), name=dice.choice(NAMES), metadata={"t": dice.choice(TEAMS)}
        )
        data = {"dataset_id": dice.choice(DATASETS), "test_dataset_id": dice.choice(DATASETS)}
        status = dice.choice([Status.QUEUED, Status.FAILED, Status.SUCCEEDED])
        at = db.now(-dice.uniform(0, 1000))
        with database.writing() as session:
            session.execute(sa.update(Job).where(Job.id == job.id).values(status=status, created_at=at, **data))
    with database.reading() as session:
        return list(session.scalars(sa.select(Job).where(Job.owner == "ann").order_by(Job.id.desc())))


def some_filter(dice: random.Random) -> Filter:
    now = datetime.now(UTC)
    return Filter(
        status=dice.choice([None, [Status.QUEUED], [Status.FAILED, Status.QUEUED, Status.FAILED]]),
        name=dice.choice([None, "a"]),
        metadata=dice.choice([None, {"t": "x"}]),
        dataset=dice.choice([None, "ds_1"]),
        created_after=dice.choice([None, now - timedelta(seconds=800)]),
        created_before=dice.choice([None, now - timedelta(seconds=200)]),
    )


def fits(job: Job, chosen: Filter) -> bool:
    return all(
        [
            not chosen.status or job.status in chosen.status,
            chosen.name in (None, job.name),
            not chosen.metadata or job.details == chosen.metadata,
            not chosen.dataset or chosen.dataset in (job.dataset_id, job.test_dataset_id),
            not chosen.created_after or job.created_at > chosen.created_after,
            not chosen.created_before or job.created_at < chosen.created_before,
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_page_holds_the_newest_of_those_that_fit(database: db.Database, seed: int) -> None:
    dice = random.Random(seed)
    jobs = some_jobs(database, dice)
    for _ in range(25):
        chosen, after, limit = some_filter(dice), dice.choice([None, jobs[5].id]), dice.choice([1, 3, 99])
        expected = [job.id for job in jobs if fits(job, chosen) and (after is None or job.id < after)][:limit]
        with database.reading() as session:
            assert [job.id for job in listing.page(session, "ann", chosen, after, limit).rows] == expected


def test_a_time_that_no_id_can_hold_is_beyond_all_ids(database: db.Database) -> None:
    job = created(database)
    far = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    with database.reading() as session:
        assert [len(listing.page(session, "ann", Filter(created_after=at), None, 9).rows) for at in far] == [1, 0]
        assert [len(listing.page(session, "ann", Filter(created_before=at), None, 9).rows) for at in far] == [0, 1]
        assert store.get(session, "ann", job.id).id > ids.first("job", job.created_at.timestamp() - listing.SKEW)


EVERYTHING = Filter()


def listed(database: db.Database, chosen: Filter = EVERYTHING, after: str | None = None, limit: int = 99) -> list[Job]:
    with database.reading() as session:
        return list(listing.page(session, "ann", chosen, after, limit).rows)


def test_pages_are_newest_first_and_stay_put_while_jobs_come_in(database: db.Database) -> None:
    jobs = sorted((created(database).id for _ in range(7)), reverse=True)
    first = [job.id for job in listed(database, limit=3)]
    created(database)
    second = [job.id for job in listed(database, after=first[-1], limit=3)]
    third = [job.id for job in listed(database, after=second[-1], limit=3)]
    assert first + second + third == jobs
    assert listed(database, after=third[-1]) == []


def test_jobs_are_filtered_before_they_are_cut(database: db.Database) -> None:
    wanted = created(database, name="wanted")
    for _ in range(3):
        created(database, name="other")
    assert [job.id for job in listed(database, Filter(name="wanted"), limit=1)] == [wanted.id]


def test_filters_narrow_each_other(database: db.Database) -> None:
    ended, waiting = finished(database, Status.FAILED), created(database, name="x", metadata={"a": "1", "b": "2"})
    second = timedelta(seconds=1)
    before, after = ended.created_at - second, waiting.created_at + second
    expected = [
        (Filter(status=[Status.QUEUED, Status.RUNNING]), [waiting]),
        (Filter(status=[Status.FAILED]), [ended]),
        (Filter(status=[Status.FAILED], name="x"), []),
        (Filter(created_after=ended.created_at), [waiting]),
        (Filter(created_before=waiting.created_at), [ended]),
        (Filter(created_after=before, created_before=after), [waiting, ended]),
        (Filter(dataset="ds_none"), []),
    ]
    for chosen, jobs in expected:
        assert [job.id for job in listed(database, chosen)] == [job.id for job in jobs]


def test_all_pairs_of_metadata_must_match(database: db.Database) -> None:
    job = created(database, metadata={"a": "1", "b": "2"})
    created(database, metadata={"a": "1"})
    assert [one.id for one in listed(database, Filter(metadata={"a": "1", "b": "2"}))] == [job.id]
    assert listed(database, Filter(metadata={"a": "2"})) == []
    assert listed(database, Filter(metadata={"c": "1"})) == []


@pytest.mark.parametrize("odd", ['a"b', "a'b", "a\\b", "a.b", "$", "[0]", "0", "%", ":x", "", "ü😀", "a b"])
def test_any_key_of_metadata_can_be_asked_for(database: db.Database, odd: str) -> None:
    job = created(database, metadata={odd: odd})
    assert [one.id for one in listed(database, Filter(metadata={odd: odd}))] == [job.id]
    assert listed(database, Filter(metadata={odd: "other"})) == []
