"""What to change in a spec because of what its run said: JSON patches that give a spec to post next."""

from typing import assert_never

from pydantic import JsonValue

from jobs.spec.data import NoScaler
from jobs.spec.explained import Finding, Operation
from jobs.spec.init import AutoInit, ConstantInit, Init, Normal, Uniform, Zeros
from jobs.spec.job import JobSpec
from jobs.spec.model import Activation, Conv, Dense, Dropout, Function, Mlp, Model, Sequential
from jobs.spec.optimizer import AdamW, Muon

MOST_UNITS, MOST_EPOCHS = 4096, 100_000
AUTO: JsonValue = {"kind": "auto"}
RATE, DECAY = 0.3, 1e-3
"""Dropout and weight decay where there were none."""


def prescribe(finding: Finding, spec: JobSpec) -> Finding:
    """The finding with the patch for this spec, as it was sent or as it was resolved."""
    return finding.model_copy(update={"patch": patch(finding, spec)})


def patch(finding: Finding, spec: JobSpec) -> list[Operation]:
    """Empty where nothing in the spec would help."""
    match finding.code:
        case "lr_too_low" | "lr_too_high" | "lr_diverging":
            return rate(spec, finding.evidence.get("next_lr"))
        case "lr_good" | "lr_unclear":
            return []
        case "symmetric_units":
            return restart(spec)
        case "init_mismatch":
            return restart(spec, every=True) or normalise(spec)
        case "vanishing_gradient":
            return restart(spec) or bend(spec.model, "relu") or normalise(spec)
        case "saturated_units":
            return [*rescale(spec), *restart(spec)] or bend(spec.model, "relu") or normalise(spec)
        case "exploding_gradient":
            return [*rescale(spec), *restart(spec)] or tame(spec)
        case "dead_units":
            return rate(spec, finding.evidence.get("next_lr")) or restart(spec) or bend(spec.model, "leaky_relu")
        case "overfitting":
            return restrain(spec)
        case "underfitting":
            return loosen(spec) or enlarge(spec.model) or lengthen(spec)
        case "class_collapse":
            return restart(spec) or rate(spec, finding.evidence.get("next_lr")) or balance(spec)
        case "leak_suspected":
            return leave_out(spec, finding.evidence.get("columns"))
        case "unstable_batch_norm":
            return widen(spec) or rate(spec, finding.evidence.get("next_lr"))
        case _:
            assert_never(finding.code)


def _put(path: str, value: JsonValue) -> Operation:
    return Operation(op="replace", path=path, value=value)


def rate(spec: JobSpec, lr: JsonValue) -> list[Operation]:
    """Another learning rate; a schedule's floor goes if it would lie above it."""
    if not isinstance(lr, float) or lr == spec.optimizer.lr:
        return []
    floor = getattr(spec.schedule, "min_lr", 0.0)
    return [_put("/optimizer/lr", lr), *([_put("/schedule/min_lr", 0.0)] if floor >= lr else [])]


def restart(spec: JobSpec, *, every: bool = False) -> list[Operation]:
    """Initial weights by the activation that follows, in place of those that heed no fan; of `every` other, too."""
    replaced = [_put("/init", AUTO)] if _stray(spec.init, every=every) else []
    layers = enumerate(spec.model.layers if isinstance(spec.model, Sequential) else [])
    weighted = [(place, layer.init) for place, layer in layers if isinstance(layer, Dense | Conv)]
    return replaced + [_put(f"/model/layers/{i}/init", AUTO) for i, init in weighted if _stray(init, every=every)]


def _stray(init: Init, *, every: bool) -> bool:
    return isinstance(init, Zeros | ConstantInit | Normal | Uniform) or (every and not isinstance(init, AutoInit))


def balance(spec: JobSpec) -> list[Operation]:
    """Rare classes weigh as much as common ones."""
    return [] if spec.class_weight == "balanced" else [_put("/class_weight", "balanced")]


def rescale(spec: JobSpec) -> list[Operation]:
    """Inputs of the order of 1, where they come as they are."""
    return [_put("/scaler", AUTO)] if isinstance(spec.scaler, NoScaler) else []


def bend(model: Model, function: Function) -> list[Operation]:
    """Another activation in place of one that does not let gradients through."""
    replaced = {"sigmoid", "tanh", "softmax"} if function == "relu" else {"relu"}
    if not isinstance(model, Sequential):
        return [_put("/model/activation", function)] if model.activation in replaced else []
    places = [i for i, layer in enumerate(model.layers) if isinstance(layer, Activation) and layer.function in replaced]
    return [_put(f"/model/layers/{place}/function", function) for place in places]


def normalise(spec: JobSpec) -> list[Operation]:
    """Batch norm, where the model has a switch for it and batches have a variance."""
    if isinstance(spec.model, Sequential) or spec.model.batch_norm or spec.batch_size == 1:
        return []
    return [_put("/model/batch_norm", True)]


def tame(spec: JobSpec) -> list[Operation]:
    """The gradient's norm bounded by 1."""
    return [_put("/clip", {"kind": "global_norm", "max_norm": 1.0})] if spec.clip is None else []


def restrain(spec: JobSpec) -> list[Operation]:
    """The first two means against overfitting that the spec leaves unused; if all are used, fewer units."""
    unused = []
    if spec.early_stopping is None:
        unused.append(_put("/early_stopping", "auto"))
    unused += _drop(spec.model)
    if path := unused_decay(spec):
        unused.append(_put(path, DECAY))
    return unused[:2] or _resize(spec.model, 0.5)


def unused_decay(spec: JobSpec) -> str | None:
    """Where a weight decay would go; None if there is a penalty."""
    penalties = spec.regularization
    if isinstance(spec.optimizer, AdamW | Muon):
        return None if spec.optimizer.weight_decay or penalties.l2 else "/optimizer/weight_decay"
    return None if penalties.weight_decay or penalties.l2 or penalties.l1 else "/regularization/weight_decay"


def has_dropout(model: Model) -> bool:
    """Anywhere outside residual blocks."""
    if isinstance(model, Sequential):
        return any(isinstance(layer, Dropout) for layer in model.layers)
    return model.dropout > 0


def _drop(model: Model) -> list[Operation]:
    if has_dropout(model):
        return []
    if not isinstance(model, Sequential):
        return [_put("/model/dropout", RATE)] if model.hidden else []
    last = max((i for i, layer in enumerate(model.layers) if isinstance(layer, Activation)), default=None)
    if last is None:
        return []
    return [Operation(op="add", path=f"/model/layers/{last + 1}", value={"kind": "dropout", "rate": RATE})]


def loosen(spec: JobSpec) -> list[Operation]:
    """Strong penalties and dropout taken back."""
    found = []
    for name in ("l1", "l2", "weight_decay"):
        if getattr(spec.regularization, name) >= 10 * DECAY:
            found.append(_put(f"/regularization/{name}", 0.0))
    if not isinstance(spec.model, Sequential) and spec.model.dropout >= 0.5:
        found.append(_put("/model/dropout", 0.0))
    return found


def enlarge(model: Model) -> list[Operation]:
    """Twice the units."""
    return _resize(model, 2.0)


def _resize(model: Model, factor: float) -> list[Operation]:
    """Of the hidden dense layers; those that a residual block follows are left, since it keeps a shape."""
    if not isinstance(model, Sequential):
        sizes = [_sized(units, factor) for units in model.hidden]
        if factor > 1 and not sizes and isinstance(model, Mlp):
            return [_put("/model/hidden", [64])]
        return [] if sizes == list(model.hidden) else [_put("/model/hidden", list[JsonValue](sizes))]
    if any(layer.kind == "residual" for layer in model.layers):
        return []
    found = [(i, layer.units) for i, layer in enumerate(model.layers) if isinstance(layer, Dense)]
    resized = [(i, units, _sized(units, factor)) for i, units in found]
    return [_put(f"/model/layers/{i}/units", size) for i, units, size in resized if size != units]


def _sized(units: int, factor: float) -> int:
    return units if factor > 1 and units >= MOST_UNITS else max(2, min(round(units * factor), max(units, MOST_UNITS)))


def lengthen(spec: JobSpec) -> list[Operation]:
    """Twice the epochs."""
    return [_put("/epochs", min(2 * spec.epochs, MOST_EPOCHS))] if spec.epochs < MOST_EPOCHS else []


def leave_out(spec: JobSpec, columns: JsonValue) -> list[Operation]:
    """Those columns out of the features."""
    names = [name for name in columns if isinstance(name, str)] if isinstance(columns, list) else []
    if spec.features.include is None:
        return [Operation(op="add", path="/features/exclude/-", value=name) for name in names]
    left = [name for name in spec.features.include if name not in names]
    return [_put("/features/include", list[JsonValue](left))] if left else []


def widen(spec: JobSpec) -> list[Operation]:
    """Batches of 32 rows where they are smaller."""
    return [_put("/batch_size", 32)] if isinstance(spec.batch_size, int) and spec.batch_size < 32 else []
