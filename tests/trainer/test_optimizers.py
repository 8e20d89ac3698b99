"""Each optimizer against torch.optim, step by step, on one lane and on three."""

import copy
from typing import Any

import pytest
import torch

from jobs.spec.model import Dense, HeNormal
from jobs.spec.optimizer import ClipGlobalNorm, ClipParameterNorm, ClipValue
from tests.trainer.samples import resolved
from trainer import network, optimizers
from trainer.network import Network, Pass
from trainer.optimizers import Updater

LR = 0.05
CASES: list[tuple[dict[str, Any], type[torch.optim.Optimizer], dict[str, Any]]] = [
    ({"kind": "sgd"}, torch.optim.SGD, {}),
    ({"kind": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    ({"kind": "sgd", "momentum": 0.9, "nesterov": True}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ({"kind": "adagrad", "initial_accumulator": 0.1}, torch.optim.Adagrad, {"initial_accumulator_value": 0.1}),
    ({"kind": "rmsprop"}, torch.optim.RMSprop, {}),
    ({"kind": "rmsprop", "momentum": 0.5, "centered": True}, torch.optim.RMSprop, {"momentum": 0.5, "centered": True}),
    ({"kind": "adam"}, torch.optim.Adam, {}),
    ({"kind": "adam", "amsgrad": True, "beta1": 0.8}, torch.optim.Adam, {"amsgrad": True, "betas": (0.8, 0.999)}),
]


def net(lanes: int) -> Network:
    return network.build([Dense(units=3, init=HeNormal())], (4,), list(range(lanes)), "cpu")


def gradients(weights: list[torch.Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)


@pytest.mark.parametrize(("spec", "reference", "options"), CASES)
@pytest.mark.parametrize("lanes", [1, 3])
def test_twenty_steps_equal_torch(
    spec: dict[str, Any], reference: type[torch.optim.Optimizer], options: dict[str, Any], lanes: int
) -> None:
    ours = net(lanes)
    theirs = [copy.deepcopy(weight.detach()).requires_grad_() for weight in ours.weights.values()]
    updater = Updater(resolved(optimizer=spec), ours)
    optimizer = reference(theirs, lr=LR, **options)  # type: ignore[call-arg]
    for step in range(20):
        lr = LR / (1 + step)  # momentum under a schedule is where libraries part
        optimizer.param_groups[0]["lr"] = lr
        gradients(updater.weights, step)
        gradients(theirs, step)
        updater.step(lr)
        optimizer.step()
    for mine, other in zip(ours.weights.values(), theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_adamw_decays_weights_and_not_biases() -> None:
    ours = net(1)
    before = {name: weight.detach().clone() for name, weight in ours.weights.items()}
    ours.weights["0.bias"].data.fill_(1.0)
    updater = Updater(resolved(optimizer={"kind": "adamw", "weight_decay": 0.5}), ours)
    for weight in updater.weights:
        weight.grad = torch.zeros_like(weight)
    updater.step(0.1)
    torch.testing.assert_close(ours.weights["0.weight"].detach(), before["0.weight"] * (1 - 0.1 * 0.5))
    torch.testing.assert_close(ours.weights["0.bias"].detach(), torch.ones(1, 3))


def test_penalties_have_the_gradients_of_their_formulas() -> None:
    ours = net(1)
    weight = ours.weights["0.weight"]
    spec = resolved(regularization={"l1": 0.3, "l2": 0.7})
    loss = 0.3 * weight.abs().sum() + 0.7 * weight.square().sum()
    (expected,) = torch.autograd.grad(loss, weight)
    weight.grad = torch.zeros_like(weight)
    with torch.no_grad():
        optimizers.penalise([weight], spec.regularization)
    torch.testing.assert_close(weight.grad, expected)


def test_global_norm_clipping_equals_torch_lane_by_lane() -> None:
    ours = net(2)
    weights = list(ours.weights.values())
    gradients(weights, 0)
    alone = []
    for lane in range(2):
        parts = [weight[lane].detach().clone().requires_grad_() for weight in weights]
        for part, weight in zip(parts, weights, strict=True):
            assert weight.grad is not None
            part.grad = weight.grad[lane].clone()
        torch.nn.utils.clip_grad_norm_(parts, 0.5)
        alone.append([part.grad for part in parts])
    optimizers.clip(weights, ClipGlobalNorm(max_norm=0.5))
    for index, weight in enumerate(weights):
        expected = torch.stack([lane[index] for lane in alone if lane[index] is not None])  # type: ignore[misc]
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected)


def test_clipping_two_gradients_of_a_hundred_as_keras_does() -> None:
    weight = torch.zeros(1, 2, requires_grad=True)
    weight.grad = torch.tensor([[100.0, 100.0]])
    optimizers.clip([weight], ClipParameterNorm(max_norm=1))
    torch.testing.assert_close(weight.grad, torch.tensor([[0.7071067811865476, 0.7071067811865476]]))
    weight.grad = torch.tensor([[100.0, -100.0]])
    optimizers.clip([weight], ClipValue(limit=1))
    torch.testing.assert_close(weight.grad, torch.tensor([[1.0, -1.0]]))


def test_lanes_compute_what_they_would_alone() -> None:
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    both = net(2)(x, Pass(False, []))
    for lane in range(2):
        single = network.build([Dense(units=3, init=HeNormal())], (4,), [lane], "cpu")
        torch.testing.assert_close(both[lane], single(x[lane : lane + 1], Pass(False, []))[0])
