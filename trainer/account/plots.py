"""Pictures of a run, for people: which numbers become which chart."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from jobs.spec.explained import Flow, LayerFlow
from trainer.account import charts
from trainer.account.charts import Line, Paper, linear
from trainer.account.importance import Importance
from trainer.account.quality import Bin, Confusion, Truth
from trainer.account.summary import Curve

MOST_CLASSES = 40
"""In a confusion matrix that can be read."""
MOST_COLUMNS = 20
"""In a chart of importance."""
FLOWS: dict[str, Callable[[LayerFlow], float | None]] = {
    "gradient, root mean square (logarithmic)": lambda layer: layer.gradient,
    "step over weights (logarithmic)": lambda layer: layer.update,
}
MOMENTS: list[charts.Colour] = ["blue", "violet", "red"]
PARTS: list[tuple[str, str, charts.Colour]] = [("train", "training", "blue"), ("val", "validation", "red")]


def curves(drawn: Sequence[Curve], best: int | None) -> list[str]:
    """Losses, the first score and the learning rate, the best epoch marked."""
    found = {curve.name: curve for curve in drawn}
    pictures = [_metric(name, found, best) for name in ("loss", "accuracy", "rmse")]
    return [picture for picture in [*pictures, _rate(found.get("lr"))] if picture]


def _metric(name: str, found: dict[str, Curve], best: int | None) -> str | None:
    shown = [(found[f"{part}_{name}"], label, colour) for part, label, colour in PARTS if f"{part}_{name}" in found]
    if not shown:
        return None
    drawn = [Line(label, curve.at, _values(curve), colour) for curve, label, colour in shown]
    log = name != "accuracy" and _spans_decades(drawn)
    label = f"best epoch {best}" if best else ""
    title = f"{name} (logarithmic)" if log else name
    return charts.lines(title, drawn, "epoch", mark=best, mark_label=label, whole=True, log=log)


def _rate(curve: Curve | None) -> str | None:
    if curve is None:
        return None
    drawn = [Line("learning rate", curve.at, _values(curve), "green")]
    log = _spans_decades(drawn)
    title = "learning rate (logarithmic)" if log else "learning rate"
    return charts.lines(title, drawn, "step", whole=True, from_zero=True, log=log)


def _values(curve: Curve) -> list[float]:
    return [float("nan") if value is None else value for value in curve.values]


def _spans_decades(drawn: Sequence[Line]) -> bool:
    """More than two, all values above zero."""
    values = [y for line in drawn for y in line.ys if y == y]
    return bool(values) and min(values) > 0 and max(values) > 100 * min(values)


def flow(moments: Sequence[Flow]) -> list[str]:
    """Gradient and relative step of each layer: at the start, half-way and at the end."""
    shown = [moments[place] for place in sorted({0, len(moments) // 2, len(moments) - 1})] if moments else []
    pictures = []
    for title, read in FLOWS.items():
        drawn = []
        for moment, colour in zip(shown, MOMENTS, strict=False):
            values = [value for layer in moment.layers if (value := read(layer)) is not None]
            drawn.append(Line(f"epoch {moment.epoch}", range(1, len(values) + 1), values, colour))
        if any(line.ys for line in drawn):
            pictures.append(charts.lines(title, drawn, "layer with weights, first to last", whole=True, log=True))
    return pictures


def confusion(found: Confusion) -> str | None:
    """Rows are the true classes; a cell's colour is its share of the row. None where there are too many classes."""
    labels, count = found.labels, len(found.labels)
    if count > MOST_CLASSES:
        return None
    cell = min(58.0, max(14.0, 380.0 / count))
    room = 7.0 * min(14, max(map(len, labels))) + 14  # for the names
    paper = Paper(max(charts.WIDTH, room + 36 + cell * count), charts.TOP + cell * count + room + 16)
    left, top = (paper.width - cell * count + room) / 2, charts.TOP
    for row, (label, counts) in enumerate(zip(labels, found.matrix, strict=True)):
        y = top + row * cell
        paper.text(left - 8, y + cell / 2 + 4, label, "soft", "end", 14)
        paper.text(left + (row + 0.5) * cell + 4, top + count * cell + 10, label, "soft", "end", 14, turn=-90)
        for column, rows in enumerate(counts):
            _cell(paper, left + column * cell, y, cell, rows, rows / max(1, sum(counts)), row == column)
    paper.text(left - room + 4, top + count * cell / 2, "true", "soft", "middle", turn=-90)
    paper.text(left + count * cell / 2, paper.height - 4, "predicted", "soft", "middle")
    return paper.svg("confusion")


def _cell(paper: Paper, x: float, y: float, size: float, rows: int, share: float, right: bool) -> None:
    strength = share if right else share**0.5  # a few wrong ones must be seen
    paper.bar(x + 0.5, y + 0.5, size - 1, size - 1, "blue" if right else "red", 0.06 + 0.94 * strength)
    if rows and size >= 7.5 * len(str(rows)):
        paper.text(x + size / 2, y + size / 2 + 4, str(rows), "on" if strength > 0.55 else "", "middle")


def truth(one: Truth) -> str:
    """Predicted against true values; on the dashed line they agree."""
    paper = Paper()
    x = linear([*one.true, *one.predicted], charts.LEFT, paper.width - charts.RIGHT)
    y = linear([*one.true, *one.predicted], paper.height - charts.BOTTOM, charts.TOP)
    paper.frame(x, y, "true", "predicted")
    paper.line(x(x.low), y(y.low), x(x.high), y(y.high), "ideal")
    for a, b in zip(one.true, one.predicted, strict=True):
        paper.dot(x(a), y(b), "blue", 2.0)
    return paper.svg(f"{one.target}: predicted and true")


def residuals(one: Truth) -> str:
    """How many rows are off by how much."""
    paper = Paper()
    x = linear([one.edges[0], one.edges[-1]], charts.LEFT, paper.width - charts.RIGHT, count=6)
    y = linear([0.0, *one.rows], paper.height - charts.BOTTOM, charts.TOP, whole=True)
    paper.frame(x, y, "predicted - true", "rows")
    for (low, high), rows in zip(pairwise(one.edges), one.rows, strict=True):
        paper.bar(x(low) + 0.5, y(rows), x(high) - x(low) - 1, y.start - y(rows), "blue", 0.85)
    if x.low < 0 < x.high:
        paper.line(x(0), y.start, x(0), y.end, "mark")
    return paper.svg(f"{one.target}: residuals")


def reliability(bins: Sequence[Bin]) -> str:
    """Share of right answers over the probability given; the fuller a bar, the more rows it speaks for."""
    paper = Paper()
    x = linear([0.0, 1.0], charts.LEFT, paper.width - charts.RIGHT)
    y = linear([0.0, 1.0], paper.height - charts.BOTTOM, charts.TOP)
    paper.frame(x, y, "probability of the class predicted", "share that is right")
    most = max((one.rows for one in bins), default=1)
    for one in bins:
        start, height = x(one.low), y.start - y(one.accuracy)
        opacity = 0.15 + 0.75 * (one.rows / most) ** 0.5
        paper.bar(start + 1, y.start - height, x(one.high) - start - 2, height, "blue", opacity)
    paper.line(x(0), y(0), x(1), y(1), "ideal")
    for one in bins:
        paper.dot(x(one.confidence), y(one.accuracy), "red", 4)
    return paper.svg("calibration")


def importance(found: Importance) -> str:
    """The score lost by shuffling each column, with the standard deviation over the repeats."""
    shown = found.columns[:MOST_COLUMNS]
    room = max(charts.LEFT, 7.0 * min(22, max(len(one.column) for one in shown)) + 16)
    paper = Paper(charts.WIDTH + 40, 66.0 + 20 * len(shown))
    reach = [0.0, *(one.mean - one.std for one in shown), *(one.mean + one.std for one in shown)]
    x = linear(reach, room, paper.width - 16)
    bottom = paper.height - charts.BOTTOM
    for tick in x.ticks:
        paper.line(x(tick), bottom, x(tick), 28, "axis" if tick == 0 else "grid")
        paper.text(x(tick), bottom + 16, charts.number(tick), "soft", "middle")
    for row, one in enumerate(shown):
        y = 30.0 + 20 * row
        paper.text(room - 8, y + 12, one.column, "soft", "end", 22)
        paper.bar(min(x(0), x(one.mean)), y + 1, abs(x(one.mean) - x(0)), 14, "violet", 0.85)
        paper.line(x(one.mean - one.std), y + 8, x(one.mean + one.std), y + 8, "whisker")
    paper.text((x.start + x.end) / 2, paper.height - 6, f"{found.score} lost when shuffled", "soft", "middle")
    return paper.svg("importance of the columns")
