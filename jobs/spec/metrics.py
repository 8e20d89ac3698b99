"""The metrics of a run: which there are, and which way is better."""

from jobs.spec.data import Task
from jobs.spec.stopping import Mode

SCORES = {"accuracy", "r2"}
"""More is better; of every other metric, less is."""

TRAIN: dict[Task, list[str]] = {"classification": ["loss", "accuracy"], "regression": ["loss"]}
VALIDATION: dict[Task, list[str]] = {
    "classification": ["loss", "accuracy"],
    "regression": ["loss", "rmse", "mae", "r2"],
}


def monitors(task: Task, *, validation: bool) -> list[str]:
    """Names of the metrics at the end of each epoch.

    `train_` metrics are means over the epoch's batches, while the weights moved and dropout was on; `val_` ones are
    taken after it. Losses are those of the scaled target; rmse and mae are in the target's own unit.
    """
    held_out = [f"val_{name}" for name in VALIDATION[task]] if validation else []
    return [f"train_{name}" for name in TRAIN[task]] + held_out


def direction(monitor: str) -> Mode:
    """Which way is better."""
    return "max" if monitor.split("_", 1)[1] in SCORES else "min"
