"""Steps of Keras's optimizers.

Keras puts the epsilon of RMSprop and Adagrad inside the root, PyTorch and we outside: no number in these cases is small
enough to show it. Keras adds Adam's epsilon to √v before the bias correction, PyTorch and we after it: here ours is
corrected step by step.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from jobs.spec.init import Zeros
from jobs.spec.model import Dense
from jobs.spec.optimizer import Adam, AdamW, Clip, ClipGlobalNorm, ClipParameterNorm, ClipValue
from tests.golden.cases import Case, each
from tests.trainer.samples import resolved
from trainer import gradients, optimizers
from trainer.model import network
from trainer.model.network import Network
from trainer.optimizers import Updater

NAMES = {
    "learning_rate": "lr",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "epsilon": "eps",
    "rho": "alpha",
    "initial_accumulator_value": "initial_accumulator",
}
KERAS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adam": {"eps": 1e-7},
    "adamw": {"eps": 1e-7, "weight_decay": 0.004},
    "rmsprop": {"alpha": 0.9, "eps": 1e-7},
    "adagrad": {"initial_accumulator": 0.1, "eps": 1e-7},
    "adadelta": {"rho": 0.95, "eps": 1e-7},
}
"""Keras's defaults where they are not ours."""
CLIPS: dict[str, Callable[[float], Clip]] = {
    "clipnorm": lambda limit: ClipParameterNorm(max_norm=limit),
    "global_clipnorm": lambda limit: ClipGlobalNorm(max_norm=limit),
    "clipvalue": lambda limit: ClipValue(limit=limit),
}


def one_weight(values: list[float]) -> Network:
    found = network.build([Dense(units=1, bias=False, init=Zeros())], (len(values),), [0], "cpu")
    found.weights["0.weight"].copy_(torch.tensor(values).view(1, 1, -1))
    return found


def declared(case: Case) -> dict[str, Any]:
    kind = case["id"].split()[0].lower()
    config = {NAMES.get(name, name): value for name, value in case["config"].items() if name != "others"}
    if kind == "adadelta":
        config["rho"] = config.pop("alpha", 0.95)
    if not config.get("momentum"):  # Keras lets nesterov pass without a momentum, where it does nothing
        config = {name: value for name, value in config.items() if name not in ("momentum", "nesterov")}
    config = {
        name: float(value) if isinstance(value, int) and value is not True else value for name, value in config.items()
    }
    return {"kind": kind} | KERAS[kind] | config


def slopes(case: Case) -> list[list[float]]:
    if isinstance(case["grads"], list):
        return [case["grads"]]
    return [[0.01] * 10] + [[0.1 * k for k in range(1, 11)]] * 4


def steps(case: Case) -> None:
    net = one_weight(case["x0"])
    updater = Updater(resolved(optimizer=declared(case)), net.parameters)
    spec = resolved(optimizer=declared(case)).optimizer
    expected = case.get("expected_x_after_each_step") or [case["expected"]]
    for count, (gradient, after) in enumerate(zip(slopes(case), expected, strict=True), 1):
        net.parameters.gradient["0.weight"].copy_(torch.tensor(gradient).view(1, 1, -1))
        if isinstance(spec, Adam | AdamW):
            eps = spec.eps / math.sqrt(1 - spec.beta2**count)
            updater.update, _ = optimizers.build(spec.model_copy(update={"eps": eps}), net.parameters)
        updater.step([case["config"]["learning_rate"]], count)
        found = net.weights["0.weight"].flatten()
        torch.testing.assert_close(found, torch.tensor(after, dtype=torch.float32), rtol=0, atol=case["tol"])


def clipping(case: Case) -> None:
    ((name, limit),) = case["config"].items()
    net = one_weight([0.0] * len(case["grads"]))
    gradient = net.parameters.gradient["0.weight"]
    gradient.copy_(torch.tensor(case["grads"], dtype=torch.float32).view(1, 1, -1))
    gradients.clip(net.parameters, CLIPS[name](float(limit)))
    assert gradient.flatten().tolist() == pytest.approx(case["expected"], abs=case["tol"])


@each("optimizers")
def test_optimizers(case: Case) -> None:
    if case.get("config", {}).keys() & CLIPS.keys():
        clipping(case)
    elif "x0" in case:
        steps(case)
    else:
        pytest.skip("a list of defaults or formulas: docs/semantics.md compares them")
