"""Charts show what they are given, in SVG that a page can hold, and always in the same bytes."""

import re
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import matplotlib
import pytest
import torch
from conftest import Reader

from ganatomy.figures import charts
from ganatomy.figures.charts import COLORS, Axis, Series, curves, dot_plot, span, tick
from ganatomy.figures.images import scatter
from ganatomy.figures.modes import class_counts

HOSTILE = '"#x href="#a <script>alert(1)</script> $\\frac$ 条件'
LINE = Series([0, 1, 2], [1.0, 3.0, 2.0], [0.5, 2.5, 1.5], [1.5, 3.5, 2.5])
FLAT = Series([0, 2], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0])


def drawn() -> list[str]:
    return [
        str(scatter(torch.tensor([[0.0, 1.0], [-1.0, 0.5]]))),
        curves({"a": LINE, "b": FLAT}, "step", legend=True, dots=[(1, 3)]),
        curves({"a": LINE}, "step", (0.1, 10), log=True, steps=True),
        dot_plot({"a": [1.0, 2.0], "b": [3.0]}, "FD", Axis(0, 4), [("real 1", 1)], 5),
    ]


def test_equal_inputs_give_equal_bytes_under_any_settings() -> None:
    before, own = drawn(), dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "svg.hashsalt": "x"}):
        assert drawn() == before
    assert dict(matplotlib.rcParams) == own


def test_charts_can_be_drawn_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {tuple(charts) for charts in pool.map(lambda _: drawn(), range(8))} == {
            tuple(drawn())
        }


def test_a_chart_brings_nothing_that_a_page_would_suffer_from() -> None:
    texts = drawn()[1:]
    seen: list[str] = []
    for text in texts:
        read = Reader(text)
        ids = [a["id"] for _, a in read.tags if a.get("id")]
        values = [value or "" for _, a in read.tags for value in a.values()]
        references = {m[1] for value in values if (m := re.search(r"^(?:url\()?#([^)]+)", value))}
        assert references and references == set(ids) and len(ids) == len({*ids})
        seen += map(str, ids)
        tags = {tag for tag, _ in read.tags}
        assert tags <= {"svg", "g", "path", "defs", "clippath", "rect", "use", "text"}
        assert "currentColor" in text and charts.INK not in text and "font: " not in text
        assert text.count("font-family") == 1 and not re.search(r' d="[^"]*\.\d{3}', text)
    assert len(seen) == len({*seen})


def test_names_are_inert() -> None:
    texts = [
        curves({HOSTILE: LINE}, HOSTILE, legend=True),
        dot_plot({"lr 0.00025 x": [1.0]}, HOSTILE, Axis(0, 2), [(HOSTILE, 1.0)]),
    ]
    for text in texts:
        ElementTree.fromstring(text)
        assert "<script" not in text and not [t for t, _ in Reader(text).tags if t == "script"]
        assert text.count("frac$") >= 2  # as it is, not as mathematics
    assert ">lr 0.00025 x<" in texts[1]


def test_every_line_has_a_color_and_dashes_of_its_own() -> None:
    lines = {f"line {i}": LINE for i in range(len(COLORS))}
    text = curves(lines, "step", legend=True)
    for color in COLORS:
        assert f"stroke: {color.lower()}" in text and f"fill: {color.lower()}" in text
    assert len({*re.findall(r"stroke-dasharray: ([\d,.]+)", text)}) == len(COLORS) - 1
    assert all(f">{name}<" in text for name in lines)
    assert "line 0" not in curves(lines, "step")


def test_a_line_of_nothing_or_of_one_point_is_drawn() -> None:
    for line in (Series([], [], [], []), Series([5], [0.0], [0.0], [0.0])):
        assert "step" in curves({"a": line}, "step")


def test_span_holds_zero_and_the_means() -> None:
    assert span([LINE]) == pytest.approx((0, 3.3))
    assert span([Series([0], [-2.0], [-9.0], [9.0])]) == pytest.approx((-2.2, 0))
    assert span([]) == (0, 1)


def test_dots_show_every_number_and_the_marks() -> None:
    groups = {"a": [10.0, 12.0, 20.0], "b": [11.0]}
    near = dot_plot(groups, "FD", Axis(8, 21), [("real 9", 9.0)])
    far = dot_plot(groups, "FD", Axis(9.5, 21), [("real 9", 9.0), ("claimed 30", 30.0)])
    assert "off the axis: ← real 9, → claimed 30" in far and "off the axis" not in near
    assert ">real 9<" in near and "real" not in dot_plot(groups, "FD", Axis(8, 21))
    for text in (near, far):
        assert len(re.findall(rf"<use [^>]*fill: {COLORS[0].lower()}", text)) == 4
    assert "mean of the last rows" in dot_plot(groups, "D(x); mean of the last rows", Axis(8, 21))


def test_a_long_name_is_wrapped_and_cut() -> None:
    text = dot_plot({"a name of many words " * 5: [1.0]}, "FD", Axis(0, 2))
    assert ">a name of many words a<" in text and "…<" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.1 + 0.2, "0.3"),
        (-1500.0, "−1,500"),
        (100_000.0, "100,000"),
        (2e6, "2.0·10⁶"),
        (1e-5, "10⁻⁵"),
        (-1e7, "−1.0·10⁷"),
    ],
)
def test_ticks(value: float, text: str) -> None:
    assert tick(value) == text


def test_ticks_of_logarithmic_axes() -> None:
    texts = [
        Reader(dot_plot({"a": [at.low]}, "FD", at)).text.split()
        for at in (Axis(3, 60, True), Axis(0.5, 2e4, True))
    ]
    assert texts[0][:4] == ["5", "10", "20", "50"]
    assert texts[1][:5] == ["1", "10", "100", "1,000", "10,000"]


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
@pytest.mark.parametrize("channels", [1, 3])
def test_class_counts_are_drawn_in_every_form(form: str, channels: int) -> None:
    pixels = torch.full((5, channels, 8, 8), 100, dtype=torch.uint8)
    predicted = torch.tensor([0, 2, 2, 1, 2])
    names = ("cat", "dog $x$", "bird")
    content = class_counts(pixels, predicted, names, [2.0, 1.5, 1.5], form)
    assert content == class_counts(pixels, predicted, names, [2.0, 1.5, 1.5], form)
    assert content.startswith({"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[form])
    if form == "svg":
        text = Reader(content.decode()).text
        assert text.split().count("bir") == 3 and "expected for real images" in text
