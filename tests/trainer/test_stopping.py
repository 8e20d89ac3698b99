"""Early stopping and the best epoch against their definition; Keras's own traces are in tests/golden."""

import math

from hypothesis import given
from hypothesis import strategies as st

from jobs.spec.stopping import EarlyStopping, Mode
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


# whole numbers too, so that values come again; nothing subnormal, which training in this process may flush to 0
histories = st.lists(st.floats(allow_nan=True, allow_subnormal=False) | st.integers(-3, 3).map(float), max_size=40)
baselines = st.none() | st.integers(-3, 3).map(float)


def defined(values: list[float], patience: int, start: int, baseline: float | None) -> tuple[int | None, int | None]:
    """The definition for `min` without min_delta, with a look over the whole past at each epoch."""
    best = None
    for epoch in range(start, len(values)):
        past = [value for value in values[start : epoch + 1] if math.isfinite(value)]
        best = values.index(min(past), start) if past else None
        bar = [math.inf if baseline is None else baseline]
        resets = [
            at
            for at in range(start, epoch + 1)
            if math.isfinite(values[at]) and values[at] < min(bar + [v for v in values[start:at] if math.isfinite(v)])
        ]
        waited = epoch - max(resets, default=start - 1)
        if waited >= max(1, patience) and epoch > 0:
            return epoch, best
    return None, best


@given(histories, st.integers(0, 5), st.integers(0, 4), baselines)
def test_a_run_stops_as_defined(values: list[float], patience: int, start: int, baseline: float | None) -> None:
    spec = rule(patience, start_from_epoch=start, baseline=baseline)
    assert run(spec, values) == defined(values, patience, start, baseline)


@given(histories, st.integers(0, 5), st.integers(0, 4), baselines, st.sampled_from([0.0, 0.5, 2.0]))
def test_max_is_min_upside_down(
    values: list[float], patience: int, start: int, baseline: float | None, min_delta: float
) -> None:
    up = None if baseline is None else -baseline
    least = rule(patience, start_from_epoch=start, baseline=baseline, min_delta=min_delta)
    most = least.model_copy(update={"mode": "max", "baseline": up})
    assert run(least, values) == run(most, [-value for value in values])


@given(histories, st.integers(1, 5), st.integers(0, 4), st.sampled_from([0.0, 0.5, 2.0]))
def test_no_run_stops_before_its_patience_or_soon_after_progress(
    values: list[float], patience: int, start: int, min_delta: float
) -> None:
    stop, best = run(rule(patience, start_from_epoch=start, min_delta=min_delta), values)
    if stop is not None:
        assert stop - (start - 1 if best is None else best) >= patience
        assert stop - start + 1 >= patience


@given(histories, st.sampled_from([0.0, 0.5, 2.0]))
def test_the_best_is_finite_and_within_min_delta_of_the_least(values: list[float], min_delta: float) -> None:
    _, best = run(rule(100, min_delta=min_delta), values)
    finite = [value for value in values if math.isfinite(value)]
    assert (best is None) == (not finite)
    if best is not None:
        assert math.isfinite(values[best])
        assert min(finite) + min_delta >= values[best]


def test_only_an_epoch_that_beats_best_and_baseline_ends_the_wait() -> None:
    assert run(rule(2, baseline=1.0), [0.5, 0.4, 0.6, 0.7]) == (3, 1)
    assert run(rule(2, baseline=0.1), [0.5, 0.4, 0.3]) == (1, 1)


def test_patience_of_none_stops_at_the_first_epoch_that_is_no_better_but_never_at_once() -> None:
    assert run(rule(0), [1.0, 0.9, 0.9]) == (2, 1)
    assert run(rule(0), [math.nan, math.nan]) == (1, None)


@given(histories, st.sampled_from(["min", "max"]))
def test_the_best_checkpoint_is_the_first_of_the_best_finite_values(values: list[float], mode: Mode) -> None:
    best, improved = Best(), []
    for epoch, value in enumerate(values, start=1):
        improved += [epoch] * best.observe(value, mode, epoch, 3 * epoch)
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        assert (best, improved) == (Best(), [])
        return
    value = min(finite) if mode == "min" else max(finite)
    epoch = values.index(value) + 1
    assert best == Best(value, epoch, 3 * epoch)
    assert improved[-1] == epoch


def test_the_best_checkpoint_ignores_min_delta_and_patience() -> None:
    best = Best()
    improved = [best.observe(value, "min", epoch, 10 * epoch) for epoch, value in enumerate([3.0, 3.0, 2.9], start=1)]
    assert improved == [True, False, True]
    assert (best.value, best.epoch, best.step) == (2.9, 3, 30)
