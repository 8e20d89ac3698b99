"""What to mind before a model is used, said by its numbers."""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from trainer.account.importance import Importance
from trainer.account.quality import Quality

FEW_ROWS = 1_000
RARE = 0.05
"""Share of the rows under which a class is rare."""
MISCALIBRATED = 0.1
DOMINANT = 0.9
"""Share of all importance."""


def of(quality: Quality, train_rows: int) -> list[str]:
    """For people, as they are."""
    scores = quality.scores
    if scores is None:
        return ["Nothing is known of its quality: no rows were held out, or the run diverged."]
    said = []
    if quality.scored_on == "validation":
        said.append("There were no test rows. Validation rows chose the epoch, so the scores flatter the model.")
    if scores.get("non_finite_rows"):
        said.append(f"For {scores['non_finite_rows']} rows the model's output is not a finite number.")
    rows, accuracy = scores["rows"], scores.get("accuracy")
    assert isinstance(rows, int)
    if isinstance(accuracy, float):
        low, high = interval(accuracy, rows)
        if rows < FEW_ROWS:
            said.append(f"Scored on {rows:,} rows only: with 95 % confidence the accuracy is {low:.3f} to {high:.3f}.")
    elif rows < FEW_ROWS:
        said.append(f"Scored on {rows:,} rows only: another draw of rows would give other numbers.")
    if train_rows < FEW_ROWS:
        said.append(f"Learnt from {train_rows:,} rows only.")
    return said + _of_classes(scores) + _of_columns(quality.importance)


def _of_classes(scores: Mapping[str, JsonValue]) -> list[str]:
    each, rows, accuracy, ece = (scores.get(name) for name in ("per_class", "rows", "accuracy", "ece"))
    if not isinstance(each, list) or not isinstance(rows, int) or not isinstance(accuracy, float):
        return []
    said = []
    counts = {str(one["label"]): int(str(one["rows"])) for one in each if isinstance(one, dict)}
    most = max(counts, key=lambda label: counts[label])
    if accuracy <= counts[most] / rows:
        said.append(f"It is no better than always saying '{most}', which is right for {counts[most] / rows:.1%}.")
    rare = [label for label, count in counts.items() if count < RARE * rows]
    if rare and len(counts) * RARE < 1:
        names = ", ".join(f"'{label}'" for label in rare[:5]) + (" and others" if len(rare) > 5 else "")
        said.append(f"Rare among the scored rows, so their own scores are rough: {names}.")
    if isinstance(ece, float) and ece > MISCALIBRATED:
        said.append(f"Its probabilities are off by {ece:.2f} on average: do not take them at their word.")
    return said


def _of_columns(found: Importance | None) -> list[str]:
    total = sum(max(0.0, one.mean) for one in found.columns) if found else 0.0
    if not found or len(found.columns) < 2 or total <= 0:
        return []
    first = found.columns[0]
    if first.mean < DOMINANT * total:
        return []
    return [f"It leans on '{first.column}' almost alone: make sure that it is known before the answer is."]


def interval(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of rows (Wilson 1927)."""
    z = 1.959963984540054
    middle = share + z * z / (2 * rows)
    room = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return (middle - room) / (1 + z * z / rows), (middle + room) / (1 + z * z / rows)
