"""`python -m bench.verdicts`: how often what a run says about itself is right, on a labelled suite of short real runs.

With `--write FILE` the tables replace what stands between the marks of that page. `--overhead` measures instead what
the diagnosis costs.
"""

import argparse
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bench import labelled, suites
from bench.suites import Case, Half, Setup
from jobs.spec.job import JobSpec
from trainer.data import Data
from trainer.diagnosis import findings, flow, verdicts
from trainer.fit import fit

Pair = tuple[str, str]
"""Label and verdict."""
RATES = ["too_low", "good", "too_high", "diverging", "unclear"]
AILMENTS = ["healthy", "vanishing", "exploding", "dead", "saturated", "symmetric"]
CODES = {
    "symmetric_units": "symmetric",
    "vanishing_gradient": "vanishing",
    "saturated_units": "saturated",
    "exploding_gradient": "exploding",
    "dead_units": "dead",
}
"""By precedence, where a network has more than one ailment."""
MARKS = re.compile(r"(<!-- matrices -->\n).*(<!-- end -->)", re.DOTALL)


def main() -> int:
    """0 if nine in ten of the held-out runs are judged right."""
    parser = argparse.ArgumentParser(prog="python -m bench.verdicts", description=__doc__)
    parser.add_argument("--write", type=Path, help="the page whose tables to replace")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--overhead", action="store_true", help="measure the cost of the diagnosis instead")
    options = parser.parse_args()
    if options.overhead:
        print(overhead())
        return 0
    if not labelled.available():
        print("The shared folder of real datasets is not there.", file=sys.stderr)
        return 1
    text, right = report(options.workers)
    print(text)
    if options.write:
        page = options.write.read_text()
        options.write.write_text(MARKS.sub(lambda marks: f"{marks[1]}\n{text}\n{marks[2]}", page))
    return int(right < 0.9)


def report(workers: int) -> tuple[str, float]:
    """All matrices, and the share of held-out rates judged right."""
    began = time.monotonic()
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        rates = list(zip(suites.SETUPS, pool.map(_rates, suites.SETUPS), strict=True))
        ailments = list(zip(suites.CASES, pool.map(_ailment, suites.CASES), strict=True))
    parts = []
    for half, title in HALVES.items():
        core = [pair for setup, pairs in rates if setup.half == half for is_border, *pair in pairs if not is_border]
        border = [pair for setup, pairs in rates if setup.half == half for is_border, *pair in pairs if is_border]
        cases = [pair for case, pair in ailments if case.half == half]
        parts += [f"### {title}", matrix("Learning rate", RATES, core), matrix("Networks", AILMENTS, cases)]
        parts.append(f"Rates beside a border between two labels, left out above: {share(border)}.")
    held_out = [
        pair for setup, pairs in rates if setup.half == "held_out" for is_border, *pair in pairs if not is_border
    ]
    parts.append(f"`python -m bench.verdicts`, {time.monotonic() - began:.0f} s with {workers} processes.")
    return "\n\n".join(parts), accuracy(held_out)


HALVES: dict[Half, str] = {"held_out": "Held-out runs", "tuning": "Runs that the rules were tuned on"}


def _rates(setup: Setup) -> list[tuple[bool, str, str]]:
    """(beside a border?, label, verdict) of each rate that counts."""
    return [
        (run.is_border, run.label, verdicts.learning_rate(run.history, run.guess, run.initial).rate)
        for run in labelled.grid(setup)
    ]


def _ailment(case: Case) -> Pair:
    codes = labelled.found_in(case)
    return case.ailment, next((name for code, name in CODES.items() if code in codes), "healthy")


def accuracy(pairs: Iterable[Sequence[str]]) -> float:
    """Share of labels that were found."""
    right = [label == verdict for label, verdict in pairs]
    return sum(right) / len(right) if right else 0.0


def share(pairs: Sequence[Sequence[str]]) -> str:
    """The accuracy, with the count."""
    return f"{accuracy(pairs):.1%} of {len(pairs)} right"


def matrix(title: str, names: list[str], pairs: Sequence[Sequence[str]]) -> str:
    """A confusion matrix in Markdown: rows are labels, columns verdicts."""
    counts = Counter((label, verdict) for label, verdict in pairs)
    shown = [name for name in names if any(name in pair for pair in counts)]
    rows = [[label, *(str(counts[label, verdict] or "·") for verdict in shown)] for label in shown]
    lines = [["label \\ verdict", *shown], ["---"] * (len(shown) + 1), *rows]
    return f"{title}: {share(pairs)}.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def overhead() -> str:
    """Seconds of whole runs on digits, and the part of them in which they look at themselves."""
    torch.set_num_threads(1)
    lines = ["| run | seconds | of them diagnosis | share |", "| --- | --- | --- | --- |"]
    for name, changes in OVERHEAD.items():
        spec, loaded = labelled.prepared("digits", changes)
        seconds, spent = zip(*(_timed(spec, loaded) for _ in range(5)), strict=True)
        whole, part = statistics.median(seconds), statistics.median(spent)
        lines.append(f"| {name} | {whole:.3f} | {part:.4f} | {part / whole:.1%} |")
    return "\n".join(lines)


OVERHEAD = {
    "50 epochs of 40 steps, 64-32": {"epochs": 50, "model": suites.mlp(64, 32)},
    "50 epochs of 1 step, 128-64": {"epochs": 50, "batch_size": "full", "model": suites.mlp(128, 64)},
    "10 epochs of 20 steps, cnn": {"epochs": 10, "batch_size": 64, "model": suites.CNN},
}


def _timed(spec: JobSpec, loaded: Data) -> tuple[float, float]:
    """Wall seconds of a run, and those within the probe and the findings."""
    spent = 0.0
    kept = {(owner, name): getattr(owner, name) for owner, name in TIMED}

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal spent
            began = time.perf_counter()
            found = call(*arguments, **options)
            spent += time.perf_counter() - began
            return found

        return wrapped

    for (owner, name), call in kept.items():
        setattr(owner, name, timed(call))
    began = time.perf_counter()
    for _ in fit(spec, loaded):
        pass
    whole = time.perf_counter() - began
    for (owner, name), call in kept.items():
        setattr(owner, name, call)
    return whole, spent


TIMED = [(flow, "probe"), (flow.Probe, "brace"), (flow.Probe, "look"), (findings, "diagnose")]


if __name__ == "__main__":
    sys.exit(main())
