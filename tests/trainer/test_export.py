"""`model.onnx` against the trainer's own preprocessing and network, run by onnxruntime on raw rows."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from jobs.spec.ensemble import Ensemble
from jobs.spec.init import Zeros
from jobs.spec.job import JobSpec
from jobs.spec.loss import Bce
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
    Sequential,
)
from jobs.spec.preprocessing import Classes, ImageFeatures, Power, Preprocessing, Quantile, Reals, Scaling
from jobs.spec.shapes import Misfit
from jobs.spec.signature import WIDEST_KEY, ImageInputs, Signature
from trainer import data, scores
from trainer.data import Data
from trainer.export import exporting, graph_features, graph_network, runtime
from trainer.export.graph import Graph
from trainer.features import encoding, preprocessing
from trainer.model import network
from trainer.model.layers import Pass
from trainer.model.parameters import Tensors
from trainer.sources.content import Table

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ["sigmoid", "tanh", "softmax", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"]
SCALERS: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "standard"},
    {"kind": "minmax"},
    {"kind": "robust"},
    {"kind": "maxabs"},
    {"kind": "power"},
    {"kind": "quantile", "output": "uniform"},
    {"kind": "quantile", "output": "normal"},
]


def mixed(count: int = 90) -> pl.DataFrame:
    """Numbers, gaps, text, dates and booleans; the test rows have categories that training never saw."""
    random = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "label": random.normal(40, 9, count).round(2),
            "skewed": np.exp(random.normal(size=count)),
            "few": [float(i % 4) if i % 9 else None for i in range(count)],
            "day": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" if i % 8 else None for i in range(count)],
            "moment": [f"2024-01-01T{i % 24:02}:30:00Z" for i in range(count)],
            "yes": [bool(i % 3) for i in range(count)],
            "city": [None if i % 7 == 0 else ["Bern", "Zürich", "", "?"][i % 2] for i in range(count - 3)] + ["?!"] * 3,
            "grade": [i % 5 for i in range(count)],
            "part": ["train"] * (count - 40) + ["val"] * 20 + ["test"] * 20,
            "y": ["no", "yes"] * (count // 2),
            "z": random.normal(5, 2, count),
            "z2": random.normal(-100, 30, count),
        }
    )


def spec(**parts: Any) -> JobSpec:
    resolved = {
        "dataset": {"source": "rows", "rows": mixed().to_dicts()},
        "features": {"exclude": ["y", "z", "z2"], "kinds": {"grade": "categorical", "yes": "numeric"}},
        "split": {"kind": "column", "column": "part"},
        "target": "y",
        "task": "classification",
        "scaler": {"kind": "standard"},
        "categories": {"encoding": "onehot"},
        "missing": {"indicator": True},
        "loss": {"kind": "cross_entropy"},
        "model": {
            "kind": "sequential",
            "layers": [
                {"kind": "dense", "units": 8, "init": {"kind": "zeros"}},
                {"kind": "activation", "function": "gelu"},
            ],
        },
    }
    return JobSpec.model_validate(resolved | parts)


def trained(job: JobSpec, loaded: Data, lanes: int = 1) -> network.Network:
    """The job's network, with weights as training might leave them."""
    assert isinstance(job.model, Sequential)
    head = Dense(units=1 if isinstance(job.loss, Bce) else loaded.outputs, init=Zeros())
    net = network.build([*job.model.layers, head], loaded.input_shape, [0] * lanes, "cpu", loaded.embeddings)
    return disturbed(net)


def disturbed(net: network.Network) -> network.Network:
    generator = torch.Generator().manual_seed(1)
    for name, tensor in net.state().items():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
        if name.endswith("running_var"):
            tensor.copy_(tensor.abs() + 0.5)
    return net


def outputs(net: network.Network, x: np.ndarray) -> torch.Tensor:
    """[K, N, outputs] in evaluation mode."""
    lanes = len(next(iter(net.state().values())))
    rows = torch.from_numpy(x)
    return net(rows.unsqueeze(0).expand(lanes, *rows.shape), Pass(False, []))


def ran(path: Path, loaded: Data) -> dict[str, np.ndarray]:
    """What onnxruntime makes of the sample rows."""
    session = runtime.session(path.read_bytes())
    signature = exporting.signature(loaded)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, exporting.feeds(loaded.sample, signature.inputs)), strict=True))


def exported(job: JobSpec, path: Path, lanes: int = 1) -> tuple[Data, torch.Tensor, dict[str, np.ndarray]]:
    """The data, what the trainer makes of its sample rows, and what onnxruntime does."""
    loaded = data.load(job, {})
    net = trained(job, loaded, lanes)
    assert exporting.write(path, job, loaded, net.state()) is None
    onnx.checker.check_model(str(path), full_check=True)
    z = outputs(net, preprocessing.inputs(loaded.preprocessing.features, loaded.sample))
    return loaded, scores.combined(job, loaded, z), ran(path, loaded)


@pytest.mark.parametrize("scaler", SCALERS, ids=lambda scaler: "-".join(scaler.values()))
@pytest.mark.parametrize("encoding", ["onehot", "ordinal", "embedding"])
def test_raw_rows_give_what_the_trainer_gives(tmp_path: Path, scaler: dict[str, Any], encoding: str) -> None:
    loaded, z, found = exported(spec(scaler=scaler, categories={"encoding": encoding}), tmp_path / "m")
    assert loaded.classes
    np.testing.assert_allclose(found["probabilities"], scores.probabilities(z), rtol=1e-4, atol=1e-6)
    assert found["label"].tolist() == [loaded.classes[i] for i in scores.labels(z)]
    assert isinstance(loaded.sample, Table)
    assert "?!" in loaded.sample.frame["city"]


@pytest.mark.parametrize("combine", ["mean", "vote"])
@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_members_decide_together(tmp_path: Path, combine: str, loss: str) -> None:
    job = spec(loss={"kind": loss}, ensemble={"members": 3, "combine": combine})
    loaded, z, found = exported(job, tmp_path / "m", lanes=3)
    assert loaded.classes
    np.testing.assert_allclose(found["probabilities"], scores.probabilities(z), rtol=1e-4, atol=1e-6)
    assert found["label"].tolist() == [loaded.classes[i] for i in scores.labels(z)]


@pytest.mark.parametrize("lanes", [1, 4])
def test_values_are_in_the_targets_units(tmp_path: Path, lanes: int) -> None:
    members = {"ensemble": {"members": lanes}} if lanes > 1 else {}
    job = spec(target=["z", "z2"], task="regression", loss={"kind": "mse"}, **members)
    loaded, z, found = exported(job, tmp_path / "m", lanes)
    np.testing.assert_allclose(found["values"], z * loaded.target_scale + loaded.target_mean, rtol=1e-5)


@pytest.mark.parametrize("lanes", [1, 3])
def test_the_file_says_how_wide_its_network_is(tmp_path: Path, lanes: int) -> None:
    layers = [{"kind": "dense", "units": units, "init": {"kind": "zeros"}} for units in (8, 300, 8)]
    members = {"ensemble": {"members": lanes}} if lanes > 1 else {}
    exported(spec(model={"kind": "sequential", "layers": layers}, **members), tmp_path / "m", lanes)
    meta = {prop.key: prop.value for prop in onnx.load(tmp_path / "m").metadata_props}
    assert meta[WIDEST_KEY] == str(300 * lanes)


def test_the_file_says_what_it_takes(tmp_path: Path) -> None:
    exported(spec(), tmp_path / "m")
    meta = {prop.key: prop.value for prop in onnx.load(tmp_path / "m").metadata_props}
    signature = Signature.model_validate_json(meta["signature"]).model_dump()
    inputs = {column["column"]: (column["input"], column["kind"]) for column in signature["inputs"]["columns"]}
    assert json.loads(meta["classes"]) == signature["classes"] == ["no", "yes"]
    assert inputs["label"] == ("label_input", "number")
    assert (inputs["day"], inputs["city"]) == (("day", "date"), ("city", "category"))
    assert signature["inputs"]["unused"] == ["part", "y", "z", "z2"]


def test_builtin_images_take_their_bytes(tmp_path: Path) -> None:
    layers = [{"kind": "conv", "channels": 4, "init": {"kind": "zeros"}}, {"kind": "flatten"}]
    job = spec(
        dataset={"source": "builtin", "name": "digits"},
        target=None,
        features={},
        split={"kind": "random"},
        model={"kind": "sequential", "layers": layers},
    )
    loaded, z, found = exported(job, tmp_path / "m")
    assert onnx.load(tmp_path / "m").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    np.testing.assert_allclose(found["probabilities"], scores.probabilities(z), rtol=1e-4, atol=1e-6)


def test_a_model_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    job = spec()
    loaded = data.load(job, {})
    state = {name: tensor * float("nan") for name, tensor in trained(job, loaded).state().items()}
    assert exporting.write(tmp_path / "m", job, loaded, state) == "The model's outputs are not finite."
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_says_something_else_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = spec()
    loaded = data.load(job, {})
    monkeypatch.setattr(graph_network, "_activation", lambda graph, layer, x: graph.add("Tanh", x))
    why = exporting.write(tmp_path / "m", job, loaded, trained(job, loaded).state())
    assert why is not None
    assert why.startswith("onnxruntime's logits differ from the trainer's by")
    assert list(tmp_path.iterdir()) == []


# Any network

IMAGE = st.one_of(
    st.builds(
        Conv,
        channels=st.integers(1, 5),
        kernel=st.integers(1, 4),
        stride=st.integers(1, 2),
        padding=st.just("same"),
        bias=st.booleans(),
        init=st.just(Zeros()),
    ),
    st.builds(Pool, function=st.sampled_from(["max", "average"]), size=st.just(1)),
    st.builds(Residual, layers=st.just([LayerNorm(), Activation(function="silu"), BatchNorm()])),
)
ANY = st.one_of(
    st.builds(BatchNorm),
    st.builds(LayerNorm, eps=st.sampled_from([1e-5, 1e-2])),
    st.builds(Dropout, rate=st.just(0.5)),
    st.builds(Activation, function=st.sampled_from(FUNCTIONS), negative_slope=st.sampled_from([0.01, -0.3])),
)
ROW = st.one_of(ANY, st.builds(Dense, units=st.integers(1, 9), bias=st.booleans(), init=st.just(Zeros())))
LAST = st.sampled_from([Pool(function="global_average"), Pool(size=2), Conv(channels=2, padding="valid", init=Zeros())])


@settings(max_examples=60, deadline=None)
@given(st.lists(IMAGE | ANY, max_size=4), LAST, st.lists(ROW, max_size=3), st.integers(1, 3), st.booleans())
def test_any_stack_of_layers_gives_what_the_network_gives(
    images: list[Layer], last: Layer, rows: list[Layer], lanes: int, classify: bool
) -> None:
    layers = [*images, last, Flatten(), *rows, Dense(units=3, init=Zeros())]
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 13, 2)).astype(np.uint8)
    features = ImageFeatures(channels=2, height=12, width=13, center=[120.0, 90.0], scale=[70.0, 80.0])
    target = (
        Classes(column="c", classes=["a", "b", "c"])
        if classify
        else Reals(columns=["t", "u", "v"], mean=[0, 1, 2], scale=[1, 2, 3])
    )
    inputs = ImageInputs(height=12, width=13, channels=2, is_bytes=True)
    signature = Signature(inputs=inputs, targets=["c"] * 3, classes=["a", "b", "c"] if classify else None)
    try:
        net = disturbed(network.build(layers, (2, 12, 13), [0] * lanes, "cpu"))
    except Misfit:
        reject()
    fitted = Preprocessing(features=features, target=target)
    state: Tensors = net.state()
    built = exporting.build(layers, state, fitted, signature, Ensemble(members=lanes) if lanes > 1 else None)
    built.model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in built.lanes
    )
    found = runtime.session(built.model.SerializeToString()).run(built.lanes, {"pixels": pixels})
    x = ((pixels - np.array(features.center)) / features.scale).astype(np.float32).transpose(0, 3, 1, 2)
    expected = outputs(net, x)
    limit = 1e-4 * max(1.0, float(expected.abs().max()))
    np.testing.assert_allclose(np.stack(found), expected, rtol=0, atol=limit)


# Any scaling

KNOTS = st.lists(
    st.sampled_from([-3.0, -1.0, 0.0, 0.25, 1.0, 7.5]) | st.floats(-9, 9, width=16), min_size=1, max_size=9
)
TRANSFORMS = st.one_of(
    st.none(),
    st.builds(Power, exponent=st.sampled_from([0.0, 2.0, 1.0, -1.5]) | st.floats(-4, 4)),
    st.builds(Quantile, quantiles=KNOTS.map(sorted), output=st.sampled_from(["uniform", "normal"])),
)
SCALINGS = st.builds(Scaling, transform=TRANSFORMS, center=st.floats(-3, 3), scale=st.floats(0.1, 9))


@settings(max_examples=150, deadline=None)
@given(st.lists(SCALINGS, min_size=1, max_size=4), st.lists(st.floats(-50, 50), max_size=5))
def test_any_scaling_gives_what_the_trainer_gives(scalings: list[Scaling], more: list[float]) -> None:
    knots = [knot for one in scalings if isinstance(one.transform, Quantile) for knot in one.transform.quantiles]
    values = np.array([0.0, 1e-12, -2e-7, *knots, *np.nextafter(knots, 9), *more])
    x = np.repeat(values[:, np.newaxis], len(scalings), axis=1)
    graph = Graph({"x", "y"})
    graph.add("Identity", graph_features.scaled(graph, "x", scalings), output="y")
    shape: list[str | int | None] = ["N", len(scalings)]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, shape) for name in "xy"]
    (found,) = runtime.session(graph.model(ends[:1], ends[1:]).SerializeToString()).run(["y"], {"x": x})
    np.testing.assert_allclose(found, encoding.scaled(x, scalings), rtol=1e-9, atol=1e-6)


def test_equal_runs_leave_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        exported(spec(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# No reports to anybody


def test_onnxruntime_is_told_to_report_to_nobody_before_it_is_imported() -> None:
    users = [
        str(path.relative_to(ROOT))
        for package in ("api", "client", "jobs", "trainer", "worker")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(alias.name.startswith("onnxruntime") for alias in node.names)
    ]
    assert sorted(users) == ["api/runtime.py", "trainer/export/runtime.py"]
    for user in users:
        code = f"import os, {user.removesuffix('.py').replace('/', '.')}; print(len(os.listdir('/proc/self/task')))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        assert done.stdout == "1\n", done.stderr  # the reporter would be a second thread
    assert onnxruntime.__version__
