"""The network is written out layer by layer, and starts as its activations ask."""

from typing import Any

import pytest

from jobs.spec.init import HeNormal, Init
from jobs.spec.model import Layer, Sequential

from .specs import FUNCTIONS, PICTURES, TWO, notices, resolve, why


def layers(**changes: Any) -> list[Layer]:
    model = resolve(**changes).spec.model
    assert isinstance(model, Sequential)
    return model.layers


def names(**changes: Any) -> list[str]:
    return [layer.kind for layer in layers(**changes)]


def stack(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "sequential", "layers": list(layers)}


def dense(**fields: Any) -> dict[str, Any]:
    return {"kind": "dense", "units": 4} | fields


def activation(function: str) -> dict[str, Any]:
    return {"kind": "activation", "function": function}


def inits(**changes: Any) -> list[Init]:
    return [layer.init for layer in layers(**changes) if layer.kind in ("dense", "conv")]


def test_an_mlp_is_written_out() -> None:
    model = {"kind": "mlp", "hidden": [3, 2], "batch_norm": True, "dropout": 0.5}
    assert names(model=model) == ["dense", "batch_norm", "activation", "dropout"] * 2
    assert [layer.bias for layer in layers(model=model) if layer.kind == "dense"] == [False, False]
    assert why(resolve(model=model), "/model/kind") == ("sequential", "model.expand")


def test_a_linear_model_has_no_hidden_layers() -> None:
    assert names(model={"kind": "mlp", "hidden": []}) == []


def test_images_are_flattened_for_an_mlp() -> None:
    assert names(profile=PICTURES, target=None, model={"kind": "mlp", "hidden": [3]}) == [
        "flatten",
        "dense",
        "activation",
    ]


def test_a_cnn_is_written_out() -> None:
    block, dense = ["conv", "batch_norm", "activation", "pool"], ["dense", "batch_norm", "activation", "dropout"]
    model = {"kind": "cnn", "channels": [2, 3], "hidden": [5], "batch_norm": True, "dropout": 0.1}
    assert names(profile=PICTURES, target=None, model=model) == [*block, *block, "flatten", *dense]
    assert "pool" not in names(profile=PICTURES, target=None, model=model | {"pool": 1})


def test_images_that_reach_the_end_are_flattened_for_the_output() -> None:
    model = stack({"kind": "conv", "channels": 2}, {"kind": "pool", "function": "global_average"})
    assert names(profile=PICTURES, target=None, model=model) == ["conv", "pool", "flatten"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_start_fits_the_activation_that_follows(function: str) -> None:
    fitting = {"selu": "lecun_normal"} | dict.fromkeys(("sigmoid", "tanh", "softmax"), "xavier_uniform")
    model = {"kind": "mlp", "hidden": [4], "activation": function}
    assert [init.kind for init in inits(model=model)] == [fitting.get(function, "he_normal")]


def test_the_activation_counts_across_a_norm_and_not_across_weights() -> None:
    model = stack(dense(), {"kind": "batch_norm"}, activation("relu"), dense(), dense(), activation("selu"))
    resolved = resolve(model=model)
    assert [why(resolved, f"/model/layers/{place}/init")[1] for place in (0, 3, 4)] == [
        "init.he",
        "init.xavier",
        "init.lecun",
    ]


def test_layers_within_a_residual_block_are_decided_too() -> None:
    block = {"kind": "residual", "layers": [dense(), activation("relu"), dense()]}
    resolved = resolve(model=stack(dense(), block))
    assert why(resolved, "/model/layers/1/layers/0/init")[1] == "init.he"
    assert why(resolved, "/model/layers/1/layers/2/init")[1] == "init.xavier"


def test_a_layer_takes_its_own_start_before_the_jobs() -> None:
    own = {"kind": "normal", "std": 0.5, "truncated": True, "bias": 0.1}
    shared = {"kind": "uniform", "bound": 0.1, "bias": 0.0}
    resolved = resolve(model=stack(dense(init=own), dense()), init=shared)
    assert [init.model_dump() for init in inits(model=stack(dense(init=own), dense()), init=shared)] == [own, shared]
    assert why(resolved, "/model/layers/1/init") == (shared, "init.job")
    assert resolved.spec.init.model_dump() == shared


def test_a_bias_comes_with_the_start_that_says_so() -> None:
    changes: dict[str, Any] = {"model": {"kind": "mlp", "hidden": [3]}, "init": {"kind": "he_normal", "bias": 0.1}}
    assert inits(**changes) == [resolve(**changes).spec.init] == [HeNormal(bias=0.1)]


def test_the_output_layer_starts_by_xavier() -> None:
    assert why(resolve(TWO), "/init") == ({"kind": "xavier_uniform", "gain": 1.0, "bias": 0.0}, "init.output")


SPREAD = ("/model/layers", "init_spread")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"init": {"kind": "zeros"}}, [("/init", "zero_init")]),
        ({"init": {"kind": "zeros"}, "model": {"kind": "mlp", "hidden": []}}, []),
        ({"init": {"kind": "zeros"}, "model": stack()}, []),
        ({"model": stack(dense(init={"kind": "zeros"}))}, [("/model/layers/0/init", "zero_init")]),
        (
            {"model": stack(dense(init={"kind": "xavier_normal"}), activation("gelu"))},
            [("/model/layers/0/init", "init_activation")],
        ),
        (
            {"model": stack(dense(), activation("tanh")), "init": {"kind": "he_uniform"}},
            [("/model/layers/0/init", "init_activation")],
        ),
        ({"model": stack(dense(init={"kind": "he_normal"}), activation("relu"))}, []),
        (
            {"model": stack(dense(init={"kind": "lecun_uniform"}), activation("relu"))},
            [("/model/layers/0/init", "init_activation")],
        ),
        ({"model": stack(dense(init={"kind": "xavier_normal", "gain": 2**0.5}), activation("relu"))}, []),
        ({"model": stack(dense(init={"kind": "he_normal", "gain": 0.5}), activation("tanh"))}, []),
        ({"init": {"kind": "constant", "value": 0.5}}, [("/init", "constant_init")]),
        ({"init": {"kind": "normal"}, "model": {"kind": "mlp", "hidden": [64]}}, []),
        ({"init": {"kind": "normal"}, "model": {"kind": "mlp", "hidden": [64] * 6}}, [SPREAD]),
        ({"init": {"kind": "uniform", "bound": 3.0}, "model": {"kind": "mlp", "hidden": [64] * 6}}, [SPREAD]),
        ({"init": {"kind": "normal"}, "model": {"kind": "mlp", "hidden": [64] * 6, "batch_norm": True}}, []),
        ({"init": {"kind": "normal", "std": 0.125}, "model": {"kind": "mlp", "hidden": [64] * 50}}, []),
    ],
)
def test_a_start_that_does_not_fit_is_warned_about(changes: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert notices(**changes) == found
