"""What a finished run leaves behind: files that need neither the service nor this code to be read."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import to_json

from jobs.spec.explained import UNKNOWN, Background, Diagnostics
from jobs.spec.job import JobSpec
from trainer import alive, checkpoints
from trainer.account import charts, pages, plots, summary
from trainer.data import Data
from trainer.export import exporting
from trainer.reports import Finished, Point
from trainer.state import State

MEASURED = {"stop_reason", "best", "delivered_epoch", "test"}
TYPES = {
    "model.safetensors": "application/octet-stream",
    "preprocess.json": "application/json",
    "resolved_spec.json": "application/json",
    "metrics.json": "application/json",
    "report.json": "application/json",
    "report.html": "text/html; charset=utf-8",
    "model_card.md": "text/markdown; charset=utf-8",
    "history.csv": "text/csv",
    "curves.svg": "image/svg+xml",
    "diagnostics.json": "application/json",
    "gradient_flow.svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Result:
    """A file in the run's folder."""

    name: str
    content_type: str


def write(
    folder: Path,
    spec: JobSpec,
    data: Data,
    state: State,
    finished: Finished,
    background: Background = UNKNOWN,
    diagnostics: Diagnostics | None = None,
) -> list[Result]:
    """Writes every file into an existing folder. The state holds the weights to deliver."""
    checkpoints.write_tensors(folder / "model.safetensors", state.network.state(), {"spec": spec.model_dump_json()})
    history(folder / "history.csv", state.history)
    alive.say()
    refused = exporting.write(folder / "model.onnx", spec, data, state.network.state())
    types = TYPES if refused else {"model.onnx": "application/octet-stream"} | TYPES
    alive.say()
    run = summary.of(spec, data, state, finished, background, diagnostics, [*types], refused)
    said = diagnostics or Diagnostics(findings=[], flow=[])
    measured = finished.model_dump(mode="json", include=MEASURED) | {"onnx_refused": refused}
    texts = {
        "preprocess.json": data.preprocessing.model_dump_json(indent=2),
        "resolved_spec.json": spec.model_dump_json(indent=2),
        "metrics.json": to_json(measured, indent=2, inf_nan_mode="null").decode(),
        "curves.svg": charts.standalone(plots.curves(run.curves, finished.best.epoch if finished.best else None)),
        "diagnostics.json": said.model_copy(update={"flow": state.flows}).model_dump_json(indent=1),
        "gradient_flow.svg": charts.standalone(plots.flow(said.flow)),
        "report.json": run.model_dump_json(indent=1),
        "report.html": pages.report(run),
        "model_card.md": pages.model_card(run),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    return [Result(name, content_type) for name, content_type in types.items()]


def history(path: Path, points: list[Point]) -> None:
    """All metrics, one row per value: name, step, epoch, value; `nan`, `inf` or `-inf` where it is not finite."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "step", "epoch", "value"])
        writer.writerows([point.name, point.step, point.epoch, point.nonfinite or point.value] for point in points)
