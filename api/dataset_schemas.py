"""What the calls on datasets take and answer with."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas import Page, Shown
from jobs.record import Failure
from jobs.spec.data import BuiltinName
from jobs.spec.profile import DatasetProfile
from jobs.spec.values import Column, Text


class Dataset(Shown):
    """An uploaded dataset and what is known of it."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    status: Literal["profiling", "ready", "invalid"]
    """`profiling` until a worker has read it; `invalid` says why in `error`."""
    bytes: int
    sha256: str
    """Of the bytes, in hexadecimal."""
    created_at: datetime
    updated_at: datetime
    profile: DatasetProfile | None
    """Rows, columns and warnings, once it is `ready`."""
    error: Failure | None


class DatasetPage(Page[Dataset]):
    """Datasets, newest first."""


class BuiltinDataset(Shown):
    """A small real dataset that ships with scikit-learn; name it in a spec as `{"source": "builtin", "name": …}`."""

    object: Literal["builtin_dataset"]
    name: BuiltinName
    profile: DatasetProfile


class BuiltinPage(Page[BuiltinDataset]):
    """All builtin datasets."""


class DatasetRows(Shown):
    """The first rows of a dataset."""

    object: Literal["list"]
    data: list[dict[str, JsonValue]]
    total: int | None
    """Rows in the whole dataset; null until it has been read."""


class RowsUpload(BaseModel):
    """A small table as JSON."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    rows: Annotated[list[dict[Column, str | float | int | bool | None]], Field(min_length=1)]
    """One object per row, keyed by column; numbers, strings, booleans or null (missing)."""
    name: Text | None = None
    """For people."""
