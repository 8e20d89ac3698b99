"""Each optimizer against torch.optim, step by step, on one lane and on three."""

from typing import Any

import pytest
import torch

from jobs.spec.init import HeNormal
from jobs.spec.model import Dense
from jobs.spec.optimizer import ClipGlobalNorm, ClipParameterNorm, ClipValue
from tests.trainer.samples import resolved
from trainer import gradients
from trainer.model import network
from trainer.model.layers import Pass
from trainer.model.network import Network
from trainer.optimizers import Updater

LR = 0.05
CASES: list[tuple[dict[str, Any], type[torch.optim.Optimizer], dict[str, Any]]] = [
    ({"kind": "sgd"}, torch.optim.SGD, {}),
    ({"kind": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    ({"kind": "sgd", "momentum": 0.9, "nesterov": True}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ({"kind": "adagrad", "initial_accumulator": 0.1}, torch.optim.Adagrad, {"initial_accumulator_value": 0.1}),
    ({"kind": "adadelta"}, torch.optim.Adadelta, {}),
    ({"kind": "adadelta", "rho": 0.7, "eps": 1e-3}, torch.optim.Adadelta, {"rho": 0.7, "eps": 1e-3}),
    ({"kind": "rmsprop"}, torch.optim.RMSprop, {}),
    ({"kind": "rmsprop", "momentum": 0.5, "centered": True}, torch.optim.RMSprop, {"momentum": 0.5, "centered": True}),
    ({"kind": "adam"}, torch.optim.Adam, {}),
    ({"kind": "adam", "amsgrad": True, "beta1": 0.8}, torch.optim.Adam, {"amsgrad": True, "betas": (0.8, 0.999)}),
    ({"kind": "adam", "eps": 0.1}, torch.optim.Adam, {"eps": 0.1}),
    ({"kind": "adamax"}, torch.optim.Adamax, {}),
    ({"kind": "nadam"}, torch.optim.NAdam, {}),
    ({"kind": "nadam", "momentum_decay": 0.1}, torch.optim.NAdam, {"momentum_decay": 0.1}),
    ({"kind": "radam"}, torch.optim.RAdam, {}),
    ({"kind": "radam", "beta2": 0.9, "eps": 1e-3}, torch.optim.RAdam, {"betas": (0.9, 0.9), "eps": 1e-3}),
]


def net(lanes: int) -> Network:
    return network.build([Dense(units=3, init=HeNormal())], (4,), list(range(lanes)), "cpu")


def slopes(tensors: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {name: torch.randn(tensor.shape, generator=generator) for name, tensor in tensors.items()}


def fill(ours: Network, values: dict[str, torch.Tensor]) -> None:
    for name, gradient in ours.parameters.gradient.items():
        gradient.copy_(values[name])


@pytest.mark.parametrize(("spec", "reference", "options"), CASES)
@pytest.mark.parametrize("lanes", [1, 3])
def test_thirty_steps_equal_torch(
    spec: dict[str, Any], reference: type[torch.optim.Optimizer], options: dict[str, Any], lanes: int
) -> None:
    ours = net(lanes)
    theirs = {name: weight.clone().requires_grad_() for name, weight in ours.weights.items()}
    updater = Updater(resolved(optimizer=spec), ours.parameters)
    optimizer = reference(theirs.values(), lr=LR, **options)  # type: ignore[call-arg]
    for step in range(30):
        lr = LR / (1 + step)  # momentum under a schedule is where libraries part
        optimizer.param_groups[0]["lr"] = lr
        fill(ours, slopes(theirs, step))
        for name, gradient in slopes(theirs, step).items():
            theirs[name].grad = gradient
        updater.step([lr] * lanes, step + 1)
        optimizer.step()
    for name, mine in ours.weights.items():
        torch.testing.assert_close(mine, theirs[name].detach(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_moves_matrices_as_torch_and_the_rest_as_adamw(lanes: int, nesterov: bool) -> None:
    ours = net(lanes)
    matrices = [lane.clone().requires_grad_() for lane in ours.weights["0.weight"]]
    biases = [lane.clone().requires_grad_() for lane in ours.weights["0.bias"]]
    spec = resolved(optimizer={"kind": "muon", "weight_decay": 0.1, "nesterov": nesterov})
    updater = Updater(spec, ours.parameters)
    muon = torch.optim.Muon(matrices, LR, 0.1, nesterov=nesterov, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(biases, LR, weight_decay=0.0)
    for step in range(20):
        found = slopes(ours.weights, step)
        fill(ours, found)
        for lane in range(lanes):
            matrices[lane].grad, biases[lane].grad = found["0.weight"][lane], found["0.bias"][lane]
        updater.step([LR] * lanes, step + 1)
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours.weights["0.weight"], torch.stack(matrices).detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.weights["0.bias"], torch.stack(biases).detach())


@pytest.mark.parametrize("kind", ["sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "muon"])
def test_lanes_may_have_rates_of_their_own(kind: str) -> None:
    spec, rates = resolved(optimizer={"kind": kind}), [0.1, 0.001]
    together, alone = net(2), [network.build([Dense(units=3, init=HeNormal())], (4,), [lane], "cpu") for lane in (0, 1)]
    updater, singles = Updater(spec, together.parameters), [Updater(spec, one.parameters) for one in alone]
    for step in range(3):
        fill(together, slopes(together.weights, step))
        updater.step(rates, step + 1)
        for lane, (one, single) in enumerate(zip(alone, singles, strict=True)):
            one.parameters.gradients.copy_(together.parameters.gradients[lane : lane + 1])
            single.step([rates[lane]], step + 1)
            torch.testing.assert_close(together.parameters.values[lane], one.parameters.values[0])


def test_adamw_equals_torch_and_leaves_biases_alone() -> None:
    ours = net(1)
    theirs = {name: weight.clone().requires_grad_() for name, weight in ours.weights.items()}
    groups = [
        {"params": [theirs["0.weight"]], "weight_decay": 0.5},
        {"params": [theirs["0.bias"]], "weight_decay": 0.0},
    ]
    updater = Updater(resolved(optimizer={"kind": "adamw", "weight_decay": 0.5}), ours.parameters)
    optimizer = torch.optim.AdamW(groups, LR)
    for step in range(20):
        fill(ours, slopes(theirs, step))
        for name, gradient in slopes(theirs, step).items():
            theirs[name].grad = gradient
        updater.step([LR], step + 1)
        optimizer.step()
    for name, mine in ours.weights.items():
        torch.testing.assert_close(mine, theirs[name].detach())


def test_penalties_have_the_gradients_of_their_formulas() -> None:
    weight = net(1).weights["0.weight"].clone().requires_grad_()
    spec = resolved(regularization={"l1": 0.3, "l2": 0.7})
    loss = 0.3 * weight.abs().sum() + 0.7 * weight.square().sum()
    (expected,) = torch.autograd.grad(loss, weight)
    gradient = torch.zeros_like(weight)
    gradients.penalise(weight.detach(), gradient, spec.regularization)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("everything", [True, False])
def test_penalties_reach_biases_only_if_asked(everything: bool) -> None:
    ours = net(1)
    ours.weights["0.bias"].fill_(1.0)
    penalties = {"weight_decay": 0.5, "include_biases": everything}
    Updater(resolved(optimizer={"kind": "sgd"}, regularization=penalties), ours.parameters).step([0.1], 1)
    torch.testing.assert_close(ours.weights["0.bias"], torch.full((1, 3), 0.95 if everything else 1.0))


def test_global_norm_clipping_equals_torch_lane_by_lane() -> None:
    ours = net(2)
    fill(ours, slopes(ours.weights, 0))
    alone = []
    for lane in range(2):
        parts = [torch.zeros_like(gradient[lane]).requires_grad_() for gradient in ours.parameters.gradient.values()]
        for part, gradient in zip(parts, ours.parameters.gradient.values(), strict=True):
            part.grad = gradient[lane].clone()
        torch.nn.utils.clip_grad_norm_(parts, 0.5)
        alone.append([part.grad for part in parts])
    gradients.clip(ours.parameters, ClipGlobalNorm(max_norm=0.5))
    for index, gradient in enumerate(ours.parameters.gradient.values()):
        torch.testing.assert_close(gradient, torch.stack([lane[index] for lane in alone]))  # type: ignore[misc]


def test_clipping_two_gradients_of_a_hundred_as_keras_does() -> None:
    ours = network.build([Dense(units=2, bias=False, init=HeNormal())], (1,), [0], "cpu")
    gradient = ours.parameters.gradient["0.weight"]
    gradient.copy_(torch.tensor([[[100.0], [100.0]]]))
    gradients.clip(ours.parameters, ClipParameterNorm(max_norm=1))
    torch.testing.assert_close(gradient.flatten(), torch.tensor([0.7071067811865476, 0.7071067811865476]))
    gradient.copy_(torch.tensor([[[100.0], [-100.0]]]))
    gradients.clip(ours.parameters, ClipValue(limit=1))
    torch.testing.assert_close(gradient.flatten(), torch.tensor([1.0, -1.0]))


def test_max_norm_bounds_each_unit_as_keras_does() -> None:
    ours = network.build([Dense(units=2, bias=False, init=HeNormal())], (2,), [0], "cpu")
    ours.weights["0.weight"].copy_(torch.tensor([[[3.0, 4.0], [0.3, 0.4]]]))
    gradients.bound(ours.parameters, 2.0)
    torch.testing.assert_close(ours.weights["0.weight"], torch.tensor([[[1.2, 1.6], [0.3, 0.4]]]))


def test_lanes_compute_what_they_would_alone() -> None:
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    both = net(2)(x, Pass(False, []))
    for lane in range(2):
        single = network.build([Dense(units=3, init=HeNormal())], (4,), [lane], "cpu")
        torch.testing.assert_close(both[lane], single(x[lane : lane + 1], Pass(False, []))[0])
