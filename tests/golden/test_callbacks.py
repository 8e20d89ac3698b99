"""When Keras's callbacks stop a run, and what they keep."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jobs.spec.data import Task
from jobs.spec.metrics import direction, monitors
from jobs.spec.stopping import EarlyStopping
from tests.golden.cases import Case, each
from tests.jobs.specs import faults
from tests.trainer.samples import as_given, laid_down
from trainer import run
from trainer.fit import fit
from trainer.reports import Finished, Saved
from trainer.stopping import Patience

TASKS: tuple[Task, ...] = ("classification", "regression")
NAMES = {"loss": "train_loss", "acc": "train_accuracy"}
"""What we call Keras's metrics of the training rows."""


def early_stopping(case: Case) -> None:
    config = {"monitor": "val_loss", "mode": "min", "patience": case["config"]["patience"]}
    spec = EarlyStopping.model_validate(config | {"min_delta": case["config"].get("min_delta", 0)})
    patience, best, stop = Patience(), None, -1
    for epoch, loss in enumerate(case["losses"]):
        improved, stopped = patience.observe(spec, loss, epoch)
        best = epoch if improved else best
        if stopped:
            stop = epoch
            break
    expected = case.get("expected", {})
    assert stop == case.get("expected_stop_after_epoch_index", expected.get("stop_epoch_index"))
    assert best == expected.get("weights_from_epoch_index", case["losses"].index(min(case["losses"][: stop + 1])))


def auto_mode(case: Case) -> None:
    """What is not a metric of the run is refused."""
    known = {name for task in TASKS for name in monitors(task, validation=True)}
    for keras, expected in case["expected"].items():
        name = NAMES.get(keras, keras)
        if name in known:
            assert direction(name) == expected
        else:
            valid = name if name.startswith(("train_", "val_")) else f"val_{name}"
            assert faults(early_stopping={"monitor": valid}) == [("/early_stopping/monitor", "unknown_monitor")]


def checkpoint(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras names a file by its epoch. We save the last step as well."""
    config = case["config"]
    steps = config["epochs"] * config["rows"] // config["batch_size"]
    spec = laid_down(
        batch_size=config["batch_size"],
        epochs=config["epochs"],
        checkpoint={"monitor": "train_loss", "mode": "min", "save_freq": config["save_freq_batches"], "keep": 100},
    )
    x = torch.randn(config["rows"], 2, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("trainer.data.load", lambda spec, files: as_given(x, x[:, :1]))
    monkeypatch.setattr("trainer.account.results.write", lambda *run, **files: [])
    reports = list(run.run(spec, {}, tmp_path, None, lambda: False))
    saved = [report for report in reports if isinstance(report, Saved) and report.what == "checkpoint"]
    epochs = [int(word.strip(",")) for word in case["expected"].split() if word.strip(",").isdigit()]
    assert [(report.epoch, report.step) for report in saved] == [
        *((epoch, epoch * config["rows"] // config["batch_size"]) for epoch in epochs),
        (config["epochs"], steps),
    ]


def divergence(case: Case) -> None:
    init = {"kind": "constant", "value": 1e5}
    layers = [{"kind": "dense", "units": 10, "init": init}, {"kind": "activation", "function": "relu"}] * 5
    spec = laid_down(
        model={"kind": "sequential", "layers": layers}, init=init, optimizer={"kind": "sgd"}, epochs=20, batch_size=8
    )
    *_, last = fit(spec, as_given(torch.ones(32, 3), torch.zeros(32, 1)))
    assert isinstance(last.report, Finished)
    assert (last.report.stop_reason, last.report.epoch) == ("non_finite", 1)
    (loss,) = (point for point in last.state.history if point.name == "train_loss")
    assert (loss.value, not math.isfinite(float(loss.nonfinite or 0))) == (None, True)
    json.loads(loss.model_dump_json(), parse_constant=pytest.fail)  # JSON has no NaN


TRANSLATIONS: dict[str, Callable[[Case], None]] = {
    "early": early_stopping,
    "restore": early_stopping,
    "auto": auto_mode,
    "divergence": divergence,
}


@each("callbacks")
def test_callbacks(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if case["id"].startswith("checkpoint"):
        checkpoint(case, tmp_path, monkeypatch)
    else:
        TRANSLATIONS[case["id"].split()[0]](case)
