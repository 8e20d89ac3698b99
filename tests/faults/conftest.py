"""A fleet per database that the tests of this room share, and what undisturbed runs come to."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from client.answers import Job
from tests.faults.invariants import Outcome, References, check
from tests.fleet import Fleet, digits
from tests.servers import made

DATABASES = ["sqlite", "postgresql"]
LONG = digits(epochs=300)
"""A run of a few seconds that is saved every 100 steps."""
SHORT = digits(epochs=2)
Measured = Callable[..., None]
"""`measured("from the kill to the next attempt", seconds, 45)`"""

QUICK: dict[str, list[str]] = {
    "sqlite": ["1_a", "2", "3_a_child_killed_inside", "8", "10", "12", "27", "29_a_newer"],
    "postgresql": [],
    "alone": ["15"],
}
"""Rows that run in `make test`; `make test-slow` runs all others, which take longer or repeat these."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All go to one process, where those of one database share a fleet, and one fleet has the machine at a time."""
    for item in items:
        if "tests/faults" not in item.path.as_posix():
            continue
        name = next((name for name in DATABASES if name in item.name), "alone")
        item.add_marker(pytest.mark.xdist_group("faults"))
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))  # others work beside it
        if not any(f"_row_{row}_" in item.name for row in QUICK[name]):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=DATABASES)
def shared_fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("f")
    if request.param == "sqlite":
        yield from _running(Fleet(folder))
        return
    with made(request.getfixturevalue("postgres")) as url:
        yield from _running(Fleet(folder, FITD_DATABASE_URL=url))


def _running(fleet: Fleet) -> Iterator[Fleet]:
    try:
        yield fleet
    finally:
        fleet.close()


@pytest.fixture(scope="session")
def references(shared_fleet: Fleet) -> References:
    """What specs come to on a fleet at peace."""
    return References(shared_fleet)


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Fleet:
    """Whole at the beginning of each test, whatever the one before did to it."""
    shared_fleet.mend()
    return shared_fleet


class Accepted(dict[str, Outcome | None]):
    """The jobs that a test was promised, and what they must come to."""

    def __init__(self, fleet: Fleet, references: References) -> None:
        super().__init__()
        self.fleet = fleet
        self.references = references

    def expect(self, spec: Mapping[str, Any]) -> None:
        """Runs a spec in peace now, rather than at its first submit."""
        self.references.of(spec)

    def submit(self, spec: Mapping[str, Any] = LONG) -> Job:
        """A job that must not be lost."""
        expected = self.references.of(spec)
        job = self.fleet.client.submit(spec)
        self[job.id] = expected
        return job

    def check(self, seconds: float = 240) -> None:
        """All that was promised holds."""
        check(self.fleet, self, seconds)


@pytest.fixture
def accepted(fleet: Fleet, references: References) -> Accepted:
    return Accepted(fleet, references)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Holds a figure to its bound, and notes both for `tests/faults/matrix.py`."""

    def note(what: str, figure: float, most: float, unit: str = "s") -> None:
        record_property(f"measured {what}", f"{figure:.3g} {unit} of {most:.3g}")
        assert figure <= most, f"{what}: {figure:.3g} {unit}, and {most:.3g} are allowed"

    return note


@pytest.fixture
def failing(fleet: Fleet, tmp_path: Path) -> Callable[..., Path]:
    """Replaces a part by one with failpoints, `failing("worker", "file.put:kill")`, that are counted over all
    processes, in files of the folder that it answers; the next test begins with one without."""

    def replace(part: str, plan: str, **environment: str) -> Path:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        if fleet.is_alive(part):
            fleet.kill(part)
        fleet.start(part, FITD_FAIL=plan, FITD_FAIL_DIR=str(folder), **environment)
        return folder

    return replace
