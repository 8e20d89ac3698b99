"""The database: SQLite for one machine, PostgreSQL for many. Same tables, same tests."""

import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from pysqlite3 import dbapi2
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import FunctionElement

from jobs import errors

OLDEST_SQLITE = (3, 51, 3)
"""Versions before it may corrupt a database in WAL mode (the WAL-reset bug)."""

BUSY_SECONDS = 10
"""How long a statement waits for another process's lock."""
LOOK = 0.002
"""Seconds between two looks at the write lock, on average."""
PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}",
    "PRAGMA synchronous=FULL",  # a committed row survives a power cut
    "PRAGMA foreign_keys=ON",
)
POSTGRES = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # a server that is gone without a word is given up
    "options": "-c lock_timeout=10s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s",
}


AWAY = (sa.exc.OperationalError, sa.exc.TimeoutError)
"""What is raised while the database does not answer, or has no connection left to give."""


class Timestamp(sa.TypeDecorator[datetime]):
    """Aware UTC times, stored as seconds since 1970 so that both databases compare and add them alike."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> float | None:
        return value.timestamp() if value else None

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC)


class Prose(sa.TypeDecorator[str]):
    """Text for people; what PostgreSQL cannot hold, NUL and lone surrogates, becomes a question mark."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value.replace("\x00", "?").encode(errors="replace").decode() if value else value


class Parsed(sa.TypeDecorator[Any]):
    """A value that is JSON in the database and a validated pydantic type everywhere else."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__(none_as_null=True)
        self.kind = kind  # under the argument's name: statements are cached by it
        self.adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else self.adapter.dump_python(value, mode="json")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        try:
            return None if value is None else self.adapter.validate_python(value)
        except ValidationError as error:
            raise errors.NewerRecord from error


class _Clock(FunctionElement[float]):
    type = sa.Double()
    inherit_cache = True


@compiles(_Clock, "sqlite")
def _clock_sqlite(element: _Clock, compiler: Any, **options: Any) -> str:
    return "unixepoch('subsec')"


@compiles(_Clock, "postgresql")
def _clock_postgresql(element: _Clock, compiler: Any, **options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def now(plus: float = 0.0) -> sa.ColumnElement[datetime]:
    """The database's clock plus some seconds: the one clock that records and leases go by."""
    return sa.type_coerce(_Clock() + plus, Timestamp())


def instant(plus: float = 0.0) -> sa.ScalarSelect[datetime]:
    """The same, read once for a whole statement: an index serves no clock that may tell otherwise for every row."""
    return sa.select(now(plus)).scalar_subquery()


class _Member(FunctionElement[str]):
    type = sa.String()
    inherit_cache = True


@compiles(_Member, "sqlite")
def _member_sqlite(element: _Member, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(SELECT value FROM json_each({document}) WHERE key = {key})"  # a JSON path cannot quote every key


@compiles(_Member, "postgresql")
def _member_postgresql(element: _Member, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({document} ->> {key})"


def member(document: Any, key: str) -> sa.ColumnElement[str]:
    """The text under any key of a JSON object; NULL if there is none."""
    return _Member(document, sa.literal(key, sa.String()))


@dataclass(frozen=True)
class Database:
    """Where transactions begin. Writing ones take SQLite's write lock at once, so that none fails half-way."""

    engine: sa.Engine

    def has_room(self, least: int) -> bool:
        """Whether more than so many bytes are free beside SQLite's file; of a server that is not known, and taken for
        granted."""
        if self.engine.dialect.name != "sqlite":
            return True
        return shutil.disk_usage(Path(self.engine.url.database or ".").parent).free > least

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        level = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with Session(self.engine.execution_options(**level), expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at the end of the block, or leaves no trace."""
        engine = self.engine.execution_options(writing=True)
        with Session(engine, expire_on_commit=False, info={"writing": True}) as session, session.begin():
            yield session


def connect(url: str) -> Database:
    """The database behind a URL; nothing is opened before the first transaction.

    Raises:
        RuntimeError: this build of SQLite has the WAL-reset bug.
    """
    if url.startswith("sqlite"):
        return Database(_sqlite(url))
    engine = sa.create_engine(
        url, connect_args=POSTGRES, pool_pre_ping=True, pool_size=8, max_overflow=32, pool_timeout=5
    )
    return Database(engine)


def _sqlite(url: str) -> sa.Engine:
    if dbapi2.sqlite_version_info < OLDEST_SQLITE:
        raise RuntimeError(
            f"SQLite {dbapi2.sqlite_version} may corrupt its database; {OLDEST_SQLITE} or newer is needed"
        )
    engine = sa.create_engine(url, module=dbapi2, pool_size=8, max_overflow=32, pool_timeout=5)

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in PRAGMAS:
            connection.execute(pragma)
        _keep_a_log(connection)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writing", False):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: sa.Connection) -> None:
    """Takes the write lock. SQLite's own way of waiting comes to look every 100 ms, and may miss for as long as others
    write each gap between two of their transactions; who looks every few milliseconds finds one."""
    deadline = time.monotonic() + BUSY_SECONDS
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    try:
        while not _has_begun(connection, deadline):
            time.sleep(random.uniform(0, 2 * LOOK))
    finally:
        connection.exec_driver_sql(PRAGMAS[0])


def _has_begun(connection: sa.Connection, deadline: float) -> bool:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except sa.exc.OperationalError as error:
        if "locked" not in str(error.orig) or time.monotonic() > deadline:
            raise
        return False
    return True


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Turns to WAL mode. While another process writes to a new file, SQLite refuses that at once, whatever the busy
    timeout: this one holds a shared lock by then, and each would wait for the other's."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except dbapi2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
