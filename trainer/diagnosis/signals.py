"""What the flow of activations and gradients says: vanishing, exploding, dead, saturated, alike, badly begun.

Thresholds were chosen on the tuning half of the labelled networks of `bench/flows.py`.
"""

import itertools
import math
from collections.abc import Sequence

from jobs.spec.explained import Code, Finding, Flow, LayerFlow

VANISHED = 1e-3
"""Root mean square gradient of the first layer over the largest of all layers."""
NOTHING = 1e-7
"""Root mean square gradient, of whatever layer, that moves nothing before the first step."""
LOUD = 20.0
"""Standard deviation of what a fresh network says: logits and scaled targets are of the order of 1."""
DEAD, SATURATED = 0.5, 0.5
"""Shares of units and of outputs."""
FADES, GROWS = 0.6, 1.6
"""Factor on the standard deviation from one hidden layer to the next in a fresh network; 1 is ideal."""


def find(flows: Sequence[Flow]) -> list[Finding]:
    """Of all lanes; a finding of several is told of the first of them, with their number."""
    lanes: dict[int, list[Flow]] = {}
    for flow in flows:
        lanes.setdefault(flow.lane, []).append(flow)
    found: dict[Code, list[Finding]] = {}
    for moments in lanes.values():
        for finding in _lane(moments[0], moments[-1]):
            found.setdefault(finding.code, []).append(finding)
    if len(lanes) == 1:
        return [of_code[0] for of_code in found.values()]
    return [
        of_code[0].model_copy(update={"evidence": of_code[0].evidence | {"models": len(of_code)}})
        for of_code in found.values()
    ]


def _lane(fresh: Flow, last: Flow) -> list[Finding]:
    alike = _alike(last)
    if alike:  # where no unit differs from the next, there is nothing else to say of them
        return alike
    begun = _vanishing(fresh, last) or _exploding(fresh) or _mismatch(fresh)
    return [*begun, *_dead(last), *_saturated(fresh, last)]


def _hidden(flow: Flow, *kinds: str) -> list[LayerFlow]:
    """Layers of those kinds, without the output layer."""
    return [layer for layer in flow.layers[:-1] if layer.kind in kinds]


def _gradients(flow: Flow) -> list[tuple[str, float]]:
    """Of the layers that multiply."""
    weighted = [layer for layer in flow.layers if layer.kind in ("dense", "conv")]
    return [(layer.layer, layer.gradient) for layer in weighted if layer.gradient is not None]


def _alike(last: Flow) -> list[Finding]:
    layers = [layer.layer for layer in _hidden(last, "dense", "conv") if layer.alike]
    if not layers:
        return []
    text = "All units of a layer have the same weights and learn the same: begin with random weights."
    return [_finding("symmetric_units", "error", text, layers=layers, epoch=last.epoch)]


def _vanishing(fresh: Flow, last: Flow) -> list[Finding]:
    ratio = _first_to_largest(fresh)
    if ratio is None or not (ratio < VANISHED or _largest(fresh) < NOTHING):
        return []
    now = _first_to_largest(last)
    recovered = now is not None and now > 10 * VANISHED
    text = "Hardly any gradient reaches the first layer."
    if recovered:
        text += " Training has mended it."
    return [
        _finding(
            "vanishing_gradient",
            "info" if recovered else "warning",
            text,
            layer=_gradients(fresh)[0][0],
            gradient=_gradients(fresh)[0][1],
            largest_gradient=_largest(fresh),
            ratio=ratio,
            ratio_at_the_end=now,
        )
    ]


def _largest(flow: Flow) -> float:
    return max((gradient for _, gradient in _gradients(flow)), default=0.0)


def _first_to_largest(flow: Flow) -> float | None:
    """None where there is one layer, or nothing left to learn."""
    found = _gradients(flow)
    if len(found) < 2 or not _largest(flow):
        return None
    return found[0][1] / _largest(flow)


def _exploding(fresh: Flow) -> list[Finding]:
    weighted = [layer for layer in fresh.layers if layer.kind in ("dense", "conv")]
    stds = {layer.layer: layer.std for layer in weighted if layer.mean is not None or layer.gradient is None}
    loudest = max(stds, key=lambda name: _size(stds[name]), default=None)
    if loudest is None or _size(stds[loudest]) <= LOUD:
        return []
    text = f"Before the first step the outputs of layer {loudest} are far from the order of 1, and the gradients too."
    return [
        _finding(
            "exploding_gradient",
            "warning",
            text,
            layer=loudest,
            std=stds[loudest],
            largest_gradient=_largest(fresh),
            loss=fresh.loss,
        )
    ]


def _size(value: float | None) -> float:
    """Not finite counts as the largest."""
    return math.inf if value is None else value


def _mismatch(fresh: Flow) -> list[Finding]:
    if any(layer.kind in ("batch_norm", "layer_norm") for layer in fresh.layers):
        return []
    stds = [layer.std for layer in _hidden(fresh, "dense", "conv") if layer.std]
    if len(stds) < 3:
        return []
    factor = float((stds[-1] / stds[0]) ** (1 / (len(stds) - 1)))
    if FADES <= factor <= GROWS:
        return []
    text = (
        f"From layer to layer the signal is multiplied by {factor:.2g}: the initial weights do not fit the activation."
    )
    return [_finding("init_mismatch", "warning", text, factor=factor, stds=list(stds))]


def _dead(last: Flow) -> list[Finding]:
    found = [(layer.layer, layer.dead) for layer in last.layers if layer.dead is not None]
    name, share = max(found, key=lambda pair: pair[1], default=("", 0.0))
    if share < DEAD:
        return []
    text = f"{share:.0%} of the units of layer {name} are 0 for every row and can learn no more."
    return [_finding("dead_units", "error" if share == 1 else "warning", text, layer=name, share=share)]


def _saturated(fresh: Flow, last: Flow) -> list[Finding]:
    for flow, layer in itertools.product((last, fresh), last.layers):
        share = next((one.saturated for one in flow.layers if one.layer == layer.layer), None)
        if share is not None and share >= SATURATED:
            text = f"{share:.0%} of the outputs of layer {layer.layer} are at their bounds, where there is no gradient."
            return [_finding("saturated_units", "warning", text, layer=layer.layer, share=share, epoch=flow.epoch)]
    return []


def _finding(code: Code, severity: str, message: str, **evidence: object) -> Finding:
    return Finding.model_validate({"code": code, "severity": severity, "message": message, "evidence": evidence})
