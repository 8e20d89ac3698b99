"""All that a finished run has to say about itself, as numbers: `report.json`. Page and model card are drawn of it.

Nothing in it is a date or a duration, so that equal runs leave equal bytes.
"""

import math
from collections.abc import Sequence
from typing import Literal, assert_never

from pydantic import JsonValue

from jobs.spec.data import Builtin, Dataset, Rows, Task, Upload
from jobs.spec.explained import Background, Decision, Diagnostics, Notice
from jobs.spec.job import JobSpec
from jobs.spec.model import Sequential
from jobs.spec.values import Part
from trainer import checkpoints
from trainer.account import charts, importance, limits, quality
from trainer.account.quality import Quality
from trainer.data import Data
from trainer.model import network
from trainer.reports import BestEpoch, Finished, Member, Point, StopReason
from trainer.state import State


class Curve(Part):
    """One metric over the run; of long ones 400 points, the highest and lowest among them."""

    name: str
    at: list[int]
    """Epochs, counted from 1; of `loss` and `lr` steps."""
    values: list[float | None]
    """Null where not finite."""


class Facts(Part):
    """The data as it was learnt from."""

    source: str
    dataset_hash: str | None
    task: Task
    train_rows: int
    validation_rows: int
    test_rows: int
    targets: list[str]
    classes: list[str] | None
    columns: list[str]
    """The raw ones that the model sees; none for images."""
    shape: list[int]
    """Of one row, as the network takes it."""
    notes: list[str]
    """What was done to the rows."""


class Outcome(Part):
    """How the training ended."""

    stop_reason: StopReason
    message: str
    epochs: int
    steps: int
    best: BestEpoch | None
    delivered_epoch: int
    """Whose weights are delivered."""


class Summary(Part):
    """A run, summed up."""

    version: Literal[1] = 1
    title: str
    outcome: Outcome
    quality: Quality
    diagnostics: Diagnostics | None
    warnings: list[Notice]
    limits: list[str]
    """What to mind before the model is used."""
    curves: list[Curve]
    data: Facts
    parameters: int
    """Trained numbers per model."""
    models: int
    """More than one is an ensemble."""
    members: list[Member]
    """Of an ensemble."""
    decisions: list[Decision]
    layers: list[str]
    """Their kinds, without the output layer."""
    spec: dict[str, JsonValue]
    """Resolved; rows written into it are only counted."""
    build: dict[str, JsonValue]
    """What else must be the same for the same bits."""
    files: list[str]
    """Beside this one."""
    onnx_refused: str | None
    """Why there is no `model.onnx`."""


def of(
    spec: JobSpec,
    data: Data,
    state: State,
    finished: Finished,
    background: Background,
    diagnostics: Diagnostics | None,
    files: Sequence[str],
    onnx_refused: str | None,
) -> Summary:
    """The state holds the delivered weights."""
    assert isinstance(spec.model, Sequential), "a resolved spec has its layers written out"
    facts = _facts(spec, data, background)
    measured = quality.of(spec, data, state.network, len(state.best), finished)
    return Summary(
        title=spec.name or facts.source,
        outcome=Outcome(
            stop_reason=finished.stop_reason,
            message=finished.message,
            epochs=finished.epoch,
            steps=finished.step,
            best=finished.best,
            delivered_epoch=finished.delivered_epoch,
        ),
        quality=measured,
        diagnostics=diagnostics,
        warnings=background.warnings,
        limits=limits.of(measured, facts.train_rows),
        curves=_curves(state.history),
        data=facts,
        parameters=network.count(state.network.parameters),
        models=len(state.best),
        members=finished.members,
        decisions=background.decisions,
        layers=[layer.kind for layer in spec.model.layers],
        spec=_without_rows(spec),
        build={"seed": spec.seed, **checkpoints.build(spec)},
        files=sorted(files),
        onnx_refused=onnx_refused,
    )


def _facts(spec: JobSpec, data: Data, background: Background) -> Facts:
    features = data.preprocessing.features
    assert spec.task != "auto", "a resolved spec leaves nothing to guess"
    return Facts(
        source=_source(spec.dataset),
        dataset_hash=background.dataset_hash or None,
        task=spec.task,
        train_rows=len(data.train),
        validation_rows=len(data.validation or ()),
        test_rows=len(data.test or ()),
        targets=data.targets,
        classes=data.classes,
        columns=[] if features.layout == "images" else list(importance.columns_of(features)),
        shape=list(data.input_shape),
        notes=data.notes,
    )


def _source(dataset: Dataset) -> str:
    match dataset:
        case Builtin():
            return dataset.name
        case Upload():
            return dataset.id
        case Rows():
            return "rows in the spec"
        case _:
            assert_never(dataset)


def _without_rows(spec: JobSpec) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = spec.model_dump(mode="json", exclude={"dataset": {"rows"}})
    if isinstance(spec.dataset, Rows):
        shown["dataset"] = {"source": "rows", "rows": f"{len(spec.dataset.rows):,} rows: see resolved_spec.json"}
    return shown


def _curves(history: Sequence[Point]) -> list[Curve]:
    series: dict[str, list[tuple[float, float]]] = {}
    for point in history:
        at = point.step if point.name in ("loss", "lr") else point.epoch
        value = math.nan if point.value is None else point.value
        series.setdefault(point.name, []).append((at, value))
    return [_curve(name, charts.thinned(points)) for name, points in series.items()]


def _curve(name: str, points: Sequence[tuple[float, float]]) -> Curve:
    values = [value if math.isfinite(value) else None for _, value in points]
    return Curve(name=name, at=[int(at) for at, _ in points], values=values)
