"""The theory's findings to one self-contained page, readable offline and in print."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

import jinja2
import torch
from torch import Tensor, nn

from ganatomy.figures.images import AXES, COLOURS, Series
from ganatomy.theory.densities import Mixture, modes
from ganatomy.theory.findings import COLLAPSED, LEARNED, NORMAL, START, Row, Trained
from ganatomy.theory.game import best_logit, criterion, logit_slope, pull

SIDES = {"minimax": "log(1 − D)", "non_saturating": "−log D"}
"""The generator's two losses, as they are drawn."""

_FAR = [i / 5 for i in range(51)]


def render(found: Row, trained: Trained) -> str:
    """Return the page of findings, with images of the first seed's discriminators."""
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        files("ganatomy.pages").joinpath("theory.html").read_text(encoding="utf-8")
    )
    charts = {
        "shifted": _best(NORMAL, modes(1.0, (2.0,)), (-4, 6)),
        "collapsed": _best(*COLLAPSED, (-6.5, 6.5)),
        "pointwise": _pointwise(),
        "criterion": _criterion(),
        "learned": _learned(trained["1-D"][0]),
        **{key: _approach(found["learning"], key) for key in ("error", "short")},
        "pull": _pull(),
        "slopes": _slopes(),
        "descents": _descents(found["descents"]),
    }
    few = {step: trained["2-D"][0][step] for step in _few(trained["2-D"][0])}
    return template.render(found=found, charts=charts, fields=_fields(few), learned_pairs=LEARNED)


def _best(p: Mixture, q: Mixture, span: tuple[float, float]) -> str:
    x = torch.linspace(*span, 241, dtype=torch.float64)[:, None]
    drawn = (best_logit(p, q, x).sigmoid(), p.log_prob(x).exp(), q.log_prob(x).exp())
    names = ("D*", "density of the data", "of the generator")
    return _chart({n: _line(x, y) for n, y in zip(names, drawn, strict=True)}, "x", y=(0, 1))


def _pointwise() -> str:
    y = torch.linspace(0.001, 0.999, 250, dtype=torch.float64)
    shares = (0.2, 0.5, 0.9)
    lines = {
        f"a = {a:g}, b = {1 - a:.1f}": _line(y, a * y.log() + (1 - a) * (1 - y).log())
        for a in shares
    }
    tops = [(a, a * math.log(a) + (1 - a) * math.log(1 - a)) for a in shares]
    return _chart(lines, "y", y=(-2, 0), dots=tops)


def _criterion() -> str:
    lines = {
        "C(G)": _line(_FAR, [criterion(NORMAL, modes(1.0, (d,))) for d in _FAR]),
        "0: wholly apart": _line([0, 10], [0, 0]),
        "−log 4: equal": _line([0, 10], [-math.log(4)] * 2),
    }
    return _chart(lines, "distance of the generator's mean", y=(-1.5, 0.1))


def _learned(nets: Mapping[int, nn.Module]) -> str:
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)[:, None]
    best = {"D*": _line(x, best_logit(*LEARNED["1-D"], x).sigmoid())}
    steps = {f"step {n}": _line(x, nets[n](x).detach().sigmoid()) for n in _few(nets)}
    return _chart(best | steps, "x", y=(0, 1))


def _few(steps: Iterable[int]) -> list[int]:
    """Pick few of the steps looked at: the start, about a hundred, the end."""
    seen = sorted(steps)
    return sorted({0, max(s for s in seen if s <= 100), seen[-1]})


def _approach(rows: list[Row], key: str) -> str:
    lines = {}
    for pair in LEARNED:
        own = [row for row in rows if row["pair"] == pair]
        band = ([row[key][edge] for row in own] for edge in ("mean", "low", "high"))
        lines[pair] = Series([float(row["step"]) for row in own], *band)
    return _chart(lines, "step", steps=True)


def _pull() -> str:
    lines = {}
    for loss, name in SIDES.items():
        pulls = [pull(NORMAL, modes(1.0, (d,)), loss) for d in _FAR[1:]]
        lines[name] = _line(_FAR[1:], torch.cat(pulls))
    return _chart(lines, "distance of the generator's mean", y=(1e-6, 10), log=True)


def _slopes() -> str:
    logits = torch.linspace(-8, 8, 161, dtype=torch.float64)
    lines = {name: _line(logits, logit_slope(logits, loss).abs()) for loss, name in SIDES.items()}
    return _chart(lines, "logit of D(G(z))", y=(0, 1))


def _descents(rows: list[Row]) -> str:
    lines = {SIDES[row["loss"]]: _line(range(len(row["means"])), row["means"]) for row in rows}
    return _chart(lines, "step of the generator", y=(0, START))


def _line(x: Tensor | Sequence[float], y: Tensor | Sequence[float]) -> Series:
    xs, ys = (torch.as_tensor(values, dtype=torch.float64).flatten().tolist() for values in (x, y))
    return Series(xs, ys, ys, ys)


def _chart(
    lines: Mapping[str, Series],
    x_title: str,
    y: tuple[float, float] | None = None,
    log: bool = False,
    steps: bool = False,
    dots: Sequence[tuple[float, float]] = (),
) -> str:
    """Draw named lines with bands as an SVG element, y within a range or from 0.

    log makes the y axis logarithmic; steps the x axis, with a place for 0; dots are marked.
    """
    import altair  # a quarter second of import, so only where it is needed
    import vl_convert

    rows = [
        {"line": name, "x": at, "mean": mean, "low": low, "high": high}
        for name, series in lines.items()
        for at, mean, low, high in zip(*series, strict=True)
    ]
    key = altair.Legend(title=None, orient="top", symbolType="stroke")
    dashes = altair.Scale(domain=[*lines], range=_DASHES[: len(lines)])
    colours = altair.Scale(domain=[*lines], range=COLOURS[: len(lines)])
    x_axis = altair.Axis(values=[0, 1, 10, 100, 1000, 10**4, 10**5]) if steps else altair.Axis()
    x_scale = altair.Scale(type="symlog" if steps else "linear", nice=False, zero=False)
    y_scale = altair.Scale(type="log" if log else "linear", nice=False)
    y_scale = y_scale if y is None else altair.Scale(**y_scale.to_dict(), domain=y)
    y_axis = (
        altair.Axis(values=[10.0**e for e in range(-6, 2)], format=".0e") if log else altair.Axis()
    )
    base = altair.Chart(altair.Data(values=rows)).encode(
        x=altair.X("x:Q", title=x_title, scale=x_scale, axis=x_axis),
        color=altair.Color("line:N", scale=colours, legend=key),
    )
    line = base.mark_line(strokeWidth=2, clip=bool(dots)).encode(
        y=altair.Y("mean:Q", scale=y_scale, axis=y_axis, title=None),
        strokeDash=altair.StrokeDash("line:N", scale=dashes, legend=key),
    )
    band = base.mark_area(opacity=0.18).encode(y=altair.Y("low:Q", title=None), y2="high:Q")
    tops = altair.Data(values=[{"x": a, "mean": b} for a, b in dots])
    dot = altair.Chart(tops).mark_circle(size=70, color="#1b1f24", opacity=1)
    dot = dot.encode(x="x:Q", y=altair.Y("mean:Q", title=None))
    chart = (line + band if not dots else line + dot).properties(width=420, height=210)
    chart = chart.configure_view(stroke=None).configure_axis(**AXES).configure_axisY(minExtent=34)
    return vl_convert.vegalite_to_svg(chart.configure_legend(**_LEGEND).to_dict())


_DASHES = ([1, 0], [7, 3], [2, 2], [9, 2, 2, 2])
"""So that lines are told apart in grey print."""

_LEGEND = {"labelFontSize": 12, "labelColor": "#1b1f24", "symbolSize": 400, "symbolOpacity": 1}


@torch.no_grad()
def _fields(nets: Mapping[int, nn.Module]) -> str:
    """Draw D over the plane at a few steps, then D*, as one SVG element."""
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    p, q = LEARNED["2-D"]
    side = torch.linspace(-4, 4, 161, dtype=torch.float64)
    x = torch.cartesian_prod(side, side).flip(1)
    fields = {f"step {step:,}": net(x).sigmoid() for step, net in nets.items()}
    fields["D*"] = best_logit(p, q, x).sigmoid()
    density = p.log_prob(x).exp().view(161, 161).numpy()
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    axes = figure.subplots(1, len(fields), sharey=True, squeeze=False)[0]
    colours = LinearSegmentedColormap.from_list("D", [COLOURS[1], "white", COLOURS[0]])
    for ax, (name, field) in zip(axes, fields.items(), strict=True):
        shown = ax.imshow(
            field.view(161, 161).numpy(),
            colours,
            vmin=0,
            vmax=1,
            origin="lower",
            extent=(-4, 4, -4, 4),
        )
        levels = density.max() * 0.1, density.max() * 0.5
        ax.contour(side.numpy(), side.numpy(), density, levels, colors="#1b1f24", linewidths=0.7)
        ax.set_title(name, fontsize=11)
        ax.set(xticks=[-4, 0, 4], yticks=[-4, 0, 4])
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0, labelsize=9, labelcolor="#4a4f57")
    bar = figure.colorbar(shown, ax=axes, ticks=[0, 0.5, 1], shrink=0.8, pad=0.01)
    bar.ax.set_title("D", fontsize=11)
    bar.outline.set_visible(False)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "ganatomy"}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue().partition("<svg")[2].join(("<svg", ""))
