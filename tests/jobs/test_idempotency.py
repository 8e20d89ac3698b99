"""One key, one body, one job."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from jobs import db, errors, idempotency, store
from jobs.states import Status

from .samples import RESOLVED, SPEC, counts, created, finished


def submitted(database: db.Database, key: str) -> str:
    """What an endpoint does: a request that was second begins again."""
    try:
        with database.writing() as session:
            known = idempotency.find(session, "ann", key, "body")
            if known is None:
                known = store.create(session, "ann", SPEC, RESOLVED).id
                idempotency.remember(session, "ann", key, "body", known)
            return known
    except sa.exc.IntegrityError:
        return submitted(database, key)


def test_a_key_leads_to_its_job(database: db.Database) -> None:
    job_id = submitted(database, "key")
    with database.reading() as session:
        assert idempotency.find(session, "ann", "key", "body") == job_id


def test_an_unknown_key_leads_nowhere(database: db.Database) -> None:
    submitted(database, "key")
    with database.reading() as session:
        assert idempotency.find(session, "ann", "other", "body") is None
        assert idempotency.find(session, "bob", "key", "body") is None


def test_a_key_with_another_body_is_refused(database: db.Database) -> None:
    submitted(database, "key")
    with database.reading() as session, pytest.raises(errors.KeyReused):
        idempotency.find(session, "ann", "key", "other body")


def test_a_key_is_bound_once(database: db.Database) -> None:
    submitted(database, "key")
    job = created(database)
    with pytest.raises(sa.exc.IntegrityError), database.writing() as session:
        idempotency.remember(session, "ann", "key", "body", job.id)


def test_requests_at_the_same_time_make_one_job(database: db.Database) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: submitted(database, f"key{number % 4}"), range(32)))
    assert [len(set(made[first::4])) for first in range(4)] == [1, 1, 1, 1]
    assert counts(database) == {"jobs": 4, "events": 8, "idempotency_keys": 4}


def test_a_submit_that_fails_leaves_the_key_free(database: db.Database) -> None:
    with database.writing() as session:
        idempotency.remember(session, "ann", "key", "body", store.create(session, "ann", SPEC, RESOLVED).id)
        session.rollback()
    assert counts(database) == {}


def test_a_key_goes_with_its_job(database: db.Database) -> None:
    job = finished(database, Status.SUCCEEDED)
    with database.writing() as session:
        idempotency.remember(session, "ann", "key", "body", job.id)
    with database.writing() as session:
        store.delete(session, "ann", job.id)
        assert idempotency.find(session, "ann", "key", "body") is None
