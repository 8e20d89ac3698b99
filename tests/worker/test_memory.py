"""Whom the kernel kills for want of memory, and when that says something."""

from pathlib import Path

import pytest

from worker import memory
from worker.memory import LATELY, Toll

EVENTS = {
    "0::/fitd": ("fitd/memory.events", "low 0\noom 4\noom_kill 3\n"),
    "9:memory:/fitd": ("memory/fitd/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
}


@pytest.mark.parametrize("line", EVENTS)
def test_kills_are_counted_by_either_version_of_control_groups(tmp_path: Path, line: str) -> None:
    place, text = EVENTS[line]
    own, events = tmp_path / "own", tmp_path / place
    assert memory.oom_kills(tmp_path, own) == 0
    events.parent.mkdir(parents=True)
    events.write_text(text)
    own.write_text(f"4:cpu:/else\n{line}\n")
    assert memory.oom_kills(tmp_path, own) == 3


def test_only_what_the_kernel_killed_lately_counts() -> None:
    kills = [0]
    toll = Toll(lambda: kills[0])
    began = toll.turned_at
    kills[0] = 1
    seen = [toll.has_risen()]
    for looks in (0.5, 1.1, 1.6, 2.2):
        toll.look(began + looks * LATELY)
        seen.append(toll.has_risen())
    assert seen == [True, True, True, True, False]
