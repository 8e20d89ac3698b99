"""Rules about the split: which kind, whether the data allows it, and how many rows it leaves for what."""

from jobs.rulebook.ledger import Ledger
from jobs.spec.data import (
    AutoSplit,
    ColumnSplit,
    GivenSplit,
    GroupSplit,
    OrderedSplit,
    RandomSplit,
    Split,
    StratifiedSplit,
    Task,
    sizes,
)
from jobs.spec.profile import ColumnProfile, DatasetProfile

PARTS = ("train", "val", "validation", "test")
"""What a split column may hold, in any case."""
FEWEST_PER_CLASS = 3
"""Rows of a class below which one of the three parts goes without."""


def decide(split: Split, task: Task, target: ColumnProfile, rows: int, ledger: Ledger) -> Split:
    """Stratified where that can be done, unless something else is asked for."""
    if isinstance(split, StratifiedSplit) and task == "regression":
        ledger.fault("/split", "stratified_regression", "Only classes can be stratified; use a random split.")
        return split
    if isinstance(split, AutoSplit) and task == "regression":
        return ledger.decide("/split", split, RandomSplit(), "split.regression", "There are no classes to stratify.")
    if not isinstance(split, AutoSplit | StratifiedSplit):
        if task == "classification" and (target.rarest or 0) < FEWEST_PER_CLASS:
            _warn_rare(split, target, ledger)
        return split
    return _stratified(split, target, rows, ledger)


def _stratified(split: AutoSplit | StratifiedSplit, target: ColumnProfile, rows: int, ledger: Ledger) -> Split:
    rarest = target.rarest or 0
    wanted = StratifiedSplit() if isinstance(split, AutoSplit) else split
    if obstacle := _obstacle(wanted, target, rows):
        code, why = obstacle
        if split is wanted:
            ledger.fault("/split", code, f"{why} Use a random split, or send more rows.")
            return split
        ledger.warn("/split", "rare_class", f"{why} A class may be absent from a held-out part; send more rows of it.")
        return ledger.decide("/split", split, RandomSplit(), "split.rare_class", why)
    if rarest < FEWEST_PER_CLASS:
        text = f"The rarest class has {rarest} rows, so a part goes without it. Send more rows of it."
        ledger.warn("/split", "rare_class", text)
    if split is wanted:
        return split
    return ledger.decide("/split", split, wanted, "split.classes", f"Every class has at least {rarest} of {rows} rows.")


def _warn_rare(split: Split, target: ColumnProfile, ledger: Ledger) -> None:
    fate = (
        "at least one of them is kept for training, and a part may go without it"
        if isinstance(split, RandomSplit | GivenSplit)
        else "the run fails if none of them is for training"
    )
    text = f"The rarest class has {target.rarest} row(s): {fate}. Send more rows of it."
    ledger.warn("/split", "rare_class", text)


def _obstacle(split: StratifiedSplit, target: ColumnProfile, rows: int) -> tuple[str, str] | None:
    """What keeps the classes from being divided in proportion: code and reason."""
    if (target.rarest or 0) < 2:
        return "class_too_rare", "A class has a single row, which cannot be in two parts."
    parts = [size for size in sizes(rows, split.validation, split.test) if size]
    if len(parts) > 1 and min(parts) < target.distinct:
        return "part_too_small", f"A part of {min(parts)} rows cannot hold {target.distinct} classes."
    return None


def check(
    split: Split, profile: DatasetProfile, test: DatasetProfile | None, needed: list[str], ledger: Ledger
) -> None:
    """Whether the columns that the split goes by are what it needs."""
    if isinstance(split, GivenSplit) and test:
        _check_test(profile, test, needed, ledger)
    if not isinstance(split, OrderedSplit | GroupSplit | ColumnSplit):
        return
    column = profile.by_name().get(split.column) if split.column else None
    if column is None:
        return
    if isinstance(split, OrderedSplit) and column.missing:
        text = f"{column.missing} rows have no value to be ordered by; fill them, or order by another column."
        ledger.fault("/split/column", "order_missing", text)
    if isinstance(split, GroupSplit) and _groups(split, column)[0] < 1:
        ledger.fault("/split", "no_training_rows", f"{column.distinct} group(s) cannot be divided; hold back fewer.")
    if isinstance(split, ColumnSplit):
        odd = [top.value for top in column.top if top.value.lower() not in PARTS]
        if odd or column.missing or len(column.top) < column.distinct:
            found = repr(odd[0]) if odd else "'nothing'" if column.missing else f"one of {column.distinct} values"
            ledger.fault(
                "/split/column", "unknown_part", f"Each row must hold train, val or test, and one holds {found}."
            )


def _check_test(profile: DatasetProfile, test: DatasetProfile, needed: list[str], ledger: Ledger) -> None:
    if profile.image != test.image:
        text = "The test dataset must hold images of the same size and channels as the training dataset."
        ledger.fault("/split/test", "image_size", text if profile.image else "The test dataset must be a table.")
    elif absent := _absent(needed, test):
        text = f"The test dataset lacks {', '.join(absent[:20])}; it needs the columns of the training dataset."
        ledger.fault("/split/test", "unknown_column", text)


def _absent(needed: list[str], test: DatasetProfile) -> list[str]:
    known = test.by_name()
    return [name for name in needed if name not in known]


def counts(
    split: Split, rows: int, targets: list[ColumnProfile], profile: DatasetProfile, test: DatasetProfile | None
) -> tuple[int, int, int]:
    """Rows for training, validation and test, by the profile: by groups, about."""
    match split:
        case GivenSplit():
            train, validation, _ = sizes(rows, split.validation, 0)
            return train, validation, complete(test, {target.name for target in targets}) if test else 0
        case ColumnSplit():
            return _named(split, rows, profile)
        case AutoSplit():
            raise AssertionError("the split is decided before its rows are counted")
        case _:
            return sizes(rows, split.validation, split.test)


def complete(profile: DatasetProfile, targets: set[str]) -> int:
    """Rows with a target."""
    return profile.rows - max((column.missing for column in profile.columns if column.name in targets), default=0)


def _named(split: ColumnSplit, rows: int, profile: DatasetProfile) -> tuple[int, int, int]:
    column = profile.by_name().get(split.column)
    found: dict[str, int] = {}
    for top in column.top if column else []:
        found[top.value.lower()] = found.get(top.value.lower(), 0) + top.count
    validation = found.get("val", 0) + found.get("validation", 0)
    return found.get("train", 0 if column else rows), validation, found.get("test", 0)


def _groups(split: GroupSplit, column: ColumnProfile) -> tuple[int, int, int]:
    """Rows without a group are one of their own."""
    return sizes(column.distinct + (column.missing > 0), split.validation, split.test)
