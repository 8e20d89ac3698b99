"""The training loop."""

import dataclasses
import math
import time
from collections.abc import Iterator

import torch

from jobs.spec.explained import Decision
from jobs.spec.job import JobSpec
from jobs.spec.loss import Bce
from jobs.spec.model import Dense, Sequential
from jobs.spec.schedule import Plateau
from trainer import losses, network, optimizers, schedules, scores, seeds
from trainer.data import Data, Examples
from trainer.network import Pass
from trainer.reports import Finished, Progress, Started, StopReason
from trainer.state import Moment, Snapshot, State

REPORT_SECONDS = 0.5
"""At most this long between two reports, if steps are shorter."""


def fit(
    spec: JobSpec, data: Data, resume: Snapshot | None = None, lane_seeds: list[int] | None = None
) -> Iterator[Moment]:
    """Trains K models of one architecture, one per seed, and reports while it does.

    `spec` is resolved; `lane_seeds` defaults to the spec's one seed. Stopping is up to the caller: whoever leaves the
    iteration ends the run. With `resume`, the run goes on from that snapshot to the same bits. Reports speak of lane 0.

    Raises:
        torch.OutOfMemoryError: the batch does not fit on the device.
    """
    # --- device and data, resident for the whole run
    device, decisions = choose_device(spec)
    lane_seeds = lane_seeds or [spec.seed]
    lanes = len(lane_seeds)
    train = _on(device, data.train)  # x [N, *shape], y [N] or [N, targets]
    validation = _on(device, data.validation) if data.validation else None
    rows = len(train.x)

    # --- network, optimizer, loss
    assert isinstance(spec.model, Sequential), "a resolved spec has its layers written out"
    head = Dense(units=1 if isinstance(spec.loss, Bce) else data.outputs, init=spec.init)
    net = network.build([*spec.model.layers, head], data.input_shape, lane_seeds, device)
    updater = optimizers.Updater(spec, net)
    row_loss = losses.build(spec.loss)
    balance = losses.class_weights(train.y, data.outputs) if spec.class_weight == "balanced" else None

    # --- where batches begin; each lane has its own order of rows
    starts = batch_starts(rows, spec.batch_size, net.has_batch_norm)
    per_epoch = len(starts) - 1
    assert spec.log_every != "auto", "a resolved spec leaves nothing to guess"
    save_every = spec.checkpoint.save_freq if isinstance(spec.checkpoint.save_freq, int) else None

    # --- everything that changes while training
    state = State.fresh(spec, net, updater.optimizer, lane_seeds, device)
    if resume:
        state.restore(resume)
    began = time.monotonic() - state.seconds
    stop: StopReason | None = "max_epochs" if state.epoch >= spec.epochs else None

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
            device=device,
            threads=torch.get_num_threads(),
            parameters=sum(weight[0].numel() for weight in net.weights.values()),
            train_rows=rows,
            validation_rows=len(validation.x) if validation else 0,
            test_rows=len(data.test.x) if data.test else 0,
            decisions=decisions,
            notes=data.notes,
            resumed_from=resume.step if resume else None,
        )
    )
    reported = time.monotonic()

    while stop is None:
        # --- one epoch: rows permuted once, batches are slices
        epoch_began, trained = time.monotonic(), 0
        x, y = shuffled(train, lane_seeds, state.epoch, device)  # [K, N, *shape], [K, N, …]
        how = Pass(True, state.generators)
        for batch in range(state.step - state.epoch * per_epoch, per_epoch):
            first, last = starts[batch], starts[batch + 1]
            xs, ys = x[:, first:last], y[:, first:last]

            # forward, backward, update
            state.lr = schedules.rate(spec.schedule, state.base_lr, state.step, per_epoch)
            z = net(xs, how)  # [K, B, outputs]
            means = losses.lane_means(row_loss, z, ys, balance)  # [K]
            means.sum().backward()  # lanes share no weight, so each gradient is its own lane's
            updater.step(state.lr)

            # what the epoch's training metrics are made of, still on the device
            state.step += 1
            trained += last - first
            state.count(means.detach(), z.detach(), ys)
            if state.step % spec.log_every == 0:
                state.log_step(means.detach())
            if batch + 1 < per_epoch and (
                (save_every and state.step % save_every == 0) or time.monotonic() - reported > REPORT_SECONDS
            ):
                yield progress()
                reported = time.monotonic()

        # --- end of the epoch: measure, decide what is best, decide whether to go on
        del x, y
        state.speed = trained / max(1e-9, time.monotonic() - epoch_began) if trained else None
        measured = None
        if validation:
            z = scores.outputs(net, validation, lanes)
            measured = scores.validation(spec, data, row_loss, z, validation)
        improved = state.end_epoch(measured)
        if isinstance(spec.schedule, Plateau):
            state.observe_plateau(spec.schedule)
        if not math.isfinite(state.metrics[0]["train_loss"]):
            stop = "non_finite"
        elif all(state.stopped):
            stop = "early_stopping"
        elif state.epoch >= spec.epochs:
            stop = "max_epochs"
        elif spec.max_time is not None and time.monotonic() - began > spec.max_time:
            stop = "max_time"
        yield progress(improved=improved, epoch_ended=True)
        reported = time.monotonic()

    # --- deliver: the best weights where they are asked for, however the run ended
    delivered = state.deliver()
    test = None
    if data.test and stop != "non_finite":
        examples = _on(device, data.test)
        test = scores.held_out(spec, data, row_loss, scores.outputs(net, examples, lanes)[0], examples)
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
        )
    )


def choose_device(spec: JobSpec) -> tuple[str, list[Decision]]:
    """The device of this run; `cuda` where there is none falls to the worker's owner to mend."""
    if spec.device != "auto":
        return spec.device, []
    found = torch.cuda.is_available()
    device = "cuda" if found else "cpu"
    why = torch.cuda.get_device_name() if found else "This worker has no GPU."
    return device, [Decision(path="/device", requested="auto", value=device, rule="device.present", why=why)]


def batch_starts(rows: int, size: int | str, has_batch_norm: bool) -> list[int]:
    """Where each batch begins, and `rows` at the end. A last batch of one row is merged into the one before if there
    is a batch norm, which has no variance of one row."""
    step = size if isinstance(size, int) else rows
    starts = [*range(0, rows, step), rows]
    if has_batch_norm and len(starts) > 2 and starts[-1] - starts[-2] == 1:
        del starts[-2]
    return starts


def shuffled(examples: Examples, lane_seeds: list[int], epoch: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in the order of (seed, epoch), for each lane: x [K, N, *shape], y [K, N, …]."""
    rows = len(examples.x)
    orders = [torch.randperm(rows, generator=seeds.generator(seed, "order", epoch)) for seed in lane_seeds]
    if len(orders) == 1:
        order = orders[0].to(device)
        return examples.x.index_select(0, order).unsqueeze(0), examples.y.index_select(0, order).unsqueeze(0)
    stacked = torch.stack(orders).to(device)
    return examples.x[stacked], examples.y[stacked]


def _on(device: str, examples: Examples) -> Examples:
    return dataclasses.replace(examples, x=examples.x.to(device), y=examples.y.to(device))


def _message(stop: StopReason, state: State) -> str:
    match stop:
        case "max_epochs":
            return f"All {state.epoch} epochs were trained."
        case "early_stopping":
            return f"No improvement for the patience given; stopped after epoch {state.epoch}."
        case "max_time":
            return f"The time given was used up in epoch {state.epoch}."
        case "non_finite":
            return f"The loss of epoch {state.epoch} is not finite: lower the learning rate, or clip the gradient."
