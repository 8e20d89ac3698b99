"""Every number of a spec at its edges and beyond: taken or refused, never a failure of ours."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.spec.job import JobSpec
from tests.attacks.test_limits import service

SCHEMA = JobSpec.model_json_schema()
IMAGES = {"dataset": {"source": "builtin", "name": "digits"}, "epochs": 3}
EDGES = [0, -1, 1, 2, 0.5, 2**31, 2**53 + 1, 2**63 - 1, -(2**63) + 1, 5e-324, 1e308, -1e308]
Place = tuple[str | int, ...]


def known(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, looked up where it only is a name."""
    found: dict[str, Any] = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def branches(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """What a value may be."""
    schema = known(schema)
    inner = schema.get("anyOf") or schema.get("oneOf")
    return [leaf for one in inner for leaf in branches(one)] if inner else [schema]


def smallest(schema: dict[str, Any]) -> Any:
    """A value of this schema with nothing in it that may be left out."""
    schema = branches(schema)[0]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        fixed = {name for name, inner in properties.items() if "const" in inner}
        return {name: smallest(properties[name]) for name in [*schema.get("required", []), *sorted(fixed)]}
    if schema.get("type") == "array":
        return [smallest(schema["items"])] if schema.get("minItems") else []
    return {"integer": 1, "number": 0.5, "string": "a", "boolean": False}.get(schema.get("type", ""))


def numbers(schema: dict[str, Any], place: Place, chosen: dict[Place, Any], depth: int = 0) -> Iterator[Any]:
    """Every place of a number below a schema, with the values that must be chosen on the way to it, and its schema."""
    for branch in branches(schema):
        if branch.get("type") in ("integer", "number"):
            yield place, chosen, branch
        elif branch.get("type") == "object" and depth < 5:
            mine = {**chosen, place: smallest(branch)} if place else chosen
            for name, inner in branch.get("properties", {}).items():
                yield from numbers(inner, (*place, name), mine, depth + 1)
        elif branch.get("type") == "array" and depth < 5 and "items" in branch:
            for inner in branches(branch["items"]):
                yield from numbers(inner, (*place, 0), {**chosen, place: [smallest(inner)]}, depth + 1)


def written(place: Place, chosen: dict[Place, Any], value: Any) -> dict[str, Any]:
    """A spec with this value there."""
    spec: Any = {**IMAGES}
    for where, what in [*chosen.items(), (place, value)]:
        at = spec
        for step in where[:-1]:
            at = at[step]
        at[where[-1]] = dict(what) if isinstance(what, dict) else what
    found: dict[str, Any] = spec
    return found


def edges(schema: dict[str, Any]) -> list[float]:
    """Around this number's own limits, and those of machines."""
    limits = [schema[name] for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if name in schema]
    return [*EDGES, *(limit + step for limit in limits for step in (-1, 0, 1))]


PLACES = {
    "/".join(map(str, place)) + f" {number}": (place, chosen, leaf)
    for number, (place, chosen, leaf) in enumerate(numbers(SCHEMA, (), {}))
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with service(tmp_path_factory.mktemp("plain")) as client:
        yield client


def test_the_places_are_found() -> None:
    found = {"/".join(map(str, place)) for place, _, _ in PLACES.values()}
    assert {
        "epochs",
        "batch_size",
        "optimizer/lr",
        "model/hidden/0",
        "schedule/warmup/length",
        "augment/0/std",
    } <= found


@pytest.mark.parametrize("name", PLACES)
def test_no_number_breaks_the_service(plain: TestClient, name: str) -> None:
    place, chosen, schema = PLACES[name]
    for value in edges(schema):
        answer = plain.post("/v1/jobs/validate", json=written(place, chosen, value))
        assert answer.status_code in (200, 400, 422), (value, answer.text)
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
