"""Layers against torch.nn, lanes against single runs."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from jobs.spec.init import XavierUniform
from jobs.spec.model import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Pool,
    Residual,
)
from jobs.spec.preprocessing import Embedding
from trainer import seeds
from trainer.model import activations, layers, network, products
from trainer.model.layers import Pass
from trainer.model.network import Network

INIT = XavierUniform()
CLOSE: Any = {"rtol": 1e-4, "atol": 1e-4}
IMAGES: list[Layer] = [
    Conv(channels=6, kernel=3, init=INIT),
    BatchNorm(),
    Activation(function="relu"),
    Residual(layers=[Conv(channels=6, kernel=5, init=INIT), Activation(function="tanh")]),
    Conv(channels=4, kernel=2, stride=2, init=INIT),
    Pool(size=2),
    Flatten(),
    Dense(units=10, init=INIT),
    LayerNorm(),
    Activation(function="softmax"),
    Dropout(rate=0.5),
]
FUNCTIONS = ["sigmoid", "tanh", "softmax", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"]


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_and_their_derivatives_equal_torch(name: str) -> None:
    function, derivative = activations.build(Activation(function=name, negative_slope=0.2))
    x, g = randn(1, 5, 7).requires_grad_(), randn(1, 5, 7) + 1
    plain = {"softmax": lambda x: F.softmax(x, 2), "leaky_relu": lambda x: F.leaky_relu(x, 0.2)}
    expected = plain.get(name, getattr(F, name, None))(x)  # type: ignore[misc]
    y = function(x.detach())
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(derivative(g, x.detach(), y), torch.autograd.grad(expected, x, g)[0])


def numeric(net: Network, x: torch.Tensor, g: torch.Tensor, name: str, how: Pass) -> torch.Tensor:
    """The gradient of Σ g·output by central differences, in one direction per value of a weight."""
    weight, eps = net.weights[name], 1e-2
    found = torch.zeros_like(weight)
    for index in range(weight[0].numel()):
        sums = []
        for sign in (1, -1):
            weight.flatten(1)[:, index] += sign * eps
            sums.append((net(x, how) * g).sum((1, 2)))
            weight.flatten(1)[:, index] -= sign * eps
        found.view(len(weight), -1)[:, index] = (sums[0] - sums[1]) / (2 * eps)
    return found


SMOOTH: list[Layer] = [
    Conv(channels=2, kernel=3, init=INIT),
    Activation(function="tanh"),
    Residual(layers=[Conv(channels=2, kernel=2, init=INIT), Activation(function="silu")]),
    Pool(function="average"),
    Flatten(),
    LayerNorm(),
    Dense(units=5, init=INIT),
    Activation(function="gelu"),
    Dense(units=3, init=INIT, bias=False),
]


@pytest.mark.parametrize("lanes", [1, 3])
def test_gradients_are_those_of_finite_differences(lanes: int) -> None:
    net, how = network.build(SMOOTH, (2, 4, 4), list(range(lanes)), "cpu"), Pass(True, [])
    x, g = randn(lanes, 6, 2, 4, 4), randn(lanes, 6, 3)
    _, backs = net.forward(x, how)
    net.backward(g, backs)
    for name, gradient in net.parameters.gradient.items():
        torch.testing.assert_close(gradient, numeric(net, x, g, name, how), rtol=0.02, atol=0.02)


def test_gradients_of_a_plain_network_equal_autograd() -> None:
    hidden: list[Layer] = [Dense(units=9, init=INIT), BatchNorm(), Activation(function="relu")]
    layers = [*hidden, Dense(units=4, init=INIT)]
    net, x, g = network.build(layers, (6,), [0], "cpu"), randn(1, 12, 6), randn(1, 12, 4)
    reference = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4))
    reference.load_state_dict({name: tensor[0] for name, tensor in net.state().items()}, strict=False)
    z, backs = net.forward(x, Pass(True, []))
    net.backward(g, backs)
    expected = reference(x[0])
    expected.backward(g[0])
    torch.testing.assert_close(z[0], expected)
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(net.parameters.gradient[name][0], parameter.grad)


@pytest.mark.parametrize(("side", "size"), [(8, 2), (9, 2), (7, 3), (5, 1), (4, 4)])
def test_max_pooling_and_its_gradient_equal_torch(side: int, size: int) -> None:
    x, layer = randn(2, 3, 4, side, side + 1), layers.pool(Pool(size=size))
    leaf = x.clone().requires_grad_()
    expected = F.max_pool2d(leaf.flatten(0, 1), size).unflatten(0, (2, 3))
    y, back = layer(x, Pass(True, []))
    g = torch.ones_like(y).cumsum(4)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    torch.testing.assert_close(back(g, True), torch.autograd.grad(expected, leaf, g)[0], rtol=0, atol=0)


def test_large_products_equal_small_ones() -> None:
    x, weight, bias = randn(2, 128, 300), randn(2, 200, 300), randn(2, 200)
    g = randn(2, 128, 200)
    assert products.LARGE <= 128 * 300 * 200
    torch.testing.assert_close(products.forward(x, weight, bias, None), x @ weight.mT + bias.unsqueeze(1), **CLOSE)
    torch.testing.assert_close(products.to_input(g, weight, None), g @ weight, **CLOSE)
    out = torch.empty(2, 200, 300)
    products.to_weight(g, x, out, None)
    torch.testing.assert_close(out, g.mT @ x, **CLOSE)


def test_an_embedding_replaces_its_input_and_learns_only_the_rows_it_used() -> None:
    tables = [Embedding(input=1, rows=4, dimension=2)]
    net = network.build([Dense(units=3, init=INIT)], (3,), [0, 1], "cpu", tables)
    x = torch.tensor([[0.5, 2.0, -1.0], [0.1, 0.0, 3.0]]).expand(2, 2, 3)
    z, backs = net.forward(x, Pass(True, []))
    table, weight = net.weights["embedding.1.weight"], net.weights["0.weight"]
    row = torch.cat([x[:, :, [0, 2]], table[:, [2, 0]]], 2)
    torch.testing.assert_close(z, row @ weight.mT)
    g = randn(2, 2, 3)
    net.backward(g, backs)
    gradient = net.parameters.gradient["embedding.1.weight"]
    torch.testing.assert_close(gradient[:, [2, 0]], (g @ weight)[:, :, 2:])
    assert not gradient[:, [1, 3]].any()


def test_conv_batch_norm_and_pool_equal_torch() -> None:
    layers: list[Layer] = [Conv(channels=6, init=INIT), BatchNorm(), Pool(function="average", size=3)]
    net = network.build(layers, (3, 9, 9), [5], "cpu")
    reference = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.AvgPool2d(3))
    reference[0].load_state_dict({"weight": net.weights["0.weight"][0], "bias": net.weights["0.bias"][0]})
    for _ in range(3):  # running statistics move, too
        x = randn(4, 3, 9, 9)
        torch.testing.assert_close(net(x.unsqueeze(0), Pass(True, []))[0], reference(x))
    torch.testing.assert_close(net.buffers["1.running_var"][0], reference[1].running_var)
    reference.eval()
    torch.testing.assert_close(net(x.unsqueeze(0), Pass(False, []))[0], reference(x))


@pytest.mark.parametrize("training", [True, False])
def test_lanes_equal_single_networks(training: bool) -> None:
    lane_seeds = [3, 4, 5]
    x = randn(3, 4, 3, 12, 12)
    together = network.build(IMAGES, (3, 12, 12), lane_seeds, "cpu")
    generators = [seeds.generator(seed, "dropout") for seed in lane_seeds]
    both = together(x, Pass(training, generators))
    for lane, seed in enumerate(lane_seeds):
        alone = network.build(IMAGES, (3, 12, 12), [seed], "cpu")
        single = alone(x[lane : lane + 1], Pass(training, [seeds.generator(seed, "dropout")]))
        torch.testing.assert_close(both[lane], single[0], rtol=1e-4, atol=1e-5)


def test_dropout_scales_what_it_keeps() -> None:
    net = network.build([Dropout(rate=0.25)], (1000,), [0], "cpu")
    out = net(torch.ones(1, 100, 1000), Pass(True, [seeds.generator(0, "dropout")]))
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert out.mean().item() == pytest.approx(1, abs=0.01)
