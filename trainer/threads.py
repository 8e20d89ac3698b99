"""How many threads a step is worth."""

import torch

from jobs.spec import shapes
from jobs.spec.batch import rows_at_most
from jobs.spec.job import JobSpec
from jobs.spec.model import Sequential
from trainer.data import Data

SMALL_STEP = 4e6
"""Multiplications and additions of a step, below which a second thread costs more than it brings. On two idle cores a
step of 0.24·10⁶ (16-32-16-10, batch 32) took 78 µs with one thread and 85 with two, one of 7.7·10⁶ (32 lanes of it) 238
and 205, one of 8.8·10⁶ (16-128-64-10, batch 128) 170 and 147, one of 180·10⁶ (784-256-128-10) 950 and 690 µs."""


def settle(spec: JobSpec, data: Data) -> None:
    """Lowers torch's thread count to one where steps are small. A resumed run takes its checkpoint's count instead."""
    assert isinstance(spec.model, Sequential), "a resolved spec has its layers written out"
    rows = rows_at_most(spec.batch_size, len(data.train))
    forward = sum(place.operations for place in shapes.walk(spec.model.layers, data.input_shape))
    members = spec.ensemble.members if spec.ensemble else 1
    step = 3 * forward * rows * members  # backward to the weights and to the inputs costs the same again, each
    if step < SMALL_STEP:
        torch.set_num_threads(1)
