"""Rules about the data: target, task, features, categories, scaler."""

from collections.abc import Mapping
from itertools import islice

from jobs.rulebook import augment, splits
from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec.data import (
    AutoScaler,
    ColumnSplit,
    GroupSplit,
    MinMaxScaler,
    NoScaler,
    OrderedSplit,
    PowerScaler,
    QuantileScaler,
    Scaler,
    StandardScaler,
    Task,
    dimension,
)
from jobs.spec.job import JobSpec
from jobs.spec.model import BatchNorm, Layer
from jobs.spec.profile import ColumnProfile, DatasetProfile

FEW_INTEGERS = 20
"""Integer targets with at most this many distinct values are taken for class numbers."""
MOST_CLASSES = 1000
"""The record of a job tells scores of each; more distinct numbers are a quantity, more labels a list of names."""
BAD_SCALE = 100.0
"""Ratio of the largest to the smallest column spread that makes training without a scaler hard."""


def facts(spec: JobSpec, profile: DatasetProfile, test: DatasetProfile | None, ledger: Ledger) -> Facts | None:
    """Everything the later rules ask of the data; None if the target cannot be told."""
    targets = _targets(spec, profile, ledger)
    names = {target.name for target in targets}
    features = _features(spec, profile, names, ledger)
    splits.check(spec.split, profile, test, [*names, *(column.name for column in features)], ledger)
    if not targets:
        return None
    task = _task(spec, targets, ledger)
    rows = splits.complete(profile, names)
    split = splits.decide(spec.split, task, targets[0], rows, ledger)
    shape = profile.image or (_width(spec, features),)
    train, validation, held_out = splits.counts(split, rows, targets, profile, test)
    if train < 1 and not any(fault.pointer == "/split" for fault in ledger.faults):
        ledger.fault("/split", "no_training_rows", f"The split leaves no training rows of {rows}; hold back fewer.")
    tables = _table_parameters(spec, features)
    found = Facts(task, targets, features, shape, split, train, validation, held_out, tables)
    augment.check(spec, found, ledger)
    return found


def _targets(spec: JobSpec, profile: DatasetProfile, ledger: Ledger) -> list[ColumnProfile]:
    asked = [spec.target] if isinstance(spec.target, str) else spec.target
    if asked is None:
        if profile.target is None:
            names = ", ".join(column.name for column in profile.columns[:20])
            ledger.fault("/target", "target_missing", f"Say which column to predict. The columns are: {names}.")
            return []
        asked = [ledger.decide("/target", None, profile.target, "target.dataset", "The dataset names its own target.")]
    known = profile.by_name()
    found = [column for name in asked if (column := _known(known, name, "/target", ledger))]
    for column in found:
        if column.distinct < 2:
            text = f"Column {column.name!r} has {column.distinct} distinct value(s); there is nothing to learn."
            ledger.fault("/target", "target_constant", text)
        elif column.kind == "text":
            text = f"Column {column.name!r} is free text: nearly every value is different. Choose another target."
            ledger.fault("/target", "target_text", text)
    return found


def _known(known: Mapping[str, ColumnProfile], name: str, pointer: str, ledger: Ledger) -> ColumnProfile | None:
    column = known.get(name)
    if column is None:
        names = ", ".join(islice(known, 20))
        ledger.fault(pointer, "unknown_column", f"The dataset has no column of this name. Its columns are: {names}.")
    return column


def _task(spec: JobSpec, targets: list[ColumnProfile], ledger: Ledger) -> Task:
    task = _told(targets, ledger) if spec.task == "auto" else spec.task
    first = targets[0]
    if task == "classification" and len(targets) > 1:
        ledger.fault("/target", "several_classes", "Classification takes one target; several are for regression.")
    if task == "classification" and first.kind != "text" and first.distinct > MOST_CLASSES:
        mend = "use task regression" if first.kind == "numeric" else "merge rare ones, or choose another target"
        text = f"The target has {first.distinct:,} distinct values, and at most {MOST_CLASSES:,} are classes: {mend}."
        ledger.fault("/task", "too_many_classes", text)
    if task == "regression" and (odd := [target for target in targets if target.kind != "numeric"]):
        mend = "take it out of the targets" if len(targets) > 1 else "use task classification"
        text = f"Regression needs numbers, and {odd[0].name!r} is {odd[0].kind}: {mend}."
        ledger.fault("/task", "target_not_numeric", text)
    return task


def _told(targets: list[ColumnProfile], ledger: Ledger) -> Task:
    """The task that the targets tell."""
    first = targets[0]
    if len(targets) > 1:
        why = f"{len(targets)} targets are asked for."
        return ledger.decide("/task", "auto", "regression", "task.several_targets", why)
    if first.kind in ("categorical", "text") or first.boolean:
        why = f"{first.name!r} holds {first.distinct} distinct labels."
        return ledger.decide("/task", "auto", "classification", "task.labels", why)
    if first.integer and first.distinct <= FEW_INTEGERS:
        why = f"{first.name!r} holds {first.distinct} distinct integers, at most {FEW_INTEGERS}."
        return ledger.decide("/task", "auto", "classification", "task.few_integers", why)
    why = f"{first.name!r} is {first.kind} with {first.distinct} distinct values."
    return ledger.decide("/task", "auto", "regression", "task.numbers", why)


def _features(spec: JobSpec, profile: DatasetProfile, targets: set[str], ledger: Ledger) -> list[ColumnProfile]:
    """The columns that the model will see; none for images."""
    asked, split = spec.features, spec.split
    _check_names(spec, profile, targets, ledger)
    if profile.layout == "images":
        return []
    never = targets | set(asked.exclude) | ({split.column} if isinstance(split, GroupSplit | ColumnSplit) else set())
    only = None if asked.include is None else set(asked.include)
    wanted = [
        _as_asked(spec, column)
        for column in profile.columns
        if column.name not in never and (only is None or column.name in only)
    ]
    for column in wanted:
        if column.kind == "text":
            _text(column, asked.include is not None, ledger)
    usable = [column for column in wanted if column.kind != "text"]
    if not usable:
        ledger.fault("/features", "no_features", "No usable feature column is left; include more columns.")
    return usable


def _check_names(spec: JobSpec, profile: DatasetProfile, targets: set[str], ledger: Ledger) -> None:
    asked, known = spec.features, profile.by_name()
    for pointer, names in (
        ("/features/include", asked.include or []),
        ("/features/exclude", asked.exclude),
        ("/features/kinds", list(asked.kinds)),
    ):
        for name in names:
            _known(known, name, pointer, ledger)
    if isinstance(spec.split, OrderedSplit | GroupSplit | ColumnSplit) and spec.split.column:
        _known(known, spec.split.column, "/split/column", ledger)
    if spec.target is None and targets & set(asked.include or []):
        ledger.fault("/features/include", "target_as_feature", "The target cannot be a feature; take it out.")


def _text(column: ColumnProfile, is_included: bool, ledger: Ledger) -> None:
    """Free text is left out, unless it is asked for by name: then somebody must decide."""
    if is_included:
        text = f"Column {column.name!r} is free text or an identifier: take it out, or call it categorical in `kinds`."
        ledger.fault("/features/include", "text_column", text)
    else:
        ledger.warn(
            "/features", "text_column", f"Column {column.name!r} is free text or an identifier; it is left out."
        )


def _as_asked(spec: JobSpec, column: ColumnProfile) -> ColumnProfile:
    kind = spec.features.kinds.get(column.name)
    return column.model_copy(update={"kind": kind}) if kind else column


def _width(spec: JobSpec, features: list[ColumnProfile]) -> int:
    """Inputs of the network's layers, embeddings looked up, as far as the whole dataset tells: the training rows may
    hold fewer categories."""
    width = 0
    for column in features:
        if column.kind != "categorical":
            width += 1 + (spec.missing.indicator and column.missing > 0)
        elif spec.categories.encoding == "embedding":
            width += dimension(spec.categories, _categories(spec, column))
        elif spec.categories.encoding != "ordinal" and _is_short(spec, column):
            width += _categories(spec, column)
        else:
            width += 1
    return max(1, width)


def _table_parameters(spec: JobSpec, features: list[ColumnProfile]) -> int:
    """Learned numbers of the embeddings, as far as the whole dataset tells."""
    if spec.categories.encoding != "embedding":
        return 0
    counts = [_categories(spec, column) for column in features if column.kind == "categorical"]
    return sum((count + 1) * dimension(spec.categories, count) for count in counts)


def _categories(spec: JobSpec, column: ColumnProfile) -> int:
    """A gap may be a category of its own."""
    return column.distinct + (column.missing > 0 and spec.missing.categorical == "category")


def _is_short(spec: JobSpec, column: ColumnProfile) -> bool:
    return _categories(spec, column) <= spec.categories.max_onehot


def encoding(spec: JobSpec, facts: Facts, ledger: Ledger) -> str:
    """How categories become numbers."""
    asked = spec.categories.encoding
    if asked != "auto":
        return asked
    columns = [column for column in facts.features if column.kind == "categorical"]
    if not columns:
        return ledger.decide("/categories/encoding", "auto", "onehot", "categories.none", "There are none to encode.")
    few = [column.name for column in columns if _is_short(spec, column)]
    why = f"{len(few)} of {len(columns)} categorical columns have at most {spec.categories.max_onehot} categories."
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
    if facts.is_images and isinstance(asked, QuantileScaler | PowerScaler):
        text = f"Scaler {asked.kind} is for the columns of a table; use minmax or standard for images."
        ledger.fault("/scaler", "scaler_on_images", text)
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
