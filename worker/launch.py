"""Where a child process begins. The worker itself never imports torch: it names the work, the child looks it up."""

import importlib
from multiprocessing.connection import Connection
from typing import Any, Literal

Work = Literal["train", "read", "look"]


def launch(pipe: Connection, work: Work, *arguments: Any) -> None:
    """Runs the function of `worker.child` of that name."""
    getattr(importlib.import_module("worker.child"), work)(pipe, *arguments)
