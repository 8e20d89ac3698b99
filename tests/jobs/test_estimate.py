"""An estimate counts what the run will have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import estimate, profiles, rules
from jobs.estimate import Estimate
from jobs.rulebook import batch
from jobs.rules import Resolved
from jobs.spec.job import JobSpec
from tests.trainer import samples
from trainer import batches, fit
from trainer.reports import Finished, Started

from .specs import resolve

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("iris", {"model": {"kind": "mlp", "hidden": []}}),
    ("iris", {"model": {"kind": "mlp", "hidden": [8, 4], "batch_norm": True, "dropout": 0.2}}),
    ("breast_cancer", {"loss": {"kind": "bce"}}),
    ("diabetes", {"model": {"kind": "mlp", "hidden": [16], "activation": "selu"}}),
    ("digits", {"model": {"kind": "mlp", "hidden": [8]}}),
    ("digits", {"model": {"kind": "cnn", "channels": [4, 8], "hidden": [16], "batch_norm": True}}),
    (
        "wine",
        {
            "model": {
                "kind": "sequential",
                "layers": [
                    {"kind": "layer_norm"},
                    {"kind": "residual", "layers": [{"kind": "dense", "units": 13, "bias": False}]},
                ],
            }
        },
    ),
]


def resolved(name: str, **changes: Any) -> Resolved:
    spec = JobSpec.model_validate({"dataset": {"source": "builtin", "name": name}, "epochs": 2} | changes)
    return rules.resolve(spec, profiles.builtin()[name], None)


def estimated(**changes: Any) -> Estimate:
    return estimate.estimate(resolve(**changes))


@pytest.mark.parametrize(("name", "changes"), MODELS)
@pytest.mark.parametrize("batch_size", ["auto", 32])
def test_the_run_has_the_parameters_rows_and_steps_estimated(
    name: str, changes: dict[str, Any], batch_size: int | str
) -> None:
    job = resolved(name, batch_size=batch_size, **changes)
    reports = [moment.report for moment in fit.fit(job.spec, samples.loaded(job.spec))]
    started, finished = reports[0], reports[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    expected = estimate.estimate(job)
    facts = (job.facts.train_rows, job.facts.validation_rows, job.facts.test_rows)
    assert (started.train_rows, started.validation_rows, started.test_rows) == facts
    assert (started.parameters, finished.step) == (expected.parameters, expected.steps)


@given(st.integers(1, 3_000), st.integers(1, 600) | st.just("full"), st.booleans())
def test_steps_are_those_of_the_loop(rows: int, size: int | str, has_batch_norm: bool) -> None:
    job = resolve(epochs=7)
    facts = job.facts.__class__(**job.facts.__dict__ | {"train_rows": rows})
    length = batch.steps(job.spec, facts, size if isinstance(size, int) else "full", has_batch_norm)
    per_epoch = len(batches.starts(rows, size if isinstance(size, int) else rows, has_batch_norm)) - 1
    assert (length.per_epoch, length.total) == (per_epoch, 7 * per_epoch)


def test_more_work_costs_more() -> None:
    base = estimated(batch_size=64)
    longer = estimated(batch_size=64, epochs=100)
    wider = estimated(batch_size=64, model={"kind": "mlp", "hidden": [512, 512]})
    assert (longer.steps, longer.parameters) == (2 * base.steps, base.parameters)
    begun = estimate.START_SECONDS
    assert longer.seconds - begun == pytest.approx(2 * (base.seconds - begun), rel=0.01)
    assert wider.parameters > base.parameters
    assert wider.memory_bytes > base.memory_bytes
    assert wider.disk_bytes > base.disk_bytes


def test_the_optimizers_state_is_counted() -> None:
    plain, adam = estimated(optimizer={"kind": "sgd"}), estimated(optimizer={"kind": "adam", "amsgrad": True})
    assert adam.disk_bytes > plain.disk_bytes
    assert adam.memory_bytes > plain.memory_bytes


def test_convolutions_make_it_less_sure() -> None:
    assert estimate.estimate(resolved("digits", model={"kind": "cnn", "channels": [4]})).confidence == "low"
    assert estimate.estimate(resolved("digits")).confidence == "medium"
