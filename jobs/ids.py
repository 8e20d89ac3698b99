"""Ids that sort by the time they were made: a prefix, 48 bits of milliseconds, 80 random bits, in base 32."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATTERN = "[0-9a-hjkmnp-tv-z]{26}"


def new(prefix: str) -> str:
    """`job_01k…`: 26 characters of Crockford's base 32 behind the prefix."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
