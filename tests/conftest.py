"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers"]

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported; tests run side by side


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real datasets and published results beside the repository."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("../shared, the folder of real datasets beside the repository, is absent")
    return path
