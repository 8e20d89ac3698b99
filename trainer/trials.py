"""What only a try can tell: the batch that fits and the learning rate that works. Nothing of a try is left behind."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import JsonValue

from jobs.spec.batch import LargestBatch
from jobs.spec.explained import Decision
from jobs.spec.job import JobSpec
from trainer import alive, batches, memory
from trainer.batches import Lane
from trainer.data import Examples
from trainer.model import precision
from trainer.model.layers import Pass
from trainer.model.precision import LossScale
from trainer.objective import Target
from trainer.step import Step

RANGE_STEPS = 100
"""Of a range test."""
WINDOW = 20
"""Steps of it that a slope is taken over."""
WORSE = 4.0
"""The test ends for a lane where the loss is so many times that of the first steps."""

Try = Callable[[int, list[float], int], torch.Tensor]
"""(batch size, learning rate of each lane, number of the step from 0) makes one step; mean losses [K] before it."""


def settle(spec: JobSpec, step: Step, train: Examples, lanes: list[Lane]) -> tuple[int, list[float], list[Decision]]:
    """The batch size, the learning rate of each lane, and what was decided to get there."""
    rows, decisions = len(train.x), list[Decision]()
    asked, lr = spec.batch_size, spec.optimizer.lr
    size = asked if isinstance(asked, int) else rows
    train_once = _trier(spec, step, train, lanes)
    if isinstance(asked, LargestBatch):
        whole = dataclasses.replace(step, parts=1)  # the size is that of an attempt that did not cut it
        with undone(step):
            size, why = largest_batch(asked, rows, _trier(spec, whole, train, lanes), len(lanes))
        decisions.append(_of_batch(spec, size, "batch.probe", why))
    if lr != "auto":
        return size, [lr] * len(lanes), decisions
    with undone(step):
        rates = learning_rates(spec.optimizer.usual_lr, size, train_once, len(lanes))
    why = f"In {RANGE_STEPS} steps at growing rates the loss fell most steeply here."
    floor = getattr(spec.schedule, "min_lr", 0.0)
    if min(rates) < floor:
        rates, why = [max(rate, floor) for rate in rates], f"{why} Raised to the schedule's floor."
    value: JsonValue = rates[0] if len(rates) == 1 else list(rates)
    decisions.append(Decision(path="/optimizer/lr", requested="auto", value=value, rule="lr.range_test", why=why))
    return size, rates, decisions


def cut(spec: JobSpec, step: Step, size: int, decided: list[Decision]) -> list[Decision]:
    """What was decided, with the parts of a batch of `size` rows as they are now."""
    others = [decision for decision in decided if decision.rule != "batch.micro"]
    if step.parts == 1:
        return others
    cut = f"each batch of {size} rows is computed in {step.parts} parts of at most {-(-size // step.parts)}"
    why = f"The attempt before ran out of memory: {cut}; the update is the same."
    if step.network.has_batch_norm:
        why += " But a batch norm sees the statistics of a part."
    return [*others, _of_batch(spec, size, "batch.micro", why)]


def _of_batch(spec: JobSpec, size: int, rule: str, why: str) -> Decision:
    asked = spec.batch_size
    requested = asked.model_dump(mode="json") if isinstance(asked, LargestBatch) else asked
    return Decision(path="/batch_size", requested=requested, value=size, rule=rule, why=why)


def _trier(spec: JobSpec, step: Step, train: Examples, lanes: list[Lane]) -> Try:
    rows, device = len(train.x), str(train.x.device)
    order = batches.orders(lanes, rows, 0, spec.shuffle)
    how = Pass(True, batches.generators(lanes, device), precision.low(spec))
    scale = LossScale(active=spec.precision == "fp16")

    def train_once(size: int, lrs: list[float], number: int) -> torch.Tensor:
        alive.say()
        starts = batches.starts(rows, size, step.network.has_batch_norm)
        x, y = next(batches.batches(train, order, starts, number % (len(starts) - 1)))
        return step(x, [Target(y)], how, scale, lrs, number + 1)[1]

    return train_once


@contextmanager
def undone(step: Step) -> Iterator[None]:
    """Puts everything that steps move back in place, gradients too: the gaps between them are never written again."""
    moved = [*step.network.numbers().values(), *step.updater.state.values(), step.network.parameters.gradients]
    before = [tensor.clone() for tensor in moved]
    try:
        yield
    finally:
        for tensor, old in zip(moved, before, strict=True):
            tensor.copy_(old)


def largest_batch(wanted: LargestBatch, rows: int, train: Try, lanes: int) -> tuple[int, str]:
    """The size and how it was found, for people.

    Raises:
        torch.OutOfMemoryError: not even the smallest fits.
    """
    size = wanted.first
    tried = []
    while True:
        try:
            train(min(size, rows), [0.0] * lanes, 0)
        except (RuntimeError, MemoryError) as error:
            if not memory.ran_out(error) or size // 2 < wanted.at_least:
                raise
            tried.append(str(size))
            size //= 2
        else:
            failed = f" {', '.join(tried)} did not." if tried else ""
            return size, f"A step with {size} rows fits into memory.{failed}"


def learning_rates(usual: tuple[float, float], size: int, train: Try, lanes: int) -> list[float]:
    """One rate per lane by a range test (Smith 2017): the rate grows from step to step, from a tenth of the
    optimizer's usual range to ten times it; the answer is where the loss falls most steeply over log lr."""
    rates = np.geomspace(usual[0] / 10, usual[1] * 10, RANGE_STEPS)
    losses = torch.stack([train(size, [float(rate)] * lanes, number) for number, rate in enumerate(rates)])
    return [steepest(rates, lane) for lane in losses.double().T.cpu().numpy()]


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate, rounded to two digits, from the losses seen at growing rates; the middle one if no loss ever fell.

    Slopes are those of least squares over a window, since single batches are noisy.
    """
    logs = np.log(rates)
    starts = range(_end(losses) - WINDOW + 1)
    slopes = [np.polyfit(logs[i : i + WINDOW], losses[i : i + WINDOW], 1)[0] for i in starts]
    best = int(np.argmin(slopes)) if slopes and min(slopes) < 0 else (len(rates) - WINDOW) // 2
    return float(f"{np.exp(logs[best : best + WINDOW].mean()):.1e}")


def _end(losses: np.ndarray) -> int:
    """Where a lane's loss is no longer worth a look."""
    lowest = np.minimum.accumulate(np.where(np.isfinite(losses), losses, np.inf))
    bad = ~(losses <= WORSE * np.maximum(lowest, np.median(losses[: WINDOW // 2])))
    return int(np.argmax(bad)) if bad.any() else len(losses)
