"""What a `model.onnx` takes and gives; it is in the file's metadata, under `signature`, as JSON."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Part

METADATA_KEY = "signature"
WIDEST_KEY = "widest"
"""Also in the metadata: numbers that one row becomes where there are most, in all members together."""
PIXELS = "pixels"
"""The input of an image model."""


class ColumnInput(Part):
    """One column of the uploaded table: [N, 1], double or string."""

    column: str
    """As in the table."""
    input: str
    """As in the graph: the same, unless an output has that name."""
    kind: Literal["number", "date", "category"]
    """`number`: NaN is a gap; booleans are 0 and 1. `date`: days since 1970-01-01 UTC, NaN is a gap.
    `category`: text, `""` is a gap."""
    categories: list[str] = []
    """Known from training, without the gap."""


class TableInputs(Part):
    """A table's columns."""

    layout: Literal["table"] = "table"
    columns: list[ColumnInput]
    unused: list[str]
    """Columns of the table that the model does not look at: targets, columns that split, columns left out."""


class ImageInputs(Part):
    """One input `pixels`, [N, height, width, channels]: uint8, or float."""

    layout: Literal["images"] = "images"
    height: int
    width: int
    channels: int
    is_bytes: bool
    """Pixels are whole numbers from 0 to 255."""


class Signature(Part):
    """Inputs; outputs are `label` [N] and `probabilities` [N, classes], or `values` [N, targets]."""

    inputs: Annotated[TableInputs | ImageInputs, Field(discriminator="layout")]
    targets: list[str]
    """Columns that are predicted."""
    classes: list[str] | None
    """In the order of `probabilities`; null for regression."""
