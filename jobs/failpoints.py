"""Places where a test makes a process fail: `FITD_FAIL=checkpoint.renamed:kill:2,record.commit:error`.

Each entry is `name:action:nth`. `nth` is the visit at which it happens, the first if left out; `3+` means the third
and all later ones, `3x20` every third one until it has happened twenty times. With `FITD_FAIL_DIR`, a folder, visits
are counted over all processes, else in each of its own. Unset, as always outside of tests, a failpoint is a call of an
empty function.
"""

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

Action = str
"""`kill` (SIGKILL to the own process), `stop` (SIGSTOP), `exit<code>`, `sleep<seconds>`, or an error: `eio`, `enospc`,
`oom`, `error`."""

ERRORS: dict[str, Exception] = {
    "eio": OSError(5, "Input/output error"),
    "enospc": OSError(28, "No space left on device"),
    "oom": MemoryError(),
    "error": RuntimeError("a failpoint"),
}


class _Plan(NamedTuple):
    action: Action
    visits: range


def _plans(text: str) -> dict[str, _Plan]:
    plans = {}
    for entry in filter(None, text.split(",")):
        name, action, nth = (*entry.split(":"), "1")[:3]
        plans[name] = _Plan(action, _meant(nth))
    return plans


def _meant(nth: str) -> range:
    """Visits."""
    if nth.endswith("+"):
        return range(int(nth[:-1]), sys.maxsize)
    every, _, times = nth.partition("x")
    return range(int(every), int(every) * int(times or 1) + 1, int(every))


_PLANS = _plans(os.environ.get("FITD_FAIL", ""))
_FOLDER = os.environ.get("FITD_FAIL_DIR")
_visits: Counter[str] = Counter()


def _armed(name: str) -> None:
    plan = _PLANS.get(name)
    if plan is None:
        return
    if _count(name) in plan.visits:
        _act(plan.action)


def _count(name: str) -> int:
    if _FOLDER is None:
        _visits[name] += 1
        return _visits[name]
    handle = os.open(Path(_FOLDER) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(handle, b".")
        return os.lseek(handle, 0, os.SEEK_CUR)
    finally:
        os.close(handle)


def _act(action: Action) -> None:
    if action in ERRORS:
        raise ERRORS[action]
    if action.startswith("sleep"):
        time.sleep(float(action.removeprefix("sleep")))
    elif action.startswith("exit"):
        os._exit(int(action.removeprefix("exit")))
    else:
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[action])


def _idle(name: str) -> None:
    """Nothing fails here."""


reach = _armed if _PLANS else _idle
"""`reach("checkpoint.renamed")`: the process is here; fail if that is planned."""
