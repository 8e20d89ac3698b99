"""What the calls on datasets take and answer with."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, JsonValue

from api.schemas import Page, Shown
from jobs import urls
from jobs.record import Failure
from jobs.spec.data import BuiltinName
from jobs.spec.profile import DatasetProfile
from jobs.spec.values import Column, Text


def _known(status: Any) -> Any:
    return "profiling" if status == "fetching" else status


class Dataset(Shown):
    """A dataset and what is known of it."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    status: Annotated[Literal["profiling", "ready", "invalid"], BeforeValidator(_known)]
    """`profiling` until a worker has read it; `invalid` says why in `error`."""
    bytes: int
    """0 until they have been fetched."""
    sha256: str
    """Of the bytes, in hexadecimal; empty until they have been fetched."""
    url: str | None
    """Where they are fetched from; null if they were uploaded."""
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

    rows: Annotated[list[dict[Column, str | float | int | bool | None]], FailFast(), Field(min_length=1)]
    """One object per row, keyed by column; numbers, strings, booleans or null (missing)."""
    name: Text | None = None
    """For people."""


class UrlImport(BaseModel):
    """Where a file is to be fetched from, once."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    url: urls.Url
    """`https`, to a public host; or `http` into a network that the operator allows (`FITD_PRIVATE_NETWORKS`). It must
    answer GET, without a login, with 200 and the file; three redirects are followed."""
    name: Text | None = None
    """For people; else the last part of the URL's path."""
