"""One file read as a worker reads it: in a limited child. What came of it, how long it took, how much memory."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from worker import children
from worker.messages import Failed, News, Read, Spent

MEMORY = 8 << 30
SECONDS = 300.0
"""The limits that a worker has by default."""


@dataclass(frozen=True)
class Outcome:
    """A shape, or the reason why there is none."""

    shape: str
    """`RxC`; empty if the file was refused."""
    refusal: str
    """What is wrong, without how to mend it."""
    seconds: float
    peak_bytes: int | None = None
    """None of a child that could not say it any more."""
    killed: bool = False
    """The system ended it at its limit of memory or processor time."""
    hung: bool = False
    """It had to be ended from outside."""

    @property
    def said(self) -> str:
        return self.shape or self.refusal


def read(path: Path, memory: int = MEMORY, seconds: float = SECONDS) -> Outcome:
    began = time.monotonic()
    child = children.start("read", str(path), "", memory, seconds)
    heard: list[News] = []
    while not child.over and time.monotonic() - began < seconds:
        heard += child.hear(0.25)
    took = time.monotonic() - began
    hung, code = not child.over, child.process.exitcode
    child.kill()
    peak = next((news.peak_memory_bytes for news in heard if isinstance(news, Spent)), None)
    for news in heard:
        if isinstance(news, Read):
            return Outcome(f"{news.profile.rows}x{len(news.profile.columns)}", "", took, peak)
        if isinstance(news, Failed):
            what = news.message if news.error_class == "data" else f"{news.error_class}: {news.message}"
            return Outcome("", what.rpartition(": ")[0] or what, took, peak)
    end = signal.Signals(-code).name if code and code < 0 else f"exit {code}"
    return Outcome("", "hung" if hung else f"ended at a limit ({end})", took, killed=not hung, hung=hung)
