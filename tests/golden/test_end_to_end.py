"""Whole small runs of Keras and scikit-learn, with our loop. A network of ours always ends in a dense layer that fits
the target; where theirs has no bias there, ours is held at 0."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from jobs.spec.init import HeNormal, Init, Orthogonal
from jobs.spec.job import JobSpec
from jobs.spec.model import Activation, Dense
from tests.golden.cases import Case, each
from tests.trainer.samples import as_given, laid_down
from trainer import losses, scores
from trainer.data import Data
from trainer.fit import fit
from trainer.model import initializers, network
from trainer.model.layers import Pass
from trainer.model.network import Network
from trainer.reports import Finished, Progress
from trainer.state import Moment

EVALUATION = Pass(False, [])
ONES = {"kind": "constant", "value": 1}


def run(spec: JobSpec, data: Data, held: dict[str, Any] | None = None) -> tuple[list[float], Moment]:
    """Training loss of each epoch, and the end. `held` numbers are set before the first step and after each epoch."""
    trained: list[float] = []
    for moment in fit(spec, data):
        put(moment.state.network, held or {})
        if isinstance(moment.report, Progress) and moment.report.epoch_ended:
            trained += [point.value for point in moment.report.points if point.name == "train_loss" and point.value]
    assert isinstance(moment.report, Finished)
    return trained, moment


def put(net: Network, numbers: dict[str, Any]) -> None:
    for name, value in numbers.items():
        net.weights[name][0] = torch.as_tensor(value)


def keras_adam(case: Case) -> None:
    """Keras's eps stands before the bias correction; at 1e-7 it does not show."""
    spec, (start, decay) = case["spec"], map(float, re.findall(r"[\d.]+", case["spec"]["lr"])[:2])
    shape = [int(size) for size in re.findall(r"\d+", case["X"])]
    x = torch.arange(float(shape[0])).reshape(shape[1:])
    ours = laid_down(
        init=ONES | {"bias": 1},
        optimizer={"kind": "adam", "lr": start, "eps": 1e-7},
        schedule={"kind": "exponential", "gamma": decay, "unit": "step"},
        batch_size=spec["batch_size"],
        shuffle=spec["shuffle"],
        epochs=spec["epochs"],
    )
    trained, _ = run(ours, as_given(x, x))
    assert trained == pytest.approx(case["expected_epoch_loss"], rel=5e-5)


def without_bias(case: Case) -> None:
    """Full batches, so that the loss of an epoch is that of its only step."""
    expected = case["expected"]
    ours = laid_down(init=ONES, optimizer={"kind": "sgd", "lr": 0.01}, epochs=len(expected["train_loss"]))
    data = as_given(torch.ones(100, 4), torch.zeros(100, 3))
    trained, end = run(ours, data, held={"0.bias": 0.0})
    assert trained == pytest.approx(expected["train_loss"], abs=case["tol"])
    z = scores.outputs(end.state.network, data.train, 1)
    found = scores.validation(ours, data, losses.build(ours.loss), z, data.train)[0]
    assert found["loss"] == pytest.approx(expected["then_eval_loss"], abs=case["tol"])
    assert z.unique().tolist() == pytest.approx([expected["then_predict"]], abs=case["tol"])


def evaluated(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.scores.CHUNK_FLOATS", 16 * 4 * 8)  # sixteen rows at a time
    expected, spec = case["expected"], laid_down()
    data = as_given(torch.ones(100, 4), torch.zeros(100, 3))
    net = network.build([dense(3, ONES, bias=False)], (4,), [0], "cpu")
    z = scores.outputs(net, data.train, 1)
    found = scores.validation(spec, data, losses.build(spec.loss), z, data.train)[0]
    assert (found["loss"], found["rmse"] ** 2) == pytest.approx((expected["loss"], expected["mse"]))
    assert z.unique().tolist() == [expected["predict"]]


def dense(units: int, init: dict[str, Any], *, bias: bool) -> Dense:
    return Dense.model_validate({"units": units, "bias": bias, "init": init})


def one_step(case: Case) -> None:
    """scikit-learn's alpha penalises ½α‖w‖²/n: our l2, without the half, is α/2n. Its matrices are [in, out]."""
    theirs = case["spec"]
    spec = laid_down(
        task="classification",
        model={"kind": "sequential", "layers": [{"kind": "dense", "units": len(theirs["b1"]), "init": ONES}, SIGMOID]},
        loss={"kind": "bce"},
        optimizer={"kind": "sgd", "lr": theirs["lr"]},
        regularization={"l2": theirs["l2_alpha"] / 2 / len(case["X"])},
    )
    data = as_given(torch.tensor(case["X"]), torch.tensor(case["y"]), classes=2)
    moments = fit(spec, data)
    net = next(moments).state.network
    put(net, {ours: turned(theirs[name]) for name, ours in NAMES.items()})
    list(moments)
    for name, ours in NAMES.items():
        torch.testing.assert_close(net.weights[ours][0], turned(case["exact_float64"][name]), rtol=0, atol=1e-6)
    proba = scores.probabilities(net(data.train.x.unsqueeze(0), EVALUATION)[0])[0, 1].item()
    assert proba == pytest.approx(case["exact_float64"]["proba_after"], abs=1e-6)


def turned(numbers: Any) -> torch.Tensor:
    found = torch.tensor(numbers, dtype=torch.float32)
    return found.T if found.dim() == 2 else found


SIGMOID = {"kind": "activation", "function": "sigmoid"}
NAMES = {"W1": "0.weight", "b1": "0.bias", "W2": "2.weight", "b2": "2.bias"}


def forward(case: Case) -> None:
    lists = re.findall(r"=(\[\[.*?\]\]|\[.*?\])", case["spec"])
    matrix, bias, x = (turned(json.loads(text)) for text in lists)
    net = network.build([dense(len(bias), ONES, bias=True), Activation(function="relu")], (len(x),), [0], "cpu")
    put(net, {"0.weight": matrix, "0.bias": bias})
    assert net(x.reshape(1, 1, -1), EVALUATION)[0].tolist() == case["expected"]


def bad_units(case: Case) -> None:
    for units in case["spec"]:
        with pytest.raises(ValidationError):
            Dense.model_validate({"units": units})


def initial(case: Case) -> None:
    """[out, in] here: 25 inputs, 20 outputs."""
    weight = torch.empty(20, 25)
    for mode, fan in (("fan_in", 25), ("fan_out", 20)):
        init = HeNormal.model_validate({"mode": mode})
        initializers.fill(weight, init, torch.Generator().manual_seed(0))
        assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, abs=0.1)
    initializers.fill(weight, Orthogonal(gain=2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(weight @ weight.T, 4 * torch.eye(20))
    again = torch.empty(20, 25)
    initializers.fill(again, Orthogonal(gain=2), torch.Generator().manual_seed(0))
    assert torch.equal(weight, again)
    for wrong in ({"kind": "typo"}, {"kind": "he_normal", "gain": -1}, {"kind": "he_normal", "mode": "fan"}):
        with pytest.raises(ValidationError):
            TypeAdapter(Init).validate_python(wrong)


TRANSLATIONS: dict[str, Callable[[Case], None]] = {
    "Dense(2)": keras_adam,
    "Dense(3,ones,no": without_bias,
    "one": one_step,
    "Dense": forward,
    "dense": bad_units,
    "initializer": initial,
}


@each("end_to_end")
def test_end_to_end(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case["id"].startswith("evaluate"):
        evaluated(case, monkeypatch)
    else:
        TRANSLATIONS[case["id"].split()[0]](case)
