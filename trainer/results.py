"""What a finished run leaves behind: files that need neither the service nor this code to be read."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from jobs.spec.job import JobSpec
from trainer import checkpoints, plots
from trainer.data import Data
from trainer.reports import Finished, Point
from trainer.state import State


@dataclass(frozen=True)
class Result:
    """A file in the run's folder."""

    name: str
    content_type: str


def write(folder: Path, spec: JobSpec, data: Data, state: State, finished: Finished) -> list[Result]:
    """Writes every file into an existing folder. The state holds the weights to deliver."""
    checkpoints.write_tensors(folder / "model.safetensors", state.network.state(), {"spec": spec.model_dump_json()})
    summary = finished.model_dump(mode="json", include={"stop_reason", "best", "delivered_epoch", "test"})
    files = {
        "preprocess.json": data.preprocessing.model_dump_json(indent=2),
        "resolved_spec.json": spec.model_dump_json(indent=2),
        "metrics.json": json.dumps(summary, indent=2),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    history(folder / "history.csv", state.history)
    plots.curves(folder / "curves.svg", state.history, finished.best, spec.name or "training")
    return [
        Result("model.safetensors", "application/octet-stream"),
        *(Result(name, "application/json") for name in files),
        Result("history.csv", "text/csv"),
        Result("curves.svg", "image/svg+xml"),
    ]


def history(path: Path, points: list[Point]) -> None:
    """All metrics, one row per value: name, step, epoch, value; `nan`, `inf` or `-inf` where it is not finite."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "step", "epoch", "value"])
        writer.writerows([point.name, point.step, point.epoch, point.nonfinite or point.value] for point in points)
