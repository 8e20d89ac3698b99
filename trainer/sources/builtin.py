"""The small real datasets that ship with scikit-learn; `python -m trainer.sources.builtin` profiles them for jobs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never, get_args

import numpy as np
import polars as pl
from sklearn import datasets

from jobs.spec.data import BuiltinName
from jobs.spec.profile import DatasetProfile
from trainer.sources import profiling
from trainer.sources.content import Images, Table

PROFILES = Path(__file__).resolve().parents[2] / "jobs" / "builtin.json"


def load(name: BuiltinName) -> Table | Images:
    """`digits` as 8×8 images labelled 0 to 9, the others as tables with a column `target`, class names where known."""
    match name:
        case "digits":
            return _digits()
        case "iris":
            return _table(datasets.load_iris)
        case "wine":
            return _table(datasets.load_wine)
        case "breast_cancer":
            return _table(datasets.load_breast_cancer)
        case "diabetes":
            return _table(datasets.load_diabetes)
        case _:
            assert_never(name)


def profiles() -> dict[str, DatasetProfile]:
    return {name: profiling.profile(load(name)) for name in get_args(BuiltinName)}


def _digits() -> Images:
    bunch = datasets.load_digits()
    return Images(bunch.images.astype(np.uint8)[..., np.newaxis], pl.Series("label", bunch.target))


def _table(load_bunch: Callable[[], Any]) -> Table:
    bunch = load_bunch()
    names = bunch.get("target_names")
    target = bunch.target if names is None else [str(names[i]) for i in bunch.target]
    frame = pl.from_numpy(bunch.data, schema=list(map(str, bunch.feature_names)))
    return Table(frame.with_columns(pl.Series("target", target)), target="target")


def dump(profiles: dict[str, DatasetProfile]) -> str:
    """JSON, one dataset per line."""
    lines = [f'"{name}": {profile.model_dump_json(exclude_defaults=True)}' for name, profile in profiles.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    PROFILES.write_text(dump(profiles()))
