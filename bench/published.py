"""`python -m bench.published`: scores that others published, and ours with the settings they name.

What is trained is `examples/published/NAME.json`. Exit status 1 if a target is missed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import figures, machine, materials, pages
from jobs import rules
from jobs.spec.data import GivenSplit, Upload
from jobs.spec.job import JobSpec
from trainer import data, threads
from trainer.fit import fit
from trainer.reports import Finished, Progress
from trainer.sources import profiling, reading

SPECS = Path(__file__).resolve().parents[1] / "examples/published"
NEAR = 0.005
"""How far below a published accuracy ours may lie."""

Files = tuple[Callable[[Path], Path], ...]
"""Make what is uploaded: the dataset, and its test rows where they are apart."""


@dataclass(frozen=True)
class Case:
    """A published score and how ours is read."""

    name: str
    metric: str
    theirs: figures.Pick
    files: Files = (materials.fashion_whole,)
    on: str = "test"
    """`test`; `validation`: mean of the last three epochs; `ensemble`: all members together; `members`: their mean."""
    target: float | None = None
    """What must be reached; none: the published score, less what is near enough."""


def _optimizer(name: str, id: str) -> Case:
    return Case(f"fashion_{name}", "accuracy", figures.handson_curve(id), on="validation")


CALIFORNIA, ADULT = (materials.california,), (materials.table("adult_train"), materials.table("adult_test"))
CASES = [
    Case("fashion_100", "accuracy", figures.fashion_scikit("activation=relu hidden_layer_sizes=[100]")),
    Case("fashion_300_100", "accuracy", figures.handson("10-69", "test_accuracy")),
    Case("fashion_256_128_100", "accuracy", figures.fashion_readme("MLP 256-128-100", "@heitorrapela")),
    Case("fashion_cnn", "accuracy", figures.fashion_readme("2 Conv+pooling", "Tensorflow's doc")),
    _optimizer("momentum", "11-83"),
    _optimizer("nesterov", "11-86"),
    _optimizer("adagrad", "11-89"),
    _optimizer("rmsprop", "11-92"),
    _optimizer("adam", "11-95"),
    _optimizer("adamax", "11-98"),
    _optimizer("nadam", "11-101"),
    _optimizer("adamw", "11-105"),
    Case("california_keras", "rmse", figures.handson("10-84", "test_rmse"), CALIFORNIA, target=0.54),
    Case("california_rtdl", "rmse", figures.rtdl("california_housing"), CALIFORNIA, "members", 0.52),
    Case("california_rtdl", "rmse", figures.rtdl_ensemble("california_housing"), CALIFORNIA, "ensemble", 0.52),
    Case("california_tabm", "rmse", figures.tabm("california"), CALIFORNIA, "members", 0.52),
    Case("adult_rtdl", "accuracy", figures.rtdl("adult"), ADULT, "members", 0.85),
    Case("adult_rtdl", "accuracy", figures.rtdl_ensemble("adult"), ADULT, "ensemble", 0.85),
    Case("adult_tabm", "accuracy", figures.tabm("adult"), ADULT, "members", 0.85),
]


@dataclass(frozen=True)
class Run:
    """What one training came to."""

    test: dict[str, Any]
    validation: list[float]
    """Accuracy after each epoch, if it is one."""
    seconds: float

    def score(self, case: Case) -> list[float]:
        """One number, or one for each member."""
        match case.on:
            case "validation":
                return [statistics.mean(self.validation[-3:])]
            case "members":
                return [member[case.metric] for member in self.test["members"]]
            case _:
                return [self.test[case.metric]]


@dataclass(frozen=True)
class Row:
    """Ours beside theirs."""

    case: Case
    scores: list[float]
    theirs: figures.Figure
    seconds: float

    @property
    def bound(self) -> float:
        return self.theirs.score - NEAR if self.case.target is None else self.case.target

    @property
    def met(self) -> bool:
        ours = statistics.mean(self.scores)
        return ours <= self.bound if self.case.metric == "rmse" else ours >= self.bound


def main() -> int:
    """0 if every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.published", description=__doc__)
    names = list(dict.fromkeys(case.name for case in CASES))
    parser.add_argument("--only", choices=names, action="append", help="may be repeated")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each spec that is no ensemble")
    parser.add_argument("--epochs", type=int, help="at most, for a trial")
    parser.add_argument("--threads", type=int, default=2, help="of torch at most; small steps take one")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fitd-bench-") as folder:
        rows = [row for name in options.only or names for row in _measure(name, Path(folder), options)]
    text = _report(rows)
    print(text)
    if options.write:
        pages.renew(options.write, text)
    return int(any(not row.met for row in rows))


def _measure(name: str, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Every case of a spec."""
    cases = [case for case in CASES if case.name == name]
    runs = _train(name, cases[0].files, folder, options)
    seconds = sum(run.seconds for run in runs)
    return [Row(case, [score for run in runs for score in run.score(case)], case.theirs(), seconds) for case in cases]


def _train(name: str, files: Files, folder: Path, options: argparse.Namespace) -> list[Run]:
    """A run for each seed. The data is read once: what is trained more than once has a split that no seed draws."""
    spec = JobSpec.model_validate_json((SPECS / f"{name}.json").read_bytes())
    if options.epochs:
        spec = spec.model_copy(update={"epochs": options.epochs})
    assert isinstance(spec.dataset, Upload), "the examples here name a dataset to be uploaded"
    paths = [make(folder) for make in files]
    profiles = [profiling.profile(reading.read(path)) for path in paths]
    resolved = rules.resolve(spec, profiles[0], profiles[1] if profiles[1:] else None).spec
    ids = [spec.dataset.id]
    if isinstance(spec.split, GivenSplit) and isinstance(spec.split.test, Upload):
        ids.append(spec.split.test.id)
    loaded = data.load(resolved, dict(zip(ids, paths, strict=True)))
    torch.set_num_threads(options.threads)
    threads.settle(resolved, loaded)
    seeds = range(1 if spec.ensemble else options.seeds)
    return [_run(resolved.model_copy(update={"seed": seed}), loaded) for seed in seeds]


def _run(spec: JobSpec, loaded: data.Data) -> Run:
    began, validation = time.monotonic(), list[float]()
    for moment in fit(spec, loaded):
        report = moment.report
        if isinstance(report, Progress) and report.epoch_ended:
            validation += [point.value or 0.0 for point in report.points if point.name == "val_accuracy"]
            print(f"{spec.name}: epoch {report.epoch}, {report.latest}", file=sys.stderr)
        if isinstance(report, Finished):
            return Run(report.test or {}, validation, time.monotonic() - began)
    raise AssertionError("a run that nobody leaves is finished")


def _report(rows: list[Row]) -> str:
    """The table, and where the figures come from."""
    command = " ".join(["python -m bench.published", *sys.argv[1:]])
    headings = ("spec", "score", "published by", "fitd", "±", "published", "difference", "target", "", "seconds")
    lines = [_line(row, number) for number, row in enumerate(rows, start=1)]
    sources = "\n".join(f"{number}. {row.theirs.source}" for number, row in enumerate(rows, start=1))
    return f"`{command}` on {machine.processor()}\n\n{pages.table(headings, lines, left=3)}\n\n{sources}"


def _line(row: Row, number: int) -> tuple[str, ...]:
    case, ours = row.case, statistics.mean(row.scores)
    return (
        case.name,
        f"{case.metric}, {case.on}",
        f"{row.theirs.model} [{number}]",
        f"{ours:.4f}",
        f"{statistics.stdev(row.scores):.4f}" if len(row.scores) > 1 else "",
        f"{row.theirs.score:.4f}",
        f"{ours - row.theirs.score:+.4f}",
        f"{'≤' if case.metric == 'rmse' else '≥'} {row.bound:.4f}",
        "pass" if row.met else "SHORT",
        f"{row.seconds:.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
