"""Batches changed at random before the network sees them, on their device.

Each lane draws from a generator of its own, in the order of the list: a lane changes its rows as it would alone.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import assert_never

import torch
from torch.nn import functional

from jobs.spec.augment import (
    Affine,
    Augmentation,
    Crop,
    Flip,
    Mixup,
    Noise,
    Rotate,
    Scale,
    Shear,
    Stretch,
    Translate,
)

Generators = Sequence[torch.Generator]
Targets = list[tuple[torch.Tensor, torch.Tensor | None]]
"""Each y [K, B, …] with its rows' share [K, B] of the loss; None for all of it. The shares of a row sum to 1."""
Change = Callable[[torch.Tensor, Generators], torch.Tensor]
Augment = Callable[[torch.Tensor, torch.Tensor, Generators], tuple[torch.Tensor, Targets]]
"""x [K, B, …], y [K, B, …] and K generators on x's device → x changed, and the targets of the loss."""


def build(augment: Sequence[Augmentation], numeric: int) -> Augment:
    """`numeric` inputs of a table come first and are the ones that noise is added to; all there are for images."""
    changes: list[Change] = []
    for is_affine, group in groupby(augment, key=lambda one: isinstance(one, Affine)):
        if is_affine:
            changes.append(partial(_move, [one for one in group if isinstance(one, Affine)]))
        else:
            changes += [_change(one, numeric) for one in group if not isinstance(one, Affine | Mixup)]
    mixing = next((one for one in augment if isinstance(one, Mixup)), None)

    def apply(x: torch.Tensor, y: torch.Tensor, generators: Generators) -> tuple[torch.Tensor, Targets]:
        for change in changes:
            x = change(x, generators)
        return _mix(mixing.alpha, x, y, generators) if mixing else (x, [(y, None)])

    return apply


def _change(one: Flip | Crop | Noise, numeric: int) -> Change:
    match one:
        case Flip():
            return partial(_flip, one)
        case Crop():
            return partial(_crop, one.pixels)
        case Noise():
            return partial(_add_noise, one.std, numeric)
        case _:
            assert_never(one)


def _uniform(generators: Generators, rows: int, count: int) -> torch.Tensor:
    """[K, B, count] in 0…1."""
    return torch.stack([torch.rand(rows, count, generator=one, device=one.device) for one in generators])


def _flip(flip: Flip, x: torch.Tensor, generators: Generators) -> torch.Tensor:
    chosen = _uniform(generators, x.shape[1], 1)[..., None, None] < flip.probability
    return torch.where(chosen, x.flip(4 if flip.axis == "horizontal" else 3), x)


def _crop(pixels: int, x: torch.Tensor, generators: Generators) -> torch.Tensor:
    height, width = x.shape[3:]
    corner = (_uniform(generators, x.shape[1], 2) * (2 * pixels + 1)).long().flatten(0, 1)  # [K·B, 2]
    padded = functional.pad(x, (pixels, pixels, pixels, pixels)).flatten(0, 1)
    row = corner[:, 0, None] + torch.arange(height, device=x.device)  # [K·B, H]
    column = corner[:, 1, None] + torch.arange(width, device=x.device)
    image = torch.arange(len(padded), device=x.device)
    cut = padded.movedim(1, 3)[image[:, None, None], row[:, :, None], column[:, None, :]]
    return cut.movedim(3, 1).reshape(x.shape)


def _add_noise(std: float, numeric: int, x: torch.Tensor, generators: Generators) -> torch.Tensor:
    held = x if x.dim() > 3 else x[..., :numeric]
    noise = torch.stack([torch.randn(held.shape[1:], generator=one, device=one.device) for one in generators])
    return torch.cat([held + std * noise, x[..., held.shape[-1] :]], dim=-1)


def _move(moves: Sequence[Affine], x: torch.Tensor, generators: Generators) -> torch.Tensor:
    """All moves at once: the inverses are multiplied, and each pixel of the result is looked up once (bilinear)."""
    lanes, rows, _, height, width = x.shape
    drawn = 2 * _uniform(generators, rows, 2 * len(moves)).flatten(0, 1).double() - 1  # [K·B, …] in -1…1
    back = torch.eye(3, dtype=torch.float64, device=x.device).expand(lanes * rows, 3, 3)
    for i, move in enumerate(moves):
        back = back @ inverse(move, drawn[:, 2 * i], drawn[:, 2 * i + 1], width, height)
    return sample(x.flatten(0, 1), back).view_as(x)


def inverse(move: Affine, u: torch.Tensor, v: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """[N, 3, 3] by draws u, v [N] in -1…1: from a place in the moved image, in pixels from its middle, to where its
    content was."""
    one, zero = torch.ones_like(u), torch.zeros_like(u)
    match move:
        case Translate():
            dx, dy = move.share * width * u, move.share * height * v
            return _matrix([one, zero, -dx], [zero, one, -dy])
        case Rotate():
            angle = math.radians(move.degrees) * u
            cos, sin = angle.cos(), angle.sin()
            return _matrix([cos, sin, zero], [-sin, cos, zero])
        case Scale():
            factor = _between(move.low, move.high, u)
            return _matrix([1 / factor, zero, zero], [zero, 1 / factor, zero])
        case Stretch():
            across, down = _between(move.low, move.high, u), _between(move.low, move.high, v)
            return _matrix([1 / across, zero, zero], [zero, 1 / down, zero])
        case Shear():
            return _matrix([one, -(math.radians(move.degrees) * u).tan(), zero], [zero, one, zero])
        case _:
            assert_never(move)


def _between(low: float, high: float, u: torch.Tensor) -> torch.Tensor:
    return low + (high - low) * (u + 1) / 2


def _matrix(x: list[torch.Tensor], y: list[torch.Tensor]) -> torch.Tensor:
    zero = torch.zeros_like(x[0])
    return torch.stack([torch.stack(row, -1) for row in (x, y, [zero, zero, zero + 1])], dim=-2)


def sample(x: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Images [N, C, H, W], each read where `back` [N, 3, 3] sends its places; 0 outside."""
    height, width = x.shape[2:]
    unit = torch.tensor([2 / width, 2 / height, 1.0], dtype=back.dtype, device=x.device)  # grids run from -1 to 1
    theta = (unit[:, None] * back / unit)[:, :2].to(x.dtype)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _mix(alpha: float, x: torch.Tensor, y: torch.Tensor, generators: Generators) -> tuple[torch.Tensor, Targets]:
    rows = x.shape[1]
    share = symmetric_beta(alpha, _uniform(generators, rows, 2)).to(x.dtype)  # [K, B]
    order = torch.stack([torch.randperm(rows, generator=one, device=one.device) for one in generators])
    lane = torch.arange(len(x), device=x.device)[:, None]
    weight = share.reshape(*share.shape, *[1] * (x.dim() - 2))
    mixed = weight * x + (1 - weight) * x[lane, order]
    return mixed, [(y, share), (y[lane, order], 1 - share)]


def symmetric_beta(alpha: float, draws: torch.Tensor) -> torch.Tensor:
    """Beta(alpha, alpha) from two uniform numbers in 0…1, in float64: (1 + t/√(1 + t²))/2 with
    t = √(u^(-1/alpha) - 1)·cos 2πv. Devroye 1996, "Random variate generation in one line of code".

    Written with w = u^(1/alpha), which cannot overflow.
    """
    u, v = draws.double().unbind(-1)
    w, cos = u ** (1 / alpha), torch.cos(2 * math.pi * v)
    return (1 + cos * torch.sqrt((1 - w) / (cos * cos * (1 - w) + w).clamp_min(1e-300))) / 2
