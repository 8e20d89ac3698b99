"""The arithmetic of shapes is torch's."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from jobs.spec import shapes
from jobs.spec.model import Layer
from jobs.spec.shapes import Misfit, Shape
from trainer.model import network
from trainer.model.layers import Pass

from .specs import stacks

LAYERS = TypeAdapter(list[Layer])
TABLE_OR_IMAGES = st.integers(1, 6).map(lambda width: (width,)) | st.tuples(
    st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)
)
SEED = {"kind": "normal"}


def read(*layers: dict[str, Any]) -> list[Layer]:
    return LAYERS.validate_python(layers)


def started(layers: list[dict[str, Any]]) -> list[Layer]:
    """With no init left to decide."""
    return read(*(layer | {"init": SEED} if layer["kind"] in ("dense", "conv") else layer for layer in layers))


def outputs(layers: list[Layer], shape: Shape) -> list[Shape]:
    """What really comes out of each layer."""
    net = network.build(layers, shape, [0], "cpu")
    x, found = torch.zeros(1, 2, *shape), []
    for _, layer in net.layers:
        x, _ = layer(x, Pass(False, []))
        found.append(tuple(x.shape[2:]))
    return found


@settings(max_examples=300, deadline=None)
@given(TABLE_OR_IMAGES.flatmap(lambda shape: st.tuples(stacks(len(shape) == 3), st.just(shape))))
def test_shapes_and_parameters_are_those_of_the_network(case: tuple[list[dict[str, Any]], Shape]) -> None:
    layers, shape = started(case[0]), case[1]
    try:
        placed = shapes.walk(layers, shape)
    except Misfit:
        return
    assert [place.after for place in placed if place.pointer.count("/") == 1] == outputs(layers, shape)
    weights = network.build(layers, shape, [0], "cpu").weights.values()
    assert sum(place.parameters for place in placed) == sum(weight.numel() for weight in weights)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.sampled_from(["same", "valid"]))
@settings(deadline=None)
def test_a_window_too_large_is_the_only_misfit_of_a_convolution(side: int, kernel: int, stride: int, pad: str) -> None:
    conv = {"kind": "conv", "channels": 1, "kernel": kernel, "stride": stride, "padding": pad, "init": SEED}
    layers, shape = read(conv), (1, side, side)
    if pad == "valid" and kernel > side:
        with pytest.raises(Misfit, match="larger than the"):
            shapes.walk(layers, shape)
    else:
        assert [place.after for place in shapes.walk(layers, shape)] == outputs(layers, shape)


def test_a_residual_block_comes_after_its_inner_layers() -> None:
    block = {"kind": "residual", "layers": [{"kind": "dense", "units": 4}, {"kind": "dense", "units": 3}]}
    placed = shapes.walk(read({"kind": "layer_norm"}, block), (3,))
    assert [(place.pointer, place.after, place.parameters) for place in placed] == [
        ("/0", (3,), 6),
        ("/1/layers/0", (4,), 16),
        ("/1/layers/1", (3,), 15),
        ("/1", (3,), 0),
    ]


@pytest.mark.parametrize(
    ("layers", "shape", "pointer", "said"),
    [
        ([{"kind": "dense", "units": 2}], (1, 8, 8), "/0", "put a flatten before it"),
        ([{"kind": "flatten"}, {"kind": "pool"}], (1, 8, 8), "/1", "use images, or dense layers"),
        ([{"kind": "conv", "channels": 1}], (5,), "/0", "use images, or dense layers"),
        ([{"kind": "pool", "size": 9}], (1, 8, 8), "/0", "larger than the 8×8 image"),
        ([{"kind": "residual", "layers": [{"kind": "dense", "units": 2}]}], (3,), "/0", "must keep the shape"),
        ([{"kind": "residual", "layers": [{"kind": "pool"}]}], (3,), "/0/layers/0", "use images"),
    ],
)
def test_a_misfit_names_the_layer_and_the_mend(
    layers: list[dict[str, Any]], shape: Shape, pointer: str, said: str
) -> None:
    with pytest.raises(Misfit, match=said) as raised:
        shapes.walk(read(*layers), shape)
    assert raised.value.args[1] == pointer


def test_operations_count_each_position_of_a_convolution() -> None:
    conv = {"kind": "conv", "channels": 8, "kernel": 3, "bias": False}
    (placed,) = shapes.walk(read(conv), (2, 10, 12))
    assert (placed.parameters, placed.operations) == (2 * 9 * 8, 2 * math.prod((2, 9, 8, 10, 12)))
