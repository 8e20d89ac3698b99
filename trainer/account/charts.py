"""Charts as SVG: lines, dots, bars and heat maps, drawn from numbers and nothing else.

A chart is an `<svg>` element of a fixed size that scales with its place. Colours are classes, so that the page around
it, or `standalone`, decides them, in light and in dark. Every text is escaped: names come from strangers.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

WIDTH, HEIGHT = 420.0, 270.0
LEFT, RIGHT, BOTTOM = 58.0, 14.0, 40.0
TOP, UNDER_LEGEND = 36.0, 48.0
LARGEST = 1e300
"""What lies beyond is drawn off the paper."""
MOST_POINTS = 400
"""Of a line; more are thinned so that the highest and the lowest stay."""

STYLE = """\
svg.chart{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#1c2430}
.chart text{fill:currentColor}.chart .soft{fill-opacity:.68}.chart .title{font-size:14px;font-weight:600}
.chart .on{fill:#fff;font-weight:600}
.chart .grid{stroke:currentColor;stroke-opacity:.13;shape-rendering:crispEdges}
.chart .axis{stroke:currentColor;stroke-opacity:.5;shape-rendering:crispEdges}
.chart .mark,.chart .ideal{stroke:currentColor;stroke-opacity:.6;stroke-dasharray:4 3;fill:none}
.chart .whisker{stroke:currentColor;stroke-opacity:.75;stroke-width:1.5}
.chart .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.chart .blue{stroke:#3b6ea5;color:#3b6ea5}.chart .red{stroke:#d1495b;color:#d1495b}
.chart .green{stroke:#2d8a4e;color:#2d8a4e}.chart .violet{stroke:#7b5ea7;color:#7b5ea7}
@media (prefers-color-scheme:dark){svg.chart{color:#dde3ea}
.chart .blue{stroke:#7fb0e6;color:#7fb0e6}.chart .red{stroke:#ff8795;color:#ff8795}
.chart .green{stroke:#67c98a;color:#67c98a}.chart .violet{stroke:#b79ae0;color:#b79ae0}
.chart .on{fill:#0d1117}}
.chart .dot,.chart .bar{fill:currentColor;stroke:none}.chart .dot{fill-opacity:.55}
"""

DARK_PAPER = "@media (prefers-color-scheme:dark){svg.chart{background:#14181f}}"

Colour = Literal["blue", "red", "green", "violet"]
_UNDRAWABLE = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")


@dataclass(frozen=True)
class Line:
    """Points in order of x; a y that is not finite breaks the line."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: Colour = "blue"


@dataclass(frozen=True)
class Axis:
    """From numbers to places on the paper."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float]
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (map(math.log10, (self.low, self.high, value))) if self.log else (self.low, self.high, value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def linear(values: Sequence[float], start: float, end: float, *, count: int = 5, whole: bool = False) -> Axis:
    """An axis that holds all finite values, its ends on ticks of 1, 2 or 5 times a power of ten."""
    finite = [max(-LARGEST, min(LARGEST, value)) for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    step = _step((high - low) / count)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, start, end, [place * step for place in range(first, last + 1)])


def logarithmic(values: Sequence[float], start: float, end: float) -> Axis:
    """From the power of ten below the smallest positive value to the one above the largest."""
    positive = [max(1 / LARGEST, min(LARGEST, value)) for value in values if 0 < value < math.inf] or [1.0]
    first, last = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    last = max(last, first + 1)
    every = max(1, math.ceil((last - first) / 6))
    ticks = [10.0**power for power in range(first, last + 1, every)]
    return Axis(10.0**first, 10.0**last, start, end, ticks, log=True)


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def number(value: float) -> str:
    """Short, for an axis: up to four digits, thousands as 12k, else an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-4:
        digits, _, power = f"{value:.3g}".partition("e") if "e" in f"{value:.3g}" else f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value / 1000:g}k" if size >= 10_000 else f"{value:.4g}"


@dataclass
class Paper:
    """A chart while it is drawn."""

    width: float = WIDTH
    height: float = HEIGHT
    parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def bar(self, x: float, y: float, width: float, height: float, kind: str, opacity: float = 1.0) -> None:
        size = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
        self.parts.append(f'<rect {size} class="bar {kind}"{_opacity(opacity)}/>')

    def dot(self, x: float, y: float, kind: str, radius: float = 2.4) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="dot {kind}"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{places}" class="{kind}"/>')

    def text(
        self, x: float, y: float, text: str, kind: str = "", anchor: str = "start", most: int = 60, turn: int = 0
    ) -> None:
        shown = clean(text)
        short = shown if len(shown) <= most else shown[: most - 1] + "…"
        hint = f"<title>{escape(shown)}</title>" if short != shown else ""
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        kinds = f' class="{kind}"' if kind else ""
        at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.parts.append(f"<text {at}{kinds}{turned}>{hint}{escape(short)}</text>")

    def frame(self, x: Axis, y: Axis, x_label: str, y_label: str = "", tick: Callable[[float], str] = number) -> None:
        """Grid, ticks and labels."""
        for value in y.ticks:
            self.line(x.start, y(value), x.end, y(value), "grid")
            self.text(x.start - 7, y(value) + 4, tick(value), "soft", "end")
        for value in x.ticks:
            self.line(x(value), y.start, x(value), y.start + 4, "axis")
            self.text(x(value), y.start + 17, number(value), "soft", "middle")
        self.line(x.start, y.start, x.end, y.start, "axis")
        self.text((x.start + x.end) / 2, self.height - 6, x_label, "soft", "middle")
        if y_label:
            self.text(13, (y.start + y.end) / 2, y_label, "soft", "middle", turn=-90)

    def svg(self, title: str) -> str:
        """The element; its title is also what a screen reader says."""
        said = escape(clean(title))
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{said}" {size}>'
        if title:
            self.text(12, 19, title, "title", most=52)
        return head + "".join(self.parts) + "</svg>"


def clean(text: str) -> str:
    """Without characters that XML cannot hold."""
    return _UNDRAWABLE.sub("\ufffd", text)


def lines(
    title: str, drawn: Sequence[Line], x_label: str, *, mark: float | None = None, mark_label: str = "",
    whole: bool = False, from_zero: bool = False, log: bool = False,
) -> str:  # fmt: skip
    """Lines over one axis, with a legend and perhaps a vertical mark."""
    paper = Paper()
    ys = [y for line in drawn for y in line.ys] + ([0.0] if from_zero and not log else [])
    y = (logarithmic if log else linear)(ys, HEIGHT - BOTTOM, UNDER_LEGEND)
    x = _tight([x for line in drawn for x in line.xs], whole)
    paper.frame(x, y, x_label)
    if mark is not None:
        paper.line(x(mark), y.start, x(mark), y.end, "mark")
    for line in drawn:
        for piece in _pieces(line, log):
            points = [(x(a), y(b)) for a, b in thinned(piece)]
            paper.path(points, f"line {line.colour}")
            for point in points if len(points) <= 40 else []:
                paper.dot(*point, line.colour)
    _legend(paper, drawn, mark_label)
    return paper.svg(title)


def _tight(xs: Sequence[float], whole: bool) -> Axis:
    """An x axis that begins and ends with the data, its ticks within."""
    around = linear(xs, LEFT, WIDTH - RIGHT, count=6, whole=whole)
    low, high = min(xs, default=0.0), max(xs, default=1.0)
    if low == high:
        return around
    return Axis(low, high, around.start, around.end, [tick for tick in around.ticks if low <= tick <= high])


def _pieces(line: Line, log: bool) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(line.xs, line.ys, strict=True):
        if math.isfinite(y) and (y > 0 or not log):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many, in order: the first, the last, and the lowest and highest of each stretch between."""
    if len(points) <= most:
        return list(points)
    inner, stretches = len(points) - 2, (most - 2) // 2
    kept = {0, len(points) - 1}
    for stretch in range(stretches):
        places = range(1 + inner * stretch // stretches, 1 + inner * (stretch + 1) // stretches)
        finite = [place for place in places if math.isfinite(points[place][1])] or list(places)
        kept |= {min(finite, key=lambda place: points[place][1]), max(finite, key=lambda place: points[place][1])}
    return [points[place] for place in sorted(kept)]


def _legend(paper: Paper, drawn: Sequence[Line], mark_label: str) -> None:
    at = LEFT
    for line in drawn if len(drawn) > 1 or mark_label else []:
        paper.line(at, 34, at + 16, 34, f"line {line.colour}")
        paper.text(at + 21, 38, line.label, "soft")
        at += 34 + 6.6 * len(line.label)
    if mark_label:
        paper.line(at + 8, 28, at + 8, 40, "mark")
        paper.text(at + 14, 38, mark_label, "soft")


def standalone(charts: Sequence[str]) -> str:
    """Charts of the usual size side by side, as a file of its own."""
    placed = [
        chart.replace("<svg ", f'<svg x="{WIDTH * place:g}" y="0" ', 1).replace(' class="chart"', "", 1)
        for place, chart in enumerate(charts)
    ]
    width = WIDTH * len(charts)
    size = f'viewBox="0 0 {width:g} {HEIGHT:g}" width="{width:g}" height="{HEIGHT:g}"'
    style = f"<style>{STYLE}svg.chart{{background:#fff}}{DARK_PAPER}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size}>{style}{"".join(placed)}</svg>\n'


def _opacity(share: float) -> str:
    return "" if share >= 1 else f' fill-opacity="{share:.3f}"'
