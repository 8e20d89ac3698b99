"""Rules about the network: expansion to layers, the output layer, initial weights."""

import math
from typing import assert_never

from jobs.rulebook.ledger import Ledger
from jobs.spec import shapes
from jobs.spec.init import (
    AutoInit,
    ConstantInit,
    HeNormal,
    HeUniform,
    Init,
    LecunNormal,
    LecunUniform,
    Normal,
    Uniform,
    XavierNormal,
    XavierUniform,
    Zeros,
)
from jobs.spec.job import JobSpec
from jobs.spec.model import (
    Activation,
    BatchNorm,
    Cnn,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Function,
    Layer,
    LayerNorm,
    Mlp,
    Model,
    Pool,
    Residual,
    Sequential,
)

RELU_FAMILY = {"relu", "leaky_relu", "elu", "gelu", "silu"}
RELU_GAIN = 1.2
"""A gain above this is meant to make up for the half that relu cuts off, by √2."""
STEADY = 1e-3, 1e3
"""Between these, the size of what goes through the network is still easily learned away."""


def layers(spec: JobSpec, shape: shapes.Shape, ledger: Ledger) -> Sequential:
    """The model as a list of layers, each with its own init, without the output layer."""
    hidden = _expand(spec.model, shape)
    try:
        placed = shapes.walk(hidden, shape)
    except shapes.Misfit as misfit:
        text, pointer = misfit.args
        at = f"/model/layers{pointer}" if isinstance(spec.model, Sequential) else "/model"
        ledger.fault(at, "layer_misfit", text)
        return Sequential(layers=[])
    if placed and len(placed[-1].after) != 1:
        hidden = [*hidden, Flatten()]
    if not isinstance(spec.model, Sequential):
        why = f"`{spec.model.kind}` is written out for rows of shape {_readable(shape)}."
        ledger.decide("/model/kind", spec.model.kind, "sequential", "model.expand", why)
    chosen = _initialised(hidden, spec.init, ledger, "/model/layers")
    _warn_signal(shapes.walk(chosen, shape), ledger)
    return Sequential(layers=chosen)


def first(layers: list[Layer]) -> Layer | None:
    """The first layer that computes something."""
    return next((layer for layer in layers if not isinstance(layer, Flatten)), None)


def output_init(spec: JobSpec, hidden: list[Layer], ledger: Ledger) -> Init:
    """How the output layer starts, and with it every layer that somebody adds to the resolved spec."""
    if not isinstance(spec.init, AutoInit):
        if any(isinstance(layer, Dense | Conv | Residual) for layer in hidden):  # alone, an output layer learns from 0
            _warn_alike(spec.init, ledger, "/init")
        return spec.init
    why = "No activation of the relu or selu kind follows the output layer."
    return ledger.decide("/init", spec.init, XavierUniform(), "init.output", why)


def _readable(shape: shapes.Shape) -> str:
    return "×".join(map(str, shape))


def _expand(model: Model, shape: shapes.Shape) -> list[Layer]:
    match model:
        case Mlp():
            flat: list[Layer] = [Flatten()] if len(shape) > 1 else []
            return flat + [layer for units in model.hidden for layer in _dense(model, units)]
        case Cnn():
            blocks = [layer for channels in model.channels for layer in _block(model, channels)]
            return [*blocks, Flatten(), *(layer for units in model.hidden for layer in _dense(model, units))]
        case Sequential():
            return list(model.layers)
        case _:
            assert_never(model)


def _dense(model: Mlp | Cnn, units: int) -> list[Layer]:
    drop: list[Layer] = [Dropout(rate=model.dropout)] if model.dropout else []
    return [Dense(units=units, bias=not model.batch_norm), *_activated(model), *drop]


def _block(model: Cnn, channels: int) -> list[Layer]:
    pool: list[Layer] = [Pool(size=model.pool)] if model.pool > 1 else []
    return [Conv(channels=channels, kernel=model.kernel, bias=not model.batch_norm), *_activated(model), *pool]


def _activated(model: Mlp | Cnn) -> list[Layer]:
    norm: list[Layer] = [BatchNorm()] if model.batch_norm else []
    return [*norm, Activation(function=model.activation)]


def _initialised(hidden: list[Layer], default: Init, ledger: Ledger, pointer: str) -> list[Layer]:
    chosen: list[Layer] = []
    for index, layer in enumerate(hidden):
        here = f"{pointer}/{index}"
        match layer:
            case Dense() | Conv():
                init = _init(layer, _following(hidden[index + 1 :]), default, ledger, here)
                chosen.append(layer.model_copy(update={"init": init}))
            case Residual():
                inner = _initialised(layer.layers, default, ledger, f"{here}/layers")
                chosen.append(layer.model_copy(update={"layers": inner}))
            case _:
                chosen.append(layer)
    return chosen


def _following(rest: list[Layer]) -> Function | None:
    """The activation that the layer's output reaches before the next weights."""
    for layer in rest:
        if isinstance(layer, Activation):
            return layer.function
        if isinstance(layer, Dense | Conv | Residual):
            return None
    return None


def _init(layer: Dense | Conv, function: Function | None, default: Init, ledger: Ledger, pointer: str) -> Init:
    if not isinstance(layer.init, AutoInit):
        _warn_alike(layer.init, ledger, f"{pointer}/init")
        _warn(layer.init, function, ledger, pointer)
        return layer.init
    if not isinstance(default, AutoInit):
        _warn(default, function, ledger, pointer)
        return ledger.decide(f"{pointer}/init", layer.init, default, "init.job", "The job's `init` says so.")
    rule, init = _by_activation(function)
    why = f"{function or 'No activation'} follows this {layer.kind} layer."
    return ledger.decide(f"{pointer}/init", layer.init, init, rule, why)


def _by_activation(function: Function | None) -> tuple[str, Init]:
    if function in RELU_FAMILY:
        return "init.he", HeNormal()
    if function == "selu":
        return "init.lecun", LecunNormal()
    return "init.xavier", XavierUniform()


def _warn_alike(init: Init, ledger: Ledger, pointer: str) -> None:
    text = "All units of a layer start alike and stay alike; take auto unless this is what you want to show."
    if isinstance(init, Zeros):
        ledger.warn(pointer, "zero_init", text)
    if isinstance(init, ConstantInit):
        ledger.warn(pointer, "constant_init", text)


def _warn(init: Init, function: Function | None, ledger: Ledger, pointer: str) -> None:
    relu = function in RELU_FAMILY
    if relu and isinstance(init, XavierNormal | XavierUniform | LecunNormal | LecunUniform) and init.gain < RELU_GAIN:
        text = f"{init.kind} halves the signal of {function} layers; he_normal fits, or a gain of √2."
        ledger.warn(f"{pointer}/init", "init_activation", text)
    if not relu and function and isinstance(init, HeNormal | HeUniform) and init.gain == 1:
        fitting = "lecun_normal" if function == "selu" else "xavier_uniform"
        text = f"He is meant for relu; with {function}, {fitting} fits."
        ledger.warn(f"{pointer}/init", "init_activation", text)


def _warn_signal(placed: list[shapes.Placed], ledger: Ledger) -> None:
    """Weights whose spread does not follow the fan multiply the signal by std·√fan_in per layer; a norm or a bypass
    mends that."""
    size, through = 1.0, 0
    for place in placed:
        match place.layer:
            case Dense() | Conv() if isinstance(place.layer.init, Normal | Uniform):
                size, through = size * _gain(place.layer, place.before), through + 1
            case BatchNorm() | LayerNorm() | Residual():
                size, through = 1.0, 0
    if not STEADY[0] <= size <= STEADY[1]:
        text = f"The signal changes about {size:.0e}-fold over {through} layers; take auto, or another spread."
        ledger.warn("/model/layers", "init_spread", text)


def _gain(layer: Dense | Conv, before: shapes.Shape) -> float:
    init = layer.init
    assert isinstance(init, Normal | Uniform)
    std = init.std if isinstance(init, Normal) else init.bound / math.sqrt(3)
    window = layer.kernel**2 if isinstance(layer, Conv) else 1
    return std * math.sqrt(before[0] * window)
