"""Cases from the own tests of Keras, PyTorch and scikit-learn: their configurations and the numbers they expect.

Each test translates a configuration into parts of a spec and runs our code. Where our meaning is another one, the
translation says so, and docs/semantics.md explains it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden"

Case = dict[str, Any]


def each(topic: str) -> pytest.MarkDecorator:
    """One test per case of a file; skipped where the folder of cases is absent."""
    path = FOLDER / f"dev_{topic}.json"
    found = json.loads(path.read_text())["cases"] if path.exists() else []
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in found])
