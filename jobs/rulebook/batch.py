"""Rules about the batch: how many rows make a step, and how many steps make a run."""

import math
from dataclasses import dataclass

from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec.batch import BatchSize, LargestBatch, rows_at_most
from jobs.spec.job import JobSpec
from jobs.spec.model import BatchNorm
from jobs.spec.shapes import Placed

FULL_BATCH_BELOW = 2000
SMALLEST_BATCH, LARGEST_BATCH = 64, 512
STEPS_PER_EPOCH = 64
"""auto takes the largest batch that leaves this many steps per epoch."""
SMALL_BATCH = 32


@dataclass(frozen=True)
class Steps:
    """How long the run is."""

    per_epoch: int
    total: int


def size(spec: JobSpec, facts: Facts, ledger: Ledger) -> BatchSize:
    """Rows per step; whether they fit is for the worker to try."""
    asked, rows = spec.batch_size, facts.train_rows
    if asked == "auto":
        return _by_rule(rows, ledger)
    if isinstance(asked, LargestBatch) and asked.at_least > asked.first:
        text = "There must be a power of two from `at_least` to `at_most`."
        ledger.fault("/batch_size/at_least", "empty_range", text)
    if isinstance(asked, int):
        _warn(asked, rows, ledger)
    return asked


def _by_rule(rows: int, ledger: Ledger) -> BatchSize:
    if rows < FULL_BATCH_BELOW:
        why = f"{rows} training rows are fewer than {FULL_BATCH_BELOW}."
        return ledger.decide("/batch_size", "auto", "full", "batch.full", why)
    fitting = 2 ** int(math.log2(max(1, rows // STEPS_PER_EPOCH)))
    most = min(LARGEST_BATCH, max(SMALLEST_BATCH, fitting))
    span = f"{SMALLEST_BATCH}…{LARGEST_BATCH}"
    why = f"The largest power of two in {span} that makes {STEPS_PER_EPOCH} steps of {rows} rows, or the smallest."
    chosen = LargestBatch(at_most=most, at_least=min(SMALLEST_BATCH, most))
    return ledger.decide("/batch_size", "auto", chosen, "batch.power_of_two", why)


def _warn(asked: int, rows: int, ledger: Ledger) -> None:
    if asked.bit_count() != 1:
        ledger.warn("/batch_size", "batch_not_power_of_two", f"{asked} is not a power of two; hardware likes those.")
    if asked < SMALL_BATCH and asked < rows:
        text = f"Batches of {asked} make slow steps and noisy gradients; try {SMALL_BATCH} or more."
        ledger.warn("/batch_size", "batch_small", text)
    if asked > rows:
        text = f"There are {rows} training rows; this is a full batch."
        ledger.warn("/batch_size", "batch_larger_than_data", text)


def steps(spec: JobSpec, facts: Facts, chosen: BatchSize, has_batch_norm: bool) -> Steps:
    """Optimizer steps per epoch and in all. A batch norm has a last batch of one row merged into the one before."""
    rows = facts.train_rows
    step = max(1, rows_at_most(chosen, rows))
    per_epoch = max(1, math.ceil(rows / step))
    if has_batch_norm and per_epoch > 1 and rows - (per_epoch - 1) * step == 1:
        per_epoch -= 1
    return Steps(per_epoch, per_epoch * spec.epochs)


def check_one(placed: list[Placed], facts: Facts, chosen: BatchSize, ledger: Ledger) -> None:
    """A batch norm over a single value per channel has no variance."""
    rows = rows_at_most(chosen, facts.train_rows)
    if rows == 1 and any(isinstance(place.layer, BatchNorm) and math.prod(place.before[1:]) == 1 for place in placed):
        text = "A batch norm needs at least two rows per step; take larger batches, or layer_norm."
        ledger.fault("/batch_size", "batch_of_one", text)
