"""The database's schema, brought up to date: `python -m jobs.migrate`."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from jobs import db, settings

FOLDER = Path(__file__).with_name("migrations")
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
"""A migration takes as long as it takes; before version 17 the last is not known."""
LOCK = (
    sa.text(f"SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN {LIMITS}"),
    sa.text("SELECT pg_advisory_xact_lock(0x66697464)"),  # "fitd"
)


def upgrade(url: str, revision: str = "head") -> None:
    """Makes the tables and brings them to a revision; what is there already stays.

    All in one transaction under one lock: of processes that start together one works and the others find it done.
    """
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            _take_time(connection)
            command.upgrade(_config(connection), revision)
    finally:
        engine.dispose()


def downgrade(url: str, revision: str) -> None:
    """Takes the schema back to an older revision, with the data that only newer ones have; `base` drops all."""
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            _take_time(connection)
            command.downgrade(_config(connection), revision)
    finally:
        engine.dispose()


def head() -> str | None:
    """The revision that this code needs."""
    return ScriptDirectory(str(FOLDER)).get_current_head()


def current(database: db.Database) -> str | None:
    """The revision that the database is at; None if it has none."""
    with database.reading() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def _engine(url: str) -> sa.Engine:
    """Its connections hold the write lock of SQLite and do not check foreign keys there: a table that is made anew
    would else take the rows that point to it along."""
    file = sa.make_url(url).database
    if url.startswith("sqlite") and file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = db.connect(url).engine.execution_options(writing=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA foreign_keys=OFF"))
    return engine


def _take_time(connection: sa.Connection) -> None:
    """Alone, and without limits of time."""
    if connection.dialect.name == "postgresql":
        for statement in LOCK:
            connection.execute(statement)


def _config(connection: sa.Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER))
    return config


if __name__ == "__main__":
    upgrade(settings.current().database)
