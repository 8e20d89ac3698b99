"""An ONNX graph under construction: nodes in order, constants, and names that nobody else has."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

OPSET, ML_OPSET, IR = 22, 3, 10
"""No operator here is newer, and every runtime since onnxruntime 1.20 reads these."""
LARGEST = 2_000_000_000
"""Bytes of all constants: a file of protocol buffers ends at 2 GiB."""


class TooLarge(ValueError):
    """The weights do not fit into one file."""


class Graph:
    """Values are known by their names."""

    def __init__(self, reserved: Collection[str]) -> None:
        """`reserved` are the names of inputs and outputs."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.bytes = 0
        self._reserved = set(reserved)
        self._count = 0

    def add(self, operator: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """Appends a node; answers the name of its output."""
        output = output or self._name()
        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """A value that is part of the file."""
        array = np.asarray(value, dtype, order="C")
        self.bytes += array.nbytes
        if self.bytes > LARGEST:
            raise TooLarge(f"Its weights take more than {LARGEST // 1_000_000} MB, the most that one ONNX file holds.")
        self.constants.append(numpy_helper.from_array(array, self._name()))
        return self.constants[-1].name

    def joined(self, parts: list[str]) -> str:
        """Side by side, along the second axis."""
        return self.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """All of it, complete."""
        graph = helper.make_graph(self.nodes, "fitd", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="fitd")

    def _name(self) -> str:
        while True:
            self._count += 1
            if (name := f"v{self._count}") not in self._reserved:
                return name
