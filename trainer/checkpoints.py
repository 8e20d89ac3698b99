"""Snapshots as files: one safetensors file each, its scalars as JSON in the header. No pickle."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open

from jobs import failpoints
from jobs.errors import DataInvalid
from jobs.spec.job import JobSpec, fingerprint
from trainer import device, snapshots
from trainer.model.parameters import Tensors
from trainer.snapshots import Snapshot

Origin = dict[str, JsonValue]

TYPES = {torch.float64: "F64", torch.int64: "I64", torch.float32: "F32", torch.uint8: "U8"}
"""What there is to write, by the format's names; the widest come first, so that each number is aligned."""


class Kept(NamedTuple):
    """What a checkpoint holds."""

    snapshot: Snapshot
    origin: Origin
    threads: int


def build(spec: JobSpec) -> Origin:
    """What else must be the same for the same bits."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": device.name(spec)}


def origin(spec: JobSpec, rows: str) -> Origin:
    """What a run must share with the one that wrote a checkpoint, a digest of its rows included; its thread count it
    takes over."""
    return build(spec) | {"spec": fingerprint(spec), "layout": snapshots.layout(), "rows": rows}


def difference(made: Origin, here: Origin) -> str | None:
    """Why a run here cannot go on to the same bits, for people; None if it can."""
    if made["spec"] != here["spec"]:
        return "The checkpoint was made for another spec."
    if made.keys() != here.keys() or made["layout"] != here["layout"]:
        return "The checkpoint was made by another version of fitd."
    if made["rows"] != here["rows"]:
        return "The checkpoint was made with rows that were dealt or prepared otherwise."
    there, now = (f"torch {one['torch']} on {one['device']}" for one in (made, here))
    return None if there == now else f"The checkpoint was made with {there}, here it is {now}."


def write(path: Path, snapshot: Snapshot, origin: Origin) -> None:
    """All or nothing: a file of that name is complete and on disk."""
    header = {"step": snapshot.step, "epoch": snapshot.epoch, "state": snapshot.state, "origin": origin}
    text = json.dumps(header)
    write_tensors(path, snapshot.tensors, {"fitd": text, "sha256": _digest(text, snapshot.tensors)})


def write_tensors(path: Path, tensors: Tensors, header: dict[str, str]) -> None:
    """A safetensors file by way of a temporary one. The library's own writer copies everything first, and holds up
    every other thread while it does."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        for part in _content(tensors, header):
            file.write(part)
        file.flush()
        failpoints.reach("checkpoint.written")
        os.fsync(file.fileno())
    failpoints.reach("checkpoint.synced")
    partial.rename(path)
    failpoints.reach("checkpoint.renamed")
    _sync(path.parent)


def _content(tensors: Tensors, header: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The format: length of the index, the index as JSON, the numbers."""
    widest = list(TYPES)
    names = sorted(tensors, key=lambda name: (widest.index(tensors[name].dtype), name))
    index: dict[str, JsonValue] = {"__metadata__": dict(header)} if header else {}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        shape = list[JsonValue](tensors[name].shape)
        index[name] = {"dtype": TYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(index, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in names:
        yield _raw(tensors[name])


def _raw(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _sync(folder: Path) -> None:
    """The name of a new file is on disk only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(text: str, tensors: Tensors) -> str:
    """Of all that a snapshot is made of: the format itself would not notice a changed number."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(_raw(tensors[name]))
    return digest.hexdigest()


def read(path: Path) -> Kept:
    """What `write` wrote, and nothing else.

    Raises:
        DataInvalid: it is damaged, or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if said["sha256"] != _digest(said["fitd"], tensors):
            raise ValueError
        header = json.loads(said["fitd"])
        snapshot = Snapshot(header["step"], header["epoch"], tensors, header["state"])
        return Kept(snapshot, header["origin"], header["origin"]["threads"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise DataInvalid(f"The checkpoint is damaged ({type(error).__name__}).") from error
