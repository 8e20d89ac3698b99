"""A job's place in the queue, held against the order in which a worker takes the jobs."""

import random

import pytest
import sqlalchemy as sa

from jobs import claims, db, waiting
from jobs.tables.jobs import Job

from .samples import claimed, created, found


def foretold(database: db.Database) -> dict[str, int]:
    with database.reading() as session:
        jobs = session.scalars(sa.select(Job)).all()
        together = waiting.positions(session, jobs)
        assert together == {job.id: waiting.position(session, job) for job in jobs if job.id in together}
    return together


def taken(database: db.Database) -> list[str]:
    """All jobs that wait, in the order in which one worker takes them."""
    order: list[str] = []
    with database.writing() as session:
        while job := claims.claim(session, "w1", 30):
            order.append(job.id)
        session.rollback()
    return order


def queue_of(database: db.Database, seed: int, owners: str) -> None:
    """Some jobs that are held and some that wait, of several owners and priorities."""
    dice = random.Random(seed)
    for _ in range(dice.randint(0, 4)):
        created(database, owner=dice.choice(owners), priority=9)
    for _ in range(dice.randint(0, 4)):
        with database.writing() as session:
            claims.claim(session, "w0", 30)
    for _ in range(dice.randint(1, 12)):
        created(database, owner=dice.choice(owners), priority=dice.choice([0, 0, 0, 5]))


@pytest.mark.parametrize("seed", range(12))
def test_the_place_in_one_owners_queue_is_exact(database: db.Database, seed: int) -> None:
    queue_of(database, seed, "a")
    assert foretold(database) == {job_id: place for place, job_id in enumerate(taken(database))}


@pytest.mark.parametrize("seed", range(12))
def test_between_owners_it_is_off_by_at_most_one_for_each_of_the_others(database: db.Database, seed: int) -> None:
    queue_of(database, seed, "abc")
    places, order = foretold(database), taken(database)
    assert places.keys() == set(order)
    assert max(abs(places[job_id] - place) for place, job_id in enumerate(order)) <= 2
    assert places[order[0]] == 0


def test_an_owner_who_holds_fewer_jobs_goes_first(database: db.Database) -> None:
    created(database, owner="a")
    claimed(database)
    later = [created(database, owner="a"), created(database, owner="a"), created(database, owner="b")]
    places = foretold(database)
    assert [places[job.id] for job in later] == [1, 2, 0]


def test_higher_priorities_go_first_whoever_owns_them(database: db.Database) -> None:
    jobs = [created(database, owner=owner, priority=priority) for owner, priority in [("a", 0), ("b", 5), ("b", 5)]]
    places = foretold(database)
    assert [places[job.id] for job in jobs] == [2, 0, 1]


def test_a_job_that_does_not_wait_has_no_place(database: db.Database) -> None:
    created(database)
    job = claimed(database)
    with database.reading() as session:
        assert waiting.position(session, found(database, job)) is None


def test_places_are_counted_up_to_a_limit(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST", 3)
    jobs = [created(database, owner="ab"[number > 3]) for number in range(6)]
    places = foretold(database)
    assert [places[job.id] for job in jobs] == [0, 2, 3, 3, 1, 3]
