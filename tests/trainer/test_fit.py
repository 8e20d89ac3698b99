"""The loop: it learns, it repeats itself bit for bit, it goes on where it was interrupted."""

from itertools import islice
from typing import Any

import pytest
import torch

from jobs.spec.job import JobSpec
from tests.trainer.samples import loaded, resolved
from trainer.fit import batch_starts, fit
from trainer.network import Tensors
from trainer.reports import Finished, Progress, Started
from trainer.state import Snapshot

VARIETY: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"model": {"kind": "mlp", "hidden": [8], "dropout": 0.3}, "optimizer": {"kind": "adamw"}},
    "batch norm": {"model": {"kind": "mlp", "hidden": [8], "batch_norm": True}, "batch_size": 26},
    "momentum": {"optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}},
    "rmsprop": {"optimizer": {"kind": "rmsprop", "momentum": 0.5, "centered": True}},
    "adagrad": {"optimizer": {"kind": "adagrad"}, "clip": {"kind": "global_norm", "max_norm": 0.5}},
    "plateau": {"schedule": {"kind": "plateau", "patience": 0, "threshold": 0.9}},
    "cosine": {"schedule": {"kind": "cosine", "warmup": {"length": 2}}, "regularization": {"l2": 0.01}},
    "stopping": {"early_stopping": {"patience": 1, "monitor": "val_accuracy"}, "epochs": 8},
    "images": {
        "dataset": {"source": "builtin", "name": "digits"},
        "model": {"kind": "cnn", "channels": [4], "hidden": [8], "batch_norm": True},
        "batch_size": 256,
        "epochs": 2,
    },
    "regression": {"dataset": {"source": "builtin", "name": "diabetes"}, "loss": {"kind": "huber"}},
}


def weights(spec: JobSpec, resume: Snapshot | None = None) -> Tensors:
    *_, last = fit(spec, loaded(spec), resume)
    assert isinstance(last.report, Finished)
    return last.state.snapshot().tensors


def assert_same_bits(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_iris_is_learned() -> None:
    spec = resolved(epochs=60, optimizer={"kind": "adam", "lr": 0.02})
    *_, last = fit(spec, loaded(spec))
    assert isinstance(last.report, Finished)
    assert last.report.stop_reason == "max_epochs"
    assert last.report.test is not None
    assert last.report.test["accuracy"] >= 0.9  # type: ignore[operator]


def test_reports_begin_count_and_end() -> None:
    spec = resolved(epochs=2)
    reports = [moment.report for moment in fit(spec, loaded(spec))]
    assert isinstance(reports[0], Started)
    assert isinstance(reports[-1], Finished)
    progress = [report for report in reports if isinstance(report, Progress)]
    assert [(report.epoch, report.step) for report in progress if report.epoch_ended] == [(1, 4), (2, 8)]
    names = {point.name for report in progress for point in report.points}
    assert names == {"loss", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"}


@pytest.mark.parametrize("name", VARIETY)
def test_the_same_spec_gives_the_same_bits(name: str) -> None:
    spec = resolved(**VARIETY[name])
    assert_same_bits(weights(spec), weights(spec))


@pytest.mark.parametrize("name", VARIETY)
def test_a_resumed_run_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fit.REPORT_SECONDS", 0.0)  # a report after every step, mid-epoch ones included
    spec = resolved(**VARIETY[name])
    moments = [moment.state.snapshot() for moment in fit(spec, loaded(spec))]
    middle = moments[len(moments) // 2]
    assert_same_bits(weights(spec), weights(spec, middle))


def test_lanes_equal_their_single_runs() -> None:
    spec = resolved(model={"kind": "mlp", "hidden": [8], "dropout": 0.2, "batch_norm": True}, epochs=4)
    *_, together = fit(spec, loaded(spec), lane_seeds=[7, 8])
    for lane, seed in enumerate([7, 8]):
        *_, alone = fit(spec, loaded(spec), lane_seeds=[seed])
        for name, tensor in together.state.network.state().items():
            torch.testing.assert_close(tensor[lane], alone.state.network.state()[name][0], rtol=1e-4, atol=1e-5)


def test_the_best_weights_are_delivered() -> None:
    spec = resolved(early_stopping={"patience": 2}, epochs=60, optimizer={"kind": "sgd", "lr": 1.0})
    seen: dict[int, Tensors] = {}
    for moment in fit(spec, loaded(spec)):
        if isinstance(moment.report, Progress) and moment.report.epoch_ended:
            state = moment.state.network.state()
            seen[moment.report.epoch] = {name: tensor.detach().clone() for name, tensor in state.items()}
    assert isinstance(moment.report, Finished)
    assert moment.report.stop_reason == "early_stopping"
    assert moment.report.best is not None
    assert moment.report.delivered_epoch == moment.report.best.epoch
    assert_same_bits(moment.state.network.state(), seen[moment.report.delivered_epoch])


def test_a_run_that_diverges_says_so_and_keeps_its_history() -> None:
    spec = resolved(optimizer={"kind": "sgd", "lr": 1e20}, model={"kind": "mlp", "hidden": [8, 8, 8, 8]}, epochs=5)
    *_, last = fit(spec, loaded(spec))
    assert isinstance(last.report, Finished)
    assert (last.report.stop_reason, last.report.test) == ("non_finite", None)
    assert any(point.nonfinite for point in last.state.history)


def test_time_given_is_not_exceeded_by_more_than_an_epoch() -> None:
    spec = resolved(max_time=1e-6, epochs=1000)
    *_, last = fit(spec, loaded(spec))
    assert isinstance(last.report, Finished)
    assert (last.report.stop_reason, last.report.epoch) == ("max_time", 1)


def test_leaving_the_iteration_ends_the_run() -> None:
    spec = resolved(epochs=100_000)
    assert len(list(islice(fit(spec, loaded(spec)), 5))) == 5


def test_a_last_batch_of_one_row_is_merged_before_a_batch_norm() -> None:
    assert batch_starts(9, 4, has_batch_norm=False) == [0, 4, 8, 9]
    assert batch_starts(9, 4, has_batch_norm=True) == [0, 4, 9]
    assert batch_starts(9, "full", has_batch_norm=True) == [0, 9]
    assert batch_starts(1, 4, has_batch_norm=True) == [0, 1]
