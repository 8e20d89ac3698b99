"""An artifact store that takes its time."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobs.artifacts import Artifacts
from worker.place import Place


@dataclass(frozen=True)
class Slow(Artifacts):
    """A folder that takes a file after so many seconds, or at once when it is `awake`."""

    seconds: float = 0.0
    awake: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, source: Path) -> None:
        self.awake.wait(self.seconds)
        super().put(path, source)


def slowed(place: Place, seconds: float) -> tuple[Place, Slow]:
    """The same place with a slow store."""
    store = Slow(place.artifacts.store, place.artifacts.root, seconds)
    return replace(place, artifacts=store), store
