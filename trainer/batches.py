"""In which order a lane sees the rows, and how they reach the network."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import torch

from jobs.spec.job import JobSpec
from trainer import ensembles, seeds
from trainer.data import Examples

BLOCK_FLOATS = 1 << 20
"""Input values gathered at a time, about: larger blocks leave the cache, and their memory is new each time."""


@dataclass(frozen=True)
class Lane:
    """What one model draws from."""

    seed: int
    """Of its initial weights."""
    draws: int
    """Of its order of rows, dropout and augmentation."""
    resamples: bool = False
    """Trains on a bootstrap sample of the training rows."""


def lanes_of(spec: JobSpec) -> list[Lane]:
    """One for a single model; the first member of an ensemble draws as the single model does."""
    vary = spec.ensemble.vary if spec.ensemble else "seed"
    members = ensembles.member_seeds(spec)
    return [Lane(seed, spec.seed if vary == "init" else seed, vary == "bootstrap") for seed in members]


def generators(lanes: list[Lane], device: str) -> list[torch.Generator]:
    """For dropout and augmentation, one per lane."""
    return [seeds.generator(lane.draws, "draws", device=device) for lane in lanes]


def starts(rows: int, size: int, has_batch_norm: bool) -> list[int]:
    """Where each batch begins, and `rows` at the end. A last batch of one row is merged into the one before if there
    is a batch norm, which has no variance of one row."""
    begins = [*range(0, rows, size), rows]
    if has_batch_norm and len(begins) > 2 and begins[-1] - begins[-2] == 1:
        del begins[-2]
    return begins


def orders(lanes: list[Lane], rows: int, epoch: int, shuffle: bool) -> torch.Tensor:
    """[K, rows]: each lane's order of rows in an epoch, by (draws, epoch) alone."""
    drawn: dict[Lane, torch.Tensor] = {}
    for lane in lanes:
        key = Lane(0, lane.draws, lane.resamples)
        if key not in drawn:
            drawn[key] = _order(lane, rows, epoch, shuffle)
    return torch.stack([drawn[Lane(0, lane.draws, lane.resamples)] for lane in lanes])


def _order(lane: Lane, rows: int, epoch: int, shuffle: bool) -> torch.Tensor:
    order = torch.arange(rows)
    if shuffle:
        order = torch.randperm(rows, generator=seeds.generator(lane.draws, "order", epoch))
    if lane.resamples:
        order = torch.randint(rows, (rows,), generator=seeds.generator(lane.draws, "bootstrap"))[order]
    return order


def batches(
    train: Examples, order: torch.Tensor, begins: list[int], first: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """x [K, B, …] and y [K, B, …] of each batch from number `first` on; gathered in blocks of batches.

    Blocks begin where they do when `first` is 0: a batch that lay elsewhere in memory would give other last bits.
    """
    order = order.to(train.x.device)
    per_batch = len(order) * math.prod(train.x.shape[1:]) * (begins[1] - begins[0])
    at_once = max(1, BLOCK_FLOATS // max(1, per_batch))
    for head in range(first - first % at_once, len(begins) - 1, at_once):
        bounds = begins[head : head + at_once + 1]
        rows = order[:, bounds[0] : bounds[-1]]
        x, y = _gathered(train.x, rows), _gathered(train.y, rows)
        for start, end in islice(pairwise(bounds), max(0, first - head), None):
            yield x[:, start - bounds[0] : end - bounds[0]], y[:, start - bounds[0] : end - bounds[0]]


def _gathered(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = values.index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return found
