"""A spec that contradicts itself or its dataset is refused at once, with every fault and how to mend it."""

from typing import Any

import pytest

from jobs import rules
from jobs.spec.profile import DatasetProfile

from .specs import CLASSES, PICTURES, PRICES, TWO, UPLOAD, faults, labels, number, spec, table

THREE = table(number("x"), labels("y", {"a": 500, "b": 300, "c": 200}))
GIVEN = {"kind": "given", "test": UPLOAD}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"optimizer": {"kind": "sgd", "nesterov": True}}, ("/optimizer/nesterov", "nesterov_without_momentum")),
        (
            {"optimizer": {"kind": "adamw"}, "regularization": {"weight_decay": 0.1}},
            ("/regularization/weight_decay", "two_weight_decays"),
        ),
        ({"scaler": {"kind": "minmax", "low": 1.0, "high": 1.0}}, ("/scaler/high", "empty_range")),
        ({"scaler": {"kind": "minmax", "low": 2.0}}, ("/scaler/high", "empty_range")),
        ({"scaler": {"kind": "robust", "q_low": 75.0}}, ("/scaler/q_high", "empty_range")),
        ({"split": {"kind": "random", "validation": 0.5, "test": 0.5}}, ("/split", "split_takes_all")),
        ({"target": ["y", "y"]}, ("/target", "target_twice")),
        ({"features": {"include": ["x", "y"]}}, ("/features/include", "target_as_feature")),
        ({"features": {"include": ["x"], "exclude": ["x"]}}, ("/features/exclude", "included_and_excluded")),
        ({"split": {"kind": "column", "column": "y"}}, ("/split/column", "split_by_target")),
        ({"split": {"kind": "group", "column": "y"}}, ("/split/column", "split_by_target")),
        ({"early_stopping": {"start_from_epoch": 50}}, ("/early_stopping/start_from_epoch", "starts_after_end")),
        ({"schedule": {"kind": "cosine", "min_lr": 0.1}}, ("/schedule/min_lr", "floor_above_lr")),
    ],
)
def test_some_contradictions_show_before_the_dataset_is_known(changes: dict[str, Any], fault: tuple[str, str]) -> None:
    assert [(found.pointer, found.code) for found in rules.faults(spec(**changes))] == [fault]
    assert fault in faults(**changes)


def test_a_cell_of_a_row_is_a_finite_scalar() -> None:
    rows = [{"x": 1, "y": 0}, {"x": [1], "y": {"a": 2}}, {"x/~": 10**40, "y": True}]
    found = rules.faults(spec(dataset={"source": "rows", "rows": rows}))
    assert [(fault.pointer, fault.code) for fault in found] == [
        ("/dataset/rows/1/x", "nested_value"),
        ("/dataset/rows/1/y", "nested_value"),
        ("/dataset/rows/2/x~1~0", "too_large"),
    ]


@pytest.mark.parametrize(
    ("profile", "changes", "fault"),
    [
        (TWO, {"target": "z"}, ("/target", "unknown_column")),
        (TWO, {"target": None}, ("/target", "target_missing")),
        (TWO, {"features": {"include": ["x", "z"]}}, ("/features/include", "unknown_column")),
        (TWO, {"features": {"exclude": ["z"]}}, ("/features/exclude", "unknown_column")),
        (TWO, {"features": {"kinds": {"z": "numeric"}}}, ("/features/kinds", "unknown_column")),
        (TWO, {"features": {"exclude": ["x"]}}, ("/features", "no_features")),
        (TWO, {"split": {"kind": "ordered", "column": "z"}}, ("/split/column", "unknown_column")),
        (PICTURES, {"split": {"kind": "group", "column": "z"}}, ("/split/column", "unknown_column")),
        (PICTURES, {"features": {"include": ["label"]}}, ("/features/include", "target_as_feature")),
        (table(number("x"), labels("y", {"a": 1000})), {}, ("/target", "target_constant")),
        (table(number("x"), number("y", kind="text")), {}, ("/target", "target_text")),
        (table(number("x"), number("y", kind="datetime")), {}, ("/task", "target_not_numeric")),
        (TWO, {"task": "regression"}, ("/task", "target_not_numeric")),
        (table(number("x"), number("y"), CLASSES.model_copy(update={"name": "z"})), {"target": ["y", "z"]},
         ("/task", "target_not_numeric")),
        (table(number("x"), number("y"), number("z")), {"target": ["y", "z"], "task": "classification"},
         ("/target", "several_classes")),
        (table(number("x"), number("y", distinct=1001, rarest=9)), {"task": "classification"},
         ("/task", "too_many_classes")),
        (table(number("x"), labels("y", {"a": 9}, distinct=1001)), {}, ("/task", "too_many_classes")),
        (PICTURES.model_copy(update={"columns": [labels("label", {"a": 9}, distinct=1001)]}), {},
         ("/task", "too_many_classes")),
        (PRICES, {"split": {"kind": "stratified"}}, ("/split", "stratified_regression")),
        (table(number("x"), labels("y", {"a": 999, "b": 1})), {"split": {"kind": "stratified"}},
         ("/split", "class_too_rare")),
        (THREE, {"split": {"kind": "stratified", "test": 0.002}}, ("/split", "part_too_small")),
        (table(number("x"), CLASSES, rows=2), {"split": {"kind": "random"}}, ("/split", "no_training_rows")),
        (table(number("x"), labels("g", {"a": 900, "b": 100}), CLASSES), {"split": {"kind": "group", "column": "g"}},
         ("/split", "no_training_rows")),
        (table(number("x"), labels("s", {"train": 900, "dev": 100}), CLASSES),
         {"split": {"kind": "column", "column": "s"}}, ("/split/column", "unknown_part")),
        (table(number("x"), labels("s", {"train": 900, "test": 50}, distinct=9), CLASSES),
         {"split": {"kind": "column", "column": "s"}}, ("/split/column", "unknown_part")),
        (table(number("x"), labels("s", {"train": 900}, missing=100), CLASSES),
         {"split": {"kind": "column", "column": "s"}}, ("/split/column", "unknown_part")),
        (table(number("x"), labels("s", {"val": 900, "test": 100}), CLASSES),
         {"split": {"kind": "column", "column": "s"}}, ("/split", "no_training_rows")),
        (table(number("x", missing=1), CLASSES), {"split": {"kind": "ordered", "column": "x"}},
         ("/split/column", "order_missing")),
        (table(number("x"), number("t", kind="text"), CLASSES), {"features": {"include": ["x", "t"]}},
         ("/features/include", "text_column")),
        (TWO, {"model": {"kind": "cnn"}}, ("/model", "layer_misfit")),
        (TWO, {"model": {"kind": "sequential", "layers": [{"kind": "dense", "units": 4}, {"kind": "pool"}]}},
         ("/model/layers/1", "layer_misfit")),
        (PICTURES, {"model": {"kind": "sequential", "layers": [{"kind": "dense", "units": 4}]}},
         ("/model/layers/0", "layer_misfit")),
        (PICTURES, {"model": {"kind": "cnn", "channels": [4] * 5}}, ("/model", "layer_misfit")),
        (TWO, {"loss": {"kind": "mse"}}, ("/loss", "loss_misfit")),
        (PRICES, {"loss": {"kind": "cross_entropy"}}, ("/loss", "loss_misfit")),
        (THREE, {"loss": {"kind": "bce"}}, ("/loss", "bce_classes")),
        (PRICES, {"class_weight": "balanced"}, ("/class_weight", "no_classes")),
        (PRICES, {"early_stopping": {"monitor": "val_accuracy"}}, ("/early_stopping/monitor", "unknown_monitor")),
        (TWO, {"checkpoint": {"monitor": "val_rmse"}}, ("/checkpoint/monitor", "unknown_monitor")),
        (TWO, {"schedule": {"kind": "plateau", "monitor": "val_f1"}}, ("/schedule/monitor", "unknown_monitor")),
        (TWO, {"split": {"kind": "random", "validation": 0.0}, "checkpoint": {"monitor": "val_loss"}},
         ("/checkpoint/monitor", "unknown_monitor")),
        (TWO, {"schedule": {"kind": "step", "size": 5, "warmup": {"length": 50, "unit": "epoch"}}},
         ("/schedule/warmup/length", "warmup_longer_than_run")),
        (TWO, {"schedule": {"kind": "constant", "warmup": {"length": 700}}, "batch_size": 50},
         ("/schedule/warmup/length", "warmup_longer_than_run")),
        (TWO, {"model": {"kind": "mlp", "batch_norm": True}, "batch_size": 1}, ("/batch_size", "batch_of_one")),
    ],
)  # fmt: skip
def test_other_contradictions_need_the_dataset(
    profile: DatasetProfile, changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    unnamed = {"target": None} if profile.image else {}
    assert faults(profile, **unnamed | changes) == [fault]


def test_a_test_dataset_has_the_columns_of_the_training_dataset() -> None:
    assert faults(TWO, TWO, split=GIVEN) == []
    assert faults(TWO, table(CLASSES), split=GIVEN) == [("/split/test", "unknown_column")]
    assert faults(TWO, table(number("x")), split=GIVEN) == [("/split/test", "unknown_column")]


def test_a_test_dataset_has_images_of_the_same_size() -> None:
    larger = PICTURES.model_copy(update={"image": (3, 32, 32)})
    assert faults(PICTURES, larger, target=None, split=GIVEN) == [("/split/test", "image_size")]
    assert faults(TWO, PICTURES, split=GIVEN) == [("/split/test", "image_size")]


def test_a_warm_up_may_take_all_but_the_last_step() -> None:
    warmup = {"kind": "constant", "warmup": {"length": 699}}
    assert faults(schedule=warmup, batch_size=50) == []


def test_a_batch_norm_over_pixels_takes_a_single_image() -> None:
    layers: list[dict[str, Any]] = [{"kind": "batch_norm"}, {"kind": "flatten"}]
    model = {"kind": "sequential", "layers": layers}
    assert faults(PICTURES, target=None, model=model, batch_size=1) == []


def test_all_faults_are_reported_at_once() -> None:
    found = faults(
        TWO,
        optimizer={"kind": "sgd", "nesterov": True},
        scaler={"kind": "minmax", "low": 3.0},
        features={"exclude": ["nothing"]},
        model={"kind": "cnn"},
        loss={"kind": "mae"},
        early_stopping={"monitor": "val_r2"},
        checkpoint={"monitor": "val_r2"},
        schedule={"kind": "constant", "warmup": {"length": 10_000}},
    )
    assert sorted(found) == [
        ("/checkpoint/monitor", "unknown_monitor"),
        ("/early_stopping/monitor", "unknown_monitor"),
        ("/features/exclude", "unknown_column"),
        ("/loss", "loss_misfit"),
        ("/model", "layer_misfit"),
        ("/optimizer/nesterov", "nesterov_without_momentum"),
        ("/scaler/high", "empty_range"),
        ("/schedule/warmup/length", "warmup_longer_than_run"),
    ]


def test_without_a_target_the_columns_are_checked_all_the_same() -> None:
    assert faults(target="z", features={"include": ["w"]}) == [
        ("/target", "unknown_column"),
        ("/features/include", "unknown_column"),
        ("/features", "no_features"),
    ]
