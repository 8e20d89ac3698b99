"""Layers against torch.nn, initial weights against torch.nn.init, lanes against single runs."""

import math

import pytest
import torch
from torch import nn

from jobs.spec.model import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    HeNormal,
    HeUniform,
    Init,
    Layer,
    LayerNorm,
    LecunNormal,
    Normal,
    Pool,
    Residual,
    Uniform,
    XavierNormal,
    XavierUniform,
    Zeros,
)
from trainer import initializers, network, seeds
from trainer.network import Pass

INIT = XavierUniform()
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
FUNCTIONS: dict[str, nn.Module] = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "softmax": nn.Softmax(dim=2),
}


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_equal_torch(name: str) -> None:
    x = randn(1, 5, 7)
    torch.testing.assert_close(network.activation(name)(x), FUNCTIONS[name](x))  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("init", "std", "bound"),
    [
        (Zeros(), 0.0, 0.0),
        (Normal(std=0.3), 0.3, math.inf),
        (Uniform(bound=0.2), 0.2 / math.sqrt(3), 0.2),
        (XavierNormal(gain=2), 2 * math.sqrt(2 / (400 * 9 + 300 * 9)), math.inf),
        (XavierUniform(), math.sqrt(2 / (400 * 9 + 300 * 9)), math.sqrt(6 / (400 * 9 + 300 * 9))),
        (HeNormal(), math.sqrt(2 / (400 * 9)), math.inf),
        (HeUniform(), math.sqrt(2 / (400 * 9)), math.sqrt(6 / (400 * 9))),
        (LecunNormal(), math.sqrt(1 / (400 * 9)), math.inf),
    ],
)
def test_initial_weights_have_the_spread_of_their_formula(init: Init, std: float, bound: float) -> None:
    weight = torch.empty(300, 400, 3, 3)
    initializers.fill(weight, init, torch.Generator().manual_seed(0))
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert abs(weight.mean().item()) <= 0.01 * std
    assert weight.abs().max().item() <= bound
