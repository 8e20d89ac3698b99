"""What was fitted on the training rows, as it is saved in `preprocess.json`: from raw columns or pixels to the
network's inputs. `trainer.features.encoding` has the arithmetic."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Part

UNSEEN = -1
GAP = ""
"""The category of a missing value; no value read from a file is empty."""


class Quantile(Part):
    """scikit-learn's `QuantileTransformer`: the share of the training rows below x, on a line between the quantiles.

    With q = `quantiles` (n of them, repeats allowed) and r = 0, 1/(n-1), …, 1:
    t(x) = (interp(x; q, r) - interp(-x; -q reversed, -r reversed))/2, which is the middle of a run of equal
    quantiles; `uniform`: t = 1 where x = q[n-1], then t = 0 where x = q[0]; `normal`: t = 1 where x + 1e-7 > q[n-1],
    then t = 0 where x - 1e-7 < q[0], then Φ⁻¹(t) with t clipped to 1e-7 - 2.22e-16 from either end (about ±5.1993).
    """

    kind: Literal["quantile"] = "quantile"
    quantiles: list[float]
    """Ascending; a single one for a single training row (t = 0)."""
    output: Literal["uniform", "normal"]


class Power(Part):
    """scikit-learn's `PowerTransformer`, Yeo-Johnson with λ = `exponent`:

    t(x) = ((1 + x)^λ - 1)/λ for x >= 0, log(1 + x) where λ = 0;
    t(x) = -((1 - x)^(2 - λ) - 1)/(2 - λ) for x < 0, -log(1 - x) where λ = 2.
    Computed as expm1(λ·log1p(x))/λ; λ counts as 0 (or 2) within 2.22e-16 of it.
    """

    kind: Literal["power"] = "power"
    exponent: float


Transform = Annotated[Quantile | Power, Field(discriminator="kind")]


class Scaling(Part):
    """x' = (t(x) - center)/scale, in float64; t is `transform`, or nothing."""

    transform: Transform | None = None
    center: float = 0.0
    scale: float = 1.0


class Number(Scaling):
    """A column of numbers, with `fill` for x where it is missing.

    Booleans are 0 and 1; dates are days since 1970-01-01, UTC.
    """

    name: str
    date: bool = False
    fill: float
    indicator: bool = False
    """Adds a column that is 1 where this one is missing."""


class Category(Scaling):
    """A column of categories, by the names that `trainer.sources.columns.as_text` gives them."""

    name: str
    categories: list[str]
    """In the order of their values; the category of gaps, `""`, is last. Any other value is unseen."""
    fill: str = GAP
    """Stands for a missing value."""
    encoding: Literal["onehot", "ordinal", "embedding"]
    """`onehot`: a 0/1 column per category, none set for unseen. `ordinal`: the position, -1 for unseen, scaled.
    `embedding`: the position, as it is, and n = len(categories) for unseen: a row of a table with n + 1 rows."""
    dimension: int = 0
    """Of the embedding; 0 where there is none."""


@dataclass(frozen=True)
class Embedding:
    """A learned table in front of the network: input column `input` holds the row to look up, and gives way to
    `dimension` numbers."""

    input: int
    """Position among the network's inputs."""
    rows: int
    """Categories of the training rows, and one for all unseen ones."""
    dimension: int


class TableFeatures(Part):
    """Network inputs in this order: numbers, indicators of their gaps, one-hot columns, ordinal columns, embedding
    columns."""

    layout: Literal["table"] = "table"
    numbers: list[Number]
    categories: list[Category]
    names: list[str]
    """Of the network's inputs."""

    @property
    def embeddings(self) -> list[Embedding]:
        """In the order of the inputs, of which they are the last."""
        embedded = [category for category in self.categories if category.encoding == "embedding"]
        first = len(self.names) - len(embedded)
        return [
            Embedding(first + i, len(category.categories) + 1, category.dimension)
            for i, category in enumerate(embedded)
        ]


class ImageFeatures(Part):
    """Network inputs are C×H×W: x' = (x - center)/scale per channel."""

    layout: Literal["images"] = "images"
    channels: int
    height: int
    width: int
    center: list[float]
    scale: list[float]


class Classes(Part):
    """The network's outputs are classes; y is the position in `classes`."""

    task: Literal["classification"] = "classification"
    column: str
    classes: list[str]
    """In the order of their values: numbers by size, text by code point, false before true."""


class Reals(Part):
    """The network's outputs are numbers; y' = (y - mean)/scale per column, undone in what is reported."""

    task: Literal["regression"] = "regression"
    columns: list[str]
    mean: list[float]
    scale: list[float]
    """Standard deviation, ddof 0; 1 for a constant."""


class Preprocessing(Part):
    """Everything between a file and the network."""

    features: Annotated[TableFeatures | ImageFeatures, Field(discriminator="layout")]
    target: Annotated[Classes | Reals, Field(discriminator="task")]
