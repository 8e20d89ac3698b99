"""What both databases promise: one clock, whole transactions, values that come back as they went in."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import pytest
import sqlalchemy as sa
from pysqlite3 import dbapi2

from jobs import db, errors, store
from jobs.tables.jobs import Event, Job

from .samples import HALFWAY, created, found, kinds


def test_the_clock_is_the_time(database: db.Database) -> None:
    with database.reading() as session:
        now, later = session.execute(sa.select(db.now(), db.now(3600))).one()
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
    assert abs(later - now - timedelta(hours=1)) < timedelta(seconds=1)


def test_a_time_comes_back_to_the_microsecond(database: db.Database) -> None:
    moment, job = datetime(2031, 2, 3, 4, 5, 6, 789012, UTC), created(database)
    with database.writing() as session:
        session.execute(sa.update(Job).values(not_before=moment))
    assert found(database, job).not_before == moment


def test_json_comes_back_as_the_type_that_went_in(database: db.Database) -> None:
    job = created(database)
    with database.writing() as session:
        session.execute(sa.update(Job).values(progress=HALFWAY))
    with database.reading() as session:
        assert session.execute(sa.select(Job.spec, Job.progress, Job.best)).one() == (job.spec, HALFWAY, None)
        assert session.scalar(sa.select(Job.usage)) == job.usage


def test_prose_that_no_database_holds_is_written_all_the_same(database: db.Database) -> None:
    job = created(database)
    with database.writing() as session:
        session.execute(sa.update(Event).values(message="a\0b\ud800c ü"))
        assert session.scalars(sa.select(Event.message).where(Event.job_id == job.id)).first() == "a?b?c ü"


def test_a_block_that_fails_leaves_no_trace(database: db.Database) -> None:
    job = created(database)

    def cancel() -> None:
        with database.writing() as session:
            store.cancel(session, "ann", job.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cancel()
    assert (found(database, job).status, kinds(database, job)) == ("queued", ["created", "queued"])


def test_a_new_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    other = dbapi2.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    Timer(0.3, lambda: other.execute("COMMIT")).start()
    database = db.connect(f"sqlite:///{path}")
    with database.reading() as session:
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    database.engine.dispose()
    other.close()


def test_what_a_newer_version_wrote_is_known_as_that(database: db.Database) -> None:
    job = created(database)
    with database.writing() as session:
        session.execute(sa.update(Job).values(spec=sa.literal({"of": "tomorrow"}, sa.JSON)))
    with database.reading() as session, pytest.raises(errors.NewerRecord):
        store.get(session, "ann", job.id)


def test_reading_sees_one_state(database: db.Database) -> None:
    job = created(database)
    with database.reading() as session:
        count = sa.select(sa.func.count()).select_from(Job)
        before = session.scalar(count)
        with database.writing() as other:
            store.cancel(other, "ann", job.id)
        created(database)
        assert session.scalar(count) == before == 1
        assert store.get(session, "ann", job.id).status == "queued"


def test_writers_that_meet_wait_for_each_other(database: db.Database) -> None:
    job = created(database)

    def grow(_: int) -> None:
        with database.writing() as session:
            session.execute(sa.update(Job).values(version=Job.version + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(grow, range(80)))
    assert found(database, job).version == job.version + 80


def test_a_committed_row_survives_a_power_cut_on_sqlite(tmp_path: Path) -> None:
    database = db.connect(f"sqlite:///{tmp_path / 'fitd.db'}")
    with database.engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    database.engine.dispose()
    assert values == ["wal", 2, 1, 10_000]


def test_a_sqlite_that_may_corrupt_its_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "OLDEST_SQLITE", (99, 0, 0))
    with pytest.raises(RuntimeError, match="may corrupt"):
        db.connect("sqlite://")
