"""What a dataset holds once it is read: a table, or images with labels."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

MAX_BYTES = 4 << 30
"""A dataset may take this much memory once decoded."""

Index = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """Named columns of five types: Int64, Float64 (finite), Boolean, Datetime[μs] (UTC), String (never empty).

    A null is a missing value; there is no NaN.
    """

    frame: pl.DataFrame
    target: str | None = None
    """The column to predict, where the data itself says so."""
    warnings: tuple[str, ...] = ()
    """What the reader had to guess."""

    @property
    def rows(self) -> int:
        return self.frame.height

    def take(self, rows: Index) -> "Table":
        return replace(self, frame=self.frame[rows])


@dataclass(frozen=True)
class Images:
    """N images of one size, with one label each."""

    pixels: Pixels
    """N×H×W×C; bytes, or finite floats."""
    labels: pl.Series
    """Named `label`, of a column type of `Table`, without gaps."""
    warnings: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        return self.labels.to_frame()

    @property
    def target(self) -> str:
        return self.labels.name

    @property
    def rows(self) -> int:
        return self.labels.len()

    def take(self, rows: Index) -> "Images":
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows])
