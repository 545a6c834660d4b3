"""Charts as SVG elements, drawn by matplotlib.

Equal inputs give equal bytes, whatever the user's matplotlib settings are. Text and axes take the
color of the text around the chart (`currentColor`); the background is transparent.
"""

import contextlib
import functools
import io
import re
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Distinct under every form of color vision (Okabe and Ito 2008)."""

DASHES: tuple[tuple[int, ...], ...] = ((), (7, 3), (2, 2), (9, 2, 2, 2), (12, 3), (5, 2, 1, 2))
"""Lengths of dashes and gaps, which tell lines apart in grayscale; () is a solid line."""

WIDTH, HEIGHT = 440, 236
"""Size of a chart in units of the SVG, which are pixels where it is not scaled."""

ROW, LABEL = 28, 150
"""Height of a row of a dot plot, and the largest width of the names next to it."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"

INK = "#1b1f24"
"""Color of text and axes; `currentColor` in an SVG."""

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": f"{INK}80",
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": f"{INK}cc",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": f"{INK}20",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.scale_dashes": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": f"{INK}80",
    "xtick.labelcolor": f"{INK}cc",
    "ytick.labelcolor": f"{INK}cc",
    "ytick.major.size": 0,
}
"""Settings of every chart on top of matplotlib's defaults."""

P = ParamSpec("P")
_LOCK = threading.RLock()
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Series(NamedTuple):
    """One line of a chart: x, and the mean, lowest and highest y at each x."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


class Axis(NamedTuple):
    """Range and scale of an axis."""

    low: float
    high: float
    log: bool = False


@contextlib.contextmanager
def style(salt: str = "") -> Iterator[None]:
    """Use STYLE instead of the user's matplotlib settings, in one thread at a time.

    Args:
        salt: text from which the ids of an SVG are made, so that no two charts share them.
    """
    import matplotlib  # half a second of import, so only where it is needed

    with _LOCK, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts have it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": salt})
        yield


def svg(draw: "Callable[P, Figure]") -> Callable[P, str]:
    """Decorate a function that draws a figure, so that it returns the figure as an SVG element."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        with style(salt=repr((draw.__name__, args, kwargs))):
            return to_svg(draw(*args, **kwargs))

    return drawn


def to_svg(figure: "Figure") -> str:
    """Return a figure as an SVG element without a date, a style sheet or fonts of its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().partition("<svg")[2]
    for unwanted in (
        r"<metadata>.*?</metadata>|<style.*?</style>|(?<=>)\s+(?=<)",
        r' id="[\w.]+_\d{1,3}"| transform="rotate\(-0 [^"]*"',
        r"font-family: '[^;]*; |(?<=px) '[^;]*",
    ):
        text = re.sub(unwanted, "", text, flags=re.S)
    text = re.sub(r' [dxy]="[^"]*"', lambda m: re.sub(r"(?<=\.\d\d)\d+|\n", "", m[0]), text)
    text = text.replace('style="font: ', 'style="font-size: ').replace(INK, "currentColor")
    return f'<svg font-family="{FONT}" stroke-linejoin="round"{text}'


def span(series: Iterable[Series]) -> tuple[float, float]:
    """Return the range of an axis that holds 0 and every mean; bands may leave it."""
    means = [0.0, *(mean for s in series for mean in s.mean)]
    low, high = min(means) * 1.1, max(means) * 1.1
    return low, high if high > low else low + 1


def tick(value: float, position: object = None) -> str:
    """Write the number at a tick."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return power(value)
    return f"{value:,.10g}".replace("-", "−")


def power(value: float, position: object = None) -> str:
    """Write a number as a power of ten: 10⁻³ or 2.5·10⁶."""
    factor, exponent = f"{value:.1e}".split("e")
    text = "10" + str(int(exponent)).translate(_RAISED)
    return text if factor == "1.0" else f"{factor}·{text}".replace("-", "−")


def encode(figure: "Figure", form: str) -> bytes:
    """Return a figure as the content of a png, svg or pdf file; call it within `style`."""
    if form == "svg":
        return to_svg(figure).encode()
    buffer = io.BytesIO()
    metadata = {"CreationDate": None} if form == "pdf" else None
    figure.savefig(buffer, format=form, facecolor="white", metadata=metadata)
    return buffer.getvalue()


@svg
def curves(
    lines: Mapping[str, Series],
    x_title: str,
    y_range: tuple[float, float] | None = None,
    *,
    legend: bool = False,
    log: bool = False,
    steps: bool = False,
    dots: Sequence[tuple[float, float]] = (),
) -> "Figure":
    """Draw named lines with bands on shared axes, colored and dashed in their order.

    Args:
        lines: name to line, at most as many as COLORS.
        x_title: title of the x axis.
        y_range: range of the y axis; None takes `span`.
        legend: write the names above the chart.
        log: use a logarithmic y axis.
        steps: use a logarithmic x axis with a place for 0.
        dots: points to mark.
    """
    figure, axes = _axes(WIDTH, HEIGHT, left=44, bottom=38, top=24 if legend else 8)
    if steps:
        axes.set_xscale("symlog", linthresh=1)
    for (name, line), color, dash in zip(lines.items(), COLORS, DASHES, strict=False):
        axes.plot(line.x, line.mean, color=color, label=name, linestyle=(0, dash or None))
        if line.low != line.high:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.18, linewidth=0)
    axes.plot(
        [x for x, _ in dots], [y for _, y in dots], "o", color=INK, markersize=6, clip_on=False
    )
    ends = [x for line in lines.values() for x in line.x] or [0.0]
    axes.set(xlabel=x_title, xlim=(min(ends), max(ends) if max(ends) > min(ends) else ends[0] + 1))
    low, high = y_range or span(lines.values())
    room = 0 if log else 0.012 * (high - low)  # for half of a line at the edge
    axes.set(yscale="log" if log else "linear", ylim=(low, high + room))
    if legend:
        figure.legend(loc="upper left", ncols=len(lines), handlelength=2.8, borderaxespad=0)
    axes.xaxis.set_major_formatter(tick)
    axes.yaxis.set_major_formatter(power if log else tick)
    axes.minorticks_off()
    return figure


@svg
def dot_plot(
    groups: Mapping[str, Sequence[float]],
    x_title: str,
    axis: Axis,
    marks: Sequence[tuple[str, float]] = (),
    longest: int = 0,
) -> "Figure":
    """Draw a dot for each number and a bar at each group's mean, one row for each group.

    Args:
        groups: name to numbers, from top to bottom.
        x_title: title of the x axis; "; " starts a new line.
        axis: range and scale of the x axis.
        marks: texts and numbers of vertical lines. A number off the axis is named in the title.
        longest: length of the longest name in any chart of the page, so that all axes line up.
    """
    from matplotlib.ticker import LogLocator

    inside = sorted((x, text) for text, x in marks if axis.low <= x <= axis.high)
    off = [f"{'←' if x < axis.low else '→'} {text}" for text, x in marks if (x, text) not in inside]
    title = [*x_title.split("; "), *(["off the axis: " + ", ".join(off)] if off else [])]
    left, bottom = min(6.5 * longest, LABEL) + 10, 22 + 14 * len(title)
    figure, axes = _axes(WIDTH, 18 + ROW * len(groups) + bottom, left=left, bottom=bottom, top=18)
    axes.set(xscale="log" if axis.log else "linear", xlim=axis[:2], xlabel="\n".join(title))
    if axis.log:
        few = axis.high / axis.low < 1000
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    wrap = functools.partial(textwrap.wrap, width=LABEL // 6, max_lines=2, placeholder="…")
    axes.set_yticks(range(len(groups)), ["\n".join(wrap(name)) for name in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params("y", pad=8, labelcolor=INK, grid_alpha=0)
    for row, numbers in enumerate(groups.values()):
        mean = sum(numbers) / len(numbers)
        axes.plot([mean, mean], [row - 0.36, row + 0.36], color=INK, linewidth=2)
        axes.plot(numbers, [row] * len(numbers), "o", color=f"{COLORS[0]}a0", markersize=8)
    for i, (x, text) in enumerate(inside):
        axes.axvline(x, color=INK, linewidth=1, dashes=(4, 3))
        where = "center" if len(inside) == 1 else ("right", "left")[i > 0]
        axes.text(x, -0.6, text, ha=where, va="bottom")
    axes.xaxis.set_major_formatter(tick)
    axes.minorticks_off()
    return figure


def _axes(
    width: float, height: float, left: float, bottom: float, top: float
) -> "tuple[Figure, Axes]":
    """Return a figure and its axes, with room around them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72))
    room = (width - left - 12) / width, (height - bottom - top) / height
    return figure, figure.add_axes((left / width, bottom / height, *room))
