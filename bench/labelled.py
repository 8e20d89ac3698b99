"""Runs of the labelled suite and the labels that they get from what came of them, not from what the rules see."""

import functools
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import materials, suites
from bench.suites import Case, Setup
from jobs import profiles, rules
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile
from trainer import data
from trainer.data import Data
from trainer.diagnosis import findings
from trainer.diagnosis.verdicts import Rate
from trainer.fit import fit
from trainer.reports import Finished, Point
from trainer.sources import profiling, reading

RATES = [float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 3)] + [10.0]
ROWS = 2000
"""Of the larger sets."""
GOOD = 0.9
"""Share of the most that any rate of the grid took off the loss of guessing, in as many epochs, that is good."""
WORSE = 1.1
"""Ends so many times above its start and above guessing: diverging."""
LEARNABLE = 0.9
"""A setup whose best rate ends above this share of the loss of guessing teaches nothing, and is left out."""
NEAREST = 4
"""Rates below the best one that count: smaller ones are too low, and too easy."""
IMAGES = {"fashion": "train", "fashion_t10k": "t10k"}
ID = "ds_" + "0" * 26


@dataclass(frozen=True)
class Run:
    """One rate of a setup."""

    lr: float
    history: list[Point]
    guess: float
    initial: float
    """The loss of the untrained network on a sample of the training rows."""
    label: Rate = "unclear"
    is_border: bool = False
    """A neighbour on the grid, a factor of √10 away, has another label."""

    @property
    def end(self) -> float:
        """The training loss of the last epoch."""
        last = [point for point in self.history if point.name == "train_loss"][-1]
        return math.nan if last.value is None else last.value


def available() -> bool:
    """Whether the shared folder of real datasets is there."""
    return (materials.SHARED / "data/MANIFEST.json").exists()


def prepared(dataset: str, changes: Mapping[str, Any]) -> tuple[JobSpec, Data]:
    """A resolved spec and its data."""
    body = {"batch_size": 32, "early_stopping": None, **changes}
    if dataset in suites.BUILTIN:
        spec = JobSpec.model_validate({"dataset": {"source": "builtin", "name": dataset}, **body})
        resolved = rules.resolve(spec, profiles.builtin()[dataset], None).spec
        return resolved, data.load(resolved, {})
    path, profile, target = _file(dataset)
    spec = JobSpec.model_validate({"dataset": {"source": "upload", "id": ID}, "target": target, **body})
    resolved = rules.resolve(spec, profile, None).spec
    return resolved, data.load(resolved, {ID: path})


@functools.cache
def _file(dataset: str) -> tuple[Path, DatasetProfile, str | None]:
    """The first 2,000 images, or 2,000 rows of a table drawn with seed 0."""
    folder = Path(tempfile.mkdtemp(prefix="fitd-bench-"))
    path, target = folder / f"{dataset}.csv", None
    if dataset in IMAGES:
        arrays, path = np.load(materials.fashion(IMAGES[dataset])(folder)), folder / "sample.npz"
        np.savez(path, X=arrays["X"][:ROWS], y=arrays["y"][:ROWS])
    else:
        head, *rows = materials.table(dataset)(folder).read_text().splitlines()
        chosen = np.random.default_rng(0).permutation(len(rows))[:ROWS]
        path.write_text("\n".join([head, *(rows[row] for row in chosen)]) + "\n")
        known = json.loads((materials.SHARED / "data/MANIFEST.json").read_text())["tabular"]
        target = next(entry["target"] for entry in known if entry["id"] == dataset)
    return path, profiling.profile(reading.read(path)), target


def trained(spec: JobSpec, loaded: Data) -> tuple[list[Point], Finished]:
    """A run to its end: the history and the last report."""
    for moment in fit(spec, loaded):
        last = moment
    assert isinstance(last.report, Finished)
    return last.state.history, last.report


def grid(setup: Setup) -> list[Run]:
    """The runs of a setup at all rates that count, labelled."""
    changes = {"model": setup.model, "optimizer": setup.optimizer, "batch_size": setup.batch, "epochs": setup.epochs}
    spec, loaded = prepared(setup.dataset, changes | setup.others)
    guess, runs = findings.guess(spec, loaded), []
    for lr in RATES:
        history, finished = trained(_at(spec, lr), loaded)
        assert finished.diagnostics is not None
        runs.append(Run(lr, history, guess, finished.diagnostics.flow[0].loss or math.nan))
    return labelled(runs)


def _at(spec: JobSpec, lr: float) -> JobSpec:
    return spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"lr": lr})})


def labelled(runs: list[Run]) -> list[Run]:
    """The rates that count, each with its label, by where the losses of the whole grid end. None where no rate
    learns anything to speak of."""
    ends = [run.end for run in runs]
    best = ends.index(min(end for end in ends if math.isfinite(end)))
    if ends[best] > LEARNABLE * runs[0].guess:
        return []
    labels = [_label(place, best, ends, runs[0]) for place in range(len(runs))]
    found = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        neighbours = {labels[beside] for beside in (place - 1, place + 1) if 0 <= beside < len(runs)}
        if label != "too_low" or set(labels[place : place + NEAREST + 1]) != {"too_low"}:
            found.append(replace(run, label=label, is_border=neighbours != {label}))
    return found


def _label(place: int, best: int, ends: list[float], run: Run) -> Rate:
    end = ends[place]
    if not math.isfinite(end) or (place > best and end > WORSE * max(run.initial, run.guess)):
        return "diverging"
    if (run.guess - end) / (run.guess - ends[best]) >= GOOD:
        return "good"
    return "too_low" if place < best else "too_high"


def found_in(case: Case) -> list[str]:
    """The codes of all findings of a case, trained for a few epochs at a modest rate."""
    changes = {"model": case.model, "optimizer": {"kind": "sgd", "lr": 1e-3}, "epochs": 4, **case.others}
    _, finished = trained(*prepared(case.dataset, changes))
    assert finished.diagnostics is not None
    return [finding.code for finding in finished.diagnostics.findings]
