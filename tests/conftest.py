"""Fixtures that every room shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import trainer  # noqa: F401  isort: skip  before torch is imported: it says how threads wait
import torch

pytest_plugins = ["tests.servers"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real datasets and published results beside the repository."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("../shared, the folder of real datasets beside the repository, is absent")
    return path


@pytest.fixture(autouse=True)
def ordinary_arithmetic() -> Iterator[None]:
    """A run flushes subnormal numbers to 0, in the whole process."""
    yield
    torch.set_flush_denormal(False)
