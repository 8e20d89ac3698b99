"""Rules about the data: target, task, split, categories, scaler."""

from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec.data import (
    AutoScaler,
    AutoSplit,
    ColumnSplit,
    GivenSplit,
    GroupSplit,
    MinMaxScaler,
    NoScaler,
    OrderedSplit,
    RandomSplit,
    Scaler,
    Split,
    StandardScaler,
    StratifiedSplit,
    Task,
    sizes,
)
from jobs.spec.job import JobSpec
from jobs.spec.model import BatchNorm, Layer
from jobs.spec.profile import ColumnProfile, DatasetProfile

FEW_INTEGERS = 20
"""Integer targets with at most this many distinct values are taken for class numbers."""
FEWEST_PER_CLASS = 4
"""Rows of a class below which a split by auto is not stratified: each part should get one."""
BAD_SCALE = 100.0
"""Ratio of the largest to the smallest column spread that makes training without a scaler hard."""


def facts(spec: JobSpec, profile: DatasetProfile, test: DatasetProfile | None, ledger: Ledger) -> Facts | None:
    """Everything the later rules ask of the data; None if the target cannot be told."""
    targets = _targets(spec, profile, ledger)
    if not targets:
        return None
    task = _task(spec, targets, ledger)
    rows = profile.rows - max(target.missing for target in targets)
    split = _split(spec.split, task, targets, rows, ledger)
    features = _features(spec, profile, targets, split, ledger)
    shape = profile.image or (_width(spec, features),)
    train, validation, held_out = _counts(split, rows, profile, test)
    if train < 1:
        ledger.fault("/split", "no_training_rows", f"The split leaves no training rows of {rows}; hold back fewer.")
    return Facts(task, targets, features, shape, split, train, validation, held_out)


def _targets(spec: JobSpec, profile: DatasetProfile, ledger: Ledger) -> list[ColumnProfile]:
    asked = [spec.target] if isinstance(spec.target, str) else spec.target
    if asked is None:
        if profile.target is None:
            names = ", ".join(column.name for column in profile.columns[:20])
            ledger.fault("/target", "target_missing", f"Say which column to predict. The columns are: {names}.")
            return []
        asked = [ledger.decide("/target", None, profile.target, "target.dataset", "The dataset names its own target.")]
    found = [column for name in asked if (column := _known(profile, name, "/target", ledger))]
    for column in found:
        if column.distinct < 2:
            text = f"Column {column.name!r} has {column.distinct} distinct value(s); there is nothing to learn."
            ledger.fault("/target", "target_constant", text)
        elif column.kind == "text":
            text = f"Column {column.name!r} is free text: nearly every value is different. Choose another target."
            ledger.fault("/target", "target_text", text)
    return found


def _known(profile: DatasetProfile, name: str, pointer: str, ledger: Ledger) -> ColumnProfile | None:
    column = profile.column(name)
    if column is None:
        names = ", ".join(column.name for column in profile.columns[:20])
        ledger.fault(pointer, "unknown_column", f"The dataset has no column of this name. Its columns are: {names}.")
    return column


def _task(spec: JobSpec, targets: list[ColumnProfile], ledger: Ledger) -> Task:
    first = targets[0]
    if spec.task == "classification" and len(targets) > 1:
        ledger.fault("/target", "several_classes", "Classification takes one target; several are for regression.")
    if spec.task == "regression" and any(target.kind != "numeric" for target in targets):
        ledger.fault("/task", "target_not_numeric", "Regression needs numeric targets; use task classification.")
    if spec.task == "classification" and first.kind == "numeric" and first.distinct > 1000:
        text = f"The target has {first.distinct} distinct numbers; use task regression."
        ledger.fault("/task", "too_many_classes", text)
    if spec.task != "auto":
        return spec.task
    if len(targets) > 1:
        return ledger.decide(
            "/task", "auto", "regression", "task.several_targets", f"{len(targets)} targets are asked for."
        )
    if first.kind == "categorical" or first.boolean:
        why = f"{first.name!r} holds {first.distinct} distinct labels."
        return ledger.decide("/task", "auto", "classification", "task.labels", why)
    if first.integer and first.distinct <= FEW_INTEGERS:
        why = f"{first.name!r} holds {first.distinct} distinct integers, at most {FEW_INTEGERS}."
        return ledger.decide("/task", "auto", "classification", "task.few_integers", why)
    why = f"{first.name!r} is numeric with {first.distinct} distinct values."
    return ledger.decide("/task", "auto", "regression", "task.numbers", why)


def _split(split: Split, task: Task, targets: list[ColumnProfile], rows: int, ledger: Ledger) -> Split:
    rarest = targets[0].rarest or 0
    if isinstance(split, StratifiedSplit):
        if task == "regression":
            ledger.fault("/split", "stratified_regression", "Only classes can be stratified; use a random split.")
        elif rarest < 2:
            text = "A class has a single row, which cannot be in two parts; use a random split or remove the class."
            ledger.fault("/split", "class_too_rare", text)
    if not isinstance(split, AutoSplit):
        return split
    if task == "regression":
        return ledger.decide("/split", split, RandomSplit(), "split.regression", "There are no classes to stratify.")
    if rarest < FEWEST_PER_CLASS:
        why = f"The rarest class has {rarest} row(s), fewer than {FEWEST_PER_CLASS}."
        ledger.warn("/split", "rare_class", f"{why} It may be absent from a part; collect more rows or drop the class.")
        return ledger.decide("/split", split, RandomSplit(), "split.rare_class", why)
    why = f"Every class has at least {rarest} of {rows} rows."
    return ledger.decide("/split", split, StratifiedSplit(), "split.classes", why)


def _features(
    spec: JobSpec, profile: DatasetProfile, targets: list[ColumnProfile], split: Split, ledger: Ledger
) -> list[ColumnProfile]:
    if profile.layout == "images":
        return []
    for pointer, names in (
        ("/features/include", spec.features.include or []),
        ("/features/exclude", spec.features.exclude),
        ("/features/kinds", list(spec.features.kinds)),
    ):
        for name in names:
            _known(profile, name, pointer, ledger)
    if isinstance(split, OrderedSplit | GroupSplit | ColumnSplit) and split.column:
        _known(profile, split.column, "/split/column", ledger)
    reserved = {target.name for target in targets} | set(spec.features.exclude)
    if isinstance(split, GroupSplit | ColumnSplit):
        reserved.add(split.column)
    wanted = spec.features.include or [column.name for column in profile.columns]
    chosen = [
        _as_asked(spec, column) for column in profile.columns if column.name in wanted and column.name not in reserved
    ]
    for column in chosen:
        if column.kind == "text":
            text = f"Column {column.name!r} is free text or an identifier and is left out."
            ledger.warn("/features", "text_column", text)
    usable = [column for column in chosen if column.kind != "text"]
    if not usable:
        ledger.fault("/features", "no_features", "No usable feature column is left; include more columns.")
    return usable


def _as_asked(spec: JobSpec, column: ColumnProfile) -> ColumnProfile:
    kind = spec.features.kinds.get(column.name)
    return column.model_copy(update={"kind": kind}) if kind else column


def _width(spec: JobSpec, features: list[ColumnProfile]) -> int:
    width = 0
    for column in features:
        onehot = column.kind == "categorical" and spec.categories.encoding != "ordinal"
        gap = column.missing > 0
        if onehot and column.distinct <= spec.categories.max_onehot:
            width += column.distinct + (gap and spec.missing.categorical == "category")
        else:
            width += 1 + (gap and spec.missing.indicator and column.kind == "numeric")
    return max(1, width)


def _counts(split: Split, rows: int, profile: DatasetProfile, test: DatasetProfile | None) -> tuple[int, int, int]:
    match split:
        case GivenSplit():
            train, validation, _ = sizes(rows, split.validation, 0)
            return train, validation, test.rows if test else 0
        case ColumnSplit():
            return _named(split, rows, profile)
        case AutoSplit():
            raise AssertionError("the split is decided before its rows are counted")
        case _:
            return sizes(rows, split.validation, split.test)


def _named(split: ColumnSplit, rows: int, profile: DatasetProfile) -> tuple[int, int, int]:
    column = profile.column(split.column)
    counts = {top.value.lower(): top.count for top in column.top} if column else {}
    validation = counts.get("val", 0) + counts.get("validation", 0)
    return counts.get("train", 0 if column else rows), validation, counts.get("test", 0)


def encoding(spec: JobSpec, facts: Facts, ledger: Ledger) -> str:
    """How categories become numbers."""
    asked = spec.categories.encoding
    columns = [column for column in facts.features if column.kind == "categorical"]
    if asked != "auto":
        return asked
    if not columns:
        return "onehot"
    most = spec.categories.max_onehot
    few = [column.name for column in columns if column.distinct <= most]
    why = f"{len(few)} of {len(columns)} categorical columns have at most {most} categories."
    if len(few) < len(columns):
        why += " The others are numbered."
    return ledger.decide("/categories/encoding", "auto", "onehot" if few else "ordinal", "categories.few", why)


def scaler(spec: JobSpec, facts: Facts, first: Layer | None, ledger: Ledger) -> Scaler:
    """How features are scaled."""
    asked, norm = spec.scaler, isinstance(first, BatchNorm)
    if isinstance(asked, AutoScaler):
        if norm:
            return ledger.decide(
                "/scaler", asked, NoScaler(), "scaler.batch_norm", "A batch norm comes first and scales."
            )
        if facts.is_images:
            return ledger.decide("/scaler", asked, MinMaxScaler(), "scaler.images", "Pixels have a known range.")
        return ledger.decide("/scaler", asked, StandardScaler(), "scaler.table", "Columns of a table differ in scale.")
    if norm and not isinstance(asked, NoScaler):
        ledger.warn("/scaler", "scaled_twice", "A batch norm comes first and scales again; scaler none would do.")
    if isinstance(asked, NoScaler) and not norm:
        _warn_scale(facts, ledger)
    return asked


def _warn_scale(facts: Facts, ledger: Ledger) -> None:
    spreads = [column.std for column in facts.features if column.kind == "numeric" and column.std]
    if spreads and max(spreads) / min(spreads) > BAD_SCALE:
        text = f"Column spreads differ by a factor of {max(spreads) / min(spreads):.0f}; take scaler standard."
        ledger.warn("/scaler", "badly_scaled", text)
    if facts.is_images:
        ledger.warn("/scaler", "badly_scaled", "Raw pixels reach the network; take scaler minmax.")
