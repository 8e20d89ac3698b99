"""The network in evaluation mode as ONNX nodes; `trainer.model.network` says what each layer computes."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from jobs.spec.ensemble import Ensemble
from jobs.spec.model import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Pool,
    Residual,
)
from jobs.spec.preprocessing import Classes, Embedding, Reals
from trainer.export.graph import Graph

Weights = Mapping[str, npt.NDArray[Any]]
"""Of one lane, by the names that `trainer.model.network` gives them."""


def embedded(graph: Graph, x: str, embeddings: Sequence[Embedding], weights: Weights) -> str:
    """x [N, F] with the positions, which are its last columns, replaced by rows of their learned tables."""
    if not embeddings:
        return x
    first = embeddings[0].input
    parts = [graph.add("Gather", x, graph.constant(range(first), np.int64), axis=1)] if first else []
    for one in embeddings:
        column = graph.add("Gather", x, graph.constant(one.input, np.int64), axis=1)
        table = graph.constant(weights[f"embedding.{one.input}.weight"], np.float32)
        parts.append(graph.add("Gather", table, graph.add("Cast", column, to=TensorProto.INT64)))
    return graph.joined(parts)


def layers(graph: Graph, stack: Sequence[Layer], x: str, weights: Weights, prefix: str = "") -> str:
    """x [N, *shape] through all layers."""
    for index, layer in enumerate(stack):
        x = _layer(graph, layer, x, weights, f"{prefix}{index}")
    return x


def _layer(graph: Graph, layer: Layer, x: str, weights: Weights, name: str) -> str:
    match layer:
        case Flatten():
            return graph.add("Flatten", x, axis=1)
        case Dense():
            return graph.add("Gemm", x, *_learned(graph, weights, name), transB=1)
        case Conv():
            return _conv(graph, layer, x, weights, name)
        case Pool():
            return _pool(graph, layer, x)
        case BatchNorm():
            running = [graph.constant(weights[f"{name}.running_{what}"], np.float32) for what in ("mean", "var")]
            return graph.add("BatchNormalization", x, *_learned(graph, weights, name), *running, epsilon=layer.eps)
        case LayerNorm():
            return graph.add("LayerNormalization", x, *_learned(graph, weights, name), axis=1, epsilon=layer.eps)
        case Dropout():
            return x
        case Activation():
            return _activation(graph, layer, x)
        case Residual():
            return graph.add("Add", x, layers(graph, layer.layers, x, weights, f"{name}."))
        case _:
            assert_never(layer)


def _learned(graph: Graph, weights: Weights, name: str) -> list[str]:
    """Weight, and bias where there is one."""
    found = [weights[f"{name}.{what}"] for what in ("weight", "bias") if f"{name}.{what}" in weights]
    return [graph.constant(value, np.float32) for value in found]


def _conv(graph: Graph, layer: Conv, x: str, weights: Weights, name: str) -> str:
    before = (layer.kernel - 1) // 2 if layer.padding == "same" else 0
    after = layer.kernel - 1 - before if layer.padding == "same" else 0
    pads, strides = [before, before, after, after], [layer.stride, layer.stride]
    return graph.add("Conv", x, *_learned(graph, weights, name), pads=pads, strides=strides)


def _pool(graph: Graph, layer: Pool, x: str) -> str:
    window: dict[str, Any] = {"kernel_shape": [layer.size, layer.size], "strides": [layer.size, layer.size]}
    match layer.function:
        case "max":
            return graph.add("MaxPool", x, **window)
        case "average":
            return graph.add("AveragePool", x, **window)
        case "global_average":
            return graph.add("GlobalAveragePool", x)
        case _:
            assert_never(layer.function)


def _activation(graph: Graph, layer: Activation, x: str) -> str:
    match layer.function:
        case "sigmoid" | "tanh" | "relu" | "elu" | "selu" | "gelu":
            return graph.add(layer.function.capitalize(), x)
        case "leaky_relu":
            return graph.add("LeakyRelu", x, alpha=layer.negative_slope)
        case "softmax":
            return graph.add("Softmax", x, axis=1)
        case "silu":
            return graph.add("Mul", x, graph.add("Sigmoid", x))
        case _:
            assert_never(layer.function)


def labelled(graph: Graph, z: Sequence[str], target: Classes, ensemble: Ensemble | None, *, is_binary: bool) -> None:
    """Outputs `label` and `probabilities` of the lanes' logits [N, classes], or [N, 1] if `is_binary`; what they say
    together is `trainer.ensembles.combine`."""
    pads = graph.constant([0, 1, 0, 0], np.int64)
    logits = [graph.add("Pad", lane, pads) if is_binary else lane for lane in z]  # [0, z]: softmax is sigmoid
    if ensemble and ensemble.combine == "vote":
        places = graph.constant([range(len(target.classes))], np.int64)
        shares = [_vote(graph, lane, places, is_binary) for lane in logits]
    else:
        shares = [graph.add("Softmax", lane, axis=1) for lane in logits]
    graph.add("Mean", *shares, output="probabilities")
    winner = graph.add("ArgMax", "probabilities" if ensemble else logits[0], axis=1, keepdims=0)
    graph.add("Gather", graph.constant(target.classes, np.object_), winner, output="label")


def _vote(graph: Graph, logits: str, places: str, is_binary: bool) -> str:
    """[N, classes]: 1 for the lane's class. A binary lane in balance votes for the second, as `combine` has it."""
    chosen = graph.add("ArgMax", logits, axis=1, keepdims=1, select_last_index=int(is_binary))
    return graph.add("Cast", graph.add("Equal", chosen, places), to=TensorProto.FLOAT)


def valued(graph: Graph, z: Sequence[str], target: Reals) -> None:
    """The output `values`, in the targets' own units, of the lanes' [N, targets]."""
    mean = graph.add("Cast", graph.add("Mean", *z), to=TensorProto.DOUBLE)
    wide = graph.add("Mul", mean, graph.constant(target.scale, np.float64))
    graph.add("Add", wide, graph.constant(target.mean, np.float64), output="values")
