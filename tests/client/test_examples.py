"""The examples are specs."""

from pathlib import Path

import pytest

from jobs.spec.job import JobSpec

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_is_a_valid_spec(path: Path) -> None:
    assert JobSpec.model_validate_json(path.read_bytes()).name
