"""The database: SQLite for one machine, PostgreSQL for many. Same tables, same tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import FunctionElement

from jobs import engines, errors

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


class _Size(FunctionElement[int]):
    type = sa.BigInteger()
    inherit_cache = True


@compiles(_Size, "sqlite")
def _size_sqlite(element: _Size, compiler: Any, **options: Any) -> str:
    return f"coalesce(octet_length({compiler.process(element.clauses, **options)}), 0)"  # without reading the value


@compiles(_Size, "postgresql")
def _size_postgresql(element: _Size, compiler: Any, **options: Any) -> str:
    return f"coalesce(octet_length(CAST({compiler.process(element.clauses, **options)} AS TEXT)), 0)"


def size(document: Any) -> sa.ColumnElement[int]:
    """Bytes of a JSON document as text; 0 if there is none."""
    return _Size(document)


_OWNERS = 0x6F776E
"""A class of PostgreSQL's advisory locks."""


def alone(session: Session, owner: str) -> None:
    """Until the commit no other transaction is here for this owner. Comes before all rows. A writer of SQLite is alone
    anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_OWNERS, sa.func.hashtext(owner))))


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
    return Database(engines.sqlite(url) if url.startswith("sqlite") else engines.postgresql(url))
