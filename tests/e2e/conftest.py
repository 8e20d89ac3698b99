"""The whole service, each part a process of its own that a test may kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client import stack
from client.sdk import Client

LEASE = {"FITD_LEASE_SECONDS": "4", "FITD_HEARTBEAT_SECONDS": "1"}


class Service:
    """Broker, api and worker over one data folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        socket = folder / "broker.sock"
        port = stack.free_port("127.0.0.1", 0)
        self.environment = (
            os.environ
            | LEASE
            | {
                "FITD_DATA_DIR": str(folder / "data"),
                "FITD_BROKER_URL": f"redis+socket://{socket}",
                "FITD_PORT": str(port),
                "FITD_MIGRATE": "true",
            }
            | environment
        )
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.commands = {
            "broker": stack.broker_command(folder, socket),
            "api": [sys.executable, "-m", "api"],
            "worker": [sys.executable, "-m", "worker"],
        }
        self.client = Client(f"http://127.0.0.1:{port}")
        for name in self.commands:
            self.start(name)
        stack.wait(lambda: stack.is_ready(f"http://127.0.0.1:{port}"), "the service", lambda: None)

    def start(self, name: str) -> None:
        """Starts a part."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(self.commands[name], env=self.environment, stdout=log, stderr=log)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Signals a part and waits for its end; its exit code."""
        self.parts[name].send_signal(number)
        return self.parts[name].wait(timeout=20)

    def children(self) -> list[int]:
        """Ids of the processes that train: each leads a session of its own."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._trains(entry)]

    def _trains(self, entry: Path) -> bool:
        try:
            environment = (entry / "environ").read_bytes()
            pid, _, rest = (entry / "stat").read_text().partition(" ")
            session = rest.rsplit(")", 1)[1].split()[3]
        except (OSError, IndexError):
            return False
        mine = f"FITD_DATA_DIR={self.environment['FITD_DATA_DIR']}".encode() in environment
        return mine and session == pid

    def close(self) -> None:
        """Stops all that still runs."""
        self.client.close()
        for name in ("worker", "api", "broker"):
            if self.parts[name].poll() is None:
                self.stop(name)


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("s"))
    yield service
    service.close()


@pytest.fixture
def service(shared_service: Service) -> Service:
    """Whole at the beginning of each test, whatever the one before did to it."""
    for name, part in shared_service.parts.items():
        if part.poll() is not None:
            shared_service.start(name)
    return shared_service


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


def digits(**changes: Any) -> dict[str, Any]:
    """A spec whose run takes a few seconds, and saves often."""
    return {
        "dataset": {"source": "builtin", "name": "digits"},
        "model": {"kind": "mlp", "hidden": [32], "dropout": 0.2},
        "batch_size": 32,
        "epochs": 40,
        "early_stopping": None,
        "checkpoint": {"save_freq": 100},
        **changes,
    }
