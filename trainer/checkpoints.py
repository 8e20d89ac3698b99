"""Snapshots as files: one safetensors file each, its scalars as JSON in the header. No pickle."""

import json
import os
from pathlib import Path

import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from jobs.errors import DataInvalid
from jobs.spec.job import JobSpec
from trainer import device
from trainer.model.parameters import Tensors
from trainer.snapshots import Snapshot


def build(spec: JobSpec) -> dict[str, JsonValue]:
    """What a resumed run must share with the run that it resumes, to reach the same bits."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": device.name(spec)}


def write(path: Path, snapshot: Snapshot, spec: JobSpec) -> None:
    """All or nothing: a file of that name is complete and on disk."""
    header = {"step": snapshot.step, "epoch": snapshot.epoch, "state": snapshot.state, "build": build(spec)}
    write_tensors(path, snapshot.tensors, {"fitd": json.dumps(header)})


def write_tensors(path: Path, tensors: Tensors, header: dict[str, str]) -> None:
    """A safetensors file by way of a temporary one."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def read(path: Path) -> Snapshot:
    """A snapshot written by `write`.

    Raises:
        DataInvalid: it is damaged, or not a snapshot.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["fitd"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Snapshot(header["step"], header["epoch"], tensors, header["state"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise DataInvalid(f"This checkpoint is damaged ({type(error).__name__}).") from error


def same_build(path: Path, spec: JobSpec) -> bool:
    """Whether the run that wrote this can be gone on with here to the same bits."""
    with safe_open(path, framework="pt") as file:
        written: dict[str, JsonValue] = json.loads(file.metadata()["fitd"])["build"]
    return written == build(spec)
