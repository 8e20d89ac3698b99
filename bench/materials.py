"""Files as a person would upload them, made from the folder of real datasets beside the repository."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHARED = Path(__file__).resolve().parents[2] / "shared"

_IDX_HEADER = {"images": 16, "labels": 8}
"""Bytes before the values in the IDX files of MNIST and its kin."""


def table(id: str) -> Callable[[Path], Path]:
    """A CSV file by its id in the manifest, unpacked."""

    def make(folder: Path) -> Path:
        known = {entry["id"]: entry for entry in json.loads((SHARED / "data/MANIFEST.json").read_text())["tabular"]}
        entry = known[id]
        content = gzip.decompress((SHARED / entry["file"]).read_bytes())
        if not entry["read"]["header"]:  # UCI names Adult's columns in a file of their own
            content = (entry["read"]["sep"].join(entry["columns"]) + "\n").encode() + content
        path = folder / f"{id}.csv"
        path.write_bytes(content)
        return path

    return make


def fashion(part: str) -> Callable[[Path], Path]:
    """Fashion-MNIST's official `train` (60,000 images) or `t10k` (10,000) as NPZ."""

    def make(folder: Path) -> Path:
        path = folder / f"{part}.npz"
        if not path.exists():
            images = _idx(f"{part}-images-idx3-ubyte.gz", "images").reshape(-1, 28, 28)
            np.savez(path, X=images, y=_idx(f"{part}-labels-idx1-ubyte.gz", "labels"))
        return path

    return make


def _idx(name: str, what: str) -> np.ndarray:
    content = gzip.decompress((SHARED / "data/fashion-mnist" / name).read_bytes())
    return np.frombuffer(content, np.uint8, offset=_IDX_HEADER[what])
