"""Fixtures that every room shares."""

from pathlib import Path

import pytest

import trainer  # noqa: F401  before a test imports torch: it says how threads wait

pytest_plugins = ["tests.servers"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real datasets and published results beside the repository."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("../shared, the folder of real datasets beside the repository, is absent")
    return path
