"""The training loop."""

import dataclasses
import math
import time
from collections.abc import Iterator

import torch

from jobs.spec.explained import UNKNOWN, Background
from jobs.spec.job import JobSpec
from jobs.spec.loss import Bce
from jobs.spec.model import Dense, Sequential
from trainer import augmentation, batches, device, losses, scores, snapshots, trials
from trainer.batches import Lane
from trainer.data import Data, Examples
from trainer.diagnosis import findings, flow
from trainer.model import network, precision
from trainer.model.layers import Pass
from trainer.objective import Objective
from trainer.optimizers import Updater
from trainer.reports import Finished, Progress, Started, StopReason
from trainer.snapshots import Snapshot
from trainer.state import Moment, State
from trainer.step import Step

REPORT_SECONDS = 0.5
"""At most this long between two reports, if steps are shorter."""


def fit(
    spec: JobSpec,
    data: Data,
    resume: Snapshot | None = None,
    lanes: list[Lane] | None = None,
    background: Background = UNKNOWN,
) -> Iterator[Moment]:
    """Trains K models of one architecture, one per lane, and reports while it does.

    `spec` is resolved; `lanes` defaults to one, or the members of the ensemble. Stopping is up to the caller: whoever
    leaves the iteration ends the run. With `resume`, the run goes on from that snapshot to the same bits. Of the
    `background`, the attempts before count: the time that they took, and the parts that batches must be cut into.

    Raises:
        NoGpu: one is asked for, and there is none.
        torch.OutOfMemoryError: the batch does not fit on the device.
    """
    # --- device and data, resident for the whole run
    where, decisions = device.choose(spec)
    device.set_up(where, spec.determinism == "strict")
    lanes = lanes or batches.lanes_of(spec)
    train = _on(where, data.train)  # x [N, *shape], y [N] or [N, targets]
    validation = _on(where, data.validation) if data.validation else None
    rows = len(train.x)

    # --- network, objective, optimizer
    assert isinstance(spec.model, Sequential), "a resolved spec has its layers written out"
    head = Dense(units=1 if isinstance(spec.loss, Bce) else data.outputs, init=spec.init)
    seeds = [lane.seed for lane in lanes]
    layers = [*spec.model.layers, head]
    net = network.build(layers, data.input_shape, seeds, where, data.embeddings)
    balance = losses.class_weights(train.y, data.outputs) if spec.class_weight == "balanced" else None
    objective = Objective(spec.loss, balance)
    augment = augmentation.build(spec.augment, data.numeric)
    make = Step(net, objective, Updater(spec, net.parameters), background.micro_batches)

    # --- everything that changes while training; what only a try can tell is found before
    if resume:
        state = State.fresh(spec, net, make.updater, lanes, [0.0] * len(lanes))
        snapshots.restore(state, resume)
    else:
        size, rates, found = trials.settle(spec, make, train, lanes)
        state = State.fresh(spec, net, make.updater, lanes, rates)
        state.decisions = decisions + found
        state.batch_size = size
    whole = min(state.batch_size, rows)  # of a batch
    before, state.decisions = state.decisions, trials.cut(spec, make, whole, state.decisions)
    notes = [*data.notes, *precision.notes(spec, where)]
    if resume and state.decisions != before:
        notes.append("The checkpoint's run cut its batches into other parts: the last bits may differ from that run's.")
    most = flow.ROWS if make.parts == 1 else max(2, whole // make.parts)  # no more than fit into memory
    probe = flow.probe(net, objective, layers, train, state.flows, min(most, flow.ROWS))
    if not resume:
        probe.look(0, 0)
    how = Pass(True, state.generators, precision.low(spec))
    starts = batches.starts(rows, state.batch_size, net.has_batch_norm)
    per_epoch = len(starts) - 1
    assert spec.log_every != "auto", "a resolved spec leaves nothing to guess"
    save_every = spec.checkpoint.save_freq if isinstance(spec.checkpoint.save_freq, int) else None
    used = max(state.seconds, background.seconds)
    began = time.monotonic() - used
    longest = min(spec.max_time or math.inf, background.most_seconds or math.inf)
    deadline = began + longest
    stop = _end(spec, state) or ("max_time" if used >= longest else None)

    def moment(report: Started | Progress | Finished) -> Moment:
        state.seconds = time.monotonic() - began
        return Moment(report, state)

    def progress(improved: bool = False, epoch_ended: bool = False) -> Moment:
        points, latest = state.flush()
        return moment(
            Progress(
                epoch=state.epoch,
                epochs=spec.epochs,
                step=state.step,
                steps=spec.epochs * per_epoch,
                lr=state.lr,
                samples_per_second=state.speed,
                points=points,
                latest=latest,
                best=state.best_epoch(),
                improved=improved,
                epoch_ended=epoch_ended,
            )
        )

    yield moment(
        Started(
            device=where,
            threads=torch.get_num_threads(),
            parameters=network.count(net.parameters),
            train_rows=rows,
            validation_rows=len(validation.x) if validation else 0,
            test_rows=len(data.test.x) if data.test else 0,
            decisions=state.decisions,
            notes=notes,
            resumed_from=resume.step if resume else None,
        )
    )
    reported = time.monotonic()

    while stop is None:
        # --- one epoch: rows in each lane's order, gathered in blocks, batches are slices
        epoch_began, trained = time.monotonic(), 0
        order = batches.orders(lanes, rows, state.epoch, spec.shuffle)  # [K, N]
        first = state.step - state.epoch * per_epoch
        for batch, (xs, ys) in enumerate(batches.batches(train, order, starts, first), first + 1):
            if batch == per_epoch:
                probe.brace(state.epoch + 1)

            # augment, forward, backward, update
            rates = state.rates(per_epoch)
            xs, targets = augment(xs, ys, state.generators)
            z, means, moved = make(xs, targets, how, state.scale, rates, state.updates + 1)

            # what the epoch's training metrics are made of, still on the device
            state.step += 1
            state.updates += moved
            state.lr = rates[0]
            trained += ys.shape[1]
            state.count(means, z, ys)
            if state.step % spec.log_every == 0:
                state.log_step(means)
            now = time.monotonic()
            if batch < per_epoch and (
                (save_every and state.step % save_every == 0) or now - reported > REPORT_SECONDS or now > deadline
            ):
                yield progress()
                if now > deadline:
                    stop = "max_time"
                    break
                reported = time.monotonic()
        if stop:
            break

        # --- end of the epoch: measure, decide what is best, decide whether to go on
        state.speed = trained / max(1e-9, time.monotonic() - epoch_began) if trained else None
        measured = None
        if validation:
            z = scores.outputs(net, validation, len(lanes))
            measured = scores.validation(spec, data, objective.rows, z, validation)
        improved = state.end_epoch(measured)
        probe.look(state.epoch, state.step)
        stop = _end(spec, state) or ("max_time" if time.monotonic() > deadline else None)
        yield progress(improved=improved, epoch_ended=True)
        reported = time.monotonic()

    # --- deliver: the best weights where they are asked for, however the run ended
    if not state.epoch and not state.lost.isfinite().all():
        stop = "non_finite"
    probe.look(state.epoch, state.step, last=True)
    delivered = state.deliver()
    test = None
    if data.test and stop != "non_finite":
        examples = _on(where, data.test)
        z = scores.outputs(net, examples, len(lanes))
        test = scores.held_out(spec, data, objective.rows, z, examples)
    state.seconds = time.monotonic() - began
    yield moment(
        Finished(
            stop_reason=stop,
            message=_message(stop, state),
            epoch=state.epoch,
            step=state.step,
            best=state.best_epoch(),
            delivered_epoch=delivered,
            test=test,
            seconds=state.seconds,
            members=state.members(),
            diagnostics=findings.diagnose(spec, data, state.history, state.flows, test),
        )
    )


def _on(device: str, examples: Examples) -> Examples:
    return dataclasses.replace(examples, x=examples.x.to(device), y=examples.y.to(device))


def _end(spec: JobSpec, state: State) -> StopReason | None:
    """Whether the epochs so far are all; a run may be taken up again from its very end."""
    if not all(math.isfinite(lane["train_loss"]) for lane in state.metrics):
        return "non_finite"
    if all(state.stopped):
        return "early_stopping"
    return "max_epochs" if state.epoch >= spec.epochs else None


def _message(stop: StopReason, state: State) -> str:
    match stop:
        case "max_epochs":
            return f"All {state.epoch} epochs were trained."
        case "early_stopping":
            return f"No improvement for the patience given; stopped after epoch {state.epoch}."
        case "max_time":
            return _overdue(state)
        case "non_finite":
            epoch = state.epoch or 1
            return f"The loss of epoch {epoch} is not finite: lower the learning rate, or clip the gradient."


def _overdue(state: State) -> str:
    if not state.step:
        return "The time given was used up before the first step: the model is as it was initialised."
    if not state.epoch:
        return f"The time given was used up in epoch 1: the model is as it was after step {state.step}, not validated."
    if state.seen:
        return f"The time given was used up in epoch {state.epoch + 1}: the best of the epochs before it counts."
    return f"The time given was used up in epoch {state.epoch}."
