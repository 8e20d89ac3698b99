"""What both databases promise: one clock, whole transactions, values that come back as they went in."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import psycopg
import pytest
import sqlalchemy as sa
from pysqlite3 import dbapi2

from jobs import db, engines, errors, store
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


def test_a_committed_row_survives_a_power_cut_on_postgresql(migrated_postgres: str) -> None:
    database = db.connect(migrated_postgres)
    name = database.engine.url.database
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    database.engine.dispose()  # a new connection finds it so
    with database.writing() as session:
        assert session.scalar(sa.text("SHOW synchronous_commit")) == "on"
    database.engine.dispose()


def test_a_sqlite_that_may_corrupt_its_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "OLDEST_SQLITE", (99, 0, 0))
    with pytest.raises(RuntimeError, match="may corrupt"):
        db.connect("sqlite://")


def stand_still(database: db.Database) -> None:
    """Sends a statement that locks the jobs, not the end of the pipeline it is in, and counts them elsewhere."""
    with database.writing() as session:
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        with raw.pipeline():
            raw.execute("LOCK TABLE jobs")
            raw.pgconn.send_flush_request()
            raw.pgconn.flush()
            with database.reading() as other:
                assert other.scalar(sa.select(sa.func.count()).select_from(Job)) == 0


def test_a_writer_that_stands_still_among_its_statements_gives_its_locks_up(
    migrated_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LONGEST_WRITE", "1s")
    database = db.connect(migrated_postgres)
    with pytest.raises(sa.exc.OperationalError, match="connection is lost"):
        stand_still(database)
    database.engine.dispose()


@pytest.mark.parametrize("limit", ["transaction_timeout", "idle_in_transaction_session_timeout"])
def test_a_writer_that_postgresql_hangs_up_on_finds_the_database_away(
    migrated_postgres: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LONGEST_WRITE", "500ms")  # it is counted from its first setting on
    database = db.connect(migrated_postgres)
    with pytest.raises(sa.exc.OperationalError, match=limit.partition("_session")[0].replace("_", "[- ]")) as caught:
        outstay(database, limit)
    assert isinstance(caught.value.orig, psycopg.InternalError)
    assert isinstance(caught.value, db.AWAY)
    with database.writing() as session:
        assert session.scalar(sa.text("SELECT 1")) == 1
    database.engine.dispose()


def test_a_server_that_only_reads_is_away_to_those_who_write(migrated_postgres: str) -> None:
    database = db.connect(migrated_postgres)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        with pytest.raises(db.AWAY, match="read-only"):
            connection.exec_driver_sql("DELETE FROM jobs")
    database.engine.dispose()


def outstay(database: db.Database, limit: str) -> None:
    """Stands still within a transaction until the server has ended the session."""
    with database.writing() as session:
        server, pid = session.connection(), session.scalar(sa.text("SELECT pg_backend_pid()"))
        server.exec_driver_sql(f"SET LOCAL {limit} = '100ms'")
        with database.reading() as other:
            living = sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            while other.scalar(living, {"pid": pid}):
                other.rollback()
        session.execute(sa.text("SELECT 1"))


def test_a_defect_is_not_taken_for_a_database_that_is_away(migrated_postgres: str) -> None:
    database = db.connect(migrated_postgres)
    with database.engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.exec_driver_sql("SELECT nothing")
        with pytest.raises(sa.exc.InternalError, match="aborted"):
            connection.exec_driver_sql("SELECT 1")
    database.engine.dispose()
