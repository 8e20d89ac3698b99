"""Who asks, and what they may: the holder of a key, or, on a service of one machine, whoever sits at it."""

import hashlib
import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jobs import db, errors, keys
from jobs.keys import Caller
from jobs.settings import Settings
from jobs.tables.keys import Scope

REMEMBERED = 5.0
"""Seconds for which a key that was right is not looked up again, nor seen to be revoked."""
TRIED = 3600.0
"""Seconds for which a key that was right may be looked up again without counting as a guess: strangers who guess from
the same address must not lock its holder out."""
MOST_REMEMBERED = 10_000
LOCAL = Caller(owner="local", scope="admin", key_id=None)
BEARER = HTTPBearer(auto_error=False, description="A key: `fitd_…`. Not needed on a service of one machine.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket that listens there; other names than `localhost` never count."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass
class Bucket:
    """Requests that may come at once, refilled at a rate per second."""

    rate: float
    size: float
    level: float = field(init=False)
    filled_at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.size

    def take(self, now: float) -> float:
        """Takes one; seconds until there is one, if there is none now. `now` by a clock that never jumps."""
        self.level = min(self.size, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.level < 1:
            return (1 - self.level) / self.rate
        self.level -= 1
        return 0.0


@dataclass
class Gate:
    """Lets callers in."""

    database: db.Database
    settings: Settings
    known: OrderedDict[str, tuple[Caller, float]] = field(default_factory=OrderedDict)
    """By the hash of what was shown: who, and until when that is believed."""
    owners: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    guesses: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    """By address: keys that may yet be tried."""

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key: only this machine can reach the service."""
        return is_loopback(self.settings.host) and not (self.settings.behind_proxy or self.settings.require_keys)

    async def caller(self, address: str, token: str | None) -> Caller:
        """Who shows this.

        Raises:
            Unauthorized: nobody that is known.
            TooMany: too often.
        """
        if token is None and self.is_open:
            return LOCAL
        found = await self._find(address, token or "")
        rate = self.settings.requests_per_second
        bucket = self.owners.get(found.owner) or Bucket(rate, max(1.0, 2 * rate))
        remember(self.owners, found.owner, bucket)
        if wait := bucket.take(time.monotonic()):
            raise errors.TooMany(wait)
        return found

    async def _find(self, address: str, token: str) -> Caller:
        digest, now = hashlib.sha256(token.encode()).hexdigest(), time.monotonic()
        found, until = self.known.get(digest, (None, 0.0))
        if found and now < until:
            return found
        if not token:
            raise errors.Unauthorized
        guess = None if found and now < until + TRIED else self._guess(address, now)
        found = await run_in_threadpool(self._look_up, token)
        if found is None:
            self.known.pop(digest, None)
            raise errors.Unauthorized
        if guess:
            guess.level += 1  # a right one is none
        remember(self.known, digest, (found, now + REMEMBERED))
        return found

    def _guess(self, address: str, now: float) -> Bucket:
        """Where this guess was taken from.

        Raises:
            TooMany: too often.
        """
        most = self.settings.wrong_keys_per_minute
        guesses = self.guesses.get(address) or Bucket(most / 60, most)
        remember(self.guesses, address, guesses)
        if wait := guesses.take(now):
            raise errors.TooMany(wait)
        return guesses

    def _look_up(self, token: str) -> Caller | None:
        with self.database.reading() as session:
            return keys.find(session, token)


def remember(known: OrderedDict[str, Any], name: str, value: Any) -> None:
    """As the newest of at most so many."""
    known[name] = value
    known.move_to_end(name)
    if len(known) > MOST_REMEMBERED:
        known.popitem(last=False)


async def admit(request: Request) -> Caller:
    """Who asks; found once per request, before anything of its body is read.

    Raises:
        Unauthorized, TooMany
    """
    if not hasattr(request.state, "caller"):
        gate: Gate = request.app.state.gate
        address = request.client.host if request.client else ""
        shown = request.headers.get("authorization")
        scheme, _, token = (shown or "").partition(" ")
        request.state.caller = await gate.caller(address, token.strip() if scheme.lower() == "bearer" else shown)
    found: Caller = request.state.caller
    return found


async def caller(
    request: Request, scopes: SecurityScopes, given: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
) -> Caller:
    """Who asks, if they may do what the endpoint needs. `given` is there for the contract.

    Raises:
        Unauthorized, Forbidden, TooMany
    """
    found = await admit(request)
    request.state.only_looks = set(scopes.scopes) == {"read"}
    for scope in scopes.scopes:
        if not found.may(cast(Scope, scope)):
            raise errors.Forbidden(
                f"This key may not do that: it takes the scope {scope}, and the key has {found.scope}."
            )
    return found
