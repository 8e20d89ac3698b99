"""The start of weights and biases."""

import math
from typing import assert_never

import torch

from jobs.spec.init import (
    AutoInit,
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


def fill(weight: torch.Tensor, init: Init, generator: torch.Generator) -> None:
    """Draws a weight [out, in, *window] in place. fan_in = in·window, fan_out = out·window, as in `torch.nn.init`."""
    window = math.prod(weight.shape[2:])
    fan_in, fan_out = weight.shape[1] * window, weight.shape[0] * window
    match init:
        case Zeros():
            weight.zero_()
        case ConstantInit():
            weight.fill_(init.value)
        case Orthogonal():
            torch.nn.init.orthogonal_(weight, init.gain, generator)
        case Uniform():
            weight.uniform_(-init.bound, init.bound, generator=generator)
        case XavierUniform() | HeUniform() | LecunUniform():
            bound = math.sqrt(3) * _std(init, fan_in, fan_out)
            weight.uniform_(-bound, bound, generator=generator)
        case Normal() | XavierNormal() | HeNormal() | LecunNormal():
            std = _std(init, fan_in, fan_out)
            if init.truncated:
                torch.nn.init.trunc_normal_(weight, 0, std, -2 * std, 2 * std, generator)
            else:
                weight.normal_(0, std, generator=generator)
        case AutoInit():
            raise AssertionError("a resolved spec leaves no init to guess")
        case _:
            assert_never(init)


def bias(init: Init) -> float:
    """The start of every bias of the layer."""
    return 0.0 if isinstance(init, AutoInit) else init.bias


def _std(
    init: Normal | XavierNormal | XavierUniform | HeNormal | HeUniform | LecunNormal | LecunUniform,
    fan_in: int,
    fan_out: int,
) -> float:
    match init:
        case Normal():
            return init.std
        case XavierNormal() | XavierUniform():
            return init.gain * math.sqrt(2 / (fan_in + fan_out))
        case HeNormal() | HeUniform():
            return init.gain * math.sqrt(2 / (fan_in if init.mode == "fan_in" else fan_out))
        case LecunNormal() | LecunUniform():
            return init.gain * math.sqrt(1 / fan_in)
        case _:
            assert_never(init)
