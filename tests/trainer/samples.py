"""Small specs and tensors for the trainer's tests."""

from typing import Any

from jobs import profiles, rules
from jobs.spec.job import JobSpec
from trainer import data
from trainer.data import Data


def resolved(**changes: Any) -> JobSpec:
    """A short run on iris, resolved as the service would."""
    body = {"dataset": {"source": "builtin", "name": "iris"}, "model": {"kind": "mlp", "hidden": [8]}}
    spec = JobSpec.model_validate(body | {"batch_size": 32, "epochs": 3, "early_stopping": None} | changes)
    assert spec.dataset.source == "builtin"
    return rules.resolve(spec, profiles.builtin()[spec.dataset.name], None).spec


def loaded(spec: JobSpec) -> Data:
    """Its data; nothing uploaded."""
    return data.load(spec, {})
