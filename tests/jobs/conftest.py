"""Real databases: a SQLite file, and a PostgreSQL server of our own. Migrated once, empty for every test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobs import db, migrate
from jobs.tables.every import METADATA
from tests.servers import made


@pytest.fixture(scope="session")
def migrated_postgres(postgres: sa.Engine) -> Iterator[str]:
    with made(postgres) as url:
        migrate.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "fitd.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'fitd.db'}"
    else:
        with made(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[db.Database]:
    """A database with all tables and no rows."""
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_sqlite'), tmp_path)}"
    else:
        url = request.getfixturevalue("migrated_postgres")
    database = db.connect(url)
    yield database
    with database.engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    database.engine.dispose()
