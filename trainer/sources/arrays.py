"""NPZ: `X` and `y`, as `numpy.savez` writes them."""

import math
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.errors import DataInvalid
from jobs.spec.profile import MOST_COLUMNS
from trainer.sources import columns
from trainer.sources.content import MAX_BYTES, Images, Pixels, Table

Array = npt.NDArray[Any]

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(archive: zipfile.ZipFile) -> Table | Images:
    """A two-dimensional `X` is a table of x0, x1, … and y, or y0, y1, … for several targets; N×H×W[×C] are images."""
    x, y = _array(archive, "X"), _array(archive, "y")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if len(x) != len(y):
        raise DataInvalid(f"X has {len(x):,} rows and y has {len(y):,}: they must have as many.")
    if len(x) == 0:
        raise DataInvalid("X and y hold no rows: send at least one.")
    if x.ndim == 2:
        return _table(x, y)
    if x.ndim in (3, 4):
        return Images(_pixels(x), _labels("label", y))
    raise DataInvalid(f"X has the shape {x.shape}: send rows × columns, or N × height × width [× channels].")


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    """Shape and type are read, and held against the limit and the bytes there are, before memory is taken."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        held = ", ".join(sorted(archive.namelist())[:5])
        raise DataInvalid(f"The NPZ file has no array '{name}' (it holds {held}): save it with X=… and y=….") from None
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise DataInvalid(f"The array '{name}' has the format {version}: save it as plain numbers or text.")
        shape, _, dtype = _HEADERS[version](file)
        if shape == ():
            raise DataInvalid(f"The array '{name}' is a single value: send one per row.")
        if dtype.kind not in "biufUS":
            raise DataInvalid(
                f"The array '{name}' has the type {dtype}, which is not read: save plain numbers or text."
            )
        _refuse_size(name, math.prod(shape) * dtype.itemsize, info.file_size - file.tell())
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _refuse_size(name: str, declared: int, held: int) -> None:
    if declared > MAX_BYTES:
        raise DataInvalid(f"The array '{name}' takes {declared:,} bytes, more than {MAX_BYTES >> 30} GiB: send less.")
    if declared != held:
        raise DataInvalid(f"The array '{name}' declares {declared:,} bytes and holds {held:,}: save it again.")


def _table(x: Array, y: Array) -> Table:
    if x.dtype.kind not in "biuf":
        raise DataInvalid("A two-dimensional X must hold numbers: send text columns as CSV or Parquet.")
    if not 1 <= x.shape[1] <= MOST_COLUMNS:
        raise DataInvalid(f"X has {x.shape[1]:,} columns: send between 1 and {MOST_COLUMNS:,}.")
    features = [columns.canonical(pl.Series(f"x{i}", x[:, i])) for i in range(x.shape[1])]
    if y.ndim == 1:
        return Table(pl.DataFrame([*features, _labels("y", y)]), target="y")
    if y.ndim == 2:
        return Table(pl.DataFrame([*features, *(_labels(f"y{i}", y[:, i]) for i in range(y.shape[1]))]))
    raise DataInvalid(f"y has the shape {y.shape}: send one value, or one row of values, per row of X.")


def _labels(name: str, y: Array) -> pl.Series:
    if y.ndim != 1:
        raise DataInvalid(f"y has the shape {y.shape}: images have one label each.")
    values = pl.Series(name, y.astype(str).tolist()) if y.dtype.kind in "US" else pl.Series(name, y)
    labels = columns.canonical(values)
    if (missing := labels.is_null()).any():
        raise DataInvalid(f"{name} has no value in row {missing.arg_max()}: every row of an array needs its label.")
    return labels


def _pixels(x: Array) -> Pixels:
    x = x[..., np.newaxis] if x.ndim == 3 else x
    _refuse_layout(x.shape)
    if x.dtype.kind in "US":
        raise DataInvalid("X must hold numbers: images are arrays of pixels.")
    if x.dtype.kind == "f":
        if not np.isfinite(x).all():
            raise DataInvalid("X holds NaN or infinite pixels: replace them by numbers.")
        return x.astype(np.float32, copy=False)
    if x.min() >= 0 and x.max() <= 255:
        return x.astype(np.uint8, copy=False)
    return x.astype(np.float32)


def _refuse_layout(shape: tuple[int, ...]) -> None:
    _, height, _, channels = shape
    if min(shape) == 0:
        raise DataInvalid(f"X has the shape {shape}: an image needs at least one pixel.")
    if channels > 4 and height <= 4:
        raise DataInvalid(f"X has the shape {shape}: channels come last here, use X.transpose(0, 2, 3, 1).")
