"""Whether the kernel has killed for want of memory."""

import time
from collections.abc import Callable
from pathlib import Path

PLACES = {"": "{group}/memory.events", "memory": "memory/{group}/memory.oom_control"}
"""Where a control group counts it, by its controller: version 2 has none in its name."""

LATELY = 10.0
"""Seconds within which who is killed for want of memory is surely gone: the kernel counts first."""


def oom_kills(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Processes of this worker's control group that were killed so far; 0 where that is not told."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return 0
    return sum(_count(root / PLACES[name].format(group=group.strip("/"))) for _, name, group in lines if name in PLACES)


def _count(file: Path) -> int:
    try:
        words = file.read_text().split()
        return int(words[words.index("oom_kill") + 1])
    except (OSError, ValueError):
        return 0


class Toll:
    """Whether the kernel has killed lately: what it killed before says nothing of who is gone now."""

    def __init__(self, count: Callable[[], int] = oom_kills) -> None:
        self.count = count
        self.before = self.since = count()
        self.turned_at = time.monotonic()

    def look(self, now: float) -> None:
        """To be called often; forgets what is older than twice `LATELY`, by a clock that never jumps."""
        if now - self.turned_at >= LATELY:
            self.before, self.since, self.turned_at = self.since, self.count(), now

    def has_risen(self) -> bool:
        """Since `LATELY` ago, or a little longer."""
        return self.count() > self.before
