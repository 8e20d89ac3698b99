"""Models held ready to predict."""

import hashlib
import io
import json
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from api import cells, faults, runtime
from api.turns import Rounds
from jobs import errors
from jobs.artifacts import Artifacts
from jobs.errors import Fault
from jobs.spec.signature import METADATA_KEY, PIXELS, WIDEST_KEY, ImageInputs, Signature, TableInputs
from jobs.tables.jobs import File

Row = dict[str, Any]
Feeds = dict[str, npt.NDArray[Any]]

MOST_MODELS = 64
NUMBERS_AT_ONCE = 1 << 20
"""Cells, pixels or numbers of the widest layer that are in a network at a time: all that it holds is a few times as
much."""
WIDEST = 1 << 24
"""Numbers that a single row may become in a network."""
MOST_CELLS = 1 << 20
"""Of a table, also of columns that the rows leave out."""
MOST_ANSWERED = 16 * 1024**2
"""Bytes of an answer."""
NUMBER = 24
"""Bytes of a number in an answer, with what stands around it and its name."""


class Model:
    """A `model.onnx`, loaded."""

    def __init__(self, content: bytes, slots: Rounds) -> None:
        """`slots` are as many runs as may go on at a time, over all models."""
        self._slots = slots
        self.bytes = len(content)
        self._session = runtime.session(content)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.signature = Signature.model_validate_json(metadata[METADATA_KEY])
        inputs = self.signature.inputs
        self._columns = inputs.columns if isinstance(inputs, TableInputs) else []
        self._readers = [cells.reader(column) for column in self._columns]
        used = {column.column for column in self._columns} if isinstance(inputs, TableInputs) else {PIXELS}
        unused = inputs.unused if isinstance(inputs, TableInputs) else []
        self._known = used | {*unused, *self.signature.targets}
        # A model of before does not say how wide it is: its file has at least a number for each unit of a dense layer.
        self._widest = int(metadata.get(WIDEST_KEY, min(WIDEST, self.bytes // 4)))
        self._most = _most_rows(self.signature) if self._widest <= WIDEST else 0

    def predict(self, owner: str, rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
        """The outputs by name, for rows as they were uploaded; the owner is who waits for a slot.

        Raises:
            RowsInvalid: with every cell that does not fit, or for more rows than this model takes.
            NoModel: a single row takes too much.
        """
        if not self._most:
            raise errors.NoModel("A row takes more than this service has for it: download model.onnx and run it there.")
        if len(rows) > self._most:
            text = f"This model has so many columns or classes that it takes {self._most} rows at a time at most."
            raise errors.RowsInvalid([_fault([], "too_long", text)])
        found = list(self._unknown(rows))
        inputs = self.signature.inputs
        fed = self._image(inputs, rows, found) if isinstance(inputs, ImageInputs) else self._table(rows, found)
        if not found:
            outputs = self._run(owner, fed, len(rows))
            found = list(_overflown(outputs))
        if found:
            raise errors.RowsInvalid(found[: faults.MOST])
        return outputs

    def _run(self, owner: str, fed: Feeds, rows: int) -> Feeds:
        step = max(1, NUMBERS_AT_ONCE // max(self._widest, sum(array[0].size for array in fed.values())))
        names = [output.name for output in self._session.get_outputs()]
        parts = []
        for start in range(0, rows, step):
            part = {name: array[start : start + step] for name, array in fed.items()}
            with self._slots.taken(owner):
                parts.append(self._session.run(names, part))
        return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*parts, strict=True), strict=True)}

    def _unknown(self, rows: Sequence[Row]) -> Iterator[Fault]:
        text = "The model was trained on data without this column; remove it or mend its spelling."
        for index, row in enumerate(rows):
            for name in row.keys() - self._known:
                yield _fault([index, name], "unknown_column", text)

    def _table(self, rows: Sequence[Row], found: list[Fault]) -> Feeds:
        fed: Feeds = {}
        for column, read in zip(self._columns, self._readers, strict=True):
            values: list[float | str] = []
            for index, row in enumerate(rows):
                try:
                    values.append(read(row.get(column.column)))
                except cells.Misfit as error:
                    found.append(_fault([index, column.column], "wrong_kind", str(error)))
            dtype = np.object_ if column.kind == "category" else np.float64
            fed[column.input] = np.array(values, dtype)[:, np.newaxis]
        return fed

    def _image(self, image: ImageInputs, rows: Sequence[Row], found: list[Fault]) -> Feeds:
        images = []
        for index, row in enumerate(rows):
            try:
                images.append(cells.pixels(row.get(PIXELS), image))
            except cells.Misfit as error:
                found.append(_fault([index, PIXELS], "wrong_kind", str(error)))
        return {PIXELS: np.stack(images)} if images else {}


def _most_rows(signature: Signature) -> int:
    """By what they and their answers would take."""
    columns = len(signature.inputs.columns) if isinstance(signature.inputs, TableInputs) else 1
    answered = sum(NUMBER + len(json.dumps(name)) for name in signature.classes or signature.targets)
    return min(MOST_CELLS // max(1, columns), MOST_ANSWERED // answered)


def _overflown(outputs: dict[str, npt.NDArray[Any]]) -> Iterator[Fault]:
    numbers = outputs["values"] if "values" in outputs else outputs["probabilities"]
    for index in np.flatnonzero(~np.isfinite(numbers).all(axis=1)).tolist():
        yield _fault([index], "too_large", "Its values are too large for the model to say anything.")


def _fault(path: list[str | int], code: str, detail: str) -> Fault:
    return Fault(pointer=faults.pointer(["rows", *path]), code=code, detail=detail)


class Models:
    """The models asked for last, and all that are in use, up to so many bytes of their files, which is what they take;
    one that is loaded takes three times that for a moment. Each is fetched once and checked by its SHA-256."""

    def __init__(self, artifacts: Artifacts, most_bytes: int) -> None:
        self._artifacts = artifacts
        self._most = most_bytes
        self._held: OrderedDict[str, Model] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._loading = Rounds(1)
        self._slots = Rounds(os.cpu_count() or 1)

    @contextmanager
    def held(self, owner: str, file: File) -> Iterator[Model]:
        """The model in this file, which stays until the block ends; the owner is who waits for others to be loaded.

        Raises:
            NoModel: it is too large to be held, or its bytes are gone.
        """
        if file.bytes > self._most:
            raise errors.NoModel("The model is larger than this service holds: download model.onnx and run it there.")
        model = self._find(file.sha256)
        if not model:
            with self._loading.taken(owner):  # whoever comes second finds what the first has loaded
                model = self._find(file.sha256) or self._load(file)
        try:
            yield model
        finally:
            with self._changed:
                self._users[file.sha256] -= 1
                self._changed.notify_all()

    def _find(self, sha256: str) -> Model | None:
        with self._changed:
            if sha256 in self._held:
                self._held.move_to_end(sha256)
                self._users[sha256] += 1
            return self._held.get(sha256)

    def _load(self, file: File) -> Model:
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(file.bytes))
        model = Model(self._fetch(file), self._slots)
        with self._changed:
            self._held[file.sha256] = model
            self._users[file.sha256] += 1
        return model

    def _has_room(self, more: int) -> bool:
        """Whether there is, once models that nobody uses have gone."""
        for sha256 in [one for one in self._held if not self._users[one]]:
            if self._fits(more):
                break
            del self._held[sha256], self._users[sha256]
        return self._fits(more)

    def _fits(self, more: int) -> bool:
        taken = sum(one.bytes for one in self._held.values())
        return len(self._held) < MOST_MODELS and taken + more <= self._most

    def _fetch(self, file: File) -> bytes:
        content, digest = io.BytesIO(), hashlib.sha256()
        with suppress(FileNotFoundError):
            for chunk in self._artifacts.read(file.path):
                content.write(chunk)
                digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            raise errors.NoModel("The model's bytes are gone from the artifact store, or damaged: train it again.")
        return content.getvalue()  # not a copy
