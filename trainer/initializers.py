"""The start of weights."""

import math
from typing import assert_never

import torch

from jobs.spec.model import (
    AutoInit,
    HeNormal,
    HeUniform,
    Init,
    LecunNormal,
    Normal,
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
        case Normal():
            weight.normal_(0, init.std, generator=generator)
        case Uniform():
            weight.uniform_(-init.bound, init.bound, generator=generator)
        case XavierNormal():
            weight.normal_(0, init.gain * math.sqrt(2 / (fan_in + fan_out)), generator=generator)
        case XavierUniform():
            bound = init.gain * math.sqrt(6 / (fan_in + fan_out))
            weight.uniform_(-bound, bound, generator=generator)
        case HeNormal():
            weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        case HeUniform():
            bound = math.sqrt(6 / fan_in)
            weight.uniform_(-bound, bound, generator=generator)
        case LecunNormal():
            weight.normal_(0, math.sqrt(1 / fan_in), generator=generator)
        case AutoInit():
            raise AssertionError("a resolved spec leaves no init to guess")
        case _:
            assert_never(init)
