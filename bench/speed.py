"""`python -m bench.speed`: the time of a training step, ours and others', on the same data in one run.

Contestants take turns (A, B, C, A, B, C, …), each in a process of its own that rests while others run, so that whatever
else the machine does hits all of them. The first epoch of a turn is not counted. Exit status 1 if a target is missed.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bench import machine, pages
from bench.peers.case import Case
from bench.turns import Contestant, Result, Results, take

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "small": Case("16-128-64-10", (16,), (128, 64)),
    "large": Case("784-256-128-10", (784,), (256, 128)),
    "cnn": Case("28×28, convolutions of 32 and 64 channels, dense 128", (1, 28, 28), (128,), (32, 64), rows=2_000),
}
SWEEP = Case("16-32-16-10", (16,), (32, 16), rows=8_000, batch=32)
VALIDATION = 4_000
"""Rows, where there are any."""

OURS = Contestant("fitd", "ours", ours=True)
KERAS = Contestant("Keras, JAX", "keras_fit", {"KERAS_BACKEND": "jax"})
LIGHTNING = Contestant("Lightning", "lightning_fit")
SKORCH = Contestant("skorch", "skorch_fit")
PEERS = [
    KERAS,
    Contestant("Keras, torch", "keras_fit", {"KERAS_BACKEND": "torch"}),
    LIGHTNING,
    SKORCH,
    Contestant("torch, DataLoader", "loop"),
    Contestant("scikit-learn", "sklearn_fit", convolves=False),
]
PARTS = [*CASES, "lanes"]
LANES = [replace(OURS, label=f"fitd, {k} lanes", environment={"FITD_LANES": str(k)}, lanes=k) for k in (8, 32, 64)]


@dataclass(frozen=True)
class Target:
    """A ratio of two times and where it must lie."""

    what: str
    ratio: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.ratio <= self.bound if self.at_most else self.ratio >= self.bound


def main() -> int:
    """0 if every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench/bin/python", help="Python of make bench-venv")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant")
    parser.add_argument("--epochs", type=int, default=2, help="counted epochs of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--ours", action="store_true", help="without the others")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the tables of")
    options = parser.parse_args()
    parts = [_lanes(options) if name == "lanes" else _single(name, options) for name in options.only or PARTS]
    targets = [target for _, found in parts for target in found]
    text = "\n\n".join([_conditions(options), *(section for section, _ in parts), *_judged(targets)])
    print(text)
    if options.write:
        pages.renew(options.write, text)
    return int(any(not target.met for target in targets))


def _conditions(options: argparse.Namespace) -> str:
    command = " ".join(["python -m bench.speed", *sys.argv[1:]])
    return (
        f"`{command}` on {machine.processor()}; {options.threads} threads each; load of the machine at the start, mean "
        f"of a minute: {machine.load():.1f}. Medians of {options.rounds} turns of {options.epochs} epochs."
    )


def _judged(targets: list[Target]) -> list[str]:
    rows = [
        (target.what, f"{'≤' if target.at_most else '≥'} {target.bound:g}", f"{target.ratio:.2f}", _verdict(target.met))
        for target in targets
    ]
    return ["## Targets\n\n" + pages.table(("ratio of times", "target", "measured", ""), rows)] if rows else []


def _verdict(met: bool) -> str:
    return "pass" if met else "SHORT"


def _single(name: str, options: argparse.Namespace) -> tuple[str, list[Target]]:
    """One model, without and with validation rows."""
    case = replace(CASES[name], threads=options.threads)
    plain = _run(case, [OURS], options)
    checked = _run(replace(case, validation=VALIDATION), [OURS], options)
    rows = [
        (label, result.version, *_step(result, case), *_epoch(result, plain), *_epoch(checked[label], checked))
        for label, result in plain.items()
    ]
    headings = (
        "",
        "",
        "µs per step",
        "least",
        "epoch, s",
        "× fitd",
        f"with {VALIDATION:,} validation rows, s",
        "× fitd",
    )
    title = f"## {case.name}\n\n{case.rows:,} rows, batch {case.batch}, {case.steps} steps per epoch.\n\n"
    return title + pages.table(headings, rows, left=2), _asked(name, plain)


def _step(result: Result, case: Case) -> tuple[str, ...]:
    """Median and least."""
    if not result.seconds:
        return (result.absent, "")
    return tuple(f"{seconds / case.steps * 1e6:,.0f}" for seconds in (result.median, min(result.seconds)))


def _epoch(result: Result, all: Results) -> tuple[str, str]:
    own = all[OURS.label]
    if not (result.seconds and own.seconds):
        return "", ""
    return f"{result.median:.4f}", f"{result.median / own.median:.2f}"


def _asked(name: str, results: Results) -> list[Target]:
    """What must hold of a part, of those who took part."""
    own, title = results[OURS.label], CASES[name].name
    found = []
    for peer in (KERAS, LIGHTNING, SKORCH):
        other = results.get(peer.label, Result())
        if not (own.seconds and other.seconds):
            continue
        if peer is KERAS and name != "cnn":
            found.append(Target(f"fitd / {peer.label}, {title}", own.median / other.median, 1.0, at_most=True))
        if peer is not KERAS and name == "small":
            found.append(Target(f"{peer.label} / fitd, {title}", other.median / own.median, 3.0))
    return found


def _lanes(options: argparse.Namespace) -> tuple[str, list[Target]]:
    """Models trained at once against one after another, others' too."""
    case = replace(SWEEP, threads=options.threads)
    results = _run(case, [OURS, *LANES], options)
    lanes = {contestant.label: contestant.lanes for contestant in LANES}
    each = {label: result.median / lanes.get(label, 1) for label, result in results.items() if result.seconds}
    rows = [
        (label, result.version, *_model(each[label], each[OURS.label], case))
        if label in each
        else (label, "", result.absent, "")
        for label, result in results.items()
    ]
    headings = ("", "", "µs per model and step", "single runs of fitd take, ×")
    title = f"## Lanes: {case.name}\n\n{case.rows:,} rows, batch {case.batch}, {case.steps} steps per epoch.\n\n"
    asked = LANES[1].label
    targets = [Target("32 single runs / 32 lanes", each[OURS.label] / each[asked], 10.0)] if asked in each else []
    return title + pages.table(headings, rows, left=2), targets


def _model(seconds: float, single: float, case: Case) -> tuple[str, str]:
    return f"{seconds / case.steps * 1e6:,.1f}", f"{single / seconds:.2f}"


def _run(case: Case, ours: list[Contestant], options: argparse.Namespace) -> Results:
    able = [peer for peer in PEERS if peer.convolves or not case.channels]
    contestants = ours if options.ours else [*ours, *able]
    print(f"{case.name}, {case.validation:,} validation rows", file=sys.stderr)
    return take(case, contestants, options.peers, options.rounds, options.epochs)


if __name__ == "__main__":
    sys.exit(main())
