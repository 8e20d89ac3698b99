"""Batches computed in parts make the update of the whole batch."""

from typing import Any

import pytest
import torch

from jobs.spec.explained import Background
from jobs.spec.init import HeNormal
from jobs.spec.job import JobSpec
from jobs.spec.loss import CrossEntropy
from jobs.spec.model import BatchNorm, Dense, Layer
from tests.trainer.samples import loaded, resolved
from tests.trainer.test_fit import assert_same_bits
from trainer import snapshots
from trainer.batches import Lane
from trainer.fit import fit
from trainer.model import network
from trainer.model.layers import Part, Pass
from trainer.model.precision import LossScale
from trainer.objective import Objective, Target
from trainer.optimizers import Updater
from trainer.reports import Started
from trainer.snapshots import Snapshot
from trainer.state import Moment
from trainer.step import Step

IMAGES: dict[str, Any] = {"dataset": {"source": "builtin", "name": "digits"}, "batch_size": 250, "epochs": 1}
CNN: dict[str, Any] = {"kind": "cnn", "channels": [4], "hidden": [8]}
VARIETY: dict[str, dict[str, Any]] = {
    "plain": {},
    "images": IMAGES | {"model": CNN, "class_weight": "balanced"},
    "dropout": {"model": {"kind": "mlp", "hidden": [8], "dropout": 0.3}},
    "smoothing": {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}, "clip": {"kind": "value", "limit": 0.05}},
    "class weights": {"class_weight": "balanced", "clip": {"kind": "global_norm", "max_norm": 0.1}},
    "penalties": {"regularization": {"l1": 0.01, "l2": 0.01, "max_norm": 1.0, "weight_decay": 0.1}},
    "mixup": {"augment": [{"kind": "mixup"}], "class_weight": "balanced"},
    "regression": {"dataset": {"source": "builtin", "name": "diabetes"}, "loss": {"kind": "huber"}},
    "fp16": {"precision": "fp16"},
}
DENSE = Dense(units=3, init=HeNormal())
OTHER_PARTS = "The checkpoint's run cut its batches into other parts: the last bits may differ from that run's."
LANES = {1: [Lane(7, 7)], 3: [Lane(7, 7), Lane(8, 8), Lane(9, 9, resamples=True)]}


def sizes(rows: int, parts: int, *, batch_norm: bool) -> list[int]:
    """Of the parts of a batch."""
    layers: list[Layer] = [BatchNorm(), DENSE] if batch_norm else [DENSE]
    net = network.build(layers, (4,), [0], "cpu")
    step = Step(net, Objective(CrossEntropy(), None), Updater(resolved(), net.parameters), parts)
    return [part.rows.stop - part.rows.start for part in step.cut(rows)]


def end(spec: JobSpec, parts: int, lanes: list[Lane] | None = None, resume: Snapshot | None = None) -> Moment:
    *_, last = fit(spec, loaded(spec), resume, lanes, Background(micro_batches=parts))
    return last


@pytest.mark.parametrize("lanes", LANES.values(), ids=lambda lanes: f"{len(lanes)} lanes")
@pytest.mark.parametrize("name", VARIETY)
def test_parts_make_the_weights_of_whole_batches(name: str, lanes: list[Lane]) -> None:
    spec = resolved(**{"batch_size": 35, "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}} | VARIETY[name])
    whole = end(spec, 1, lanes).state
    near = 2e-3 if spec.precision == "fp16" else 1e-5
    for parts in (2, 3, 4):
        state = end(spec, parts, lanes).state
        torch.testing.assert_close(state.network.state(), whole.network.state(), rtol=near, atol=near)
        losses = [[point.value for point in one.history if point.name == "loss"] for one in (state, whole)]
        assert losses[0] == pytest.approx(losses[1], rel=near)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_parts_have_the_gradient_loss_and_outputs_of_the_batch(precision: str, parts: int) -> None:
    spec = resolved()
    low = torch.float16 if precision == "fp16" else None
    x, y = torch.linspace(-1, 1, 80).sin().view(2, 10, 4), torch.arange(20).view(2, 10) % 3
    found = []
    for cut in (1, parts):
        net = network.build([*spec.model.layers, DENSE], (4,), [0, 1], "cpu")  # type: ignore[union-attr]
        step = Step(net, Objective(CrossEntropy(), torch.tensor([0.2, 1.0, 3.0])), Updater(spec, net.parameters), cut)
        how, scale = Pass(True, [], low), LossScale(active=low is not None, factor=256.0)
        z, means, moved = step(x, [Target(y)], how, scale, [0.0, 0.0], 1)
        found.append((z, means, net.parameters.gradients.clone(), moved, scale.factor))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6 if low is None else 1e-3)


def test_an_overflow_in_one_part_leaves_out_the_whole_update() -> None:
    spec = resolved()
    net = network.build([DENSE], (4,), [0], "cpu")
    step, scale = Step(net, Objective(CrossEntropy(), None), Updater(spec, net.parameters), 2), LossScale(active=True)
    x, before = torch.ones(1, 10, 4), net.parameters.values.clone()
    x[0, -1] = torch.inf
    assert not step(x, [Target(torch.zeros(1, 10).long())], Pass(True, []), scale, [0.1], 1)[2]
    assert (torch.equal(net.parameters.values, before), scale.factor) == (True, 2.0**15)


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_a_batch_in_parts_moves_the_running_statistics_as_far_as_one_whole(momentum: float) -> None:
    layers: list[Layer] = [BatchNorm(momentum=momentum)]
    x = torch.randn(1, 11, 4) * 3 + 5
    whole, cut = (network.build(layers, (4,), [0], "cpu") for _ in range(2))
    whole.forward(x, Pass(True, []))
    bounds = [0, 4, 7, 11]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        rows = slice(start, stop)
        cut.forward(x[:, rows], Pass(True, [], part=Part(rows, 11, {})))
    torch.testing.assert_close(cut.buffers["0.running_mean"], whole.buffers["0.running_mean"])
    each = sum(len(part) * part.var(0) for part in (x[0, 0:4], x[0, 4:7], x[0, 7:11])) / 11
    torch.testing.assert_close(cut.buffers["0.running_var"][0], 1 - momentum + momentum * each)


def test_no_part_is_empty_or_a_single_row_before_a_batch_norm() -> None:
    assert sizes(5, 8, batch_norm=False) == [1, 1, 1, 1, 1]
    assert sizes(5, 8, batch_norm=True) == [2, 3]
    assert sizes(1, 8, batch_norm=True) == [1]
    assert sizes(256, 3, batch_norm=True) == [85, 85, 86]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"kind": "mlp", "hidden": [8], "batch_norm": True, "dropout": 0.3}},
        IMAGES | {"model": CNN | {"batch_norm": True, "dropout": 0.2}, "augment": [{"kind": "crop", "pixels": 1}]},
    ],
    ids=["mlp", "cnn"],
)
def test_a_run_in_parts_resumes_to_the_same_bits(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fit.REPORT_SECONDS", 0.0)
    spec = resolved(**changes)
    known = Background(micro_batches=2)
    moments = [snapshots.take(moment.state) for moment in fit(spec, loaded(spec), background=known)]
    middle = moments[len(moments) // 2]
    assert middle.step % (moments[-1].step // spec.epochs) != 0
    whole, resumed = (snapshots.take(end(spec, 2, None, one).state) for one in (None, middle))
    assert_same_bits(whole.tensors, resumed.tensors)


def test_a_run_in_parts_says_so() -> None:
    spec = resolved(batch_size={"kind": "largest", "at_most": 32}, model={"kind": "mlp", "batch_norm": True})
    first = next(fit(spec, loaded(spec), background=Background(micro_batches=3))).report
    assert isinstance(first, Started)
    probed, cut = first.decisions[-2:]
    assert (probed.rule, probed.value) == ("batch.probe", 32)
    assert cut.model_dump() == {
        "path": "/batch_size",
        "requested": {"kind": "largest", "at_most": 32, "at_least": 1},
        "value": 32,
        "rule": "batch.micro",
        "why": "The attempt before ran out of memory: each batch of 32 rows is computed in 3 parts of at most 11; "
        "the update is the same. But a batch norm sees the statistics of a part.",
    }


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4)])
def test_a_run_resumed_in_other_parts_says_so_and_goes_on(before: int, after: int) -> None:
    spec = resolved()
    moments = [snapshots.take(m.state) for m in fit(spec, loaded(spec), background=Background(micro_batches=before))]
    for parts, noted in ((before, False), (after, True)):
        first, *_, last = fit(spec, loaded(spec), moments[2], background=Background(micro_batches=parts))
        assert isinstance(first.report, Started)
        assert [note for note in first.report.notes if "other parts" in note] == [OTHER_PARTS] * noted
        assert [one.rule for one in first.report.decisions].count("batch.micro") == (parts > 1)
        assert last.state.step == 12
    whole = end(spec, before).state
    torch.testing.assert_close(last.state.network.state(), whole.network.state(), rtol=1e-5, atol=1e-5)


def test_a_step_that_only_fits_in_parts_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def forward(self: network.Network, x: torch.Tensor, how: Pass) -> Any:
        seen.append(x.shape[1])
        if x.shape[1] > 50:
            raise torch.OutOfMemoryError("no more memory")
        return plain(self, x, how)

    plain = network.Network.forward
    monkeypatch.setattr(network.Network, "forward", forward)
    spec = resolved(batch_size="full", optimizer={"kind": "adam", "lr": "auto"})
    with pytest.raises(torch.OutOfMemoryError):
        end(spec, 1)
    seen.clear()
    assert end(spec, 3).state.epoch == 3
    assert max(seen) == 36
