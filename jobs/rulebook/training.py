"""Rules about the training: loss, batch size, monitors, schedule, what is logged."""

import math

from jobs.rulebook.batch import Steps
from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec.job import JobSpec
from jobs.spec.loss import AutoLoss, Bce, CrossEntropy, Loss, Mse
from jobs.spec.metrics import direction, monitors
from jobs.spec.schedule import Cosine, Linear, OneCycle, Plateau, Polynomial, Schedule
from jobs.spec.stopping import Checkpoint, EarlyStopping, Mode

MOST_LOGGED = 5000
"""Batch losses recorded per run, about."""


def loss(spec: JobSpec, facts: Facts, ledger: Ledger) -> Loss:
    """What is minimised."""
    asked = spec.loss
    if spec.class_weight == "balanced" and facts.task == "regression":
        ledger.fault("/class_weight", "no_classes", "A regression has no classes to weigh; use class_weight none.")
    if isinstance(asked, AutoLoss):
        chosen: Loss = CrossEntropy() if facts.task == "classification" else Mse()
        return ledger.decide("/loss", asked, chosen, f"loss.{facts.task}", f"The task is {facts.task}.")
    fits = isinstance(asked, CrossEntropy | Bce) == (facts.task == "classification")
    if not fits:
        mend = "cross_entropy" if facts.task == "classification" else "mse, mae or huber"
        ledger.fault("/loss", "loss_misfit", f"{asked.kind} is not a loss for {facts.task}; use {mend}, or auto.")
    elif isinstance(asked, Bce) and facts.classes != 2:
        ledger.fault(
            "/loss", "bce_classes", f"bce is for two classes, the target has {facts.classes}: use cross_entropy."
        )
    return asked


def monitor(
    asked: EarlyStopping | Checkpoint | Plateau, pointer: str, preferred: str, facts: Facts, ledger: Ledger
) -> tuple[str, Mode]:
    """Which metric decides, and which way is better."""
    available = monitors(facts.task, validation=facts.validation_rows > 0)
    name = asked.monitor
    if name == "auto":
        why = "There are validation rows." if facts.validation_rows else "There are no validation rows."
        name = ledger.decide(f"{pointer}/monitor", "auto", preferred, "monitor.preferred", why)
    elif name not in available:
        text = f"This run will not have this metric. It will have: {', '.join(available)}."
        ledger.fault(f"{pointer}/monitor", "unknown_monitor", text)
        return name, "min"
    natural = direction(name)
    if asked.mode == "auto":
        why = f"For {name}, {'less' if natural == 'min' else 'more'} is better."
        return name, ledger.decide(f"{pointer}/mode", "auto", natural, "monitor.mode", why)
    if asked.mode != natural:
        ledger.warn(f"{pointer}/mode", "mode_unusual", f"For {name}, {natural} is usual.")
    return name, asked.mode


def stopping(spec: JobSpec, facts: Facts, preferred: str, ledger: Ledger) -> EarlyStopping | None:
    """When to stop."""
    asked = spec.early_stopping
    if asked is None:
        return None
    if asked == "auto":
        return _stopping_by_rule(facts, preferred, ledger)
    name, mode = monitor(asked, "/early_stopping", preferred, facts, ledger)
    if asked.patience >= spec.epochs:
        text = f"With a patience of {asked.patience} in {spec.epochs} epochs it will never stop early."
        ledger.warn("/early_stopping/patience", "patience_longer_than_run", text)
    if name.startswith("train_"):
        ledger.warn(
            "/early_stopping/monitor", "monitor_training", "A training metric cannot see overfitting; hold rows back."
        )
    return asked.model_copy(update={"monitor": name, "mode": mode})


def _stopping_by_rule(facts: Facts, preferred: str, ledger: Ledger) -> EarlyStopping | None:
    path, rows = "/early_stopping", facts.validation_rows
    if not rows:
        return ledger.decide(path, "auto", None, "stopping.no_validation", "There are no validation rows to judge by.")
    chosen = EarlyStopping(monitor=preferred, mode=direction(preferred))
    why = f"{rows} validation rows tell which epoch is best."
    return ledger.decide(path, "auto", chosen, "stopping.validation", why)


def checkpoint(spec: JobSpec, stop: EarlyStopping | None, facts: Facts, preferred: str, ledger: Ledger) -> Checkpoint:
    """What is kept."""
    asked = spec.checkpoint
    if stop and asked.monitor == "auto":
        why = "Early stopping watches it."
        name = ledger.decide("/checkpoint/monitor", "auto", stop.monitor, "monitor.stopping", why)
        asked = asked.model_copy(update={"monitor": name})
        if asked.mode == "auto":
            mode = ledger.decide("/checkpoint/mode", "auto", stop.mode, "monitor.stopping", why)
            return asked.model_copy(update={"mode": mode})
    name, mode = monitor(asked, "/checkpoint", preferred, facts, ledger)
    return asked.model_copy(update={"monitor": name, "mode": mode})


def schedule(spec: JobSpec, length: Steps, facts: Facts, preferred: str, ledger: Ledger) -> Schedule:
    """The learning rate over time."""
    asked = spec.schedule
    warm_steps = _warmup(asked, length, ledger)
    if isinstance(asked, Plateau):
        name, mode = monitor(asked, "/schedule", preferred, facts, ledger)
        if asked.patience >= spec.epochs:
            text = f"With a patience of {asked.patience} in {spec.epochs} epochs it will never cut the rate."
            ledger.warn("/schedule/patience", "patience_longer_than_run", text)
        return asked.model_copy(update={"monitor": name, "mode": mode})
    if isinstance(asked, Linear | Polynomial | Cosine | OneCycle) and asked.length == "auto":
        rest = max(1, length.total - warm_steps)
        units = rest if asked.unit == "step" else math.ceil(rest / length.per_epoch)
        why = f"{length.total} steps less {warm_steps} of warm-up, in {asked.unit}s."
        units = ledger.decide("/schedule/length", "auto", units, "schedule.rest", why)
        return asked.model_copy(update={"length": units})
    return asked


def _warmup(asked: Schedule, length: Steps, ledger: Ledger) -> int:
    """Its steps."""
    warm = asked.warmup
    steps = 0 if warm is None else warm.length * (length.per_epoch if warm.unit == "epoch" else 1)
    if steps >= length.total:
        text = f"The warm-up takes {steps} steps, the whole run {length.total}; shorten it."
        ledger.fault("/schedule/warmup/length", "warmup_longer_than_run", text)
    elif 2 * steps > length.total:
        text = f"The warm-up takes {steps} of {length.total} steps; a tenth is usual."
        ledger.warn("/schedule/warmup/length", "warmup_long", text)
    return steps


def log_every(spec: JobSpec, length: Steps, ledger: Ledger) -> int:
    """Steps between two recorded batch losses."""
    if spec.log_every != "auto":
        return spec.log_every
    every = math.ceil(length.total / MOST_LOGGED)
    why = f"{length.total} steps, at most {MOST_LOGGED} records."
    return ledger.decide("/log_every", "auto", every, "log.sparse", why)
