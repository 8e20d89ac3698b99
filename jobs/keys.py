"""API keys: made, found by what a caller shows, revoked. What is stored cannot be turned back into a key."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, errors, ids
from jobs.tables.keys import Audit, Key, Scope

SCOPES: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "submit": frozenset({"read", "submit"}),
    "admin": frozenset({"read", "submit", "admin"}),
}
"""What each scope includes: to look, to change what is one's own, to run the service."""
LONGEST = 200
"""Characters of a key that are looked at."""
USED_AGAIN = 60.0
"""Seconds between two notes of a key's use."""
_NOBODY = hashlib.sha256(b"").hexdigest()


class Made(NamedTuple):
    """A new key."""

    key: Key
    token: str
    """What its holder shows; told once."""


class Caller(NamedTuple):
    """Who asks, and what they may do."""

    owner: str
    scope: Scope
    key_id: str | None
    """None on a service of one machine, which needs no keys."""

    def may(self, scope: Scope) -> bool:
        """Whether the caller's scope includes this one."""
        return scope in SCOPES[self.scope]


def create(session: Session, owner: str, scope: Scope, name: str | None) -> Made:
    """A key of 256 random bits for an owner."""
    secret = secrets.token_hex(32)
    key = Key(id=ids.new("key"), owner=owner, scope=scope, name=name, sha256=_digest(secret), created_at=db.now())
    session.add(key)
    session.flush()
    session.refresh(key)
    return Made(key, f"fitd_{key.id.removeprefix('key_')}_{secret}")


def find(session: Session, token: str) -> Caller | None:
    """Whose key this is; None if it is nobody's, is wrong or has been revoked, all with the same work."""
    prefix, _, rest = token[:LONGEST].partition("_")
    id, _, secret = rest.partition("_")
    key = session.scalar(sa.select(Key).where(Key.id == f"key_{id}", Key.revoked_at.is_(None)))
    known = hmac.compare_digest(_digest(secret), key.sha256 if key else _NOBODY)
    return Caller(key.owner, key.scope, key.id) if key and known and prefix == "fitd" else None


def is_valid(session: Session, key_id: str | None) -> bool:
    """Whether a caller who was let in by this key still may be; who needed none, always."""
    valid = sa.exists().where(Key.id == key_id, Key.revoked_at.is_(None))
    return key_id is None or bool(session.scalar(sa.select(valid)))


def used(session: Session, key_id: str) -> None:
    """Notes that a key is in use, to the minute."""
    stale = sa.or_(Key.last_used_at.is_(None), Key.last_used_at < db.now(-USED_AGAIN))
    session.execute(sa.update(Key).where(Key.id == key_id, stale).values(last_used_at=db.now()))


def list_all(session: Session) -> Sequence[Key]:
    """Every key, revoked ones too, newest first."""
    return session.scalars(sa.select(Key).order_by(Key.id.desc())).all()


def revoke(session: Session, key_id: str) -> Key:
    """Ends a key for good; one that is revoked stays so.

    Raises:
        NotFound: no such key.
    """
    ended = sa.update(Key).where(Key.id == key_id).values(revoked_at=sa.func.coalesce(Key.revoked_at, db.now()))
    if session.scalar(ended.returning(Key.id)) is None:
        raise errors.NotFound("There is no such key.")
    return session.get_one(Key, key_id, populate_existing=True)


def audit(session: Session, after: str | None, limit: int) -> Sequence[Audit]:
    """Calls that changed something, newest first, below the id `after`."""
    query = sa.select(Audit)
    if after:
        query = query.where(Audit.id < after)
    return session.scalars(query.order_by(Audit.id.desc()).limit(limit)).all()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
