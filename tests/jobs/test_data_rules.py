"""Rules about scalers, embeddings, augmentation and rare classes."""

from contextlib import nullcontext
from typing import Any

import pytest

from jobs import errors, estimate, rules
from jobs.spec.data import Features
from jobs.spec.profile import DatasetProfile

from .specs import CLASSES, PICTURES, TWO, faults, labels, notices, number, resolve, spec, table

RARE = table(number("x"), number("t"), labels("part", {"train": 900, "test": 100}), labels("y", {"a": 998, "b": 2}))
COLOURS = labels("c", {f"colour {i}": 10 for i in range(100)}, missing=3)
NUMBERS = table(number("x"), number("z"), COLOURS, CLASSES)


@pytest.mark.parametrize("kind", ["quantile", "power"])
def test_curved_scalers_are_for_tables(kind: str) -> None:
    assert faults(TWO, scaler={"kind": kind}) == []
    assert faults(PICTURES, target="label", scaler={"kind": kind}) == [("/scaler", "scaler_on_images")]


@pytest.mark.parametrize(
    "split",
    [
        {"kind": "random"},
        {"kind": "ordered"},
        {"kind": "group", "column": "t"},
        {"kind": "column", "column": "part"},
    ],
)
def test_a_rare_class_is_warned_about_whatever_the_split(split: dict[str, Any]) -> None:
    assert notices(RARE, split=split) == [("/split", "rare_class")]
    resolved = resolve(RARE, split=split)
    kept = "at least one of them is kept for training" in resolved.notices[0].message
    assert kept == (split["kind"] == "random")


@pytest.mark.parametrize(("dimension", "width"), [(None, 50), (7, 7)])
def test_embeddings_are_counted_in_width_and_parameters(dimension: int | None, width: int) -> None:
    """100 colours and the gap are 101 categories, and one row more for what was never seen."""
    resolved = resolve(NUMBERS, categories={"encoding": "embedding", "dimension": dimension})
    assert resolved.facts.shape == (2 + width,)
    assert resolved.facts.table_parameters == 102 * width
    plain = resolve(NUMBERS, categories={"encoding": "ordinal"})
    more = estimate.estimate(resolved).parameters - estimate.estimate(plain).parameters
    first_units = resolved.spec.model.model_dump()["layers"][0]["units"]
    assert more == 102 * width + (width - 1) * first_units


IMAGE_KINDS = ["flip", "crop", "translate", "rotate", "scale", "stretch", "shear"]


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_images_are_turned_and_tables_are_not(kind: str) -> None:
    assert faults(PICTURES, target="label", augment=[{"kind": kind}]) == []
    assert faults(TWO, augment=[{"kind": "noise"}, {"kind": kind}]) == [("/augment/1", "augment_images")]


@pytest.mark.parametrize("kind", ["noise", "mixup"])
def test_noise_and_mixup_are_for_both(kind: str) -> None:
    assert faults(PICTURES, target="label", augment=[{"kind": kind}]) == []
    assert faults(TWO, augment=[{"kind": kind}]) == []
    assert faults(table(number("x"), number("y")), augment=[{"kind": kind}]) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"augment": [{"kind": "mixup"}, {"kind": "mixup"}]}, ("/augment/1", "mixup_twice")),
        (
            {"augment": [{"kind": "mixup"}], "categories": {"encoding": "embedding"}},
            ("/augment/0", "mixup_embedding"),
        ),
        ({"profile": table(COLOURS, CLASSES), "augment": [{"kind": "noise"}]}, ("/augment/0", "noise_without_numbers")),
        (
            {"profile": PICTURES, "target": "label", "augment": [{"kind": "scale", "low": 2.0}]},
            ("/augment/0/high", "empty_range"),
        ),
        (
            {"profile": PICTURES, "target": "label", "augment": [{"kind": "crop", "pixels": 16}]},
            ("/augment/0/pixels", "crop_too_large"),
        ),
    ],
)
def test_what_cannot_be_augmented_is_a_fault(changes: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults(**changes) == [fault]


class Walked(list[Any]):
    """Says how often it is gone through."""

    def __init__(self, items: Any) -> None:
        super().__init__(items)
        self.walks = 0

    def __iter__(self) -> Any:
        self.walks += 1
        return super().__iter__()

    def __contains__(self, item: object) -> bool:
        self.walks += 1
        return super().__contains__(item)


@pytest.mark.parametrize("known", [True, False])
def test_columns_and_names_are_gone_through_a_few_times_however_many_there_are(known: bool) -> None:
    names = Walked([f"x{n}" if known else f"absent {n}" for n in range(500)])
    columns = Walked([*(number(f"x{n}") for n in range(500)), CLASSES])
    profile = DatasetProfile.model_construct(layout="table", rows=1000, columns=columns)
    asked = spec().model_copy(update={"features": Features.model_construct(include=names)})
    with nullcontext() if known else pytest.raises(errors.SpecInvalid):
        rules.resolve(asked, profile, profile)
    assert max(columns.walks, names.walks) < 12
