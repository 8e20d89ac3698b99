"""`model.onnx`: preprocessing, network and output in one file, written only if it says what the trainer says."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import polars as pl
import torch
from onnx import TensorProto, helper

from jobs.spec.ensemble import Ensemble
from jobs.spec.init import Zeros
from jobs.spec.job import JobSpec
from jobs.spec.loss import Bce
from jobs.spec.model import Conv, Dense, Layer, Residual, Sequential
from jobs.spec.preprocessing import Classes, Embedding, Preprocessing, TableFeatures
from jobs.spec.signature import METADATA_KEY, PIXELS, WIDEST_KEY, ColumnInput, ImageInputs, Signature, TableInputs
from trainer import ensembles, scores
from trainer.data import Data
from trainer.export import graph_features, graph_network, runtime
from trainer.export.graph import Graph, TooLarge
from trainer.features import preprocessing
from trainer.model import network
from trainer.model.layers import Pass
from trainer.model.parameters import Tensors
from trainer.sources import columns
from trainer.sources.content import Images, Table

TOLERANCE = 1e-4
"""How far a logit or scaled value may be from the trainer's, relative to the largest of them, or to 1."""
FROM_SAME = 1e-5
"""How far probabilities may be from those of the same logits; a label may differ where the best two are as near."""
OUTPUTS = ("label", "probabilities", "values")

Feeds = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Built:
    """A graph, and the names in it of each lane's [N, outputs], before they are combined."""

    model: onnx.ModelProto
    lanes: list[str]


def write(path: Path, spec: JobSpec, data: Data, tensors: Tensors) -> str | None:
    """Writes the model of `tensors`, which are named as in `model.safetensors`; or writes nothing and answers why."""
    assert isinstance(spec.model, Sequential), "a resolved spec has its layers written out"
    if not data.sample.rows:
        return "There are no rows to check it by."
    layers = [*spec.model.layers, Dense(units=1 if isinstance(spec.loss, Bce) else data.outputs)]
    described = signature(data)
    try:
        built = build(layers, tensors, data.preprocessing, described, spec.ensemble)
    except TooLarge as error:
        return str(error)
    net = _network(layers, data, tensors)
    why = _differs(built, data, spec.ensemble, _reference(net, data), feeds(data.sample, described.inputs))
    if why is None:
        built.model.metadata_props.add(key=WIDEST_KEY, value=str(net.widest * len(built.lanes)))
        path.write_bytes(built.model.SerializeToString())
    return why


def signature(data: Data) -> Signature:
    """Of the model of this data."""
    features = data.preprocessing.features
    inputs: TableInputs | ImageInputs
    if isinstance(features, TableFeatures):
        inputs = _table_inputs(features, data.sample.frame.columns)
    else:
        assert isinstance(data.sample, Images)
        shape = features.model_dump(include={"height", "width", "channels"})
        inputs = ImageInputs(**shape, is_bytes=data.sample.pixels.dtype == np.uint8)
    return Signature(inputs=inputs, targets=data.targets, classes=data.classes)


def _table_inputs(features: TableFeatures, names: Sequence[str]) -> TableInputs:
    kinds: dict[str, Any] = {number.name: "date" if number.date else "number" for number in features.numbers}
    known = {one.name: [value for value in one.categories if value] for one in features.categories}
    kinds |= dict.fromkeys(known, "category")
    used = [
        ColumnInput(column=name, input=_free(name, {*kinds}), kind=kind, categories=known.get(name, []))
        for name, kind in kinds.items()
    ]
    return TableInputs(columns=used, unused=[name for name in names if name not in kinds])


def _free(name: str, columns: set[str]) -> str:
    """The column's own name, unless it is that of an output."""
    free = name
    while free in OUTPUTS or (free != name and free in columns):
        free += "_input"
    return free


def build(
    layers: Sequence[Layer], tensors: Tensors, fitted: Preprocessing, signature: Signature, ensemble: Ensemble | None
) -> Built:
    """The graph; tensors [K, …]."""
    inputs = _inputs(signature.inputs)
    embeddings: list[Embedding] = []
    graph = Graph({*OUTPUTS, *(value.name for value in inputs)})
    if isinstance(signature.inputs, TableInputs):
        assert isinstance(fitted.features, TableFeatures)
        named = {column.column: column.input for column in signature.inputs.columns}
        x = graph_features.table(graph, fitted.features, named)
        embeddings = fitted.features.embeddings
    else:
        assert not isinstance(fitted.features, TableFeatures)
        x = graph_features.images(graph, fitted.features, PIXELS)
    arrays = {name: tensor.detach().float().cpu().numpy() for name, tensor in tensors.items()}
    count = len(next(iter(arrays.values())))
    lanes = []
    for weights in ({name: array[lane] for name, array in arrays.items()} for lane in range(count)):
        dense = graph_network.embedded(graph, x, embeddings, weights)
        lanes.append(graph_network.layers(graph, layers, dense, weights))
    if isinstance(fitted.target, Classes):
        head = layers[-1]
        is_binary = isinstance(head, Dense) and head.units == 1
        graph_network.labelled(graph, lanes, fitted.target, ensemble, is_binary=is_binary)
    else:
        graph_network.valued(graph, lanes, fitted.target)
    model = graph.model(inputs, _outputs(signature))
    helper.set_model_props(
        model, {METADATA_KEY: signature.model_dump_json(), "classes": json.dumps(signature.classes or [])}
    )
    return Built(model, lanes)


def _inputs(inputs: TableInputs | ImageInputs) -> list[onnx.ValueInfoProto]:
    if isinstance(inputs, ImageInputs):
        shape: list[str | int | None] = ["N", inputs.height, inputs.width, inputs.channels]
        kind = TensorProto.UINT8 if inputs.is_bytes else TensorProto.FLOAT
        return [helper.make_tensor_value_info(PIXELS, kind, shape)]
    types = {"number": TensorProto.DOUBLE, "date": TensorProto.DOUBLE, "category": TensorProto.STRING}
    return [helper.make_tensor_value_info(one.input, types[one.kind], ["N", 1]) for one in inputs.columns]


def _outputs(signature: Signature) -> list[onnx.ValueInfoProto]:
    if signature.classes is None:
        return [helper.make_tensor_value_info("values", TensorProto.DOUBLE, ["N", len(signature.targets)])]
    return [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(signature.classes)]),
    ]


def feeds(data: Table | Images, inputs: TableInputs | ImageInputs) -> Feeds:
    """Rows as the trainer reads them, as the graph takes them."""
    if isinstance(inputs, ImageInputs):
        assert isinstance(data, Images)
        return {PIXELS: data.pixels}
    return {one.input: _column(one, data.frame[one.column])[:, np.newaxis] for one in inputs.columns}


def _column(one: ColumnInput, values: pl.Series) -> npt.NDArray[Any]:
    if one.kind == "category":
        return np.array(columns.as_text(values).fill_null("").to_list(), np.object_)
    return columns.as_numbers(values)


def _network(layers: Sequence[Layer], data: Data, tensors: Tensors) -> network.Network:
    """The trainer's own, on the processor and in single precision."""
    lanes = len(next(iter(tensors.values())))
    net = network.build(_zeroed(layers), data.input_shape, [0] * lanes, "cpu", data.embeddings)
    for name, tensor in net.state().items():
        tensor.copy_(tensors[name])
    return net


@torch.no_grad()
def _reference(net: network.Network, data: Data) -> torch.Tensor:
    """[K, N, outputs] of the sample rows."""
    x = torch.from_numpy(preprocessing.inputs(data.preprocessing.features, data.sample))
    lanes = len(next(iter(net.state().values())))
    return net(x.unsqueeze(0).expand(lanes, *x.shape), Pass(False, []))


def _zeroed(layers: Sequence[Layer]) -> list[Layer]:
    """Drawing weights that are written over would take time."""
    return [
        layer.model_copy(update={"layers": _zeroed(layer.layers)})
        if isinstance(layer, Residual)
        else layer.model_copy(update={"init": Zeros()})
        if isinstance(layer, Dense | Conv)
        else layer
        for layer in layers
    ]


def _differs(built: Built, data: Data, ensemble: Ensemble | None, z: torch.Tensor, rows: Feeds) -> str | None:
    """Whether onnxruntime makes of the sample rows what the trainer makes of them: None, or what it does not."""
    if not z.isfinite().all():
        return "The model's outputs are not finite."
    lanes = built.model.graph.output
    lanes.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in built.lanes)
    names = ["values"] if data.classes is None else ["probabilities", "label"]
    try:
        found = runtime.session(built.model.SerializeToString()).run([*names, *built.lanes], rows)
    except Exception as error:  # whatever it is, the run's other results are good
        return f"onnxruntime cannot run it: {error}"
    del lanes[-len(built.lanes) :]
    mine = torch.from_numpy(np.stack(found[len(names) :]))
    if (apart := _distance(mine, z)) > TOLERANCE:
        return f"onnxruntime's logits differ from the trainer's by {apart:.2g} of the largest."
    together = ensembles.combine(ensemble, mine, classes=data.classes is not None)
    if data.classes is None:
        scaled = (torch.from_numpy(found[0]) - data.target_mean) / data.target_scale
        return None if _distance(scaled, together) <= FROM_SAME else "onnxruntime's values are not those of its logits."
    p = scores.probabilities(together)
    best = p.topk(2).values
    unsure = (best[:, 0] - best[:, 1] <= FROM_SAME).numpy()
    labels = np.array(data.classes, np.object_)[scores.labels(together).numpy()]
    same = (labels == found[1]) | unsure
    if _distance(torch.from_numpy(found[0]), p) <= FROM_SAME and same.all():
        return None
    return "onnxruntime's labels or probabilities are not those of its logits."


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest value, or to 1."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
