"""Ids that sort by the time they were made: a prefix, 48 bits of milliseconds, 80 random bits, in base 32."""

import secrets
import time

_LAST = (1 << 48) - 1
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATTERN = "[0-9a-hjkmnp-tv-z]{26}"


def new(prefix: str) -> str:
    """`job_01k…`: 26 characters of Crockford's base 32 behind the prefix."""
    return _written(prefix, time.time_ns() // 1_000_000, secrets.randbits(80))


def first(prefix: str, at: float) -> str:
    """The lowest id that can be made at a time, in seconds since 1970; of times that no id can hold, the nearest."""
    return _written(prefix, max(0, min(int(at * 1000), _LAST)), 0)


def _written(prefix: str, milliseconds: int, rest: int) -> str:
    number = milliseconds << 80 | rest
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
