"""The fitted preprocessing as ONNX nodes, by the arithmetic of `trainer.features.encoding`; double until the end."""

from collections.abc import Mapping, Sequence
from typing import assert_never

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from jobs.spec.preprocessing import (
    UNSEEN,
    Category,
    ImageFeatures,
    Number,
    Power,
    Quantile,
    Scaling,
    TableFeatures,
)
from trainer.export import graph_normal
from trainer.export.graph import Graph

_BOUND = 1e-7
"""As in `trainer.features.encoding`: how near to an end a value counts as the end."""
_EPSILON = float(np.finfo(np.float64).eps)


def table(graph: Graph, features: TableFeatures, inputs: Mapping[str, str]) -> str:
    """[N, features] float, from the inputs by column."""
    blocks = _numbers(graph, features.numbers, inputs) if features.numbers else []
    positions = {category.name: _position(graph, category, inputs[category.name]) for category in features.categories}
    for encoding in ("onehot", "ordinal", "embedding"):
        chosen = [category for category in features.categories if category.encoding == encoding]
        blocks += [_encoded(graph, category, positions[category.name]) for category in chosen]
    return graph.joined(blocks)


def images(graph: Graph, features: ImageFeatures, pixels: str) -> str:
    """[N, C, H, W] float, from [N, H, W, C]."""
    x = _standardised(graph, _double(graph, pixels), features.center, features.scale)
    return graph.add("Transpose", _float(graph, x), perm=[0, 3, 1, 2])


def _numbers(graph: Graph, numbers: Sequence[Number], inputs: Mapping[str, str]) -> list[str]:
    """The columns, and the indicators of their gaps."""
    raw = graph.joined([inputs[number.name] for number in numbers])
    gaps = graph.add("IsNaN", raw)
    filled = graph.add("Where", gaps, _row(graph, [number.fill for number in numbers]), raw)
    blocks = [_float(graph, scaled(graph, filled, numbers))]
    indicated = [i for i, number in enumerate(numbers) if number.indicator]
    return [*blocks, _float(graph, _columns(graph, gaps, indicated))] if indicated else blocks


def _position(graph: Graph, category: Category, text: str) -> str:
    """[N, 1] int64: the value's place in `categories`; the empty text is a gap."""
    places = {name: place for place, name in enumerate(category.categories)}
    if category.fill in places:
        places[""] = places[category.fill]
    keys, values = [*places], [*places.values()]
    return graph.add(
        "LabelEncoder", text, domain="ai.onnx.ml", keys_strings=keys, values_int64s=values, default_int64=UNSEEN
    )


def _encoded(graph: Graph, category: Category, position: str) -> str:
    count = len(category.categories)
    match category.encoding:
        case "onehot":
            return _float(graph, graph.add("Equal", position, graph.constant([range(count)], np.int64)))
        case "ordinal":
            return _float(graph, scaled(graph, _double(graph, position), [category]))
        case "embedding":
            unseen = graph.add("Equal", position, graph.constant(UNSEEN, np.int64))
            return _float(graph, graph.add("Where", unseen, graph.constant(count, np.int64), position))
        case _:
            assert_never(category.encoding)


def scaled(graph: Graph, x: str, scalings: Sequence[Scaling]) -> str:
    """[N, F] double, column i by `scalings[i]`."""
    center, scale = [scaling.center for scaling in scalings], [scaling.scale for scaling in scalings]
    return _standardised(graph, _transformed(graph, x, scalings), center, scale)


def _transformed(graph: Graph, x: str, scalings: Sequence[Scaling]) -> str:
    """The columns of each kind of transform together, then back in their order."""
    kinds = [_kind(scaling) for scaling in scalings]
    if set(kinds) == {"none"}:
        return x
    parts, order = [], list[int]()
    for kind in dict.fromkeys(kinds):
        places = [place for place, other in enumerate(kinds) if other == kind]
        transforms = [scalings[place].transform for place in places]
        parts.append(_together(graph, _columns(graph, x, places), transforms))
        order += places
    return _columns(graph, graph.joined(parts), np.argsort(order).tolist())


def _kind(scaling: Scaling) -> str:
    match scaling.transform:
        case None:
            return "none"
        case Quantile(output=output):
            return output
        case Power():
            return "power"
        case _:
            assert_never(scaling.transform)


def _together(graph: Graph, x: str, transforms: Sequence[Quantile | Power | None]) -> str:
    powers = [transform.exponent for transform in transforms if isinstance(transform, Power)]
    if powers:
        return _raised(graph, x, np.array([powers]))
    quantiles = [transform for transform in transforms if isinstance(transform, Quantile)]
    if not quantiles:
        return x
    ranks = [_rank(graph, _columns(graph, x, [i]), quantile) for i, quantile in enumerate(quantiles)]
    rank = graph.joined(ranks)
    if quantiles[0].output == "uniform":
        return rank
    end = _BOUND - _EPSILON
    return graph_normal.quantile(graph, graph.add("Clip", rank, _scalar(graph, end), _scalar(graph, 1 - end)))


def _rank(graph: Graph, x: str, transform: Quantile) -> str:
    """[N, 1]: interpolated from below and from above, so that a run of equal quantiles has its middle."""
    quantiles = np.array(transform.quantiles)
    if len(quantiles) == 1:
        rank = graph.add("Mul", x, _scalar(graph, 0.0))
    else:
        sides = [_interpolated(graph, x, quantiles, operator) for operator in ("GreaterOrEqual", "Greater")]
        rank = graph.add("Mul", graph.add("Add", *sides), _scalar(graph, 0.5))
    low, high = _scalar(graph, quantiles[0]), _scalar(graph, quantiles[-1])
    if transform.output == "uniform":
        top, bottom = graph.add("Equal", x, high), graph.add("Equal", x, low)
    else:
        top = graph.add("Greater", graph.add("Add", x, _scalar(graph, _BOUND)), high)
        bottom = graph.add("Less", graph.add("Sub", x, _scalar(graph, _BOUND)), low)
    rank = graph.add("Where", top, _scalar(graph, 1.0), rank)
    return graph.add("Where", bottom, _scalar(graph, 0.0), rank)


def _interpolated(graph: Graph, x: str, quantiles: npt.NDArray[np.float64], operator: str) -> str:
    """`numpy.interp` of the shares 0…1 over the quantiles. A value that equals several of them takes the last segment
    if `operator` is GreaterOrEqual, the first if it is Greater."""
    last = len(quantiles) - 1
    above = graph.add("Cast", graph.add(operator, x, _row(graph, quantiles)), to=TensorProto.INT64)
    passed = graph.add("ReduceSum", above, graph.constant([1], np.int64), keepdims=1)
    one = graph.constant(1, np.int64)
    segment = graph.add(
        "Clip", graph.add("Sub", passed, one), graph.constant(0, np.int64), graph.constant(last - 1, np.int64)
    )
    knots = graph.constant(quantiles, np.float64)
    left = graph.add("Gather", knots, segment)
    right = graph.add("Gather", knots, graph.add("Add", segment, one))
    along = graph.add("Div", graph.add("Sub", x, left), graph.add("Sub", right, left))
    share = graph.add("Div", graph.add("Add", along, _double(graph, segment)), _scalar(graph, last))
    at_end = graph.add(operator, x, _scalar(graph, quantiles[-1]))
    at_start = graph.add("Not", graph.add(operator, x, _scalar(graph, quantiles[0])))
    share = graph.add("Where", at_end, _scalar(graph, 1.0), share)
    return graph.add("Where", at_start, _scalar(graph, 0.0), share)


def _raised(graph: Graph, x: str, exponents: npt.NDArray[np.float64]) -> str:
    """Yeo-Johnson; exponents [1, F]."""
    logarithm = graph.add("Log", graph.add("Add", graph.add("Abs", x), _scalar(graph, 1.0)))
    above, below = (_box_cox(graph, logarithm, powers) for powers in (exponents, 2 - exponents))
    positive = graph.add("GreaterOrEqual", x, _scalar(graph, 0.0))
    return graph.add("Where", positive, above, graph.add("Neg", below))


def _box_cox(graph: Graph, logarithm: str, powers: npt.NDArray[np.float64]) -> str:
    flat = np.abs(powers) <= _EPSILON
    safe = graph.constant(np.where(flat, 1.0, powers), np.float64)
    grown = graph.add("Sub", graph.add("Exp", graph.add("Mul", logarithm, safe)), _scalar(graph, 1.0))
    return graph.add("Where", graph.constant(flat, np.bool_), logarithm, graph.add("Div", grown, safe))


def _standardised(graph: Graph, x: str, center: Sequence[float], scale: Sequence[float]) -> str:
    moved = graph.add("Sub", x, graph.constant(center, np.float64))
    return graph.add("Div", moved, graph.constant(scale, np.float64))


def _columns(graph: Graph, x: str, places: Sequence[int]) -> str:
    return graph.add("Gather", x, graph.constant(places, np.int64), axis=1)


def _row(graph: Graph, values: npt.ArrayLike) -> str:
    return graph.constant(np.array(values, np.float64)[np.newaxis], np.float64)


def _scalar(graph: Graph, value: float) -> str:
    return graph.constant(value, np.float64)


def _double(graph: Graph, x: str) -> str:
    return graph.add("Cast", x, to=TensorProto.DOUBLE)


def _float(graph: Graph, x: str) -> str:
    return graph.add("Cast", x, to=TensorProto.FLOAT)
