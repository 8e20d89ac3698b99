"""Contestants that take turns, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import IO

from bench.peers.case import Case, write

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Contestant:
    """A module of `bench.peers` and what it needs to know."""

    label: str
    module: str
    environment: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    """Run by this Python, not by that of the peers."""
    lanes: int = 1
    """Models that it trains at once."""
    convolves: bool = True
    """Whether it has convolutions."""


@dataclass
class Result:
    """Seconds of each counted epoch of a contestant, or why there are none."""

    version: str = ""
    absent: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


Results = dict[str, Result]
"""By label."""


def take(case: Case, contestants: list[Contestant], peers: Path, rounds: int, epochs: int) -> Results:
    """Times of all, measured in turns."""
    with ExitStack() as stack:
        seated = {}
        for each in contestants:
            seated[each.label] = _Seat(each, case, peers, stack.enter_context(tempfile.TemporaryFile()))
            stack.callback(seated[each.label].leave)
        for turn in range(rounds):
            for label, seat in seated.items():
                seat.turn(epochs)
                seconds = seat.result.seconds
                spent = f"{seconds[-1]:.4f} s" if seconds else seat.result.absent
                print(f"  turn {turn + 1}/{rounds}, {label}: {spent}", file=sys.stderr)
    return {label: seat.result for label, seat in seated.items()}


class _Seat:
    """A contestant's process."""

    def __init__(self, contestant: Contestant, case: Case, peers: Path, log: IO[bytes]) -> None:
        self.result, self._log = Result(), log
        self._process: subprocess.Popen[str] | None = None
        python = Path(sys.executable) if contestant.ours else peers
        if not python.exists():
            self.result.absent = "not installed"
            return
        command = [str(python), "-m", f"bench.peers.{contestant.module}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads), **contestant.environment}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, stderr=log, text=True
        )
        self.result.version = str(self._ask(write(case)) or "")

    def leave(self) -> None:
        """Ends the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()

    def turn(self, epochs: int) -> None:
        """Some epochs, of which the first is not counted."""
        ends = self._ask(str(epochs + 1))
        if isinstance(ends, list):
            self.result.seconds += [after - before for before, after in zip(ends, ends[1:], strict=False)]

    def _ask(self, line: str) -> object:
        """Its answer; none from a process that has gone."""
        if self.result.absent or self._process is None:
            return None
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)
        if answer := self._process.stdout.readline():
            return json.loads(answer)
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        missing = last and last[0].startswith("ModuleNotFoundError: No module")
        self.result.absent = "not installed" if missing else f"failed: {''.join(last)[:60]}"
        return None
