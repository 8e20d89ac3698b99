"""Early stopping against traces of Keras's own tests, and where ours is meant to differ."""

import json
import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jobs.spec.stopping import EarlyStopping
from trainer.stopping import Best, Patience


def run(spec: EarlyStopping, values: list[float]) -> tuple[int | None, int | None]:
    """(epoch of the stop, epoch of the best), both from 0."""
    patience, best = Patience(), None
    for epoch, value in enumerate(values):
        improved, stop = patience.observe(spec, value, epoch)
        best = epoch if improved else best
        if stop:
            return epoch, best
    return None, best


def rule(patience: int, **options: object) -> EarlyStopping:
    return EarlyStopping.model_validate({"monitor": "val_loss", "mode": "min", "patience": patience, **options})


def test_keras_traces_of_patience(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "dev_callbacks.json").read_text())["cases"]
    traces = [case for case in cases if "losses" in case]
    for case in traces:
        expected = case.get("expected_stop_after_epoch_index", case.get("expected", {}).get("stop_epoch_index"))
        assert run(rule(case["config"]["patience"]), case["losses"])[0] == expected, case["id"]
    assert len(traces) == 3


def test_an_equal_value_is_no_improvement() -> None:
    assert run(rule(2), [1.0, 1.0, 1.0]) == (2, 0)


def test_an_improvement_must_exceed_min_delta() -> None:
    assert run(rule(2, min_delta=0.5), [3.0, 2.6, 2.5, 1.9]) == (2, 0)


def test_the_first_epochs_do_not_count() -> None:
    assert run(rule(1, start_from_epoch=3), [1.0, 9.0, 9.0, 5.0, 6.0]) == (4, 3)


def test_more_is_better_for_a_score() -> None:
    assert run(rule(1, monitor="val_accuracy", mode="max"), [0.5, 0.7, 0.6]) == (2, 1)


def test_a_run_that_stays_behind_the_baseline_stops_although_it_improves() -> None:
    assert run(rule(3, baseline=1.0), [9.0, 8.0, 7.0, 6.0, 5.0]) == (2, 2)


def test_a_value_that_is_not_finite_never_becomes_the_best() -> None:
    assert run(rule(3), [math.nan, math.inf, 2.0, -math.inf, 3.0, 4.0]) == (5, 2)


@given(st.lists(st.floats(allow_nan=True), max_size=40), st.integers(1, 5))
def test_the_best_is_the_first_of_the_smallest_finite_values(values: list[float], patience: int) -> None:
    stop, best = run(rule(patience), values)
    seen = values if stop is None else values[: stop + 1]
    finite = [value for value in seen if math.isfinite(value)]
    assert best == (seen.index(min(finite)) if finite else None)


def test_the_best_checkpoint_ignores_min_delta_and_patience() -> None:
    best = Best()
    improved = [best.observe(value, "min", epoch, 10 * epoch) for epoch, value in enumerate([3.0, 3.0, 2.9], start=1)]
    assert improved == [True, False, True]
    assert (best.value, best.epoch, best.step) == (2.9, 3, 30)
