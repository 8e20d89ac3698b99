"""Child processes as the worker sees them: started warm and without secrets, heard, told to drain, stopped."""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from worker.launch import Work, launch
from worker.messages import DRAIN, NEWS, Equipped, News

GRACE = 10.0
"""Seconds between the polite and the other end."""
MOST_UNHEARD = 10_000
"""Messages, of a few hundred bytes each, that wait to be recorded; beyond them the child waits."""
MOST_HEARD = 500
"""Messages that are heard at once: one that talks faster than it is listened to must not talk for ever."""
ORPHANED = 255
"""Exit code of a child of which nobody knows more: the process it was forked from was killed. It may live on."""
KILLED = (-signal.SIGKILL, ORPHANED)
"""Exit codes of a child that was ended from outside."""
WARMTH = 60.0
"""Seconds between two looks at whether the first child still lives."""
SECRET = ("FITD_DATABASE_URL", "FITD_BROKER_URL", "FITD_ARTIFACTS_URL", "AWS_")
"""Environment variables, by their beginnings, that a child must not see."""
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "_RJEM_MALLOC_CONF": "background_thread:false"}
"""So that libraries start no threads when they are imported: a fork copies none."""

_context = multiprocessing.get_context("forkserver")


def warm() -> None:
    """Starts the process that all children are forked from. Call it before there are threads."""
    _context.set_forkserver_preload(["worker.child"])
    with _environment():
        forkserver.ensure_running()


@contextmanager
def _environment() -> Iterator[None]:
    kept = dict(os.environ)
    forget_secrets()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def forget_secrets() -> None:
    """Takes them from this process's environment, once it has read them: the process that children are forked from is
    started again from here if it dies."""
    for name in list(os.environ):
        if name.startswith(SECRET):
            del os.environ[name]
    os.environ |= SINGLE


class Child:
    """One running child. It does not wait for whoever records what it says: that one may wait for the database."""

    def __init__(self, process: ForkServerProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.over = False
        """Whether it is gone and has been heard out."""
        self.ended = False
        """Whether it was ended from here."""
        self.spoke_at = time.monotonic()
        """When it last said something, whether or not anybody has listened since."""
        self._said: queue.Queue[bytes | None] = queue.Queue(MOST_UNHEARD)
        threading.Thread(target=self._listen, name="ear", daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._said.put(self.pipe.recv_bytes())
                self.spoke_at = time.monotonic()
        self._said.put(None)

    def hear(self, timeout: float) -> list[News]:
        """What it has said by now, or the first of it, waiting up to `timeout` seconds for the first word; of one that
        is gone, all that is left; of a killed one, nothing more. An orphan is ended first: nobody would hear of its
        end."""
        heard: list[News] = []
        gone = not self.running
        if gone:
            self._signal(signal.SIGKILL)
        until = time.monotonic() + (GRACE if gone else timeout)
        with contextlib.suppress(queue.Empty):
            said = self._said.get(timeout=max(0.0, until - time.monotonic()))
            while said is not None:
                heard.append(NEWS.validate_json(said))
                if len(heard) == MOST_HEARD and not gone:
                    return heard
                said = self._said.get(gone, max(0.0, until - time.monotonic()))
            self._said.put(None)  # whoever listens again hears that this was the end
            self.process.join(timeout)
        self.over = gone
        return heard

    def let_wait(self, seconds: float) -> None:
        """Does not listen for so long: a child that nobody hears is not silent."""
        time.sleep(seconds)
        self.spoke_at = time.monotonic()

    @property
    def running(self) -> bool:
        """False once it is gone; it may still have to be heard out."""
        return self.process.is_alive()

    def drain(self) -> None:
        """Asks it to save the run and to leave it."""
        try:
            self.pipe.send_bytes(DRAIN)
        except OSError:
            return

    def stop(self) -> None:
        """Ends it and whatever it started: politely, then for good. It is gone when this returns."""
        self._signal(signal.SIGTERM)
        self.process.join(GRACE)
        self.kill()

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)
        self.process.join()
        self.hear(0)
        self.pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.process.pid is None or not self._may_live:
            return
        self.ended |= self.running
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:  # it has not made its own group yet
                os.kill(self.process.pid, number)

    @property
    def _may_live(self) -> bool:
        """After it has been heard out its number may be another process's."""
        return not self.over and (self.running or self.process.exitcode == ORPHANED)


def start(work: Work, *arguments: Any) -> Child:
    """Forks a child that does this work."""
    ours, theirs = _context.Pipe()
    process = _context.Process(target=launch, args=(theirs, work, *arguments), daemon=True)
    process.start()
    theirs.close()
    return Child(process, ours)


def equipped() -> Equipped:
    """What children find here. The first one waits until all is imported: jobs that are claimed then start at once."""
    child = start("look")
    try:
        while True:
            for news in child.hear(WARMTH):
                if isinstance(news, Equipped):
                    return news
            if not child.running:
                raise RuntimeError(f"no training process starts here (exit {child.process.exitcode})")
    finally:
        child.kill()
