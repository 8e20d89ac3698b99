"""Small requests that would cost much: time that grows faster than they do, memory many times their size."""

import hashlib
import multiprocessing
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from starlette.exceptions import HTTPException

from api import predicting
from api.cells import Misfit, pixels
from api.forms import Form
from jobs import artifacts, cells
from jobs.spec.signature import METADATA_KEY, ColumnInput, ImageInputs, Signature, TableInputs
from jobs.tables.jobs import File

LONG = 200_000
"""Characters: what looks at each of them again for each of them takes an hour."""


@pytest.mark.parametrize("read", [cells.whole, cells.real, cells.boolean, cells.moment], ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1" * LONG + "x", id="digits"),
        pytest.param("1" * LONG + "." + "1" * LONG + "x", id="a fraction"),
        pytest.param("." + "1" * LONG + "x", id="a fraction alone"),
        pytest.param("1e" + "1" * LONG + "x", id="an exponent"),
        pytest.param("2026-01-31 12:00:00." + "1" * LONG + "x", id="a second"),
    ],
)
def test_a_long_text_is_read_in_a_moment(read: Callable[[str], object], text: str) -> None:
    began = time.process_time()
    assert read(text) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(["x" * LONG] + ["y"] * 99, id="one long text among short ones"),
        pytest.param([["x" * LONG] + ["y"] * 9] * 10, id="texts in the shape of an image"),
        pytest.param([[[]] * 10] * 10, id="nothing at all"),
    ],
)
def test_what_is_no_image_takes_no_memory(cell: Any) -> None:
    tracemalloc.start()
    with pytest.raises(Misfit):
        pixels(cell, ImageInputs(height=10, width=10, channels=1, is_bytes=True))
    assert tracemalloc.get_traced_memory()[1] < 20 * LONG
    tracemalloc.stop()


@pytest.mark.parametrize("name", [b"name", b"field%d", b""])
def test_a_form_of_fields_without_end_is_not_read_on(name: bytes) -> None:
    sent: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        while len(sent) < 100:
            called = name % len(sent) if b"%" in name else name
            sent.append(b'--b\r\nContent-Disposition: form-data; name="' + called + b'"\r\n\r\nx\r\n')
            yield sent[-1]

    async def read() -> None:
        async for _ in Form(b"b").file(chunks()):
            pass

    with pytest.raises(HTTPException) as refused:
        anyio.run(read)
    assert (refused.value.status_code, len(sent) <= 2) == (400, True)


def linear(path: Path, size: int, seed: int) -> File:
    """The file of a model of one column with a matrix of so many rows and columns."""
    column = ColumnInput(column="x", input="x", kind="number")
    signature = Signature(inputs=TableInputs(columns=[column], unused=[]), targets=["y"], classes=None)
    shapes = {"a": (1, size), "b": (size, size), "c": (size, 1)}
    weights = [numpy_helper.from_array(np.full(shape, seed, np.float64), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("MatMul", inputs, [output])
        for inputs, output in ((["x", "a"], "h"), (["h", "b"], "i"), (["i", "c"], "values"))
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", 1]) for name in ("x", "values")]
    graph = helper.make_graph(nodes, "linear", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    model.metadata_props.add(key=METADATA_KEY, value=signature.model_dump_json())
    content = model.SerializeToString()
    path.write_bytes(content)
    return File(path=path.name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def memory(name: str) -> int:
    """Of this process, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def taken(folder: Path, files: list[File]) -> tuple[float, float]:
    """Memory that these models take when they are asked at once where one may be held, as many times its file: at most,
    and then."""
    models = predicting.Models(artifacts.connect(folder.as_uri()), files[0].bytes)

    def ask(file: File) -> None:
        with models.held("ann", file) as model:
            model.predict("ann", [{"x": 1}])

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    with ThreadPoolExecutor(len(files)) as threads:
        list(threads.map(ask, files))
    return (memory("VmHWM") - before) / files[0].bytes, (memory("VmRSS") - before) / files[0].bytes


def test_models_asked_at_once_take_no_more_memory_than_is_for_them(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        files = [linear(tmp_path / str(seed), 2000, seed) for seed in range(6)]
        peak, rest = process.submit(taken, tmp_path, files).result()
    assert (peak < 5, rest < 2) == (True, True), (peak, rest)
