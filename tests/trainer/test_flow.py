"""The flow through a network, against what torch's own autograd and plain counting say."""

import torch
from torch import nn

from jobs.spec.explained import Flow
from jobs.spec.init import HeNormal
from jobs.spec.loss import Mse
from jobs.spec.model import Activation, Dense, Layer, Residual
from tests.trainer import samples
from trainer.data import Examples
from trainer.diagnosis import flow
from trainer.diagnosis.flow import Seen
from trainer.fit import fit
from trainer.model import network
from trainer.objective import Objective

LAYERS: list[Layer] = [
    Dense(units=6, init=HeNormal()),
    Activation(function="relu"),
    Dense(units=1, init=HeNormal()),
]


def probed(layers: list[Layer], lanes: int = 2, rows: int = 40) -> tuple[flow.Probe, Examples]:
    net = network.build(layers, (3,), list(range(lanes)), "cpu")
    generator = torch.Generator().manual_seed(0)
    train = Examples(torch.randn(rows, 3, generator=generator), torch.randn(rows, 1, generator=generator))
    return flow.probe(net, Objective(Mse(), None), layers, train, []), train


def test_gradients_and_activations_are_those_of_torch() -> None:
    probe, train = probed(LAYERS)
    probe.look(0, 0)
    for lane, seen in enumerate(probe.seen):
        hidden, relu, out = nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1)
        for place, layer in ((0, hidden), (2, out)):
            layer.weight.data = probe.network.weights[f"{place}.weight"][lane].clone()
            layer.bias.data = probe.network.weights[f"{place}.bias"][lane].clone()
        bent = relu(hidden(train.x))
        loss = (out(bent) - train.y).square().mean()
        loss.backward()
        assert hidden.weight.grad is not None
        told = seen.layers[0].gradient, seen.layers[1].mean, seen.layers[1].std, seen.layers[1].dead, seen.loss
        expected = (
            float(hidden.weight.grad.square().mean().sqrt()),
            float(bent.detach().mean()),
            float(bent.detach().std(correction=0)),
            float((bent <= 0).all(0).float().mean()),
            float(loss.detach()),
        )
        torch.testing.assert_close(torch.tensor(told), torch.tensor(expected))


def test_dead_channels_and_saturated_outputs_are_counted() -> None:
    images = torch.zeros(1, 4, 5, 2, 2)
    images[:, 0, 3] = 1.0
    bounded = torch.tensor([[[0.001, 0.5], [0.999, 0.4]]])
    seen = [Seen("0", "activation", "relu", images), Seen("1", "activation", "sigmoid", bounded)]
    ((relu, sigmoid),) = flow.measure(seen, {}, {}, {})
    assert (round(relu.dead or 0, 6), sigmoid.dead, sigmoid.saturated) == (0.8, None, 0.5)


def test_units_that_are_alike_and_numbers_that_are_not_finite_are_told() -> None:
    weights = {"0.weight": torch.full((1, 3, 2), 0.1), "1.weight": torch.eye(2).unsqueeze(0)}
    gradients = {"0.weight": torch.full((1, 3, 2), torch.inf), "1.weight": torch.zeros(1, 2, 2)}
    seen = [Seen(name, "dense", None, torch.zeros(1, 4, 2)) for name in ("0", "1")]
    ((first, second),) = flow.measure(seen, gradients, weights, {"1.weight": torch.eye(2).unsqueeze(0) / 100})
    assert (first.alike, first.gradient, first.update) == (True, None, None)
    assert (second.alike, second.gradient, round(second.update or 0, 6)) == (False, 0.0, 0.01)


def test_layers_within_a_residual_block_have_gradients_and_no_outputs() -> None:
    probe, _ = probed([Residual(layers=[Dense(units=3, init=HeNormal())]), *LAYERS], lanes=1)
    probe.look(0, 0)
    inner = probe.seen[0].layers[0]
    assert (inner.layer, inner.kind, inner.mean) == ("0.0", "dense", None)
    assert inner.gradient


def test_it_looks_seldom_and_leaves_buffers_and_numbers_alone() -> None:
    spec = samples.resolved(model={"kind": "mlp", "hidden": [6], "batch_norm": True, "dropout": 0.3}, epochs=20)
    state = list(fit(spec, samples.loaded(spec)))[-1].state
    assert [(one.epoch, one.lane) for one in state.flows] == [(0, 0), (1, 0), (4, 0), (16, 0), (20, 0)]
    assert [one.eval_loss is None for one in state.flows] == [False] * 5


def test_training_goes_on_to_the_same_bits() -> None:
    spec = samples.resolved(model={"kind": "mlp", "hidden": [6], "batch_norm": True, "dropout": 0.3}, epochs=5)
    loaded = samples.loaded(spec)
    looked = list(fit(spec, loaded))[-1].state
    kept, flow.Probe.look = flow.Probe.look, lambda *_, **__: None  # type: ignore[method-assign]
    try:
        blind = list(fit(spec, loaded))[-1].state
    finally:
        flow.Probe.look = kept  # type: ignore[method-assign]
    assert blind.flows == []
    assert all(torch.equal(value, blind.network.state()[name]) for name, value in looked.network.state().items())
    assert isinstance(looked.flows[0], Flow)
