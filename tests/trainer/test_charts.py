"""Axes and lines."""

import math
from xml.etree import ElementTree

import pytest

from trainer.account import charts
from trainer.account.charts import Line


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([3.0, 47.0], [0, 10, 20, 30, 40, 50]),
        ([-0.03, 0.012], [-0.03, -0.02, -0.01, 0, 0.01, 0.02]),
        ([5.0, 5.0], [4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6]),
        ([math.nan, math.inf], [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_one_two_or_five_times_a_power_of_ten(values: list[float], ticks: list[float]) -> None:
    assert charts.linear(values, 0, 100).ticks == pytest.approx(ticks)


def test_epochs_have_whole_ticks() -> None:
    assert charts.linear([1, 3], 0, 100, whole=True).ticks == [1, 2, 3]


def test_a_logarithmic_axis_has_equal_room_for_each_decade() -> None:
    axis = charts.logarithmic([3e-5, 0.2], 0, 100)
    assert axis.ticks == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert axis(1e-3) == pytest.approx(40)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1, "0.1"), (-2.5, "-2.5"), (12_000, "12k"), (3e-7, "3e-7"), (2.5e8, "2.5e8"), (1999, "1999")],
)
def test_numbers_on_an_axis_are_short(value: float, text: str) -> None:
    assert charts.number(value) == text


def test_thinning_keeps_the_ends_and_the_spikes() -> None:
    points = [(float(n), 1.0) for n in range(10_000)]
    points[1234], points[8765], points[5000] = (1234.0, 99.0), (8765.0, -99.0), (5000.0, math.nan)
    kept = charts.thinned(points)
    assert len(kept) <= charts.MOST_POINTS
    assert kept == sorted(kept)
    assert {points[0], points[-1], points[1234], points[8765]} <= set(kept)


def test_a_line_breaks_where_it_is_not_finite() -> None:
    svg = charts.lines("loss", [Line("training", [1, 2, 3, 4], [1.0, math.nan, 2.0, 3.0])], "epoch")
    drawn = ElementTree.fromstring(svg).findall("{*}polyline")
    assert [len(str(line.get("points")).split()) for line in drawn] == [1, 2]


@pytest.mark.parametrize("values", [[math.nan] * 3, [1e308, -1e308, 0.0], [1e-300, 1e300, 1.0], [7.0] * 3])
def test_anything_can_be_drawn(values: list[float]) -> None:
    for log in (False, True):
        svg = charts.lines("</svg>\x00", [Line("<b>", [1, 2, 3], values)], "epoch", mark=2, mark_label="best", log=log)
        assert "nan" not in svg
        assert ElementTree.fromstring(svg).get("aria-label") == "</svg>\ufffd"
