"""How each of the two databases is connected to: waits, limits, and what a writing transaction begins with."""

import random
import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from pysqlite3 import dbapi2

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
OPTIONS = {
    "lock_timeout": "10s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "synchronous_commit": "on",  # a committed row survives a power cut, whatever the server or the role is set to
}
POSTGRES = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # a server that is gone without a word is given up
    "options": " ".join(f"-c {name}={value}" for name, value in OPTIONS.items()),
}
LONGEST_WRITE = "30s"
"""Of a whole transaction. Who stands still between statements that it sends in one go (`executemany`) is not idle to
PostgreSQL, and would keep its locks; before version 17 there is no limit for that."""
POOL: Mapping[str, Any] = {
    "pool_size": 8,
    "max_overflow": 32,
    "pool_timeout": 5,
    "hide_parameters": True,  # in what is raised, and so in logs: they are secrets, or whole rows
}
HUNG_UP = ("25P03", "25P04", "25006")
"""PostgreSQL's `idle_in_transaction_session_timeout` and `transaction_timeout`, which end the connection, and a server
that only reads, as in a failover. What the driver calls them, internal errors, are otherwise defects."""


def postgresql(url: str) -> sa.Engine:
    """An engine whose transactions are `writing` where its execution options say so."""
    engine = sa.create_engine(url, connect_args=POSTGRES, pool_pre_ping=True, **POOL)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        version, *_ = connection.dialect.server_version_info or (0,)
        if connection.get_execution_options().get("writing", False) and int(version) >= 17:
            connection.exec_driver_sql(f"SET LOCAL transaction_timeout = '{LONGEST_WRITE}'")

    sa.event.listen(engine, "handle_error", _name_hang_up)
    return engine


def _name_hang_up(context: sa.ExceptionContext) -> None:
    """Calls it what other lost connections are called."""
    found = context.original_exception
    if getattr(found, "sqlstate", None) in HUNG_UP:
        raise sa.exc.OperationalError(context.statement, None, found, hide_parameters=True) from found


def sqlite(url: str) -> sa.Engine:
    """The same.

    Raises:
        RuntimeError: this build has the WAL-reset bug.
    """
    if dbapi2.sqlite_version_info < OLDEST_SQLITE:
        raise RuntimeError(
            f"SQLite {dbapi2.sqlite_version} may corrupt its database; {OLDEST_SQLITE} or newer is needed"
        )
    engine = sa.create_engine(url, module=dbapi2, **POOL)
    looker = threading.Lock()

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in PRAGMAS:
            connection.execute(pragma)
        _keep_a_log(connection)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writing", False):
            _begin_writing(connection, looker)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: sa.Connection, looker: threading.Lock) -> None:
    """Takes the write lock. SQLite's own way of waiting comes to look every 100 ms, and may miss for as long as others
    write each gap between two of their transactions; who looks every few milliseconds finds one. Of the threads of a
    process one looks at a time: many would keep the one that writes from its work."""
    deadline = time.monotonic() + BUSY_SECONDS
    looks = looker.acquire(timeout=BUSY_SECONDS)
    try:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        while not _has_begun(connection, deadline):
            time.sleep(random.uniform(0, 2 * LOOK))
    finally:
        if looks:
            looker.release()
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
