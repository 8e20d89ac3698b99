"""The pieces of the embedded stack, with real processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import stack
from client.part import Part

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]


def until(check: Callable[[], object], seconds: float = 10) -> None:
    """Waits for something to hold."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def ask(address: Path, command: bytes) -> bytes:
    """What the broker there answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))
        client.sendall(command)
        return client.recv(100)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Part]:
    """A part that does nothing for a minute."""
    part = Part("sleeper", SLEEP, tmp_path / "sleeper.log", {})
    yield part
    part.stop(5)


def test_a_folder_serves_one_stack_at_a_time(tmp_path: Path) -> None:
    again = pytest.raises(stack.StackError, match=f"in use by another fitd up .process {os.getpid()}")
    with stack.alone(tmp_path), again, stack.alone(tmp_path):
        pass
    with stack.alone(tmp_path):
        assert (tmp_path / "fitd.lock").read_text() == str(os.getpid())


def test_the_broker_answers_and_keeps_its_data(tmp_path: Path) -> None:
    address = tmp_path / "b.sock"
    for sent, answer in ((b"SET k v\r\n", b"+OK\r\n"), (b"GET k\r\n", b"$1\r\nv\r\n")):
        broker = Part("broker", stack.broker_command(tmp_path, address), tmp_path / "broker.log", {})
        try:
            until(lambda: stack.broker_answers(address))
            assert ask(address, sent) == answer
        finally:
            broker.stop(5)
        assert broker.exit_code() == 0


def test_a_broker_that_still_reads_its_data_does_not_answer(tmp_path: Path) -> None:
    address = tmp_path / "b.sock"
    assert not stack.broker_answers(address)
    said: list[bytes] = []

    def serve(words: bytes) -> None:
        with listener.accept()[0] as caller:
            said.append(caller.recv(100))
            caller.sendall(words)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        for words, ready in ((b"-LOADING Valkey is loading the dataset in memory\r\n", False), (b"+PONG\r\n", True)):
            server = threading.Thread(target=serve, args=(words,))
            server.start()
            assert stack.broker_answers(address) is ready
            server.join()
    assert said == [b"PING\r\n"] * 2


def test_a_taken_port_is_said_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(stack.StackError, match=f"port {port} of 127.0.0.1 cannot be used"):
            stack.free_port("127.0.0.1", port)
    assert stack.free_port("127.0.0.1", port) == port


def test_a_part_that_died_is_reported_and_started_again(sleeper: Part) -> None:
    said: list[str] = []
    until(lambda: "here" in sleeper.tail())
    first = sleeper.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: sleeper.exit_code() is not None)
    while len(said) < 2:
        sleeper.tend(said.append)
        time.sleep(0.02)
    assert said[0].startswith("sleeper died (killed by SIGKILL); starting it again in 1 s. Its last words:\n  here\n")
    assert (said[1], sleeper.exit_code(), sleeper.pid == first) == ("sleeper started again", None, False)


def test_a_part_that_ignores_term_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    part = Part("deaf", [sys.executable, "-c", deaf], tmp_path / "deaf.log", {})
    until(lambda: part.tail().startswith("  deaf"))
    part.stop(0.1)
    assert part.exit_code() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ties a child to its parent")
def test_parts_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time; from client.part import Part\n"
        f"part = Part('sleeper', {SLEEP!r}, pathlib.Path({str(tmp_path / 'log')!r}), {{}})\n"
        "print(part.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: alive(child))
        parent.kill()
        until(lambda: not alive(child))
    assert parent.returncode == -signal.SIGKILL
