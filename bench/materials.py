"""Files as a person would upload them, made from the folder of real datasets beside the repository."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.model_selection import train_test_split

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


def fashion_whole(folder: Path) -> Path:
    """Both parts in one file, as is usual with an ordered split: 55,000 to train, 5,000 to validate, 10,000 to test."""
    path = folder / "fashion.npz"
    if not path.exists():
        parts = [_idx(f"{part}-images-idx3-ubyte.gz", "images").reshape(-1, 28, 28) for part in ("train", "t10k")]
        labels = [_idx(f"{part}-labels-idx1-ubyte.gz", "labels") for part in ("train", "t10k")]
        np.savez(path, X=np.concatenate(parts), y=np.concatenate(labels))
    return path


def california(folder: Path) -> Path:
    """scikit-learn's version of California housing: means per household, the target in 100,000 dollars; `part` is the
    split of "Hands-On Machine Learning", `train_test_split(random_state=42)` twice. 207 districts lack their rooms."""
    path = folder / "california.csv"
    rows = pl.read_csv(table("california_housing")(folder))
    order = np.arange(rows.height)
    rest, test = train_test_split(order, random_state=42)
    _, validation = train_test_split(rest, random_state=42)
    part = np.full(rows.height, "train", dtype=object)
    part[validation], part[test] = "val", "test"
    households = pl.col("households")
    rows.select(
        MedInc="median_income",
        HouseAge="housing_median_age",
        AveRooms=pl.col("total_rooms") / households,
        AveBedrms=pl.col("total_bedrooms") / households,
        Population="population",
        AveOccup=pl.col("population") / households,
        Latitude="latitude",
        Longitude="longitude",
        part=pl.Series(part.tolist()),
        MedHouseVal=pl.col("median_house_value") / 1e5,
    ).write_csv(path)
    return path


def _idx(name: str, what: str) -> np.ndarray:
    content = gzip.decompress((SHARED / "data/fashion-mnist" / name).read_bytes())
    return np.frombuffer(content, np.uint8, offset=_IDX_HEADER[what])
