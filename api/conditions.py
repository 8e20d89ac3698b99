"""Conditional requests and ranges (RFC 9110)."""

import re


def matches(if_none_match: str, tag: str) -> bool:
    """Whether the caller has this already; tags are compared weakly."""
    known = {item.strip().removeprefix("W/") for item in if_none_match.split(",")}
    return "*" in known or tag.removeprefix("W/") in known


def window(wanted: str, size: int) -> tuple[int, int] | None:
    """Start and end (without it) of a single byte range; empty where it lies outside, None where it is to be ignored:
    several ranges, other units, nonsense."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", wanted.replace(" ", ""))
    if not found or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return min(int(first), size), min(int(last) + 1 if last else size, size)
