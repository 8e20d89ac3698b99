"""Contradictions that a spec shows by itself, before anything is known of its dataset."""

from jobs.rulebook import augment
from jobs.rulebook.ledger import Ledger
from jobs.spec.data import ColumnSplit, GivenSplit, GroupSplit, MinMaxScaler, RobustScaler, Rows, Split
from jobs.spec.job import JobSpec
from jobs.spec.optimizer import AdamW, Muon, Sgd
from jobs.spec.schedule import Cosine, CosineRestarts, Plateau, Polynomial
from jobs.spec.stopping import EarlyStopping

LARGEST = 1e30
"""Of the numbers in a row; a network computes in 32 bits."""


def find(spec: JobSpec, ledger: Ledger) -> None:
    """Writes every one of them down."""
    _optimizer(spec, ledger)
    _split(spec.split, ledger)
    _scaler(spec, ledger)
    _schedule(spec, ledger)
    _columns(spec, ledger)
    augment.contradictions(spec, ledger)
    if isinstance(spec.dataset, Rows):
        _rows(spec.dataset, ledger)
    if isinstance(spec.early_stopping, EarlyStopping) and spec.early_stopping.start_from_epoch >= spec.epochs:
        text = f"There are only {spec.epochs} epochs; begin earlier."
        ledger.fault("/early_stopping/start_from_epoch", "starts_after_end", text)


def _optimizer(spec: JobSpec, ledger: Ledger) -> None:
    optimizer = spec.optimizer
    if isinstance(optimizer, Sgd) and optimizer.nesterov and not optimizer.momentum:
        text = "Nesterov's gradient looks ahead along the momentum: set a momentum (0.9 is usual), or nesterov false."
        ledger.fault("/optimizer/nesterov", "nesterov_without_momentum", text)
    if isinstance(optimizer, AdamW | Muon) and spec.regularization.weight_decay:
        text = f"{optimizer.kind} has a weight_decay of its own; set that one and leave this 0."
        ledger.fault("/regularization/weight_decay", "two_weight_decays", text)
    low, high = optimizer.usual_lr
    if isinstance(optimizer.lr, float) and not low <= optimizer.lr <= high:
        ledger.warn("/optimizer/lr", "lr_unusual", f"{optimizer.kind} is mostly used with {low:g} to {high:g}.")


def _split(split: Split, ledger: Ledger) -> None:
    held = getattr(split, "validation", 0.0) + (0.0 if isinstance(split, GivenSplit) else getattr(split, "test", 0.0))
    if held >= 1:
        text = "Validation and test take all rows; together they must stay below 1."
        ledger.fault("/split", "split_takes_all", text)


def _scaler(spec: JobSpec, ledger: Ledger) -> None:
    scaler = spec.scaler
    if isinstance(scaler, MinMaxScaler) and scaler.low >= scaler.high:
        ledger.fault("/scaler/high", "empty_range", "`high` must lie above `low`.")
    if isinstance(scaler, RobustScaler) and scaler.q_low >= scaler.q_high:
        ledger.fault("/scaler/q_high", "empty_range", "`q_high` must lie above `q_low`.")


def _columns(spec: JobSpec, ledger: Ledger) -> None:
    targets = [spec.target] if isinstance(spec.target, str) else spec.target or []
    if len(set(targets)) < len(targets):
        ledger.fault("/target", "target_twice", "A target is named twice; name each once.")
    include, exclude = set(spec.features.include or []), set(spec.features.exclude)
    if include & set(targets):
        ledger.fault("/features/include", "target_as_feature", "The target cannot be a feature; take it out.")
    if include & exclude:
        ledger.fault("/features/exclude", "included_and_excluded", "A column is included and excluded; choose one.")
    if isinstance(spec.split, ColumnSplit | GroupSplit) and spec.split.column in targets:
        ledger.fault("/split/column", "split_by_target", "The target cannot say where a row belongs.")


def _schedule(spec: JobSpec, ledger: Ledger) -> None:
    schedule, lr = spec.schedule, spec.optimizer.lr
    if not isinstance(schedule, Polynomial | Cosine | CosineRestarts | Plateau):
        return
    if lr == "auto":
        if schedule.min_lr > spec.optimizer.usual_lr[1]:
            text = f"The floor lies above the usual rates of {spec.optimizer.kind}; the rate found is raised to it."
            ledger.warn("/schedule/min_lr", "lr_unusual", text)
    elif schedule.min_lr > lr:
        text = f"The floor lies above the learning rate, {lr:g}; lower it, or raise the rate."
        ledger.fault("/schedule/min_lr", "floor_above_lr", text)


def _rows(dataset: Rows, ledger: Ledger) -> None:
    for index, row in enumerate(dataset.rows):
        for name, value in row.items():
            pointer = f"/dataset/rows/{index}/{name.replace('~', '~0').replace('/', '~1')}"
            if isinstance(value, dict | list):
                ledger.fault(pointer, "nested_value", "A cell holds a number, a string, a boolean or null.")
            elif isinstance(value, int | float) and not abs(value) <= LARGEST:
                ledger.fault(pointer, "too_large", f"A number lies between -{LARGEST:g} and {LARGEST:g}.")
