"""pydantic's errors as faults: a JSON pointer into what the caller sent, a code, and how to mend it."""

from collections.abc import Sequence
from typing import Any

from jobs.errors import Fault

MOST = 100
"""Faults listed in one answer."""
LONGEST_POINTER = 300
"""Characters; keys are the caller's and may be of any length."""

MENDS = {
    "missing": "This is required; add it.",
    "extra_forbidden": "There is no such field here; remove it or mend its spelling.",
    "model_attributes_type": "Must be an object.",
    "dict_type": "Must be an object.",
    "list_type": "Must be an array.",
    "tuple_type": "Must be an array.",
}


def of(errors: Sequence[Any], body: Any) -> list[Fault]:
    """One fault for each place; where several shapes were possible, each says what it would have taken."""
    found: dict[str, Fault] = {}
    for error in errors:
        if error["type"] == "none_required":  # of a parameter that may be left out
            continue
        pointer = _pointer(error, body)
        detail = _mend(error)
        known = found.get(pointer)
        if known and detail not in known.detail:
            detail = f"{known.detail} Or: {detail}"
        found[pointer] = Fault(pointer=pointer, code=known.code if known else error["type"], detail=detail)
    return list(found.values())


def pointer(parts: Sequence[str | int]) -> str:
    """JSON pointer (RFC 6901) to this path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)[:LONGEST_POINTER]


def _pointer(error: Any, body: Any) -> str:
    source, *path = error["loc"]
    parts = _into(body, path, error["type"] == "missing") if source == "body" else [source, *path[:1]]
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        parts.append(error["ctx"]["discriminator"].strip("'"))
    return pointer(parts)


def _into(place: Any, path: Sequence[str | int], missing: bool) -> list[str | int]:
    """The path without the tags that pydantic puts into it at each union."""
    parts: list[str | int] = []
    tagged = False
    for index, part in enumerate(path):
        if not tagged and isinstance(place, dict) and part in (place.get("kind"), place.get("source")):
            tagged = True
        elif _leads(place, part):
            parts.append(part)
            place, tagged = place[part], False
        elif missing and index == len(path) - 1:
            parts.append(part)
    return parts


def _leads(place: Any, part: str | int) -> bool:
    if isinstance(place, dict):
        return part in place
    return isinstance(place, list) and isinstance(part, int) and part < len(place)


def _mend(error: Any) -> str:
    if error["type"] == "union_tag_invalid":
        return f"Must be one of {error['ctx']['expected_tags']}."
    if error["type"] == "union_tag_not_found":
        return "This is required: it says which kind of thing follows."
    if error["type"] in MENDS:
        return MENDS[error["type"]]
    text = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "Must")
    return text if text.endswith(".") else text + "."
