"""The time given: whoever used it up delivers what there is."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jobs.spec.explained import Background
from jobs.spec.job import JobSpec
from tests.trainer.samples import loaded, resolved
from tests.trainer.test_fit import assert_same_bits
from trainer import snapshots
from trainer.account import results
from trainer.batches import Lane
from trainer.fit import fit
from trainer.model.parameters import Tensors
from trainer.reports import Finished, Progress, Started
from trainer.run import run
from trainer.state import Moment
from trainer.step import Step


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second, and nothing else takes any time."""

    seconds, plain = 0.0, Step.__call__

    def step(*given: Any) -> Any:
        nonlocal seconds
        seconds += 1.0
        return plain(*given)

    monkeypatch.setattr(Step, "__call__", step)
    monkeypatch.setattr("trainer.fit.time", SimpleNamespace(monotonic=lambda: seconds))


def ended(moments: Iterator[Moment]) -> tuple[Finished, Moment]:
    *_, last = moments
    assert isinstance(last.report, Finished)
    return last.report, last


def facts(report: Finished) -> tuple[str, int, int, int]:
    return report.stop_reason, report.epoch, report.step, report.delivered_epoch


def epochs(spec: JobSpec, **more: Any) -> dict[int, Tensors]:
    """The weights at the end of each of the first epochs of the run without a limit."""
    spec = spec.model_copy(update={"max_time": None, "epochs": 15})
    found = {}
    for moment in fit(spec, loaded(spec), **more):
        if isinstance(moment.report, Progress) and moment.report.epoch_ended:
            found[moment.report.epoch] = {name: one.clone() for name, one in moment.state.network.state().items()}
    return found


STOPPING = {"patience": 50, "monitor": "val_accuracy"}
RESTLESS: dict[str, Any] = {"optimizer": {"kind": "sgd", "lr": 1.0}, "checkpoint": {"monitor": "val_accuracy"}}


@pytest.mark.parametrize("stopping", [STOPPING, STOPPING | {"restore_best_weights": False}, None])
def test_the_best_epoch_is_delivered_where_the_time_ends_in_the_middle_of_one(
    stopping: dict[str, Any] | None,
) -> None:
    spec = resolved(max_time=61.5, epochs=1000, early_stopping=stopping, **RESTLESS)
    *_, progress, last = fit(spec, loaded(spec))
    report = last.report
    assert isinstance(report, Finished)
    assert isinstance(progress.report, Progress)
    assert (report.stop_reason, report.step % 4 != 0, progress.report.step) == ("max_time", True, report.step)
    assert (
        report.message
        == f"The time given was used up in epoch {report.epoch + 1}: the best of the epochs before it counts."
    )
    assert report.best is not None
    assert report.delivered_epoch == report.best.epoch
    assert report.best.epoch < report.epoch
    assert report.test is not None
    assert_same_bits(last.state.network.state(), epochs(spec)[report.best.epoch])


def test_lanes_deliver_the_best_of_each() -> None:
    spec = resolved(max_time=61.5, epochs=1000, **RESTLESS)
    lanes = [Lane(0, 0), Lane(3, 3)]
    _, last = ended(fit(spec, loaded(spec), lanes=lanes))
    kept = epochs(spec, lanes=lanes)
    assert len(set(last.state.delivered_epoch)) == 2
    for lane, epoch in enumerate(last.state.delivered_epoch):
        for name, tensor in last.state.network.state().items():
            assert torch.equal(tensor[lane], kept[epoch][name][lane])


def test_the_current_weights_are_delivered_where_no_epoch_has_ended(tmp_path: Path) -> None:
    spec = resolved(max_time=1.5, epochs=10)
    report, last = ended(fit(spec, loaded(spec)))
    assert facts(report) == ("max_time", 0, 2, 0)
    assert (
        report.message == "The time given was used up in epoch 1: the model is as it was after step 2, not validated."
    )
    assert [point.name for point in last.state.history] == ["loss", "lr", "loss", "lr"]
    assert report.test is not None
    written = results.write(tmp_path, spec, loaded(spec), last.state, report, diagnostics=report.diagnostics)
    assert {one.name for one in written} == {path.name for path in tmp_path.iterdir()}
    assert "epoch 0" not in (tmp_path / "model_card.md").read_text()


def test_a_first_epoch_that_diverges_is_no_matter_of_time() -> None:
    spec = resolved(
        max_time=2.5, epochs=10, optimizer={"kind": "sgd", "lr": 1e20}, model={"kind": "mlp", "hidden": [8] * 4}
    )
    report, _ = ended(fit(spec, loaded(spec)))
    assert (report.stop_reason, report.epoch, report.step) == ("non_finite", 0, 3)
    assert report.message.startswith("The loss of epoch 1 is not finite")


def test_the_time_of_the_attempts_before_counts() -> None:
    spec = resolved(max_time=101.5, epochs=10)
    report, last = ended(fit(spec, loaded(spec), background=Background(seconds=100.0)))
    assert facts(report) == ("max_time", 0, 2, 0)
    assert report.seconds == 102.0
    middle = snapshots.take(last.state)
    middle.state["seconds"] = 90.0
    for known, steps in ((0.0, 14), (101.0, 3)):  # the longer of both counts: some of an attempt may be lost
        report, _ = ended(fit(spec, loaded(spec), middle, background=Background(seconds=known)))
        assert (report.stop_reason, report.step) == ("max_time", steps)


@pytest.mark.parametrize("known", [0.0, 500.0])
def test_a_run_resumed_after_its_time_ends_at_once_and_delivers(known: float) -> None:
    spec = resolved(max_time=29.5, epochs=1000, **RESTLESS)
    moments = []
    for moment in fit(spec, loaded(spec)):
        moments.append(snapshots.take(moment.state))
    first, last = moment.report, moment.state
    assert isinstance(first, Finished)
    for interrupted in moments[-2:]:  # before and after the best weights were put in place
        again = list(fit(spec, loaded(spec), interrupted, background=Background(seconds=known)))
        started, report = again[0].report, again[-1].report
        assert isinstance(started, Started)
        assert isinstance(report, Finished)
        assert (len(again), facts(report), report.message) == (2, facts(first), first.message)
        assert (report.test, report.diagnostics) == (first.test, first.diagnostics)
        assert_same_bits(again[-1].state.network.state(), last.network.state())


def test_a_run_begun_anew_after_its_time_delivers_what_it_has(tmp_path: Path) -> None:
    spec = resolved(max_time=30.0)
    told = list(run(spec, {}, tmp_path, None, lambda: False, Background(seconds=31.0)))
    report = told[-1]
    assert isinstance(report, Finished)
    assert facts(report) == ("max_time", 0, 0, 0)
    assert report.message == "The time given was used up before the first step: the model is as it was initialised."
    assert {"model.safetensors", "report.html", "metrics.json"} <= {path.name for path in tmp_path.iterdir()}


def test_time_that_ends_with_an_epoch_ends_the_run_there() -> None:
    spec = resolved(max_time=7.5)
    report, last = ended(fit(spec, loaded(spec)))
    assert facts(report) == ("max_time", 2, 8, 2)
    assert report.message == "The time given was used up in epoch 2."
    assert_same_bits(last.state.network.state(), epochs(spec)[2])


def test_time_enough_changes_nothing() -> None:
    spec = resolved(max_time=12.0)
    report, _ = ended(fit(spec, loaded(spec)))
    assert facts(report) == ("max_epochs", 3, 12, 3)
