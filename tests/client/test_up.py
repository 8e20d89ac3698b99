"""`fitd up` as a whole: real broker, api and worker."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import stack
from tests.client.test_stack import alive, until

UP = [sys.executable, "-m", "client", "up", "--port", "0", "--data-dir"]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A running stack."""
    with subprocess.Popen([*UP, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def told(process: subprocess.Popen[str], pattern: str) -> str:
    """The first group of the next line that fits."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found.group(1)
    raise AssertionError(f"{pattern} was never said")


def children(pid: int) -> dict[str, int]:
    """The process ids of a stack's parts by name."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes().decode() for child in pids}
    names = {"broker": "server", "api": "-m\0api", "worker": "-m\0worker"}
    return {name: pid for name, mark in names.items() for pid, command in commands.items() if mark in command}


def test_a_killed_worker_is_started_again_and_ctrl_c_stops_all_in_order(up: subprocess.Popen[str]) -> None:
    url = told(up, r"service +(\S+)")
    before = children(up.pid)
    os.kill(before["worker"], signal.SIGKILL)
    assert told(up, r"(worker) started again") == "worker"
    after = children(up.pid)
    assert (stack.is_ready(url), after["worker"] == before["worker"], after["api"]) == (True, False, before["api"])
    up.send_signal(signal.SIGINT)
    assert [told(up, r"stopping the (\w+)") for _ in stack.PATIENCE] == ["worker", "api", "broker"]
    assert up.wait(30) == 0
    assert not any(map(alive, after.values()))


@pytest.mark.slow
def test_a_second_stack_on_the_same_folder_is_refused_and_a_killed_one_leaves_nothing(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    told(up, r"service +(\S+)")
    second = subprocess.run([*UP, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert (second.returncode, f"in use by another fitd up (process {up.pid})" in second.stderr) == (1, True)
    parts = children(up.pid).values()
    up.kill()
    until(lambda: not any(map(alive, parts)))
    assert len(parts) == 3
