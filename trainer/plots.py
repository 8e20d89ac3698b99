"""Pictures of a run, for people."""

from pathlib import Path

import matplotlib
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.reports import BestEpoch, Point

COLOURS = {"train": "#4477aa", "val": "#ee6677", "lr": "#228833"}


def curves(path: Path, points: list[Point], best: BestEpoch | None, title: str) -> None:
    """Losses, the first score and the learning rate over the epochs, the best epoch marked; one SVG."""
    series = by_name(points)
    names = [name.removeprefix("train_").removeprefix("val_") for name in series if name.startswith(("train_", "val_"))]
    shown = [name for name in dict.fromkeys(names) if name in ("loss", "accuracy", "rmse")]
    figure = Figure(figsize=(5 * (len(shown) + 1), 4), layout="constrained")
    axes = figure.subplots(1, len(shown) + 1)
    for axis, name in zip(axes, shown, strict=False):
        _metric(axis, name, series, best)
    _rate(axes[-1], series.get("lr", []))
    figure.suptitle(title)
    with matplotlib.rc_context({"svg.hashsalt": "fitd"}):  # equal runs give equal bytes
        figure.savefig(path, format="svg", metadata={"Date": None})


def by_name(points: list[Point]) -> dict[str, list[Point]]:
    """Points of each metric, in order."""
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point.name, []).append(point)
    return series


def _metric(axis: Axes, name: str, series: dict[str, list[Point]], best: BestEpoch | None) -> None:
    for part, label in (("train", "training"), ("val", "validation")):
        points = [point for point in series.get(f"{part}_{name}", []) if point.value is not None]
        if points:
            epochs, values = [point.epoch for point in points], [point.value or 0.0 for point in points]
            marker = "." if len(points) < 40 else None
            axis.plot(epochs, values, color=COLOURS[part], label=label, marker=marker)
    if best:
        axis.axvline(best.epoch, color="#999999", linestyle=":", label=f"best epoch {best.epoch}")
    axis.set(title=name, xlabel="epoch")
    axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend()


def _rate(axis: Axes, points: list[Point]) -> None:
    axis.plot([point.step for point in points], [point.value or 0.0 for point in points], color=COLOURS["lr"])
    axis.set(title="learning rate", xlabel="step")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
