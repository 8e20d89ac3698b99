"""The migrations make the tables that the code declares, once, however often and by however many they are run."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from jobs import db, deliveries, migrate, webhooks
from jobs.tables.every import METADATA


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    return set(sa.inspect(engine).get_table_names())


def comparable(item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
    """All but an index that SQLite's catalogue gives back without its DESC."""
    return name != "jobs_ready"


def test_the_queue_index_is_in_the_order_of_the_queue(database: db.Database) -> None:
    if database.engine.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE name = 'jobs_ready'"
    else:
        query = "SELECT indexdef FROM pg_indexes WHERE indexname = 'jobs_ready'"
    with database.engine.connect() as connection:
        assert "(owner, priority DESC, queued_at, id, " in connection.execute(sa.text(query)).scalar_one()


def test_the_migrated_schema_is_the_declared_one(database: db.Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": comparable})
        assert compare_metadata(context, METADATA) == []
        found = {table: sa.inspect(connection).get_pk_constraint(table) for table in METADATA.tables}
    declared = {table.name: [column.name for column in table.primary_key] for table in METADATA.tables.values()}
    assert {table: key["constrained_columns"] for table, key in found.items()} == declared


def test_a_migrated_database_is_at_the_head(database: db.Database) -> None:
    assert migrate.current(database) == migrate.head() is not None


def test_a_new_database_has_no_revision(empty: str) -> None:
    database = db.connect(empty)
    assert migrate.current(database) is None
    database.engine.dispose()


def test_upgrading_twice_changes_nothing(empty: str) -> None:
    migrate.upgrade(empty)
    before = tables(empty)
    migrate.upgrade(empty)
    assert tables(empty) == before == {*METADATA.tables, "alembic_version"}


def test_a_schema_can_be_taken_down_and_built_again(empty: str) -> None:
    migrate.upgrade(empty)
    migrate.downgrade(empty, "base")
    assert tables(empty) == {"alembic_version"}
    migrate.upgrade(empty)
    assert tables(empty) == {*METADATA.tables, "alembic_version"}


def test_processes_that_start_together_migrate_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate.upgrade, [empty] * 4))
    assert tables(empty) == {*METADATA.tables, "alembic_version"}


def test_a_migration_that_fails_leaves_no_trace(empty: str) -> None:
    engine = sa.create_engine(empty, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE datasets (id INTEGER)"))
    with pytest.raises(sa.exc.DBAPIError, match="already exists"):
        migrate.upgrade(empty)
    assert tables(empty) == {"datasets"}


def test_the_command_makes_the_folder_and_the_tables(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    environment = {"FITD_DATA_DIR": str(folder), "PATH": ""}
    subprocess.run([sys.executable, "-m", "jobs.migrate"], env=environment, check=True)
    assert tables(f"sqlite:///{folder / 'fitd.db'}") >= set(METADATA.tables)


def test_messages_of_before_there_were_turns_have_their_owner(empty: str) -> None:
    migrate.upgrade(empty)
    database = db.connect(empty)
    with database.writing() as session:
        webhook = webhooks.create(session, "ann", "https://hooks.example/", webhooks.TERMINAL, None)
        deliveries.test(session, "ann", webhook.id)
    migrate.downgrade(empty, "0005")
    migrate.upgrade(empty)
    with database.reading() as session:
        assert [one.owner for one in deliveries.page(session, "ann", webhook.id, None, 9)] == ["ann"]
    database.engine.dispose()


def test_a_migration_of_postgresql_may_take_its_time(migrated_postgres: str) -> None:
    engine = migrate._engine(migrated_postgres)
    with engine.begin() as connection:
        migrate._take_time(connection)
        limits = sa.text(f"SELECT setting FROM pg_settings WHERE name IN {migrate.LIMITS}")
        assert set(connection.scalars(limits)) == {"0"}
    engine.dispose()
