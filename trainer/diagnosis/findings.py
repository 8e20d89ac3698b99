"""Everything that a run says about itself when it is over."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import assert_never

import torch
from pydantic import JsonValue

from jobs.spec import remedies
from jobs.spec.explained import Code, Diagnostics, Finding, Flow
from jobs.spec.job import JobSpec
from jobs.spec.loss import Bce, Mse
from jobs.spec.model import Sequential, has_batch_norm
from trainer import losses
from trainer.data import Data
from trainer.diagnosis import flow, signals, verdicts
from trainer.diagnosis.verdicts import Verdict
from trainer.objective import Objective, Target
from trainer.reports import Point

GUESS_ROWS = 10_000
"""Training rows, evenly spaced, from which the loss of guessing is computed."""
WORSENED = 0.05
"""Relative rise of the validation loss since its best epoch, while the training loss fell by as much."""
POOR = 0.8
"""Share of the loss of guessing that is left after training."""
APART = 1.5
"""Loss in use over loss in training, on the same rows and weights."""
PERFECT = {"accuracy": 1.0, "r2": 0.9999}
FEWEST_TEST_ROWS = 100
"""Under which a perfect score may be luck."""
HOLDING = {"symmetric_units", "vanishing_gradient", "dead_units"}
"""Findings that keep a network from learning at whatever rate."""
ORDER = {"error": 0, "warning": 1, "info": 2}


def diagnose(
    spec: JobSpec, data: Data, history: list[Point], flows: Sequence[Flow], test: Mapping[str, JsonValue] | None
) -> Diagnostics:
    """Findings, worst first, each with the patch for the resolved spec; the flow is the first lane's."""
    guessing = guess(spec, data)
    verdict = verdicts.learning_rate(history, guessing, flows[0].loss if flows else None)
    series = _series(history)
    last = next((one for one in reversed(flows) if one.lane == 0), None)
    signs = _blamed(signals.find(flows), verdict)
    found = [
        _tempered(rate(verdict), signs),
        *signs,
        *collapse(last, test, verdict),
        *overfitting(spec, series),
        *underfitting(series, guessing, verdict),
        *leaks({leak.column: leak.score for leak in data.leaks}, test),
        *batch_norm(spec, last, verdict),
    ]
    ordered = sorted(found, key=lambda finding: ORDER[finding.severity])
    findings = [remedies.prescribe(finding, spec) for finding in ordered]
    return Diagnostics(findings=findings, flow=[one for one in flows if one.lane == 0])


def _blamed(signs: list[Finding], verdict: Verdict) -> list[Finding]:
    """Units that a rate has killed are helped by another rate."""
    if verdict.rate not in ("too_high", "diverging"):
        return signs
    next_lr: dict[str, JsonValue] = {"next_lr": verdict.next_lr}
    return [
        sign.model_copy(update={"evidence": sign.evidence | next_lr}) if sign.code == "dead_units" else sign
        for sign in signs
    ]


def _tempered(judged: Finding, signs: list[Finding]) -> Finding:
    """A loss that falls slowly does not ask for a higher rate where something else holds it."""
    held = [sign.code for sign in signs if sign.code in HOLDING and sign.severity != "info"]
    if judged.code != "lr_too_low" or not held:
        return judged
    text = f"The rate cannot be judged while the network cannot learn: see {held[0]}."
    return judged.model_copy(update={"code": "lr_unclear", "severity": "info", "message": text})


def guess(spec: JobSpec, data: Data) -> float:
    """The loss of the best constant prediction on the training rows: the classes' shares, the mean or the median."""
    rows = min(len(data.train), GUESS_ROWS)
    y = data.train.y[torch.arange(rows) * len(data.train) // rows]
    balance = losses.class_weights(y, data.outputs) if spec.class_weight == "balanced" else None
    if y.is_floating_point():
        z = y.mean(0) if isinstance(spec.loss, Mse) else y.median(0).values
    else:
        counts = torch.bincount(y, minlength=data.outputs) * (1.0 if balance is None else balance)
        z = (counts / counts.sum()).clamp(min=1e-12).log()
        z = z[1:] - z[:1] if isinstance(spec.loss, Bce) else z
    means, _ = Objective(spec.loss, balance)(z.expand(1, rows, -1).contiguous(), [Target(y.unsqueeze(0))])
    return float(means[0])


def _series(history: Sequence[Point]) -> dict[str, list[float]]:
    """Finite values of each metric of the epochs."""
    series: dict[str, list[float]] = {}
    for point in history:
        if point.name.startswith(("train_", "val_")) and point.value is not None:
            series.setdefault(point.name, []).append(point.value)
    return series


def rate(verdict: Verdict) -> Finding:
    """The verdict on the learning rate."""
    evidence: dict[str, JsonValue] = {"lr": verdict.lr, "next_lr": verdict.next_lr}
    if verdict.curve:
        evidence |= {name: flow.finite(value) for name, value in vars(verdict.curve).items()}
    match verdict.rate:
        case "too_low":
            return _finding("lr_too_low", "warning", f"{verdict.why} Try {verdict.next_lr:g}.", evidence)
        case "good":
            return _finding("lr_good", "info", verdict.why, evidence)
        case "too_high":
            return _finding("lr_too_high", "warning", f"{verdict.why} Try {verdict.next_lr:g}.", evidence)
        case "diverging":
            return _finding("lr_diverging", "error", f"{verdict.why} Try {verdict.next_lr:g}.", evidence)
        case "unclear":
            return _finding("lr_unclear", "info", verdict.why, evidence)
        case _:
            assert_never(verdict.rate)


def collapse(last: Flow | None, test: Mapping[str, JsonValue] | None, verdict: Verdict) -> list[Finding]:
    """Whatever the row, one class is predicted."""
    if last is None or last.loss is None or last.classes != 1 or _tested_classes(test) not in (None, 1):
        return []
    text = "Whatever the row, the same class is predicted."
    evidence: dict[str, JsonValue] = {"classes_predicted": 1, "next_lr": verdict.next_lr}
    return [_finding("class_collapse", "error", text, evidence)]


def _tested_classes(test: Mapping[str, JsonValue] | None) -> int | None:
    """Different classes among the predictions for the test rows."""
    match (test or {}).get("confusion"):
        case {"matrix": list(matrix)}:
            return sum(any(column) for column in zip(*matrix, strict=True))
    return None


def overfitting(spec: JobSpec, series: Mapping[str, list[float]]) -> list[Finding]:
    """Since its best epoch the validation loss has risen while the training loss fell on."""
    train, validation = series.get("train_loss", []), series.get("val_loss", [])
    if len(validation) < 5 or len(train) != len(validation):
        return []
    best = validation.index(min(validation))
    now, train_now = fmean(validation[-3:]), fmean(train[-3:])
    rise, fall = now / max(validation[best], 1e-9) - 1, 1 - train_now / max(train[best], 1e-9)
    if best > len(validation) - 4 or rise < WORSENED or fall < WORSENED:
        return []
    mended = spec.early_stopping not in (None, "auto") and getattr(spec.early_stopping, "restore_best_weights", False)
    evidence: dict[str, JsonValue] = {
        "best_epoch": best + 1,
        "epochs": len(validation),
        "val_loss_at_best": validation[best],
        "val_loss": now,
        "train_loss_at_best": train[best],
        "train_loss": train_now,
        "unused": list[JsonValue](unused(spec)),
    }
    text = f"Since epoch {best + 1} the validation loss rose by {rise:.0%} while the training loss fell by {fall:.0%}."
    text += " The best epoch's weights are delivered." if mended else ""
    return [_finding("overfitting", "info" if mended else "warning", text, evidence)]


def unused(spec: JobSpec) -> list[str]:
    """Means against overfitting that a spec leaves unused."""
    means = {
        "early_stopping": spec.early_stopping is not None,
        "dropout": remedies.has_dropout(spec.model),
        "weight_decay": remedies.unused_decay(spec) is None,
        "label_smoothing": getattr(spec.loss, "label_smoothing", 1.0) > 0,
    }
    return [name for name, is_used in means.items() if not is_used]


def underfitting(series: Mapping[str, list[float]], guessing: float, verdict: Verdict) -> list[Finding]:
    """Little was learnt, and the learning rate is not to blame."""
    train = series.get("train_loss", [])
    if not train or verdict.rate != "good" or train[-1] < POOR * guessing:
        return []
    text = f"The training loss is still {train[-1] / guessing:.0%} of that of guessing: the model may be too small."
    evidence: dict[str, JsonValue] = {"train_loss": train[-1], "loss_of_guessing": guessing}
    return [_finding("underfitting", "warning", text, evidence)]


def leaks(found: Mapping[str, float], test: Mapping[str, JsonValue] | None) -> list[Finding]:
    """Columns that give the target away, or scores too good to be true."""
    if found:
        text = f"{', '.join(found)} alone gives the target away: will it be known when the model is used?"
        scores: dict[str, JsonValue] = dict(found)
        return [_finding("leak_suspected", "warning", text, {"columns": list[JsonValue](found), "scores": scores})]
    rows = (test or {}).get("rows")
    for name, bound in PERFECT.items():
        score = (test or {}).get(name)
        if isinstance(score, float) and score >= bound and isinstance(rows, int) and rows >= FEWEST_TEST_ROWS:
            text = f"The {name} on {rows:,} test rows is perfect: make sure that no row is in two parts."
            return [_finding("leak_suspected", "warning", text, {name: score, "rows": rows})]
    return []


def batch_norm(spec: JobSpec, last: Flow | None, verdict: Verdict) -> list[Finding]:
    """In use, with its running statistics, the network is far worse than in training on the very same rows."""
    assert isinstance(spec.model, Sequential), "a resolved spec has its layers written out"
    if last is None or not has_batch_norm(spec.model.layers) or last.loss is None or not last.epoch:
        return []
    if last.eval_loss is not None and last.eval_loss < APART * last.loss + WORSENED:
        return []
    text = "With its running statistics the network is far worse than with those of the batch, on the same rows."
    evidence: dict[str, JsonValue] = {
        "train_mode_loss": last.loss,
        "eval_mode_loss": last.eval_loss,
        "batch_size": spec.batch_size if isinstance(spec.batch_size, int | str) else None,
        "next_lr": verdicts.on_grid(verdict.lr / 3),
    }
    return [_finding("unstable_batch_norm", "warning", text, evidence)]


def _finding(code: Code, severity: str, message: str, evidence: dict[str, JsonValue]) -> Finding:
    return Finding.model_validate({"code": code, "severity": severity, "message": message, "evidence": evidence})
