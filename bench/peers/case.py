"""What every contestant trains, and how it is told to; numpy only, since each has libraries of its own."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Case:
    """A network, its data and the size of a step. Adam at 1e-3, cross-entropy, float32."""

    name: str
    shape: tuple[int, ...]
    """(F,), or (C, H, W) for images."""
    hidden: tuple[int, ...]
    """Units of the dense layers, each with a ReLU."""
    channels: tuple[int, ...] = ()
    """Of 3×3 convolutions before them, each with a ReLU and 2×2 max pooling."""
    rows: int = 20_000
    validation: int = 0
    """Rows measured after each epoch."""
    batch: int = 128
    classes: int = 10
    threads: int = 2

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.rows // self.batch)


class Examples(NamedTuple):
    """x [N, *shape] float32, y [N] int64."""

    x: np.ndarray[Any, np.dtype[np.float32]]
    y: np.ndarray[Any, np.dtype[np.int64]]


Turn = Callable[[int], list[float]]
"""Trains so many epochs more; gives `time.perf_counter()` at the end of each."""


def examples(case: Case) -> tuple[Examples, Examples | None]:
    """Training and validation rows: normal numbers, the class by a random linear map of them, one label in ten at
    random, so that there is something to learn and the loss stays away from 0."""
    random = np.random.default_rng(0)
    rows = case.rows + case.validation
    x = random.standard_normal((rows, *case.shape), dtype=np.float32)
    flat = x.reshape(rows, -1)
    y = (flat @ random.standard_normal((flat.shape[1], case.classes), dtype=np.float32)).argmax(1)
    noisy = random.random(rows) < 0.1
    y[noisy] = random.integers(case.classes, size=noisy.sum())
    held = Examples(x[case.rows :], y[case.rows :]) if case.validation else None
    return Examples(x[: case.rows], y[: case.rows]), held


def serve(version: str, prepare: Callable[[Case], Turn]) -> None:
    """One JSON value a line: in, the case and then how many epochs to train; out, the version and then times."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not be taken for an answer
    case = parse(sys.stdin.readline())
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: case.threads])
    turn = prepare(case)
    print(json.dumps(version), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(int(line))), file=answers, flush=True)


def write(case: Case) -> str:
    """One line of JSON."""
    return json.dumps(asdict(case))


def parse(line: str) -> Case:
    """The opposite of `write`."""
    fields = json.loads(line)
    lists = {name: tuple(fields[name]) for name in ("shape", "hidden", "channels")}
    return Case(**fields | lists)
