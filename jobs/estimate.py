"""What a job will cost, before it runs."""

import math
from typing import Literal

from jobs.record import Entry
from jobs.rulebook import batch
from jobs.rules import Resolved
from jobs.spec import shapes
from jobs.spec.batch import rows_at_most
from jobs.spec.loss import Bce
from jobs.spec.model import Conv, Dense, Sequential, has_batch_norm
from jobs.spec.optimizer import Adagrad, Adam, AdamW, Optimizer, RmsProp, Sgd

FLOAT = 4
STEP_SECONDS = 150e-6
"""Of the smallest step there is, per network."""
LAYER_SECONDS = 25e-6
"""Added by each layer."""
OPERATIONS_PER_SECOND = 4e10
"""Of dense layers, on two CPU cores."""
EPOCH_SECONDS = 2e-3
"""Of the end of an epoch: order of rows, metrics, what is kept."""
START_SECONDS = 0.5
"""Data, network and results."""
LOGGED, MEASURED = 2, 8
"""Metric values per logged step and, at most, per epoch."""
PROCESS_BYTES = 400 * 1024**2
"""A training process before it has data."""


class Estimate(Entry):
    """Rough, and honest about it."""

    parameters: int
    """Trained numbers in the model; in each member of an ensemble."""
    memory_bytes: int
    """Process, data, weights, gradients, optimizer state and the activations of one step."""
    disk_bytes: int
    """Checkpoints that are kept, and the model."""
    steps: int
    """Optimizer steps at most."""
    points: int
    """Metric values on record at most."""
    seconds: float
    """At most, on two CPU cores; never more than `max_time`."""
    confidence: Literal["low", "medium"]
    """`low` with convolutions, whose speed differs most between machines."""


def estimate(resolved: Resolved) -> Estimate:
    """From the layers' shapes and the rows of the profile."""
    spec, facts = resolved.spec, resolved.facts
    assert isinstance(spec.model, Sequential)
    assert spec.log_every != "auto", "a resolved spec leaves nothing to guess"
    size = max(1, rows_at_most(spec.batch_size, facts.train_rows))
    length = batch.steps(spec, facts, size, has_batch_norm(spec.model.layers))
    head = Dense(units=1 if isinstance(spec.loss, Bce) else max(1, facts.outputs))
    placed = shapes.walk([*spec.model.layers, head], facts.shape)
    parameters = facts.table_parameters + sum(place.parameters for place in placed)
    operations = 3 * sum(place.operations for place in placed)  # forward, and backward to weights and to inputs
    rows = facts.train_rows + facts.validation_rows + facts.test_rows
    row_floats = math.prod(facts.shape)
    states, members = _optimizer_states(spec.optimizer), spec.ensemble.members if spec.ensemble else 1
    activations = 2 * size * sum(math.prod(place.after) for place in placed)
    of_models = members * (FLOAT * ((4 + states) * parameters + activations))  # weights, gradients, best and delivered
    checked = members * operations / 3 * facts.validation_rows / OPERATIONS_PER_SECOND
    step_seconds = STEP_SECONDS + LAYER_SECONDS * len(placed) + members * operations * size / OPERATIONS_PER_SECOND
    seconds = START_SECONDS + spec.epochs * (EPOCH_SECONDS + checked) + length.total * step_seconds
    return Estimate(
        parameters=parameters,
        memory_bytes=PROCESS_BYTES + FLOAT * 2 * rows * row_floats + of_models,
        disk_bytes=FLOAT * members * parameters * ((3 + states) * (spec.checkpoint.keep + 1) + 2),
        steps=length.total,
        points=LOGGED * (length.total // spec.log_every) + MEASURED * spec.epochs,
        seconds=round(min(seconds, spec.max_time or math.inf), 3),
        confidence="low" if any(isinstance(place.layer, Conv) for place in placed) else "medium",
    )


def _optimizer_states(optimizer: Optimizer) -> int:
    """Numbers that the optimizer keeps for each weight."""
    match optimizer:
        case Adam() | AdamW():
            return 2 + optimizer.amsgrad
        case RmsProp():
            return 1 + optimizer.centered + bool(optimizer.momentum)
        case Sgd() | Adagrad():
            return 1
        case _:
            return 2
