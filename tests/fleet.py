"""The whole service, each part a process of its own that a test may kill, freeze, starve and start again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from client import stack
from client.sdk import Client
from jobs import db
from jobs.settings import Settings

LEASE = {"FITD_LEASE_SECONDS": "4", "FITD_HEARTBEAT_SECONDS": "1", "FITD_THREADS": "1"}
"""So that a lost worker is noticed within a test, and tests beside it get on."""


def until(check: Callable[[], object], seconds: float = 60) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


class Fleet:
    """Broker, api and any number of workers over one data folder."""

    def __init__(self, folder: Path, parts: Sequence[str] = ("broker", "api", "worker"), **environment: str) -> None:
        self.folder = folder
        self.socket = folder / "broker.sock"
        self.port = stack.free_port("127.0.0.1", 0)
        own = {
            "FITD_DATA_DIR": str(folder / "data"),
            "FITD_BROKER_URL": f"redis+socket://{self.socket}",
            "FITD_PORT": str(self.port),
            "FITD_MIGRATE": "true",
        }
        self.environment = {**os.environ, **LEASE, **own, **environment}
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.spoiled: set[str] = set()
        """Parts that run with settings of their own."""
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = Client(self.url)
        self.settings = Settings(
            data_dir=folder / "data",
            database_url=environment.get("FITD_DATABASE_URL", ""),
            artifacts_url=environment.get("FITD_ARTIFACTS_URL", ""),
        )
        try:
            for name in parts:
                self.start(name)
            self.await_ready()
        except BaseException:
            self.close()
            raise

    # --- parts

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts `broker`, `api`, a worker of any name that begins so, or `up`, which starts all of them itself."""
        (self.spoiled.add if environment else self.spoiled.discard)(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            given = {**self.environment, **environment}
            self.parts[name] = subprocess.Popen(self._command(name), env=given, stdout=log, stderr=log)
        return self.parts[name]

    def _command(self, name: str) -> list[str]:
        if name == "broker":
            return stack.broker_command(self.folder, self.socket)
        if name == "up":
            where = ["--data-dir", self.environment["FITD_DATA_DIR"], "--port", str(self.port)]
            return ["env", "-u", "FITD_BROKER_URL", sys.executable, "-m", "client", "up", *where]
        return [sys.executable, "-m", "api" if name == "api" else "worker"]

    def await_ready(self) -> None:
        """Until the api says that it can work."""
        stack.wait(lambda: stack.is_ready(self.url), "the service", lambda: None)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Signals a part and waits for its end; its exit code."""
        self.parts[name].send_signal(number)
        return self.parts[name].wait(timeout=30)

    def kill(self, name: str) -> None:
        """Ends a part at once."""
        self.stop(name, signal.SIGKILL)

    def restart(self, name: str, **environment: str) -> None:
        """Ends a part in order and starts it with other settings."""
        self.stop(name)
        self.start(name, **environment)

    @contextmanager
    def frozen(self, *pids: int) -> Iterator[None]:
        """Processes that stand still for the length of the block."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                if os.path.exists(f"/proc/{pid}"):
                    os.kill(pid, signal.SIGCONT)

    def empty_broker(self) -> None:
        """Throws away what a broker that does not run has kept."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def is_alive(self, name: str) -> bool:
        """Whether a part runs."""
        return self.parts[name].poll() is None

    def mend(self) -> None:
        """Brings back what a test has ended or spoiled; workers beyond the first go."""
        for name in list(self.parts):
            extra = name not in ("broker", "api", "worker")
            if self.is_alive(name) and (extra or name in self.spoiled):
                self.kill(name)
            if extra:
                del self.parts[name]
        for name in self.parts:
            if not self.is_alive(name):
                self.start(name)
        self.await_ready()

    def close(self) -> None:
        """Stops all that still runs."""
        self.client.close()
        for name in sorted(self.parts, reverse=True):  # workers, broker, api
            if self.is_alive(name):
                self.stop(name)

    # --- what they leave behind

    def children(self) -> list[int]:
        """Ids of the processes that train or read: each leads a session of its own."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._trains(entry)]

    def child(self) -> int:
        """The one process that trains, once there is one."""
        seen: list[int] = []

        def is_alone() -> bool:
            seen[:] = self.children()
            return len(seen) == 1

        until(is_alone)
        return seen[0]

    def _trains(self, entry: Path) -> bool:
        try:
            environment = (entry / "environ").read_bytes()
            forked = b"forkserver" in (entry / "cmdline").read_bytes()
            pid, _, rest = (entry / "stat").read_text().partition(" ")
            state, session = rest.rsplit(")", 1)[1].split()[0], rest.rsplit(")", 1)[1].split()[3]
        except (OSError, IndexError):
            return False
        mine = f"FITD_DATA_DIR={self.environment['FITD_DATA_DIR']}".encode() in environment
        return mine and forked and session == pid and state != "Z"

    def database(self) -> db.Database:
        """A connection of the test's own."""
        return db.connect(self.settings.database)

    def broker(self) -> "redis.Redis":
        """A connection of the test's own."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def log(self, name: str) -> str:
        """What a part has said."""
        return (self.folder / f"{name}.log").read_text()


def digits(**changes: Any) -> dict[str, Any]:
    """A spec whose run takes a few seconds, and saves often."""
    spec: Mapping[str, Any] = {
        "dataset": {"source": "builtin", "name": "digits"},
        "model": {"kind": "mlp", "hidden": [32], "dropout": 0.2},
        "batch_size": 32,
        "epochs": 40,
        "early_stopping": None,
        "checkpoint": {"save_freq": 100},
    }
    return {**spec, **changes}
