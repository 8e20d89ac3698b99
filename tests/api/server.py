"""The service as its own process, on a free port of loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from jobs import migrate
from jobs.settings import Settings


@dataclass(frozen=True)
class Server:
    """A running `python -m api`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def stop(self) -> bool:
        """Asks it to end; whether it did so in order, with the signal as its exit status."""
        self.process.terminate()
        return self.process.wait(20) == -signal.SIGTERM and "Finished server process" in self.log.read_text()

    def connected(self, buffer: int | None = None) -> socket.socket:
        """To it; with so many bytes at most that were not read, or as many as the system thinks best."""
        address = urlsplit(self.url)
        one = socket.socket()
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.settimeout(20)
        one.connect((address.hostname or "", address.port or 0))
        return one


@contextmanager
def running(folder: Path, module: str = "api", **environment: str) -> Iterator[Server]:
    """A service with an empty database of its own, or the one named in its environment; ended with the block."""
    migrate.upgrade(Settings(data_dir=folder, database_url=environment.get("FITD_DATABASE_URL", "")).database)
    log = folder / "log"
    with log.open("w") as file:
        process = start(folder, file.fileno(), module, FITD_PORT="0", **environment)
        try:
            yield Server(process, _address(process, log), log)
        finally:
            process.kill()
            process.wait()


def start(folder: Path, log: int, module: str = "api", **environment: str) -> subprocess.Popen[str]:
    """Begins a service whose messages go to a file."""
    settings = {"FITD_DATA_DIR": str(folder), "FITD_BROKER_URL": "redis://127.0.0.1:1/0", **environment}
    return subprocess.Popen([sys.executable, "-m", module], env={**os.environ, **settings}, stderr=log, text=True)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    while process.poll() is None:
        if found := re.search(r"running on (http://\S+:\d+)", log.read_text()):
            return found[1]
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError(log.read_text())
