"""`python -m bench.datasets`: real datasets, trained with the defaults, beside what others published on them.

Exit status 1 if a target is missed. What is trained is `examples/NAME.json`.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from bench import figures, materials, pages
from jobs import rules
from jobs.spec.data import GivenSplit, Upload
from jobs.spec.job import JobSpec
from trainer.reports import Finished, Progress, Started
from trainer.run import run
from trainer.sources import profiling, reading

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CALIFORNIA = "8 averaged features and no ocean_proximity, another split, target in 100,000 dollars. "


@dataclass(frozen=True)
class Case:
    """A dataset, what must be reached on it, and who else was there."""

    name: str
    metric: str
    train: Callable[[Path], Path]
    test: Callable[[Path], Path] | None = None
    target: float | None = None
    others: tuple[figures.Pick, ...] = ()

    @property
    def less_is_better(self) -> bool:
        return self.metric == "rmse"


CASES = [
    Case(
        "california",
        "rmse",
        materials.table("california_housing"),
        target=55_000,
        others=(
            figures.rtdl("california_housing", figures.HUNDRED_THOUSAND, CALIFORNIA),
            figures.tabm("california", figures.HUNDRED_THOUSAND, CALIFORNIA),
            figures.handson("10-84", "test_rmse", figures.HUNDRED_THOUSAND),
        ),
    ),
    Case(
        "adult",
        "accuracy",
        materials.table("adult_train"),
        materials.table("adult_test"),
        target=0.845,
        others=(figures.rtdl("adult"), figures.tabm("adult"), figures.keras_adult),
    ),
    Case("bank", "accuracy", materials.table("bank_full")),
    Case(
        "fashion_mlp",
        "accuracy",
        materials.fashion("train"),
        materials.fashion("t10k"),
        target=0.87,
        others=(
            figures.fashion_readme("MLP 256-128-100", "@heitorrapela"),
            figures.fashion_scikit("activation=relu hidden_layer_sizes=[100]"),
            figures.handson("11-95", "val_accuracy"),
        ),
    ),
    Case(
        "fashion_cnn",
        "accuracy",
        materials.fashion("train"),
        materials.fashion("t10k"),
        target=0.90,
        others=(
            figures.fashion_readme("2 Conv+pooling", "Kashif Rasul"),
            figures.fashion_readme("2 Conv+pooling", "Tensorflow's doc"),
            figures.handson("14-53", "test_accuracy"),
        ),
    ),
]


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    started: Started
    finished: Finished
    seconds: float
    """From reading the file to the last result on disk."""

    @property
    def test(self) -> dict[str, Any]:
        assert self.finished.test is not None, "every case holds rows back"
        return self.finished.test


def main() -> int:
    """0 if every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.datasets", description=__doc__)
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append", help="may be repeated")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch at most; small steps take one")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    options = parser.parse_args()
    cases = [case for case in CASES if not options.only or case.name in options.only]
    with tempfile.TemporaryDirectory(prefix="fitd-bench-") as folder:
        outcomes = [(case, train(case, Path(folder), options.threads)) for case in cases]
    text = report(outcomes)
    print(text)
    if options.write:
        command = " ".join(["python -m bench.datasets", *sys.argv[1:]])
        pages.renew(options.write, f"`{command}`, seed 0\n\n{text}")
    return int(any(verdict(case, outcome) == "SHORT" for case, outcome in outcomes))


def train(case: Case, folder: Path, threads: int) -> Outcome:
    """One run with no service; progress goes to stderr."""
    spec = JobSpec.model_validate_json((EXAMPLES / f"{case.name}.json").read_bytes())
    files, began = _files(case, spec, folder), time.monotonic()
    profiles = [profiling.profile(reading.read(path)) for path in files.values()]
    resolved = rules.resolve(spec, profiles[0], profiles[1] if case.test else None).spec
    results = folder / case.name
    results.mkdir()
    torch.set_num_threads(threads)  # anew for each run, since a run of small steps lowers it
    for news in run(resolved, files, results, None, lambda: False):
        match news:
            case Started():
                started = news
            case Progress() if news.epoch_ended:
                best = f"best {news.best.monitor} {news.best.value:.5g}" if news.best else ""
                print(f"{case.name}: epoch {news.epoch}/{news.epochs}, {best}", file=sys.stderr)
            case Finished():
                finished = news
    return Outcome(started, finished, time.monotonic() - began)


def _files(case: Case, spec: JobSpec, folder: Path) -> dict[str, Path]:
    assert isinstance(spec.dataset, Upload), "the examples here name a dataset to be uploaded"
    files = {spec.dataset.id: case.train(folder)}
    if case.test:
        assert isinstance(spec.split, GivenSplit)
        assert isinstance(spec.split.test, Upload)
        files[spec.split.test.id] = case.test(folder)
    return files


def verdict(case: Case, outcome: Outcome) -> str:
    """`pass` or `SHORT`; nothing where nothing is asked."""
    if case.target is None:
        return ""
    score = outcome.test[case.metric]
    return "pass" if (score <= case.target if case.less_is_better else score >= case.target) else "SHORT"


def report(outcomes: list[tuple[Case, Outcome]]) -> str:
    """A table, ours first for each dataset, and where the others' figures come from."""
    table = Table(box=MARKDOWN)
    for heading in ("dataset", "trained by", "score", "target", "", "seconds", "rows", "parameters"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("dataset", "trained by") else "right")
    sources: list[str] = []
    for case, outcome in outcomes:
        table.add_row(*_ours(case, outcome))
        for pick in case.others:
            figure = pick()
            sources.append(figure.source)
            table.add_row("", f"{figure.model} [{len(sources)}]".replace("[", r"\["), _shown(case, figure.score))
        if not case.others:
            table.add_row("", "always the commonest class", _shown(case, _majority(outcome)))
    page = Console(file=io.StringIO(), width=1000)
    page.print(table)
    assert isinstance(page.file, io.StringIO)
    lines = [line.rstrip() for line in page.file.getvalue().splitlines() if line.strip()]
    return "\n".join([*lines, "", *(f"{number}. {source}" for number, source in enumerate(sources, start=1))]) + "\n"


def _ours(case: Case, outcome: Outcome) -> list[str]:
    bound = "" if case.target is None else f"{'≤' if case.less_is_better else '≥'} {_shown(case, case.target)}"
    return [
        f"{case.name} ({case.metric})",
        "fitd",
        _shown(case, outcome.test[case.metric]),
        bound,
        verdict(case, outcome),
        f"{outcome.seconds:.1f}",
        f"{outcome.started.train_rows:,}",
        f"{outcome.started.parameters:,}",
    ]


def _shown(case: Case, score: float) -> str:
    return f"{score:,.0f}" if case.less_is_better else f"{score:.4f}"


def _majority(outcome: Outcome) -> float:
    """Share of the commonest class among the test rows."""
    rows: list[int] = [label["rows"] for label in outcome.test["per_class"]]
    return max(rows) / sum(rows)


if __name__ == "__main__":
    sys.exit(main())
