"""What a run says about itself, as it is asked for, and that its remedies are accepted."""

import copy
import itertools
from collections.abc import Callable
from typing import Any, get_args

from starlette.testclient import TestClient

from jobs import claims, db, leases
from jobs.record import Usage
from jobs.spec import remedies
from jobs.spec.explained import Code, Diagnostics, Finding, Flow
from jobs.spec.job import JobSpec
from jobs.states import Status

Submit = Callable[..., dict[str, Any]]
EVIDENCE = {"next_lr": 1e-5, "columns": ["ash"]}
FINDING = Finding(code="lr_too_high", severity="warning", message="It leapt.", evidence={"next_lr": 1e-5})
SEQUENTIAL = {
    "kind": "sequential",
    "layers": [
        {"kind": "dense", "units": 8, "init": {"kind": "zeros"}},
        {"kind": "batch_norm"},
        {"kind": "activation", "function": "tanh"},
    ],
}
SPECS: list[dict[str, Any]] = [
    {},
    {"model": {"kind": "mlp", "hidden": [], "activation": "sigmoid"}, "init": {"kind": "normal"}, "batch_size": 4},
    {"model": SEQUENTIAL, "optimizer": {"kind": "adamw", "weight_decay": 0.0}, "early_stopping": None},
    {"schedule": {"kind": "cosine", "min_lr": 1e-4}, "optimizer": {"kind": "sgd", "lr": "auto"}, "epochs": 100_000},
    {"features": {"include": ["ash", "alcohol"]}, "scaler": {"kind": "none"}, "regularization": {"l2": 0.1}},
    {
        "dataset": {"source": "builtin", "name": "digits"},
        "model": {"kind": "cnn", "activation": "tanh", "dropout": 0.5},
    },
]


def patched(spec: dict[str, Any], finding: Finding) -> dict[str, Any]:
    """RFC 6902, as far as findings go."""
    changed = copy.deepcopy(spec)
    for operation in finding.patch:
        *above, last = operation.path.removeprefix("/").split("/")
        place: Any = changed
        for name in above:
            place = place[int(name)] if isinstance(place, list) else place[name]
        if isinstance(place, dict):
            assert last in place
            place[last] = operation.value
        elif operation.op == "add":
            place.insert(len(place) if last == "-" else int(last), operation.value)
        else:
            place[int(last)] = operation.value
    return changed


def finish(database: db.Database, diagnostics: Diagnostics) -> None:
    with database.writing() as session:
        job = claims.claim(session, "w", 60)
        assert job
        leases.finish(session, job.id, 1, Status.SUCCEEDED, "Done.", usage=Usage(), diagnostics=diagnostics)


def test_a_job_that_has_not_run_says_nothing(client: TestClient, submit: Submit) -> None:
    job = submit()
    assert job["diagnostics"] is None
    answer = client.get(job["links"]["diagnostics"])
    assert answer.json() == {"object": "diagnostics", "findings": None, "flow": []}


def test_what_a_run_said_is_in_the_job_and_beside_it(client: TestClient, submit: Submit, database: db.Database) -> None:
    job = submit()
    flow = Flow(epoch=0, step=0, lane=0, loss=1.0, eval_loss=None, classes=3, layers=[])
    finish(database, Diagnostics(findings=[FINDING], flow=[flow]))
    shown = client.get(job["links"]["self"]).json()["diagnostics"]
    assert shown == {"findings": [FINDING.model_dump(mode="json")]}
    asked = client.get(job["links"]["diagnostics"]).json()
    assert asked == {"object": "diagnostics", **shown, "flow": [flow.model_dump(mode="json")]}


def test_a_job_of_somebody_else_says_nothing(client: TestClient) -> None:
    assert client.get(f"/v1/jobs/job_{'0' * 26}/diagnostics").status_code == 404


def test_every_remedy_is_accepted_for_the_spec_as_sent_and_as_resolved(client: TestClient, submit: Submit) -> None:
    for fields in SPECS:
        job = submit(**fields)
        evidence = EVIDENCE if "dataset" not in fields else {"next_lr": 1e-5, "columns": []}  # images have none
        for body, code in itertools.product((job["spec"], job["resolved_spec"]), get_args(Code)):
            said = {"code": code, "severity": "warning", "message": "", "evidence": evidence}
            found = remedies.prescribe(Finding.model_validate(said), JobSpec.model_validate(body))
            if found.patch:
                changed = patched(body, found)
                answer = client.post("/v1/jobs", json=changed)
                assert (answer.status_code, changed != body) == (201, True), (code, found.patch, answer.text)
