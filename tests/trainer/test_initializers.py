"""Initial weights: the distribution that each kind states, by a Kolmogorov-Smirnov test; torch.nn.init as reference."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats

from jobs.spec.init import (
    ConstantInit,
    HeNormal,
    HeUniform,
    Init,
    LecunNormal,
    LecunUniform,
    Normal,
    Orthogonal,
    Uniform,
    XavierNormal,
    XavierUniform,
    Zeros,
)
from jobs.spec.model import Conv, Dense, Flatten, Layer
from trainer.model import initializers, network

SHAPES = [(200, 300), (1000, 7), (3, 4000), (64, 32, 3, 3), (8, 16, 5, 5), (256, 3, 2, 2)]
"""[out, in, *window]; several thousand weights each."""


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def drawn(init: Init, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    weight = torch.full(shape, math.nan)
    initializers.fill(weight, init, torch.Generator().manual_seed(seed))
    return weight


NORMAL: list[tuple[Callable[..., Init], Callable[[int, int], float]]] = [
    (lambda **options: Normal(std=0.3, **options), lambda fan_in, fan_out: 0.3),
    (lambda **options: XavierNormal(gain=2, **options), lambda fan_in, fan_out: 2 * math.sqrt(2 / (fan_in + fan_out))),
    (HeNormal, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    (lambda **options: HeNormal(gain=0.5, mode="fan_out", **options), lambda fan_in, fan_out: math.sqrt(0.5 / fan_out)),
    (lambda **options: LecunNormal(gain=3, **options), lambda fan_in, fan_out: 3 / math.sqrt(fan_in)),
]
UNIFORM: list[tuple[Init, Callable[[int, int], float]]] = [
    (Uniform(bound=0.2), lambda fan_in, fan_out: 0.2),
    (XavierUniform(gain=2), lambda fan_in, fan_out: 2 * math.sqrt(6 / (fan_in + fan_out))),
    (HeUniform(), lambda fan_in, fan_out: math.sqrt(6 / fan_in)),
    (HeUniform(gain=0.5, mode="fan_out"), lambda fan_in, fan_out: math.sqrt(1.5 / fan_out)),
    (LecunUniform(gain=3), lambda fan_in, fan_out: 3 * math.sqrt(3 / fan_in)),
]


def assert_distributed(weight: torch.Tensor, expected: Any) -> None:
    values = weight.flatten().double().numpy()
    assert stats.kstest(values, expected.cdf).pvalue > 1e-3
    error = expected.std() / math.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert values.std() == pytest.approx(expected.std(), rel=4 / math.sqrt(len(values)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "std"), NORMAL)
def test_the_normal_kinds(kind: Callable[..., Init], std: Callable[[int, int], float], shape: tuple[int, ...]) -> None:
    sigma = std(*fans(shape))
    assert_distributed(drawn(kind(), shape), stats.norm(scale=sigma))
    truncated = drawn(kind(truncated=True), shape)
    assert_distributed(truncated, stats.truncnorm(-2, 2, scale=sigma))
    assert 1.9 * sigma < truncated.abs().max() <= 2 * sigma * (1 + 1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("init", "bound"), UNIFORM)
def test_the_uniform_kinds(init: Init, bound: Callable[[int, int], float], shape: tuple[int, ...]) -> None:
    limit = bound(*fans(shape))
    weight = drawn(init, shape)
    assert_distributed(weight, stats.uniform(-limit, 2 * limit))
    assert 0.99 * limit < weight.abs().max() <= limit * (1 + 1e-6)


REFERENCE: list[tuple[Init, Callable[..., torch.Tensor], dict[str, Any]]] = [
    (XavierNormal(gain=1.5), torch.nn.init.xavier_normal_, {"gain": 1.5}),
    (XavierUniform(gain=1.5), torch.nn.init.xavier_uniform_, {"gain": 1.5}),
    (HeNormal(), torch.nn.init.kaiming_normal_, {"nonlinearity": "relu"}),
    (HeNormal(mode="fan_out"), torch.nn.init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}),
    (HeUniform(), torch.nn.init.kaiming_uniform_, {"nonlinearity": "relu"}),
    (HeUniform(mode="fan_out"), torch.nn.init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "relu"}),
    (Normal(std=0.1, truncated=True), torch.nn.init.trunc_normal_, {"std": 0.1, "a": -0.2, "b": 0.2}),
    (Orthogonal(gain=2), torch.nn.init.orthogonal_, {"gain": 2}),
    (ConstantInit(value=0.5), lambda weight, generator: torch.nn.init.constant_(weight, 0.5), {}),
    (Zeros(), lambda weight, generator: torch.nn.init.zeros_(weight), {}),
]


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 4, 3, 3)], ids=str)
@pytest.mark.parametrize(("init", "reference", "options"), REFERENCE, ids=lambda value: getattr(value, "kind", ""))
def test_the_same_draw_as_torch(
    init: Init, reference: Callable[..., torch.Tensor], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    theirs = reference(torch.empty(shape), generator=torch.Generator().manual_seed(3), **options)
    torch.testing.assert_close(drawn(init, shape, seed=3), theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal_has_orthogonal_rows_or_columns_as_long_as_the_gain(shape: tuple[int, ...]) -> None:
    matrix = drawn(Orthogonal(gain=2), shape).flatten(1).double()
    short = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(short, 4 * torch.eye(len(short), dtype=torch.float64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("init", [init for init, *_ in REFERENCE[:-2]], ids=lambda init: init.kind)
def test_a_seed_says_what_is_drawn(init: Init) -> None:
    assert torch.equal(drawn(init, (4, 6), seed=1), drawn(init, (4, 6), seed=1))
    assert not torch.equal(drawn(init, (4, 6), seed=1), drawn(init, (4, 6), seed=2))


@pytest.mark.parametrize("init", [HeNormal(), Orthogonal(), LecunUniform()], ids=lambda init: init.kind)
def test_each_lane_draws_from_its_own_seed(init: Init) -> None:
    layers: list[Layer] = [Conv(channels=4, init=init), Flatten(), Dense(units=5, init=init)]
    together, alone = (network.build(layers, (2, 6, 6), seeds, "cpu").state() for seeds in ([1, 2], [2]))
    for name, weight in together.items():
        assert torch.equal(weight[1], alone[name][0])
        assert name.endswith("bias") or not torch.equal(weight[0], weight[1])


def test_a_bias_starts_where_its_init_says() -> None:
    assert [initializers.bias(init) for init in (HeNormal(), Zeros(bias=1), Orthogonal(bias=-0.5))] == [0, 1, -0.5]
