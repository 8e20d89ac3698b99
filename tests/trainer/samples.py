"""Small specs and tensors for the trainer's tests."""

from typing import Any

import torch

from jobs import profiles, rules
from jobs.spec.job import JobSpec
from jobs.spec.preprocessing import Classes, Preprocessing, Reals, TableFeatures
from trainer import data
from trainer.data import Data, Examples


def resolved(**changes: Any) -> JobSpec:
    """A short run on iris, resolved as the service would."""
    body = {"dataset": {"source": "builtin", "name": "iris"}, "model": {"kind": "mlp", "hidden": [8]}}
    spec = JobSpec.model_validate(body | {"batch_size": 32, "epochs": 3, "early_stopping": None} | changes)
    assert spec.dataset.source == "builtin"
    return rules.resolve(spec, profiles.builtin()[spec.dataset.name], None).spec


def loaded(spec: JobSpec) -> Data:
    """Its data; nothing uploaded."""
    return data.load(spec, {})


def as_given(x: torch.Tensor, y: torch.Tensor, classes: int = 0) -> Data:
    """Rows to train on and to test on, as they are: nothing is scaled. y is [N] classes or [N, targets]."""
    features = TableFeatures(numbers=[], categories=[], names=[f"x{column}" for column in range(x.shape[1])])
    names = [f"y{column}" for column in range(1 if classes else y.shape[1])]
    plain = Reals(columns=names, mean=[0.0] * len(names), scale=[1.0] * len(names))
    target = Classes(column="y0", classes=[str(label) for label in range(classes)]) if classes else plain
    rows = Examples(x, y)
    return Data(rows, None, rows, Preprocessing(features=features, target=target), [])


def laid_down(**changes: Any) -> JobSpec:
    """A spec with nothing to resolve, for rows that come from elsewhere."""
    body: dict[str, Any] = {
        "dataset": {"source": "builtin", "name": "iris"},
        "task": "regression",
        "model": {"kind": "sequential", "layers": []},
        "init": {"kind": "xavier_uniform"},
        "loss": {"kind": "mse"},
        "batch_size": "full",
        "epochs": 1,
        "early_stopping": None,
        "checkpoint": {"monitor": "train_loss", "mode": "min"},
        "log_every": 1,
        "device": "cpu",
        "precision": "fp32",
    }
    return JobSpec.model_validate(body | changes)
