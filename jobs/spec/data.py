"""What to learn from: dataset, columns, split, missing values, categories, scaling."""

from typing import Annotated, Literal

from pydantic import FailFast, Field, JsonValue

from jobs.spec.values import Auto, Column, Count, Flag, Fraction, Part, Real

BuiltinName = Literal["digits", "iris", "wine", "breast_cancer", "diabetes"]
Kind = Literal["numeric", "categorical"]
Task = Literal["classification", "regression"]


class Builtin(Part):
    """A small real dataset that ships with scikit-learn."""

    source: Literal["builtin"] = "builtin"
    name: BuiltinName
    """`digits` are 8×8 images, the others tables."""


class Upload(Part):
    """A dataset uploaded to `POST /v1/datasets`."""

    source: Literal["upload"] = "upload"
    id: Annotated[str, Field(pattern=r"^ds_[0-9a-z]{26}$")]
    """The dataset's id. A job may be posted while the dataset is still being profiled."""


class Rows(Part):
    """A small table written into the spec itself."""

    source: Literal["rows"] = "rows"
    rows: Annotated[list[dict[Column, JsonValue]], FailFast(), Field(min_length=1, max_length=10_000)]
    """One object per row, keyed by column; numbers, strings, booleans or null (missing). The whole spec may have 1 MiB:
    upload what is larger."""


Dataset = Annotated[Builtin | Upload | Rows, Field(discriminator="source")]


class Features(Part):
    """Which columns the model sees; the target never is one of them."""

    include: Annotated[list[Column], Field(min_length=1, max_length=10_000)] | None = None
    """Only these columns; null takes all."""
    exclude: Annotated[list[Column], Field(max_length=10_000)] = []
    """Never these columns."""
    kinds: dict[Column, Kind] = {}
    """Overrides the profiled kind of a column, for example a numeric code that is a category."""


class RandomSplit(Part):
    """Rows drawn at random by the job's seed."""

    kind: Literal["random"] = "random"
    validation: Fraction = 0.15
    """Share of the rows for validation; 0 trains without one."""
    test: Fraction = 0.15
    """Share of the rows for the held-out score; 0 gives none."""


class StratifiedSplit(Part):
    """As random, with each class in the same proportion everywhere (scikit-learn's `stratify`)."""

    kind: Literal["stratified"] = "stratified"
    validation: Fraction = 0.15
    """Share of the rows for validation; 0 trains without one."""
    test: Fraction = 0.15
    """Share of the rows for the held-out score; 0 gives none."""


class OrderedSplit(Part):
    """First rows train, later ones validate, the last ones test: no look into the future."""

    kind: Literal["ordered"] = "ordered"
    column: Column | None = None
    """Sort by this column first (a time, say); null keeps the order of the file."""
    validation: Fraction = 0.15
    """Share of the rows for validation."""
    test: Fraction = 0.15
    """Share of the rows for the held-out score."""


class GroupSplit(Part):
    """All rows with the same value of a column stay together (scikit-learn's `GroupShuffleSplit`)."""

    kind: Literal["group"] = "group"
    column: Column
    """The column that names the group; it is not used as a feature."""
    validation: Fraction = 0.15
    """Share of the groups for validation."""
    test: Fraction = 0.15
    """Share of the groups for the held-out score."""


class ColumnSplit(Part):
    """A column says where each row belongs."""

    kind: Literal["column"] = "column"
    column: Column
    """Holds `train`, `val` (or `validation`) and `test`; it is not used as a feature."""


class GivenSplit(Part):
    """The test rows come from a dataset of their own; validation rows are drawn from the training rows."""

    kind: Literal["given"] = "given"
    test: Dataset
    """Same columns as the training dataset."""
    validation: Fraction = 0.15
    """Share of the training rows for validation, stratified for classification."""


class AutoSplit(Part):
    """Stratified for classification where every class has enough rows, else random: 70/15/15."""

    kind: Literal["auto"] = "auto"


Split = Annotated[
    AutoSplit | RandomSplit | StratifiedSplit | OrderedSplit | GroupSplit | ColumnSplit | GivenSplit,
    Field(discriminator="kind"),
]


class Missing(Part):
    """How gaps in feature columns are filled; always fitted on the training rows only."""

    numeric: Literal["mean", "median", "most_frequent", "constant"] = "median"
    """scikit-learn's `SimpleImputer` strategies; a column without a single training value is filled with 0."""
    numeric_value: Real = 0.0
    """The filling of `numeric: constant`."""
    categorical: Literal["category", "most_frequent"] = "category"
    """`category` treats a gap as a category of its own."""
    indicator: Flag = False
    """Adds a 0/1 column for each numeric column that has gaps in the training rows."""


class Categories(Part):
    """How categorical columns become numbers; fitted on the training rows only."""

    encoding: Auto | Literal["onehot", "ordinal", "embedding"] = "auto"
    """`onehot`: one 0/1 column per category, none set for one unseen in training; a column with more than
    `max_onehot` categories is numbered all the same. `ordinal`: one column with the category's number in sorted
    order, -1 for unseen. `embedding`: `dimension` learned numbers per category, and as many for all unseen ones
    together. auto: onehot, unless every column has too many categories."""
    max_onehot: Count = 64
    """Above this many categories a column is numbered."""
    dimension: Annotated[Count, Field(le=1024)] | None = None
    """Of `embedding`. Null takes, for each column, half as many as it has categories and at most 50 (fast.ai's rule
    of 2018)."""


class AutoScaler(Part):
    """images → minmax, tables → standard; a batch norm as first layer replaces it (→ none)."""

    kind: Literal["auto"] = "auto"


class NoScaler(Part):
    """Values as they are."""

    kind: Literal["none"] = "none"


class MinMaxScaler(Part):
    """scikit-learn's `MinMaxScaler`: x' = lo + (hi - lo)(x - min)/(max - min); held-out values may leave the range."""

    kind: Literal["minmax"] = "minmax"
    low: Real = 0.0
    """Lower end of the range."""
    high: Real = 1.0
    """Upper end of the range; must lie above `low`."""


class StandardScaler(Part):
    """scikit-learn's `StandardScaler`: x' = (x - mean)/std, ddof 0, a constant column is divided by 1."""

    kind: Literal["standard"] = "standard"


class RobustScaler(Part):
    """scikit-learn's `RobustScaler`: x' = (x - median)/(q_high - q_low)."""

    kind: Literal["robust"] = "robust"
    q_low: Annotated[Real, Field(ge=0, le=100)] = 25.0
    """Lower percentile."""
    q_high: Annotated[Real, Field(ge=0, le=100)] = 75.0
    """Upper percentile; must lie above `q_low`."""


class MaxAbsScaler(Part):
    """scikit-learn's `MaxAbsScaler`: x' = x / max|x|; keeps zeros zero."""

    kind: Literal["maxabs"] = "maxabs"


class QuantileScaler(Part):
    """scikit-learn's `QuantileTransformer`: x' is the share of training rows below x; outliers lose their pull.

    Fitted on all training rows (`subsample=None`). Tables only.
    """

    kind: Literal["quantile"] = "quantile"
    n_quantiles: Annotated[Count, Field(le=10_000)] = 1000
    """Points of the curve, at most one per training row."""
    output: Literal["uniform", "normal"] = "uniform"
    """`uniform`: 0…1. `normal`: bell-shaped, within ±5.2."""


class PowerScaler(Part):
    """scikit-learn's `PowerTransformer`: Yeo-Johnson by maximum likelihood, then mean 0 and std 1. Tables only."""

    kind: Literal["power"] = "power"


Scaler = Annotated[
    AutoScaler | NoScaler | MinMaxScaler | StandardScaler | RobustScaler | MaxAbsScaler | QuantileScaler | PowerScaler,
    Field(discriminator="kind"),
]


MOST_DIMENSIONS = 50


def dimension(categories: Categories, distinct: int) -> int:
    """Of the embedding of a column with so many categories in the training rows."""
    return categories.dimension or max(1, min(MOST_DIMENSIONS, (distinct + 1) // 2))


def sizes(rows: int, validation: float, test: float) -> tuple[int, int, int]:
    """Rows for training, validation and test: each share rounded to the nearest row, at least one where it is not 0.

    Rules and trainer both count by this, so that an estimate names the rows that will be trained on.
    """
    held = [max(1, round(rows * share)) if share else 0 for share in (validation, test)]
    return max(0, rows - sum(held)), held[0], held[1]
