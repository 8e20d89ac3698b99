"""Events: numbered without a gap, one terminal one at most."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, events
from jobs.states import TERMINAL, Status

from .samples import created, found


@pytest.fixture
def job_id(database: db.Database) -> str:
    return created(database).id


def test_an_event_carries_what_was_said(database: db.Database, job_id: str) -> None:
    with database.writing() as session:
        events.append(session, job_id, "odd", "Something odd.", level="warning", data={"x": [1, None]})
    with database.reading() as session:
        (event,) = events.page(session, job_id, 2, 10)
    assert (event.seq, event.kind, event.message, event.level, event.attempt, event.data) == (
        *(3, "odd", "Something odd.", "warning", 0),
        {"x": [1, None]},
    )


def test_numbers_have_no_gap_however_many_write(database: db.Database, job_id: str) -> None:
    def say(_: int) -> None:
        with database.writing() as session:
            events.append(session, job_id, "said", "Hello.")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(say, range(48)))
    with database.reading() as session:
        assert [event.seq for event in events.page(session, job_id, 0, 1000)] == list(range(1, 51))


def test_a_block_that_fails_uses_up_no_number(database: db.Database, job_id: str) -> None:
    with database.engine.connect() as connection, Session(connection) as session:
        events.append(session, job_id, "said", "Hello.")
        session.rollback()
    with database.writing() as session:
        events.append(session, job_id, "said", "Hello.")
    with database.reading() as session:
        assert [event.seq for event in events.page(session, job_id, 0, 10)] == [1, 2, 3]


def test_a_page_begins_behind_a_number_and_ends_at_the_limit(database: db.Database, job_id: str) -> None:
    with database.writing() as session:
        for number in range(5):
            events.append(session, job_id, f"said_{number}", "Hello.")
    with database.reading() as session:
        assert [event.kind for event in events.page(session, job_id, 3, 3)] == ["said_1", "said_2", "said_3"]
        assert events.page(session, job_id, 7, 3) == []


@pytest.mark.parametrize("second", sorted(TERMINAL))
def test_a_job_has_one_terminal_event(database: db.Database, job_id: str, second: Status) -> None:
    with database.writing() as session:
        events.append(session, job_id, "succeeded", "It ended well.")
    with pytest.raises(sa.exc.IntegrityError), database.writing() as session:
        events.append(session, job_id, second, "It ended again.")


def test_every_event_makes_a_new_version(database: db.Database) -> None:
    job = created(database)
    with database.writing() as session:
        events.append(session, job.id, "said", "Hello.")
    assert found(database, job).version == job.version + 1
