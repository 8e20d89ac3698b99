"""A process of the embedded stack: started, watched, stopped, and never outliving its parent."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
STEADY = 30.0
"""Seconds after which a part counts as healthy again."""
LIBC = ctypes.CDLL(None)


class Part:
    """A spawned process with a log file."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._deaths = 0
        self._resume_at = 0.0
        self.start()

    def start(self) -> None:
        """Starts the process; its output is appended to the log."""
        self._started = time.monotonic()
        with self.log.open("ab") as log:
            self._process = spawn(self._command, self._environment, log)

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: killed by that signal."""
        return self._process.poll()

    def tend(self, say: Callable[[str], None]) -> None:
        """Starts it again if it died, after 1, 2, 4, … 30 s if that happens over and over."""
        code, now = self.exit_code(), time.monotonic()
        if code is None:
            return
        if self._resume_at < self._started:
            self._deaths = 1 if now - self._started > STEADY else self._deaths + 1
            pause = min(30.0, 2.0 ** (self._deaths - 1))
            self._resume_at = now + pause
            say(f"{self.name} died ({ending(code)}); starting it again in {pause:g} s. Its last words:\n{self.tail()}")
        elif now >= self._resume_at:
            self.start()
            say(f"{self.name} started again")

    def stop(self, patience: float) -> None:
        """TERM, and KILL after `patience` seconds."""
        if self.exit_code() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            last = log.read().decode(errors="replace").splitlines()[-lines:]
        return "\n".join([*(f"  {line}" for line in last), f"  ({self.log})"])


def spawn(command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """A child process. On Linux the kernel kills it when this process goes, however that happens. It has a session
    of its own, so that a Ctrl-C reaches only this process, which then stops its children in order."""
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=_tied_to(os.getpid()) if sys.platform == "linux" else None,
    )


def ending(code: int) -> str:
    """An exit code in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tied_to(parent: int) -> Callable[[], None]:
    def tie() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return tie
