"""What whole runs say about themselves: networks built to ail, histories that overfit, columns that leak."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from jobs.spec.explained import Code, Finding, Flow
from tests.trainer import samples
from trainer.diagnosis import findings, verdicts
from trainer.diagnosis.verdicts import Verdict
from trainer.fit import fit
from trainer.reports import Finished

WINE = {"source": "builtin", "name": "wine"}
GOOD = Verdict("good", 1e-3, 1e-3, "", None)


def said(**changes: Any) -> dict[Code, Finding]:
    spec = samples.resolved(**changes)
    last = list(fit(spec, samples.loaded(spec)))[-1].report
    assert isinstance(last, Finished)
    assert last.diagnostics
    return {finding.code: finding for finding in last.diagnostics.findings}


def mlp(*hidden: int, activation: str = "relu", **others: Any) -> dict[str, Any]:
    return {"model": {"kind": "mlp", "hidden": list(hidden), "activation": activation}, **others}


AILING: dict[Code, dict[str, Any]] = {
    "symmetric_units": mlp(8, init={"kind": "zeros"}),
    "vanishing_gradient": mlp(*[16] * 6, activation="sigmoid", init={"kind": "normal", "std": 0.01}),
    "exploding_gradient": mlp(*[64] * 4, init={"kind": "normal", "std": 1.0}),
    "dead_units": mlp(16, init={"kind": "normal", "std": 0.1, "bias": -10.0}),
    "saturated_units": mlp(16, activation="tanh", dataset=WINE, scaler={"kind": "none"}),
    "init_mismatch": mlp(*[64] * 4, init={"kind": "normal", "std": 0.05}),
}


@pytest.mark.parametrize("code", AILING)
def test_a_network_says_what_ails_it_and_the_remedy_names_the_cause(code: Code) -> None:
    found = said(**AILING[code])
    assert [operation.path for operation in found[code].patch][0] in ("/init", "/scaler", "/optimizer/lr")


def test_a_sound_run_has_nothing_to_say_but_that_its_rate_is_good() -> None:
    assert list(said(**mlp(16), epochs=60, optimizer={"kind": "adam", "lr": 0.03})) == ["lr_good"]


def test_a_run_that_diverged_has_findings() -> None:
    found = said(dataset={"source": "builtin", "name": "diabetes"}, epochs=30, optimizer={"kind": "sgd", "lr": 10.0})
    assert found["lr_diverging"].patch[0].value == 1.0


def test_one_class_for_every_row_is_a_collapse() -> None:
    assert "class_collapse" in said(**AILING["dead_units"])


def test_the_loss_of_guessing_is_that_of_the_best_constant() -> None:
    spec = samples.resolved()
    loaded = samples.loaded(spec)
    shares = torch.bincount(loaded.train.y) / len(loaded.train)
    expected = F.cross_entropy(shares.log().expand(len(loaded.train), 3), loaded.train.y)
    assert math.isclose(findings.guess(spec, loaded), float(expected), rel_tol=1e-5)
    diabetes = samples.resolved(dataset={"source": "builtin", "name": "diabetes"})
    assert math.isclose(findings.guess(diabetes, samples.loaded(diabetes)), 1.0, rel_tol=1e-3)


def test_overfitting_names_the_means_that_are_unused() -> None:
    series = {"train_loss": [1 / epoch for epoch in range(1, 11)], "val_loss": [1, 0.8, 0.7, 0.7, 0.8, 0.9, 1, 1, 1, 1]}
    (found,) = findings.overfitting(samples.resolved(), series)
    assert (found.code, found.severity, found.evidence["best_epoch"]) == ("overfitting", "warning", 3)
    assert found.evidence["unused"] == ["early_stopping", "dropout", "weight_decay", "label_smoothing"]
    assert findings.overfitting(samples.resolved(), series | {"val_loss": [1 / epoch for epoch in range(1, 11)]}) == []


def test_little_learnt_at_a_good_rate_is_underfitting() -> None:
    (found,) = findings.underfitting({"train_loss": [1.0, 0.95]}, 1.0, GOOD)
    assert found.code == "underfitting"
    assert findings.underfitting({"train_loss": [1.0, 0.3]}, 1.0, GOOD) == []


def test_columns_that_leak_and_scores_too_good_are_suspected() -> None:
    (found,) = findings.leaks({"id": 0.999}, None)
    assert (found.evidence["columns"], found.code) == (["id"], "leak_suspected")
    assert len(findings.leaks({}, {"accuracy": 1.0, "rows": 500})) == 1
    assert findings.leaks({}, {"accuracy": 1.0, "rows": 20}) == []


def test_a_batch_norm_that_is_worse_in_use_is_unstable() -> None:
    spec = samples.resolved(model={"kind": "mlp", "hidden": [8], "batch_norm": True})
    flow = Flow(epoch=3, step=9, lane=0, loss=0.2, eval_loss=1.5, classes=3, layers=[])
    (found,) = findings.batch_norm(spec, flow, GOOD)
    assert found.evidence["eval_mode_loss"] == 1.5
    assert findings.batch_norm(spec, flow.model_copy(update={"eval_loss": 0.25}), GOOD) == []


def test_members_of_an_ensemble_are_counted() -> None:
    found = said(**AILING["symmetric_units"], ensemble={"members": 3})
    assert found["symmetric_units"].evidence["models"] == 3


def test_a_run_without_a_step_is_unclear() -> None:
    verdict = verdicts.learning_rate([])
    assert findings.rate(verdict).code == "lr_unclear"
