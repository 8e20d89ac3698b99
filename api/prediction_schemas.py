"""What `predict` takes and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from api.schemas import Shown

MOST_ROWS = 1000


class PredictionRows(BaseModel):
    """Rows to predict."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    rows: Annotated[list[dict[str, Any]], FailFast(), Field(min_length=1, max_length=MOST_ROWS)]
    """One object per row, keyed by column, with values as they were uploaded: numbers, texts, booleans, dates as text;
    null or left out where missing. The target may be there and is not looked at. A row of an image model has
    `pixels`: height × width × channels as nested arrays, or height × width if there is one channel."""


class Labelled(Shown):
    """The prediction of a classification."""

    label: str
    """The most probable class."""
    probabilities: dict[str, float]
    """Of each class."""


class Valued(Shown):
    """The prediction of a regression."""

    values: dict[str, float]
    """Of each target, in its own unit."""


class Source(Shown):
    """Which model it was."""

    job_id: str
    sha256: str
    """Of its `model.onnx`."""


class Predictions(Shown):
    """One prediction per row, in their order."""

    object: Literal["list"]
    data: list[Labelled | Valued]
    model: Source
