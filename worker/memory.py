"""Whether the kernel has killed for want of memory."""

from pathlib import Path

PLACES = {"": "{group}/memory.events", "memory": "memory/{group}/memory.oom_control"}
"""Where a control group counts it, by its controller: version 2 has none in its name."""


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
