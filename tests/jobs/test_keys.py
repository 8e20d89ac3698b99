"""Keys, as they are made, found and ended."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from jobs import db, errors, keys
from jobs.keys import Caller
from jobs.tables.keys import Key, Scope


def made(database: db.Database, scope: Scope = "submit") -> keys.Made:
    with database.writing() as session:
        return keys.create(session, "ann", scope, "a laptop")


def found(database: db.Database, token: str) -> Caller | None:
    with database.reading() as session:
        return keys.find(session, token)


def test_a_key_is_found_by_what_its_holder_shows(database: db.Database) -> None:
    key, token = made(database)
    assert found(database, token) == Caller("ann", "submit", key.id)
    assert len(token.rpartition("_")[2]) == 64


@pytest.mark.parametrize("spoil", [str.upper, lambda token: token[:-1], lambda token: "x" + token, lambda token: ""])
def test_anything_else_is_nobodys(database: db.Database, spoil: Callable[[str], str]) -> None:
    _, token = made(database)
    assert found(database, spoil(token)) is None


def test_a_revoked_key_is_nobodys_and_stays_so(database: db.Database) -> None:
    key, token = made(database)
    with database.writing() as session:
        first = keys.revoke(session, key.id).revoked_at
        assert keys.revoke(session, key.id).revoked_at == first
    assert found(database, token) is None


def test_only_a_key_that_is_there_can_be_revoked(database: db.Database) -> None:
    with database.writing() as session, pytest.raises(errors.NotFound):
        keys.revoke(session, "key_none")


def test_a_secret_is_not_in_the_database(database: db.Database) -> None:
    _, token = made(database)
    with database.reading() as session:
        rows = session.execute(sa.select(Key.__table__)).all()
    assert token.rpartition("_")[2] not in str(rows)


def test_the_use_of_a_key_is_noted_to_the_minute(database: db.Database) -> None:
    key, _ = made(database)
    with database.writing() as session:
        keys.used(session, key.id)
        first = session.scalar(sa.select(Key.last_used_at))
        keys.used(session, key.id)
        assert session.scalar(sa.select(Key.last_used_at)) == first is not None


@pytest.mark.parametrize(
    ("scope", "may"), [("read", ["read"]), ("submit", ["read", "submit"]), ("admin", ["read", "submit", "admin"])]
)
def test_a_scope_includes_the_smaller_ones(scope: Scope, may: list[str]) -> None:
    assert [one for one in keys.SCOPES if Caller("ann", scope, None).may(one)] == may
