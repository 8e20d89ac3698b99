"""The language is strict: what it does not know, it refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from pydantic import JsonValue, ValidationError

from jobs.spec.job import JobSpec, digest, fingerprint

from .specs import UPLOAD, bodies, spec


def refused(**changes: Any) -> list[tuple[str, str]]:
    """Where, and pydantic's name for why."""
    with pytest.raises(ValidationError) as raised:
        JobSpec.model_validate_json(json.dumps({"dataset": UPLOAD} | changes))
    return [("/".join(map(str, error["loc"])), error["type"]) for error in raised.value.errors()]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"epochs": True}, ("epochs", "int_type")),
        ({"epochs": "1"}, ("epochs", "int_type")),
        ({"epochs": 1.5}, ("epochs", "int_type")),
        ({"epochs": 0}, ("epochs", "greater_than_equal")),
        ({"epochs": 10**30}, ("epochs", "less_than_equal")),
        ({"epochs": None}, ("epochs", "int_type")),
        ({"seed": -1}, ("seed", "greater_than_equal")),
        ({"seed": 10**12}, ("seed", "less_than_equal")),
        ({"priority": "5"}, ("priority", "int_type")),
        ({"name": 5}, ("name", "string_type")),
        ({"max_time": 0}, ("max_time", "greater_than")),
        ({"max_time": "60"}, ("max_time", "float_type")),
        ({"max_time": True}, ("max_time", "float_type")),
        ({"metadata": {"a": 1}}, ("metadata/a", "string_type")),
        ({"metadata": {str(key): "" for key in range(17)}}, ("metadata", "too_long")),
        ({"optimizer": {"kind": "adam", "eps": "0.1"}}, ("optimizer/adam/eps", "float_type")),
        ({"optimizer": {"kind": "adam", "eps": True}}, ("optimizer/adam/eps", "float_type")),
        ({"optimizer": {"kind": "adam", "eps": 0}}, ("optimizer/adam/eps", "greater_than")),
        ({"optimizer": {"kind": "adam", "eps": 1e31}}, ("optimizer/adam/eps", "less_than_equal")),
        ({"optimizer": {"kind": "adam", "beta1": 1.0}}, ("optimizer/adam/beta1", "less_than")),
        ({"optimizer": {"kind": "sgd", "nesterov": 1}}, ("optimizer/sgd/nesterov", "bool_type")),
        ({"optimizer": {"kind": "sgd", "nesterov": "true"}}, ("optimizer/sgd/nesterov", "bool_type")),
        ({"optimizer": {"kind": "lion"}}, ("optimizer", "union_tag_invalid")),
        ({"optimizer": {"lr": 0.1}}, ("optimizer", "union_tag_not_found")),
        ({"optimizer": {"kind": "adam", "learning_rate": 0.1}}, ("optimizer/adam/learning_rate", "extra_forbidden")),
        ({"learning_rate": 0.1}, ("learning_rate", "extra_forbidden")),
        ({"dataset": {"source": "upload", "id": "../etc/passwd"}}, ("dataset/upload/id", "string_pattern_mismatch")),
        ({"dataset": {"source": "rows", "rows": []}}, ("dataset/rows/rows", "too_short")),
        ({"model": {"kind": "mlp", "hidden": [0]}}, ("model/mlp/hidden/0", "greater_than_equal")),
        ({"model": {"kind": "mlp", "hidden": [True]}}, ("model/mlp/hidden/0", "int_type")),
        ({"model": {"kind": "cnn", "channels": []}}, ("model/cnn/channels", "too_short")),
        ({"model": {"kind": "sequential", "layers": [{"kind": "dropout", "rate": 1.0}]}},
         ("model/sequential/layers/0/dropout/rate", "less_than")),
        ({"split": {"kind": "random", "test": -0.1}}, ("split/random/test", "greater_than_equal")),
        ({"schedule": {"kind": "plateau", "factor": 1}}, ("schedule/plateau/factor", "less_than")),
        ({"features": {"include": []}}, ("features/include", "too_short")),
    ],
)  # fmt: skip
def test_a_scalar_is_what_it_looks_like(changes: dict[str, Any], fault: tuple[str, str]) -> None:
    assert refused(**changes) == [fault]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_is_finite(value: float) -> None:
    assert refused(optimizer={"kind": "adam", "eps": value}) == [("optimizer/adam/eps", "finite_number")]
    assert refused(scaler={"kind": "minmax", "low": value}) == [("scaler/minmax/low", "finite_number")]


def test_a_batch_size_is_a_number_or_a_word() -> None:
    assert refused(batch_size=True)[0] == ("batch_size/constrained-int", "int_type")
    assert refused(batch_size="64")[0] == ("batch_size/constrained-int", "int_type")
    assert [spec(batch_size=size).batch_size for size in (64, "full", "auto")] == [64, "full", "auto"]


def test_a_whole_number_is_a_real_one() -> None:
    assert spec(optimizer={"kind": "sgd", "lr": 1}).optimizer.lr == 1.0


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().__setattr__("epochs", 3)


@given(bodies)
def test_a_spec_survives_its_own_json(body: dict[str, Any]) -> None:
    read = JobSpec.model_validate(body)
    assert JobSpec.model_validate_json(read.model_dump_json()) == read


def test_the_fingerprint_is_of_what_determines_the_result() -> None:
    base = fingerprint(spec())
    assert fingerprint(spec(name="x", metadata={"a": "b"}, priority=5)) == base
    assert fingerprint(spec(optimizer={"kind": "adam", "lr": 1e-3})) == base  # the default, written out
    assert len({base, fingerprint(spec(seed=1)), fingerprint(spec(epochs=51)), fingerprint(spec(target="z"))}) == 4


class LaterSpec(JobSpec):
    """With a field more."""

    shuffle: bool = True


@given(bodies)
def test_a_field_that_a_later_version_adds_changes_no_digest(body: dict[str, Any]) -> None:
    assert digest(LaterSpec.model_validate(body)) == digest(JobSpec.model_validate(body))
    assert digest(LaterSpec.model_validate({**body, "shuffle": False})) != digest(JobSpec.model_validate(body))


def test_parts_of_two_kinds_with_the_same_fields_have_two_digests() -> None:
    assert digest(spec(optimizer={"kind": "rmsprop", "lr": 0.5})) != digest(spec(optimizer={"kind": "adam", "lr": 0.5}))


def undescribed(schema: JsonValue, pointer: str = "") -> Iterator[str]:
    """Fields without a word on them; `kind` and `source` are explained by their part."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        for name, field in properties.items() if isinstance(properties, dict) else ():
            if isinstance(field, dict) and "description" not in field and name not in ("kind", "source"):
                yield f"{pointer}/{name}"
    children = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for key, child in children:
        yield from undescribed(child, f"{pointer}/{key}")


def test_every_field_and_part_is_described() -> None:
    schema = JobSpec.model_json_schema()
    assert list(undescribed(schema)) == []
    assert [name for name, part in schema["$defs"].items() if "description" not in part] == ["JsonValue"]
