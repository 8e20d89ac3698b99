"""fitd's own `trainer.fit.fit`, from a file to the reports, as the worker iterates it."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.peers.case import Case, Turn, examples, serve
from jobs import rules
from jobs.spec.job import JobSpec
from trainer import data, threads
from trainer.fit import fit
from trainer.reports import Progress
from trainer.sources import profiling, reading

ID = "ds_00000000000000000000000000"
LANES = int(os.environ.get("FITD_LANES", "1"))
"""Models trained at once."""


def prepare(case: Case) -> Turn:
    torch.set_num_threads(case.threads)
    ends = _ends(case)

    def turn(epochs: int) -> list[float]:
        return [next(ends) for _ in range(epochs)]

    return turn


def _ends(case: Case) -> Iterator[float]:
    """One run, as long as it is asked for epochs."""
    spec, loaded = _prepared(case)
    threads.settle(spec, loaded)
    for moment in fit(spec, loaded):
        if isinstance(moment.report, Progress) and moment.report.epoch_ended:
            yield time.perf_counter()


def _prepared(case: Case) -> tuple[JobSpec, data.Data]:
    with tempfile.TemporaryDirectory(prefix="fitd-bench-") as folder:
        path = Path(folder) / "examples.npz"
        parts = [part for part in examples(case) if part]
        x = np.concatenate([part.x for part in parts])
        images = np.moveaxis(x, 1, -1) if case.channels else x  # channels come last in files
        np.savez(path, X=images, y=np.concatenate([part.y for part in parts]))
        asked = JobSpec.model_validate(_body(case))
        spec = rules.resolve(asked, profiling.profile(reading.read(path)), None).spec
        return spec, data.load(spec, {ID: path})


def _body(case: Case) -> dict[str, Any]:
    held = case.validation / (case.rows + case.validation)
    model = {"kind": "cnn", "channels": case.channels} if case.channels else {"kind": "mlp"}
    return {
        "dataset": {"source": "upload", "id": ID},
        "task": "classification",
        "split": {"kind": "random", "validation": held, "test": 0},
        "scaler": {"kind": "none"},
        "model": model | {"hidden": case.hidden},
        "optimizer": {"kind": "adam", "lr": 1e-3},
        "batch_size": case.batch,
        "early_stopping": None,
        "ensemble": {"members": LANES} if LANES > 1 else None,
        "epochs": 10_000,
        "device": "cpu",
    }


if __name__ == "__main__":
    serve(f"torch {torch.__version__}", prepare)
