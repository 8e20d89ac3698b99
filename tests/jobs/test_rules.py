"""Every `auto` is decided once, for a reason that is told."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from jobs import profiles, rules
from jobs.errors import SpecInvalid
from jobs.rules import Resolved
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile

from .specs import (
    CLASSES,
    PICTURES,
    PRICES,
    TWO,
    autos,
    bodies,
    labels,
    notices,
    number,
    resolve,
    table,
    why,
)


def resolved_or_skipped(spec: JobSpec) -> tuple[Resolved, DatasetProfile]:
    assert spec.dataset.source == "builtin"
    profile = profiles.builtin()[spec.dataset.name]
    try:
        return rules.resolve(spec, profile, profile), profile
    except SpecInvalid:
        assume(False)
        raise


def at(body: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        body = body[int(key)] if isinstance(body, list) else body[key]
    return body


many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@many
@given(bodies)
def test_resolving_a_resolved_spec_changes_nothing(body: dict[str, Any]) -> None:
    resolved, profile = resolved_or_skipped(JobSpec.model_validate(body))
    again = rules.resolve(resolved.spec, profile, profile)
    assert again.spec == resolved.spec
    assert again.decisions == []


@many
@given(bodies)
def test_every_auto_is_decided_and_explained(body: dict[str, Any]) -> None:
    spec = JobSpec.model_validate(body)
    resolved, _ = resolved_or_skipped(spec)
    decisions = {decision.path: decision for decision in resolved.decisions}
    assert len(decisions) == len(resolved.decisions)
    assert set(autos(spec.model_dump(mode="json"))) - {"/device"} <= set(decisions)
    assert set(autos(resolved.spec.model_dump(mode="json"))) == {"/device"}


@many
@given(bodies)
def test_a_decision_tells_what_the_resolved_spec_holds(body: dict[str, Any]) -> None:
    resolved, _ = resolved_or_skipped(JobSpec.model_validate(body))
    holds = resolved.spec.model_dump(mode="json")
    told = {decision.path: decision.value for decision in resolved.decisions}
    assert told == {path: at(holds, path) for path in told}
    assert all(decision.rule and decision.why for decision in resolved.decisions)


def test_a_resolved_spec_is_valid_json_of_the_same_spec() -> None:
    spec = resolve(PICTURES, target=None, model={"kind": "cnn", "batch_norm": True}).spec
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_dataset_may_name_its_own_target() -> None:
    resolved = resolve(PICTURES, target=None)
    assert resolved.spec.target == "label"
    assert why(resolved, "/target") == ("label", "target.dataset")


@pytest.mark.parametrize(
    ("target", "task", "rule"),
    [
        (CLASSES, "classification", "task.labels"),
        (number("y", boolean=True, distinct=2, rarest=300), "classification", "task.labels"),
        (number("y", integer=True, distinct=20, rarest=20), "classification", "task.few_integers"),
        (number("y", integer=True, distinct=21), "regression", "task.numbers"),
        (number("y", distinct=3), "regression", "task.numbers"),
    ],
)
def test_the_target_tells_the_task(target: Any, task: str, rule: str) -> None:
    assert why(resolve(table(number("x"), target)), "/task") == (task, rule)


def test_several_targets_are_a_regression() -> None:
    resolved = resolve(table(number("x"), number("y"), number("z")), target=["y", "z"])
    assert why(resolved, "/task") == ("regression", "task.several_targets")
    assert resolved.spec.target == ["y", "z"]


@pytest.mark.parametrize(
    ("counts", "split", "rule", "warned"),
    [
        ({"a": 997, "b": 3}, "stratified", "split.classes", []),
        ({"a": 998, "b": 2}, "stratified", "split.classes", [("/split", "rare_class")]),
        ({"a": 999, "b": 1}, "random", "split.rare_class", [("/split", "rare_class")]),
    ],
)
def test_classes_are_stratified_where_that_can_be_done(
    counts: dict[str, int], split: str, rule: str, warned: list[tuple[str, str]]
) -> None:
    resolved = resolve(table(number("x"), labels("y", counts)))
    assert why(resolved, "/split") == (resolved.spec.split.model_dump(), rule)
    assert (resolved.spec.split.kind, [(notice.path, notice.code) for notice in resolved.notices]) == (split, warned)


def test_more_classes_than_a_part_has_rows_are_split_at_random() -> None:
    profile = table(number("x"), labels("y", {str(label): 4 for label in range(20)}), rows=80)
    assert why(resolve(profile), "/split")[1] == "split.rare_class"


def test_a_regression_is_split_at_random() -> None:
    assert why(resolve(PRICES), "/split")[1] == "split.regression"


@pytest.mark.parametrize(
    ("profile", "model", "scaler", "rule"),
    [
        (TWO, {}, "standard", "scaler.table"),
        (PICTURES, {}, "minmax", "scaler.images"),
        (TWO, {"layers": [{"kind": "batch_norm"}]}, "none", "scaler.batch_norm"),
        (PICTURES, {"layers": [{"kind": "flatten"}, {"kind": "batch_norm"}]}, "none", "scaler.batch_norm"),
    ],
)
def test_the_scaler_fits_the_data_and_the_first_layer(
    profile: DatasetProfile, model: dict[str, Any], scaler: str, rule: str
) -> None:
    layers = {"model": {"kind": "sequential"} | model} if model else {}
    target = None if profile.image else "y"
    resolved = resolve(profile, None, **layers | {"target": target})
    assert (resolved.spec.scaler.kind, why(resolved, "/scaler")[1]) == (scaler, rule)


@pytest.mark.parametrize(
    ("distinct", "missing", "encoding", "rule", "width"),
    [
        (64, 0, "onehot", "categories.few", 64),
        (63, 5, "onehot", "categories.few", 64),
        (64, 5, "ordinal", "categories.few", 1),  # the gap is a category too
        (65, 0, "ordinal", "categories.few", 1),
    ],
)
def test_categories_are_onehot_as_long_as_they_are_few(
    distinct: int, missing: int, encoding: str, rule: str, width: int
) -> None:
    codes = labels("x", {str(code): 10 for code in range(distinct)}, missing=missing)
    resolved = resolve(table(codes, CLASSES))
    assert (why(resolved, "/categories/encoding"), resolved.facts.shape) == ((encoding, rule), (width,))


def test_an_indicator_is_counted_for_each_gappy_number_and_date() -> None:
    dates = number("t", kind="datetime", missing=1)
    profile = table(number("x", missing=3), dates, number("z"), labels("c", {"p": 1, "q": 2}, missing=1), CLASSES)
    assert resolve(profile, missing={"indicator": True}).facts.shape == (2 + 2 + 1 + 3,)


NOTHING_HELD = {"validation": 0, "test": 0}


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (1, "full"),
        (1_999, "full"),
        (2_000, 64),
        (8_191, 64),
        (8_192, 128),
        (16_383, 128),
        (16_384, 256),
        (32_767, 256),
        (32_768, 512),
        (10_000_000, 512),
    ],
)
def test_batches_are_full_for_small_data_and_powers_of_two_for_large(rows: int, size: int | str) -> None:
    resolved = resolve(table(number("x"), number("y"), rows=rows), split={"kind": "random"} | NOTHING_HELD)
    if size == "full":
        assert why(resolved, "/batch_size") == ("full", "batch.full")
    else:
        largest = {"kind": "largest", "at_most": size, "at_least": 64}
        assert why(resolved, "/batch_size") == (largest, "batch.power_of_two")


@pytest.mark.parametrize(
    ("size", "codes"),
    [
        (64, []),
        (100, ["batch_not_power_of_two"]),
        (16, ["batch_small"]),
        (2_048, ["batch_larger_than_data"]),
        ("full", []),
    ],
)
def test_odd_batch_sizes_are_warned_about(size: int | str, codes: list[str]) -> None:
    assert notices(batch_size=size) == [("/batch_size", code) for code in codes]


@pytest.mark.parametrize(
    ("profile", "held", "monitor", "mode"),
    [(TWO, {}, "val_loss", "min"), (TWO, NOTHING_HELD, "train_loss", "min"), (PRICES, {}, "val_loss", "min")],
)
def test_what_is_watched_is_validation_where_there_is_any(
    profile: DatasetProfile, held: dict[str, Any], monitor: str, mode: str
) -> None:
    resolved = resolve(profile, split={"kind": "random"} | held, early_stopping={}, schedule={"kind": "plateau"})
    assert why(resolved, "/early_stopping/monitor") == (monitor, "monitor.preferred")
    assert why(resolved, "/schedule/monitor") == (monitor, "monitor.preferred")
    assert why(resolved, "/checkpoint/monitor") == (monitor, "monitor.stopping")
    assert why(resolved, "/early_stopping/mode") == (mode, "monitor.mode")


def test_scores_are_to_rise() -> None:
    resolved = resolve(early_stopping={"monitor": "val_accuracy"})
    assert why(resolved, "/early_stopping/mode") == ("max", "monitor.mode")
    assert why(resolved, "/checkpoint/monitor") == ("val_accuracy", "monitor.stopping")
    assert why(resolved, "/checkpoint/mode") == ("max", "monitor.stopping")


def test_a_mode_against_the_grain_is_followed_and_warned_about() -> None:
    resolved = resolve(early_stopping={"monitor": "val_loss", "mode": "max"})
    assert resolved.spec.checkpoint.mode == "max"
    assert [(notice.path, notice.code) for notice in resolved.notices] == [("/early_stopping/mode", "mode_unusual")]


def test_losses_follow_the_task() -> None:
    assert why(resolve(TWO), "/loss")[1] == "loss.classification"
    assert why(resolve(PRICES), "/loss")[1] == "loss.regression"


@pytest.mark.parametrize(
    ("unit", "warmup", "length"),
    [
        ("epoch", None, 10),
        ("step", None, 70),
        ("step", {"length": 20}, 50),
        ("epoch", {"length": 3, "unit": "epoch"}, 7),
    ],
)
def test_a_cosine_ends_with_the_run(unit: str, warmup: dict[str, Any] | None, length: int) -> None:
    cosine = {"kind": "cosine", "unit": unit, "warmup": warmup}
    resolved = resolve(schedule=cosine, batch_size=100, epochs=10)
    assert why(resolved, "/schedule/length") == (length, "schedule.rest")


def test_a_long_run_logs_some_of_its_steps() -> None:
    assert why(resolve(epochs=10), "/log_every") == (1, "log.sparse")
    assert why(resolve(batch_size=1, epochs=100), "/log_every") == (14, "log.sparse")


@pytest.mark.parametrize(
    ("changes", "notice"),
    [
        ({"optimizer": {"kind": "adam", "lr": 0.5}}, ("/optimizer/lr", "lr_unusual")),
        ({"optimizer": {"kind": "sgd", "lr": 1e-6}}, ("/optimizer/lr", "lr_unusual")),
        ({"early_stopping": {"patience": 50}}, ("/early_stopping/patience", "patience_longer_than_run")),
        ({"early_stopping": {"monitor": "train_loss"}}, ("/early_stopping/monitor", "monitor_training")),
        ({"model": {"kind": "sequential", "layers": [{"kind": "batch_norm"}]}, "scaler": {"kind": "standard"}},
         ("/scaler", "scaled_twice")),
        ({"split": {"kind": "stratified"}, "profile": table(number("x"), labels("y", {"a": 998, "b": 2}))},
         ("/split", "rare_class")),
        ({"profile": table(number("x"), number("t", kind="text"), CLASSES)}, ("/features", "text_column")),
        ({"profile": table(number("x", std=1e-3), number("z"), CLASSES), "scaler": {"kind": "none"}},
         ("/scaler", "badly_scaled")),
        ({"profile": PICTURES, "target": "label", "scaler": {"kind": "none"}}, ("/scaler", "badly_scaled")),
    ],
)  # fmt: skip
def test_what_runs_but_may_not_be_meant_is_said(changes: dict[str, Any], notice: tuple[str, str]) -> None:
    assert notices(**changes) == [notice]


def test_the_defaults_have_nothing_to_warn_about() -> None:
    assert notices() == notices(PRICES) == notices(PICTURES, target=None) == []
