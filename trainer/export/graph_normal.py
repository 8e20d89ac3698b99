"""The quantile function of the normal distribution as ONNX nodes, which have none.

Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), PPND16: about 16 digits, which is what Python's
`statistics.NormalDist.inv_cdf` computes. Its third branch, below e⁻²⁵, is left out: ranks end at 1e-7.
"""

from collections.abc import Sequence

import numpy as np

from trainer.export.graph import Graph

_MIDDLE = 0.425
_SQUARED = _MIDDLE**2
_SHIFT = 1.6
_CENTRAL = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
"""Coefficients of numerator and denominator, the constant first."""


def quantile(graph: Graph, p: str) -> str:
    """Φ⁻¹(p) for p in [e⁻²⁵, 1 - e⁻²⁵], double."""
    q = graph.add("Sub", p, _scalar(graph, 0.5))
    inner = graph.add("Sub", _scalar(graph, _SQUARED), graph.add("Mul", q, q))
    central = graph.add("Mul", q, _ratio(graph, inner, _CENTRAL))
    nearer = graph.add("Min", p, graph.add("Sub", _scalar(graph, 1.0), p))
    depth = graph.add("Sqrt", graph.add("Neg", graph.add("Log", nearer)))
    tail = _ratio(graph, graph.add("Sub", depth, _scalar(graph, _SHIFT)), _TAIL)
    signed = graph.add("Mul", tail, graph.add("Sign", q))
    is_central = graph.add("LessOrEqual", graph.add("Abs", q), _scalar(graph, _MIDDLE))
    return graph.add("Where", is_central, central, signed)


def _ratio(graph: Graph, x: str, coefficients: Sequence[Sequence[float]]) -> str:
    numerator, denominator = (_polynomial(graph, x, series) for series in coefficients)
    return graph.add("Div", numerator, denominator)


def _polynomial(graph: Graph, x: str, coefficients: Sequence[float]) -> str:
    value = _scalar(graph, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = graph.add("Add", graph.add("Mul", value, x), _scalar(graph, coefficient))
    return value


def _scalar(graph: Graph, value: float) -> str:
    return graph.constant(value, np.float64)
