"""A wire to PostgreSQL that a test may cut at a COMMIT."""

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

When = Literal["before", "after"]
NAME = ".s.PGSQL.5432"


SUBMITTING = b"INSERT INTO jobs"


class Wire:
    """Passes on what client and server say, until it is told to cut the COMMIT of a submit."""

    def __init__(self, url: sa.URL) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fitd-"))  # the address of a Unix socket must be short
        self.server = str(Path(str(url.query["host"])) / NAME)
        self.url = url.set(query={"host": str(self.folder)}).render_as_string(hide_password=False)
        self.cut_at: When | None = None
        self.cuts = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / NAME))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self.listener.close()
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, server = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
                server.connect(self.server)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        said = b""
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(65536):
                said += data
                if b"COMMIT" in data:
                    if self.cut_at and SUBMITTING in said:  # others commit, too: the trail of the audit, say
                        self._cut(data, source, target)
                    said = b""
                target.sendall(data)

    def _cut(self, data: bytes, source: socket.socket, target: socket.socket) -> None:
        """Before the server hears of the COMMIT, or after it is done and before the client does."""
        when, self.cut_at = self.cut_at, None
        self.cuts += 1
        source.shutdown(socket.SHUT_RDWR)
        if when == "before":
            target.shutdown(socket.SHUT_RDWR)
        else:
            target.sendall(data)


@contextlib.contextmanager
def wire(url: str) -> Iterator[Wire]:
    """A wire to the database of this URL."""
    made = Wire(sa.make_url(url))
    try:
        yield made
    finally:
        made.close()
