"""The figures of a study: each seed's number by condition, and training curves."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ganatomy.evaluation.tables import number
from ganatomy.figures.images import AXES, COLOURS, Series
from ganatomy.pages.comparison import POINTS
from ganatomy.runs.folder import Row

DECADE = 10.0
"""An axis is logarithmic where its largest number is more than so many times its least."""

NEAR = 3.0
"""A marked value is drawn while the axis that it takes is at most so many times that without it."""


class Axis(NamedTuple):
    """What a horizontal axis shows."""

    low: float
    high: float
    log: bool


def axis(numbers: Sequence[float], marks: Sequence[tuple[str, float]]) -> Axis:
    """Choose the axis for some numbers, with room for the marks that do not squeeze them."""
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low > DECADE
    at: Callable[[float], float] = math.log10 if log else float
    ends = [at(low), at(high)]
    most = NEAR * (ends[1] - ends[0]) or math.inf
    for _, value in marks:
        wide = [*ends, at(value)] if value > 0 or not log else []
        if wide and max(wide) - min(wide) <= most:
            ends = [min(wide), max(wide)]
    pad = 0.07 * (ends[1] - ends[0]) or 0.05 * abs(ends[0]) or 0.05
    first, last = (10**end if log else end for end in (ends[0] - pad, ends[1] + pad))
    return Axis(first, last, log)


def strips(
    conditions: Mapping[str, Sequence[float]],
    x_title: str,
    shown: Axis,
    marks: Sequence[tuple[str, float]],
    longest: int = 0,
) -> str:
    """Draw a dot for each seed, a bar at each condition's mean, and marks, as an SVG element.

    longest is the length of the longest name beside it in any drawing of the page, so that the
    axes of all begin in one place.
    """
    import altair  # a quarter second of import, so only where it is needed
    import vl_convert

    dots = [{"condition": name, "x": x} for name, numbers in conditions.items() for x in numbers]
    means = [
        {"condition": name, "x": float(np.mean(numbers))} for name, numbers in conditions.items()
    ]
    x = _x(shown, x_title, marks)
    room = min(7 * longest, LABEL) + 8
    y_axis = altair.Axis(
        domain=False, ticks=False, labelLimit=LABEL, labelPadding=8, minExtent=room
    )
    y = altair.Y("condition:N", sort=list(conditions), title=None, axis=y_axis)
    bar, dot = _chart(means).encode(x=x, y=y), _chart(dots).encode(x=x, y=y)
    chart = altair.layer(
        *_rules(shown, x, marks),
        bar.mark_tick(thickness=2.5, size=22, color=INK, opacity=1),
        dot.mark_circle(size=75, color=COLOURS[0], opacity=0.7, stroke="white", strokeWidth=0.8),
    ).properties(
        width=400,
        height=14 + 30 * len(conditions),
        autosize=altair.AutoSizeParams(type="fit-x", contains="padding"),
    )
    chart = chart.configure_view(stroke=None).configure_axis(**AXES)
    return vl_convert.vegalite_to_svg(chart.to_dict())


def _x(shown: Axis, title: str, marks: Sequence[tuple[str, float]]) -> Any:
    """The horizontal axis; its title says where marks lie that it does not reach."""
    import altair

    off = [
        f"{'←' if x < shown.low else '→'} {name} {number(x)}"
        for name, x in marks
        if not shown.low <= x <= shown.high
    ]
    lines = [*title.split("; "), *(["off the axis: " + ", ".join(off)] if off else [])]
    kind: Literal["log", "linear"] = "log" if shown.log else "linear"
    scale = altair.Scale(domain=[shown.low, shown.high], type=kind, nice=False)
    ticks = _ticks(shown) if shown.log else altair.Undefined
    axis = altair.Axis(values=ticks, format=",.4~r", labelFlush=False, tickCount=6)
    return altair.X("x:Q", title=lines, scale=scale, axis=axis)


def _rules(shown: Axis, x: Any, marks: Sequence[tuple[str, float]]) -> list[Any]:
    """Dashed lines for the marks within the axis, with their names above, if there are any."""
    import altair

    drawn = [
        {"x": at, "name": f"{name} {number(at)}"}
        for name, at in marks
        if shown.low <= at <= shown.high
    ]
    name = _chart(drawn).mark_text(fontSize=11, color=INK, baseline="bottom")
    layers = [
        _chart(drawn).mark_rule(strokeDash=[4, 3], color=INK).encode(x=x),
        name.encode(x=x, y=altair.value(-4), text="name:N"),
    ]
    return layers if drawn else []


INK = "#1b1f24"

LABEL = 150
"""Pixels of a condition's name beside a drawing; a longer one is cut there."""


def _chart(rows: list[Row]) -> Any:
    import altair

    return altair.Chart(altair.Data(values=rows))


def _ticks(shown: Axis) -> list[float]:
    """1, 2 and 5 of each decade on a short logarithmic axis; of a long one its decades."""
    low, high = math.floor(math.log10(shown.low)), math.ceil(math.log10(shown.high))
    places = (1, 2, 5) if high - low <= NEAR else (1,)
    ticks = [m * 10.0**e for e in range(low, high + 1) for m in places]
    return [tick for tick in ticks if shown.low <= tick <= shown.high]


def bands(logs: Sequence[Sequence[Row]], field: str) -> Series:
    """Gather the logs of a condition's seeds to the mean over seeds, and their least and most.

    Only steps that all seeds have logged count. Of more than POINTS neighbouring ones are
    averaged, seed by seed, before seeds are set against each other.
    """
    found = [{row["step"]: row[field] for row in rows if field in row} for rows in logs]
    steps = sorted(set[int]().union(*found).intersection(*found))
    if not steps:
        return Series([], [], [], [])
    values = np.array([[log[step] for step in steps] for log in found])
    parts = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
    seeds = np.stack([values[:, part].mean(1) for part in parts], 1)
    x = [float(np.mean([steps[i] for i in part])) for part in parts]
    return Series(x, seeds.mean(0).tolist(), seeds.min(0).tolist(), seeds.max(0).tolist())
