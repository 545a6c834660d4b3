"""The page of the theory: findings, and the curves behind them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganatomy.figures.charts import COLORS, Series, curves, svg
from ganatomy.pages.page import Page, render
from ganatomy.theory.densities import Mixture, modes
from ganatomy.theory.findings import COLLAPSED, LEARNED, NORMAL, START, Descent, Findings, Spread
from ganatomy.theory.game import best_logit, criterion, logit_slope, pull

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = {"minimax": "log(1 − D)", "non_saturating": "−log D"}
"""Names of the generator's two losses in charts."""

_chart = partial(curves, legend=True)
_FAR = [i / 5 for i in range(51)]


def page(found: Findings) -> Page:
    """Return the page of findings, with the discriminators of the first seed."""
    one, two = (found.trained[pair][0] for pair in ("1-D", "2-D"))
    charts = {
        "shifted": _best(NORMAL, modes(1.0, (2.0,)), (-4, 6)),
        "collapsed": _best(*COLLAPSED, (-6.5, 6.5)),
        "pointwise": _pointwise(),
        "criterion": _criterion(),
        "learned": _learned(one),
        "error": _approach({(row.pair, row.step): row.error for row in found.learning}),
        "short": _approach({(row.pair, row.step): row.short for row in found.learning}),
        "pull": _pull(),
        "slopes": _slopes(),
        "descents": _descents(found.descents),
    }
    fields = _fields({step: two[step] for step in _few(two)})
    return render("theory.html", found=found, charts=charts, fields=fields, learned_pairs=LEARNED)


def _best(p: Mixture, q: Mixture, span: tuple[float, float]) -> str:
    x = torch.linspace(*span, 241, dtype=torch.float64)[:, None]
    drawn = (best_logit(p, q, x).sigmoid(), p.log_prob(x).exp(), q.log_prob(x).exp())
    names = ("D*", "density of the data", "of the generator")
    return _chart({n: _line(x, y) for n, y in zip(names, drawn, strict=True)}, "x", y_range=(0, 1))


def _pointwise() -> str:
    y = torch.linspace(0.001, 0.999, 250, dtype=torch.float64)
    shares = (0.2, 0.5, 0.9)
    lines = {
        f"a = {a:g}, b = {1 - a:.1f}": _line(y, a * y.log() + (1 - a) * (1 - y).log())
        for a in shares
    }
    tops = [(a, a * math.log(a) + (1 - a) * math.log(1 - a)) for a in shares]
    return _chart(lines, "y", y_range=(-2, 0), dots=tops)


def _criterion() -> str:
    lines = {
        "C(G)": _line(_FAR, [criterion(NORMAL, modes(1.0, (d,))) for d in _FAR]),
        "0: wholly apart": _line([0, 10], [0, 0]),
        "−log 4: equal": _line([0, 10], [-math.log(4)] * 2),
    }
    return _chart(lines, "distance of the generator's mean", y_range=(-1.5, 0.1))


def _learned(nets: Mapping[int, nn.Module]) -> str:
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)[:, None]
    best = {"D*": _line(x, best_logit(*LEARNED["1-D"], x).sigmoid())}
    steps = {f"step {n:,}": _line(x, nets[n](x).detach().sigmoid()) for n in _few(nets)}
    return _chart(best | steps, "x", y_range=(0, 1))


def _few(steps: Iterable[int]) -> list[int]:
    """Choose three of the steps: the first, about the hundredth, the last."""
    known = sorted(steps)
    return sorted({0, max(step for step in known if step <= 100), known[-1]})


def _approach(spreads: Mapping[tuple[str, int], Spread]) -> str:
    lines = {}
    for pair in LEARNED:
        own = [(step, spread) for (name, step), spread in spreads.items() if name == pair]
        lines[pair] = Series(
            [float(step) for step, _ in own],
            [spread.mean for _, spread in own],
            [spread.low for _, spread in own],
            [spread.high for _, spread in own],
        )
    return _chart(lines, "step", steps=True)


def _pull() -> str:
    lines = {}
    for loss, name in SIDES.items():
        pulls = [pull(NORMAL, modes(1.0, (d,)), loss) for d in _FAR[1:]]
        lines[name] = _line(_FAR[1:], torch.cat(pulls))
    return _chart(lines, "distance of the generator's mean", y_range=(1e-6, 10), log=True)


def _slopes() -> str:
    logits = torch.linspace(-8, 8, 161, dtype=torch.float64)
    lines = {name: _line(logits, logit_slope(logits, loss).abs()) for loss, name in SIDES.items()}
    return _chart(lines, "logit of D(G(z))", y_range=(0, 1))


def _descents(rows: Sequence[Descent]) -> str:
    lines = {SIDES[row.loss]: _line(range(len(row.means)), row.means) for row in rows}
    return _chart(lines, "step of the generator", y_range=(0, START))


def _line(x: Tensor | Sequence[float], y: Tensor | Sequence[float]) -> Series:
    xs, ys = (torch.as_tensor(values, dtype=torch.float64).flatten().tolist() for values in (x, y))
    return Series(xs, ys, ys, ys)


@svg
@torch.no_grad()
def _fields(nets: Mapping[int, nn.Module]) -> "Figure":
    """Draw D over the plane at a few steps, then D*."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    p, q = LEARNED["2-D"]
    side = torch.linspace(-4, 4, 161, dtype=torch.float64)
    x = torch.cartesian_prod(side, side).flip(1)
    fields = {f"step {step:,}": net(x).sigmoid() for step, net in nets.items()}
    fields["D*"] = best_logit(p, q, x).sigmoid()
    density = p.log_prob(x).exp().view(161, 161).numpy()
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    colors = LinearSegmentedColormap.from_list("D", [COLORS[1], "white", COLORS[0]])
    how = {"cmap": colors, "vmin": 0, "vmax": 1, "origin": "lower", "extent": (-4, 4, -4, 4)}
    axes = figure.subplots(1, len(fields), sharey=True, squeeze=False)[0]
    for ax, (name, field) in zip(axes, fields.items(), strict=True):
        shown = ax.imshow(field.view(161, 161).numpy(), **how)
        levels = density.max() * 0.1, density.max() * 0.5
        ax.contour(side.numpy(), side.numpy(), density, levels, colors="#222222", linewidths=0.7)
        ax.set_title(name, fontsize=12)
        ax.set(xticks=[-4, 0, 4], yticks=[-4, 0, 4])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=axes, ticks=[0, 0.5, 1], shrink=0.8, pad=0.01)
    bar.ax.set_title("D", fontsize=12)
    bar.outline.set_visible(False)
    return figure
