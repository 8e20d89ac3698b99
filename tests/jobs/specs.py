"""Specs, and profiles of data that nobody has, to try the rules on."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from pydantic import JsonValue

from jobs import rules
from jobs.errors import SpecInvalid
from jobs.rules import Resolved
from jobs.spec.job import JobSpec
from jobs.spec.profile import ColumnProfile, DatasetProfile, ValueCount

UPLOAD = {"source": "upload", "id": "ds_" + "0" * 26}


def number(name: str, **facts: Any) -> ColumnProfile:
    return ColumnProfile.model_validate({"name": name, "kind": "numeric", "distinct": 500, "std": 1.0} | facts)


def labels(name: str, counts: dict[str, int], **facts: Any) -> ColumnProfile:
    top = [ValueCount(value=value, count=count) for value, count in counts.items()]
    about = {"kind": "categorical", "distinct": len(counts), "top": top, "rarest": min(counts.values())}
    return ColumnProfile.model_validate({"name": name} | about | facts)


def table(*columns: ColumnProfile, rows: int = 1000) -> DatasetProfile:
    return DatasetProfile(layout="table", rows=rows, columns=list(columns))


CLASSES = labels("y", {"a": 600, "b": 400})
TWO = table(number("x"), CLASSES)
"""A number and two classes, 1,000 rows."""
PRICES = table(number("x"), number("y"))
"""A number to predict a number by."""
PICTURES = DatasetProfile(
    layout="images", rows=1000, columns=[labels("label", {"0": 500, "1": 500})], image=(3, 16, 16), target="label"
)


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": UPLOAD, "target": "y"} | changes)


def resolve(profile: DatasetProfile = TWO, test: DatasetProfile | None = None, **changes: Any) -> Resolved:
    return rules.resolve(spec(**changes), profile, test)


def faults(profile: DatasetProfile = TWO, test: DatasetProfile | None = None, **changes: Any) -> list[tuple[str, str]]:
    """Pointer and code of each."""
    try:
        resolve(profile, test, **changes)
    except SpecInvalid as error:
        return [(fault.pointer, fault.code) for fault in error.faults]
    return []


def notices(profile: DatasetProfile = TWO, **changes: Any) -> list[tuple[str, str]]:
    return [(notice.path, notice.code) for notice in resolve(profile, **changes).notices]


def why(resolved: Resolved, path: str) -> tuple[JsonValue, str]:
    """Value and rule of the one decision about `path`."""
    (decision,) = (decision for decision in resolved.decisions if decision.path == path)
    return decision.value, decision.rule


def autos(value: JsonValue, pointer: str = "") -> Iterator[str]:
    """Pointers to every `auto` below a value."""
    if value == "auto" or value == {"kind": "auto"}:
        yield pointer
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from autos(child, f"{pointer}/{key}") if value != {"kind": "auto"} else ()


def kinds(*names: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """One of these kinds, with the same fields."""
    return st.fixed_dictionaries({"kind": st.sampled_from(names)}, optional=fields)


FUNCTIONS = ("sigmoid", "tanh", "softmax", "relu", "leaky_relu", "elu", "selu", "gelu", "silu")
few = st.integers(1, 5)
flags = st.booleans()
rates = st.floats(0, 0.9)
small = st.floats(1e-5, 0.1)
shares = st.floats(0, 0.4)
inits = kinds(
    "auto", "zeros", "normal", "uniform", "xavier_normal", "xavier_uniform", "he_normal", "he_uniform", "lecun_normal",
    "lecun_uniform", "orthogonal"
) | kinds("normal", "xavier_normal", "he_normal", "lecun_normal", truncated=flags, bias=small)  # fmt: skip
any_shape = (
    kinds("activation", function=st.just("relu")).map(lambda layer: {"function": "tanh"} | layer)
    | kinds("dropout").flatmap(lambda layer: rates.map(lambda rate: layer | {"rate": rate}))
    | kinds("batch_norm", momentum=rates)
    | kinds("layer_norm")
)
window_layers = kinds("conv", kernel=few, stride=few, padding=st.sampled_from(["same", "valid"]), bias=flags).flatmap(
    lambda layer: few.map(lambda channels: layer | {"channels": channels})
) | kinds("pool", function=st.sampled_from(["max", "average", "global_average"]), size=few)
dense_layers = kinds("dense", bias=flags, init=inits).flatmap(
    lambda layer: few.map(lambda units: layer | {"units": units})
)


def residual(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(inner, min_size=1, max_size=2).map(lambda layers: {"kind": "residual", "layers": layers})


@st.composite
def stacks(draw: st.DrawFn, images: bool) -> list[dict[str, Any]]:
    """Layers that mostly fit each other."""
    front = draw(st.lists(any_shape | residual(any_shape) | window_layers, max_size=4)) if images else []
    flatten = [{"kind": "flatten"}] if images else []
    return [*front, *flatten, *draw(st.lists(any_shape | residual(any_shape) | dense_layers, max_size=4))]


functions = st.sampled_from(FUNCTIONS)
hidden = st.lists(few, max_size=3)
models = (
    kinds("mlp", hidden=hidden, activation=functions, batch_norm=flags, dropout=rates)
    | kinds("cnn", channels=st.just([2, 3]), hidden=hidden, activation=functions, batch_norm=flags)
    | st.booleans().flatmap(stacks).map(lambda layers: {"kind": "sequential", "layers": layers})
)
monitored = st.fixed_dictionaries(
    {},
    optional={
        "monitor": st.sampled_from(["auto", "val_loss", "train_loss", "val_accuracy", "val_rmse"]),
        "mode": st.sampled_from(["auto", "min", "max"]),
    },
)
warmups = st.none() | st.fixed_dictionaries({"length": few, "unit": st.sampled_from(["step", "epoch"])})
units = st.sampled_from(["step", "epoch"])
schedules = (
    kinds("constant", warmup=warmups)
    | kinds("cosine", "linear", "polynomial", "one_cycle", warmup=warmups, unit=units, length=few | st.just("auto"))
    | kinds("multistep", warmup=warmups, unit=units).map(lambda schedule: schedule | {"milestones": [2, 5]})
    | kinds("inverse_time", warmup=warmups, unit=units, size=few).map(lambda schedule: schedule | {"rate": 0.1})
    | kinds("step", warmup=warmups, unit=units).map(lambda schedule: schedule | {"size": 3})
    | kinds("exponential", unit=units).map(lambda schedule: schedule | {"gamma": 0.9})
    | monitored.map(lambda plateau: {"kind": "plateau"} | plateau)
)
splits = (
    kinds("auto")
    | kinds("random", "ordered", "stratified", validation=shares, test=shares)
    | kinds("given", validation=shares).map(lambda split: split | {"test": UPLOAD})
)
bodies = st.fixed_dictionaries(
    {"dataset": st.sampled_from(["digits", "iris", "wine", "breast_cancer", "diabetes"])},
    optional={
        "split": splits,
        "scaler": kinds("auto", "none", "minmax", "standard", "robust", "maxabs"),
        "model": models,
        "init": inits,
        "loss": kinds("auto", "cross_entropy", "bce", "mse", "mae", "huber"),
        "class_weight": st.sampled_from(["none", "balanced"]),
        "optimizer": kinds("sgd", "adagrad", "rmsprop", "adam", "adamw", lr=small),
        "clip": st.none() | kinds("global_norm").map(lambda clip: clip | {"max_norm": 1.0}),
        "batch_size": st.sampled_from(["auto", "full", 1, 7, 32, 64, 10_000]),
        "epochs": st.integers(1, 200),
        "schedule": schedules,
        "early_stopping": st.none() | st.just("auto") | monitored,
        "checkpoint": monitored,
        "log_every": st.just("auto") | few,
    },
).map(lambda body: body | {"dataset": {"source": "builtin", "name": body["dataset"]}})
"""Whole specs over the builtin datasets; some contradict themselves."""
