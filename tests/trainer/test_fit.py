"""The loop: it learns, it repeats itself bit for bit, it goes on where it was interrupted."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from jobs.errors import NoGpu
from jobs.spec.job import JobSpec
from tests.trainer.samples import loaded, resolved
from trainer import batches, scores, snapshots, trials
from trainer.batches import Lane
from trainer.fit import fit
from trainer.model.parameters import Tensors
from trainer.model.precision import LossScale
from trainer.reports import Finished, Progress, Started
from trainer.snapshots import Snapshot
from trainer.step import Step

VARIETY: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"model": {"kind": "mlp", "hidden": [8], "dropout": 0.3}, "optimizer": {"kind": "adamw"}},
    "batch norm": {"model": {"kind": "mlp", "hidden": [8], "batch_norm": True}, "batch_size": 26},
    "momentum": {"optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}},
    "rmsprop": {"optimizer": {"kind": "rmsprop", "momentum": 0.5, "centered": True}},
    "adagrad": {"optimizer": {"kind": "adagrad"}, "clip": {"kind": "global_norm", "max_norm": 0.5}},
    "adadelta": {"optimizer": {"kind": "adadelta"}},
    "adamax": {"optimizer": {"kind": "adamax"}, "clip": {"kind": "value", "limit": 0.1}},
    "nadam": {"optimizer": {"kind": "nadam"}, "regularization": {"max_norm": 1.0, "l1": 0.001}},
    "radam": {"optimizer": {"kind": "radam"}, "precision": "bf16"},
    "muon": {"optimizer": {"kind": "muon"}, "class_weight": "balanced"},
    "fp16": {"precision": "fp16", "model": {"kind": "mlp", "hidden": [8], "activation": "gelu"}},
    "lr auto": {
        "optimizer": {"kind": "adam", "lr": "auto"},
        "batch_size": {"kind": "largest", "at_most": 32, "at_least": 8},
    },
    "mixup": {"augment": [{"kind": "noise"}, {"kind": "mixup"}], "batch_size": 32},
    "ensemble": {"ensemble": {"members": 3}, "model": {"kind": "mlp", "hidden": [8], "dropout": 0.2}},
    "bagging": {"ensemble": {"members": 2, "vary": "bootstrap"}, "schedule": {"kind": "plateau", "patience": 0}},
    "plateau": {"schedule": {"kind": "plateau", "patience": 0, "threshold": 0.9}},
    "cosine": {"schedule": {"kind": "cosine", "warmup": {"length": 2}}, "regularization": {"l2": 0.01}},
    "stopping": {"early_stopping": {"patience": 1, "monitor": "val_accuracy"}, "epochs": 8},
    "augmented images": {
        "dataset": {"source": "builtin", "name": "digits"},
        "model": {"kind": "cnn", "channels": [4], "hidden": [8]},
        "augment": [{"kind": "rotate"}, {"kind": "crop", "pixels": 1}],
        "precision": "bf16",
        "batch_size": 512,
        "epochs": 2,
    },
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
    return snapshots.take(last.state).tensors


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
    moments = [snapshots.take(moment.state) for moment in fit(spec, loaded(spec))]
    whole = weights(spec)
    for interrupted in (moments[len(moments) // 2], moments[-2]):  # in the middle, and after the last epoch
        assert_same_bits(whole, weights(spec, interrupted))


NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"model": {"kind": "mlp", "hidden": [8], "dropout": 0.2, "batch_norm": True}},
    "cnn": VARIETY["images"] | {"batch_size": 128},
    "augmented": VARIETY["augmented images"] | {"precision": "fp32"},
    "stopping": {"early_stopping": {"patience": 1, "monitor": "val_accuracy"}, "epochs": 12},
    "not restored": {"early_stopping": {"patience": 1, "restore_best_weights": False}, "epochs": 12, "seed": 3},
    "plateau": {"schedule": {"kind": "plateau", "patience": 0, "threshold": 0.2}, "epochs": 6},
    "lr auto": {"optimizer": {"kind": "adam", "lr": "auto"}, "epochs": 3},
}
OPTIMIZERS = ["sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "radam", "muon"]


@pytest.mark.parametrize("name", [*NETWORKS, *OPTIMIZERS])
def test_lanes_equal_their_single_runs(name: str) -> None:
    spec = resolved(**NETWORKS.get(name, {"optimizer": {"kind": name}}))
    bagged = [Lane(7, 7), Lane(8, 8), Lane(9, 9, resamples=True)]
    *_, together = fit(spec, loaded(spec), lanes=bagged)
    for index, lane in enumerate(bagged):
        *_, alone = fit(spec, loaded(spec), lanes=[lane])
        assert together.state.stopped[index] == alone.state.stopped[0]
        for part, tensor in together.state.network.state().items():
            torch.testing.assert_close(tensor[index], alone.state.network.state()[part][0], rtol=2e-3, atol=2e-4)


def test_lanes_draw_what_they_should_and_share_what_they_should() -> None:
    seeds = {
        vary: [(lane.seed, lane.draws, lane.resamples) for lane in batches.lanes_of(resolved(ensemble=ensemble))]
        for vary, ensemble in [("none", None), *((v, {"members": 2, "vary": v}) for v in ("seed", "init", "bootstrap"))]
    }
    assert seeds == {
        "none": [(0, 0, False)],
        "seed": [(0, 0, False), (1, 1, False)],
        "init": [(0, 0, False), (1, 0, False)],
        "bootstrap": [(0, 0, True), (1, 1, True)],
    }
    alike, drawn = batches.orders([Lane(0, 5), Lane(1, 5, resamples=True)], 100, 0, shuffle=True)
    assert alike.sort().values.tolist() == list(range(100))
    assert 50 < len(drawn.unique()) < 75  # 1 - 1/e of the rows
    later = batches.orders([Lane(1, 5, resamples=True)], 100, 1, shuffle=True)[0]
    assert drawn.tolist() != later.tolist()
    assert drawn.sort().values.tolist() == later.sort().values.tolist()


def test_an_ensemble_reports_its_members_their_spread_and_what_they_say_together() -> None:
    spec = resolved(
        ensemble={"members": 3}, epochs=30, optimizer={"kind": "adam", "lr": 0.02}, early_stopping={"patience": 3}
    )
    *_, last = fit(spec, loaded(spec))
    report = last.report
    assert isinstance(report, Finished)
    assert report.test is not None
    assert len(report.test["members"]) == 3  # type: ignore[arg-type]
    assert report.test["spread"]["accuracy"].keys() == {"mean", "std"}  # type: ignore[index, call-overload, union-attr]
    assert len(report.members) == 3
    assert report.best is not None
    points = [point.value for point in last.state.history if point.name == "val_loss"]
    assert report.best.value == min(points)  # type: ignore[type-var]


def test_a_batch_that_does_not_fit_is_halved_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def step(self: Step, x: torch.Tensor, *rest: Any) -> Any:
        tried.append(x.shape[1])
        if x.shape[1] > 20:
            raise torch.OutOfMemoryError("no more memory")
        return plain(self, x, *rest)

    plain = Step.__call__
    monkeypatch.setattr(Step, "__call__", step)
    spec = resolved(batch_size={"kind": "largest", "at_most": 70, "at_least": 8}, epochs=1)
    first, *_, last = fit(spec, loaded(spec))
    assert isinstance(first.report, Started)
    (decision,) = [one for one in first.report.decisions if one.rule == "batch.probe"]
    assert (decision.path, decision.value) == ("/batch_size", 16)
    assert tried[:3] == [64, 32, 16]
    assert max(tried[3:]) == 16
    assert last.state.batch_size == 16


def test_a_run_for_which_no_batch_fits_fails_as_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no more memory")

    monkeypatch.setattr(Step, "__call__", step)
    spec = resolved(batch_size={"kind": "largest", "at_most": 64, "at_least": 64})
    with pytest.raises(torch.OutOfMemoryError):
        list(fit(spec, loaded(spec)))


def test_trying_leaves_nothing_behind() -> None:
    plain, tried = resolved(), resolved(batch_size={"kind": "largest", "at_most": 32})
    one, other = weights(plain), weights(tried)
    assert_same_bits(
        {k: v for k, v in one.items() if k.startswith("network")},
        {k: v for k, v in other.items() if k.startswith("network")},
    )


def test_a_range_test_finds_a_rate_that_learns() -> None:
    rates = np.geomspace(1e-6, 10, 100)
    losses = 1.0 - 0.9 / (1 + (1e-2 / rates) ** 2) + np.where(rates > 1, 50 * rates, 0)
    assert 1e-3 < trials.steepest(rates, losses) < 3e-2
    assert trials.steepest(rates, np.full(100, np.nan)) == pytest.approx(np.sqrt(1e-5), rel=0.05)
    spec = resolved(optimizer={"kind": "adam", "lr": "auto"}, epochs=60)
    first, *_, last = fit(spec, loaded(spec))
    assert isinstance(first.report, Started)
    assert isinstance(last.report, Finished)
    assert [one.rule for one in first.report.decisions if one.path == "/optimizer/lr"] == ["lr.range_test"]
    assert last.report.test is not None
    assert last.report.test["accuracy"] >= 0.9  # type: ignore[operator]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_learns_nearly_the_same(precision: str) -> None:
    common: dict[str, Any] = {"epochs": 60, "optimizer": {"kind": "adam", "lr": 0.02}}
    losses = []
    for one in ("fp32", precision):
        spec = resolved(precision=one, **common)
        *_, last = fit(spec, loaded(spec))
        losses.append(last.state.metrics[0]["train_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=0.02)


def test_an_overflow_in_fp16_leaves_the_step_out_and_halves_the_scale() -> None:
    scale, gradients = LossScale(active=True, factor=4.0), torch.tensor([[8.0, 4.0]])
    assert scale.down(gradients)
    assert gradients.tolist() == [[2.0, 1.0]]
    assert not scale.down(torch.tensor([[1.0, torch.inf]]))
    assert (scale.factor, scale.since) == (2.0, 0)


def test_an_overflow_of_one_lane_does_not_hold_back_the_others() -> None:
    scale, gradients = LossScale(active=True, factor=2.0), torch.tensor([[torch.nan, 4.0], [2.0, 4.0]])
    assert scale.down(gradients)
    assert gradients.tolist() == [[0.0, 0.0], [1.0, 2.0]]
    assert not scale.down(torch.tensor([[torch.inf], [torch.nan]]))
    assert scale.factor == 1.0


def test_a_range_test_that_diverges_leaves_no_trace() -> None:
    common: dict[str, Any] = {
        "dataset": {"source": "builtin", "name": "diabetes"},
        "model": {"kind": "mlp", "hidden": [30] * 8},
        "clip": {"kind": "global_norm", "max_norm": 1e4},
        "epochs": 3,
    }
    found = resolved(optimizer={"kind": "sgd", "momentum": 0.9, "lr": "auto"}, **common)
    first, *_, last = fit(found, loaded(found))
    given = resolved(optimizer={"kind": "sgd", "momentum": 0.9, "lr": first.state.base_lr[0]}, **common)
    *_, plain = fit(given, loaded(given))
    assert isinstance(last.report, Finished)
    assert last.report.stop_reason == "max_epochs"
    assert_same_bits(last.state.network.state(), plain.state.network.state())


def test_a_snapshot_is_left_as_it_was_by_the_run_that_goes_on_from_it() -> None:
    spec = resolved(epochs=6)
    middle = [snapshots.take(moment.state) for moment in fit(spec, loaded(spec))][3]
    before = {name: tensor.clone() for name, tensor in middle.tensors.items()}
    list(fit(spec, loaded(spec), middle))
    assert_same_bits(middle.tensors, before)


def test_a_lane_that_stops_without_a_best_stays_as_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*given: Any) -> list[dict[str, float]]:
        lanes = plain(*given)
        lanes[0]["loss"] = float("nan")
        return lanes

    plain = scores.validation
    monkeypatch.setattr(scores, "validation", measured)
    spec = resolved(early_stopping={"patience": 2}, epochs=6)
    for moment in fit(spec, loaded(spec), lanes=[Lane(0, 0), Lane(1, 1)]):
        if isinstance(moment.report, Progress) and moment.report.epoch == 2:
            stopped = moment.state.network.weights["0.weight"][0].clone()
    assert (moment.state.stopped[0], moment.state.delivered_epoch[0]) == (2, 2)
    assert torch.equal(moment.state.network.weights["0.weight"][0], stopped)


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


def test_leaving_the_iteration_ends_the_run() -> None:
    spec = resolved(epochs=100_000)
    assert len(list(islice(fit(spec, loaded(spec)), 5))) == 5


def test_a_last_batch_of_one_row_is_merged_before_a_batch_norm() -> None:
    assert batches.starts(9, 4, has_batch_norm=False) == [0, 4, 8, 9]
    assert batches.starts(9, 4, has_batch_norm=True) == [0, 4, 9]
    assert batches.starts(9, 9, has_batch_norm=True) == [0, 9]
    assert batches.starts(1, 4, has_batch_norm=True) == [0, 1]


def test_a_gpu_that_is_not_there_is_said_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    spec = resolved(device="cuda")
    with pytest.raises(NoGpu, match="device auto or cpu"):
        list(fit(spec, loaded(spec)))


def test_a_rate_that_is_found_is_raised_to_the_floor_of_the_schedule() -> None:
    spec = resolved(optimizer={"kind": "adam", "lr": "auto"}, schedule={"kind": "cosine", "min_lr": 0.5}, epochs=1)
    first = next(iter(fit(spec, loaded(spec))))
    assert first.state.base_lr == [0.5]
