"""Where something was measured."""

import os
import platform
from pathlib import Path


def processor() -> str:
    """Its name and how many cores this process may use."""
    names = [line.partition(":")[2].strip() for line in _lines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def load() -> float:
    """Processes that ran or waited to, in the last minute."""
    return os.getloadavg()[0]


def _lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
