"""Specs that ask for more than there is: refused when they are sent, with the estimate that refuses them."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import WINE
from tests.attacks.test_limits import service

WIDEST = {"kind": "dense", "units": 1_000_000}
DIGITS = {"dataset": {"source": "builtin", "name": "digits"}}
BOTH = ["/model", "/checkpoint"]
GREEDY: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a trillion weights": ({"model": {"kind": "sequential", "layers": [WIDEST, WIDEST]}}, BOTH),
    "sixty wide layers": ({"model": {"kind": "mlp", "hidden": [9000] * 60}}, BOTH),
    "an ensemble of giants": ({"model": {"kind": "mlp", "hidden": [20_000] * 2}, "ensemble": {"members": 32}}, BOTH),
    "all checkpoints of a large model": (
        {"model": {"kind": "mlp", "hidden": [9000, 9000]}, "checkpoint": {"keep": 100}, "epochs": 1},
        ["/checkpoint"],
    ),
    "a month of training": (
        {**DIGITS, "epochs": 100_000, "model": {"kind": "mlp", "hidden": [12_000, 12_000]}},
        ["/epochs"],
    ),
    "a value for every step": ({"log_every": 1, "batch_size": 2, "epochs": 100_000}, ["/log_every"]),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with service(tmp_path_factory.mktemp("plain")) as client:
        yield client


@pytest.mark.parametrize("call", ["/v1/jobs", "/v1/jobs/validate"])
@pytest.mark.parametrize("attack", GREEDY)
def test_what_would_take_too_much_is_refused_with_its_estimate(plain: TestClient, attack: str, call: str) -> None:
    changes, pointers = GREEDY[attack]
    answer = plain.post(call, json={**WINE, **changes})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "spec_invalid")
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [
        (pointer, "takes_too_much") for pointer in pointers
    ]
    assert all("It would take about" in fault["detail"] for fault in problem["errors"])


def test_an_operator_says_how_much_a_job_may_take(tmp_path: Path) -> None:
    with service(tmp_path, max_job_seconds=0.1) as client:
        assert client.post("/v1/jobs", json=WINE).json()["errors"][0]["pointer"] == "/epochs"
        assert client.post("/v1/jobs", json={**WINE, "max_time": 0.05}).status_code == 201
