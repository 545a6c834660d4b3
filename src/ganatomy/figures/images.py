"""Images: samples to pixels, grids, PNG bytes and curves."""

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def to_uint8(samples: Tensor) -> Tensor:
    """Turn samples in [-1, 1] into pixels 0 to 255, rounded, not truncated; values beyond clip."""
    return samples.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


GRID = 64
"""Samples in the grids that a run keeps, always of the same z."""


def grid(pixels: Tensor, columns: int = 8, gap: int = 2) -> Tensor:
    """Lay out uint8 images (N, C, H, W) row by row as one image (C, rows, columns)."""
    from torchvision.utils import make_grid  # a second of import, so only where it is needed

    laid = make_grid(pixels, nrow=columns, padding=gap, pad_value=32)
    return laid[: pixels.shape[1]]  # make_grid repeats grey three times


def ungrid(image: bytes, shape: tuple[int, ...], columns: int = 8, gap: int = 2) -> Tensor:
    """Cut a PNG of a grid back into its uint8 images (N, C, H, W), of this shape each.

    Raises:
        ValueError: if it is no PNG of such a grid.
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            array = np.asarray(opened)
    except OSError as error:
        raise ValueError(f"no readable PNG: {error}") from error
    channels, height, width = shape
    laid = torch.from_numpy(array.copy()).view(*array.shape[:2], -1).permute(2, 0, 1)
    rows, rest = divmod(laid.shape[1] - gap, height + gap)
    if rest or laid.shape[0] != channels or laid.shape[2] != columns * (width + gap) + gap:
        raise ValueError(f"{array.shape[1]} x {array.shape[0]} is no grid of {shape}")
    tiles = laid[:, gap:, gap:].unfold(1, height, height + gap).unfold(2, width, width + gap)
    return tiles.permute(1, 2, 0, 3, 4).reshape(rows * columns, *shape).contiguous()


POINTS = 2000
"""Samples in the scatter plots that a run on points keeps instead."""


def scatter(points: Tensor, side: int = 360) -> bytes:
    """Draw points (N, 2) as a PNG of the square from -1 to 1."""
    from matplotlib.figure import Figure  # a second of import, so only where it is needed

    figure = Figure(figsize=(side / 100, side / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    x, y = points.T.tolist()
    axes.scatter(x, y, s=2.5, color=COLOURS[0], alpha=0.5, linewidths=0)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=(), yticks=())
    axes.spines[:].set_color("#c8ccd1")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def png(image: Tensor) -> bytes:
    """Encode one uint8 image (C, H, W), C being 1 or 3, as PNG."""
    array = image.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def npz(samples: Tensor) -> bytes:
    """Encode samples as a compressed npz.

    Uint8 images (N, C, H, W) become the array images (N, H, W, C), points (N, D) become points.
    """
    buffer = io.BytesIO()
    if samples.ndim == 2:
        np.savez_compressed(buffer, points=samples.numpy())
    else:
        np.savez_compressed(buffer, images=samples.permute(0, 2, 3, 1).contiguous().numpy())
    return buffer.getvalue()


def encoded(samples: Tensor, suffix: str, columns: int = 8) -> bytes:
    """Encode samples in [-1, 1], images or points, as .npz or as one .png."""
    if samples.ndim == 2:
        return npz(samples) if suffix == ".npz" else scatter(samples)
    pixels = to_uint8(samples)
    return npz(pixels) if suffix == ".npz" else png(grid(pixels, columns))


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Told apart by people of every colour vision (Okabe and Ito 2008)."""


class Series(NamedTuple):
    """One line of a chart: x against the mean, lowest and highest y around it."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


DASHES = ((1, 0), (7, 3), (2, 2), (9, 2, 2, 2), (12, 3), (5, 2, 1, 2))
"""So that lines are told apart in grey print."""


def span(series: Sequence[Series]) -> tuple[float, float]:
    """Return the range of an axis that holds 0 and all means, so that one spike flattens nothing.

    Bands may leave it.
    """
    means = [mean for s in series for mean in s.mean] or [0.0, 1.0]
    return min(0.0, min(means) * 1.1), max(means) * 1.1


def curves(
    series: Sequence[Series],
    x_title: str,
    y_range: tuple[float, float] | None,
    dashed: bool = False,
) -> str:
    """Draw lines with bands on shared axes as an SVG element, coloured in their order.

    y_range None lets the means decide; dashed tells lines apart by DASHES too.
    """
    import altair  # a quarter second of import, so only where it is needed
    import vl_convert

    rows = [
        {"line": i, "x": x, "mean": m, "low": low, "high": high}
        for i, s in enumerate(series)
        for x, m, low, high in zip(s.x, s.mean, s.low, s.high, strict=True)
    ]
    numbers = list(range(len(series)))
    scale = altair.Scale(domain=y_range or span(series), clamp=True, nice=False)
    colours = altair.Scale(domain=numbers, range=COLOURS[: len(series)])
    base = altair.Chart(altair.Data(values=rows)).encode(
        x=altair.X("x:Q", title=x_title), color=altair.Color("line:N", scale=colours, legend=None)
    )
    band = base.mark_area(opacity=0.18).encode(
        y=altair.Y("low:Q", scale=scale, title=None), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2).encode(y=altair.Y("mean:Q", scale=scale, title=None))
    if dashed:
        dashes = altair.Scale(domain=numbers, range=DASHES[: len(series)])
        line = line.encode(strokeDash=altair.StrokeDash("line:N", scale=dashes, legend=None))
    chart = (band + line).properties(width=380, height=200).configure_view(stroke=None)
    chart = chart.configure_axis(**AXES).configure_axisY(minExtent=30)  # all charts of one size
    return vl_convert.vegalite_to_svg(chart.to_dict())


def class_counts_figure(
    pixels: Tensor, predicted: Tensor, classes: Sequence[str], expected: Sequence[float], form: str
) -> bytes:
    """Draw images with the class that a classifier sees in each, and a bar chart of the classes.

    Args:
        pixels: uint8 (N, C, H, W).
        predicted: class indices (N,).
        classes: what they are called.
        expected: how many of each class real data would have among N.
        form: png, svg or pdf.
    """
    from matplotlib.figure import Figure  # a second of import, so only where it is needed

    columns = math.ceil(len(pixels) ** 0.5)
    side, gap = pixels.shape[3], max(6, pixels.shape[3] // 3)
    figure = Figure(figsize=(13, 6.2), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    laid = F.pad(pixels, (1, gap, 1, 1), value=255)  # room on the right of each for its class
    sheet = grid(laid, columns, gap=0).permute(1, 2, 0).numpy()
    left.imshow(sheet.repeat(3, 2) if sheet.shape[2] == 1 else sheet, interpolation="nearest")
    left.set_axis_off()
    for i, c in enumerate(predicted.tolist()):
        place = (i % columns * (side + gap + 1) + side + 2, (i // columns + 0.5) * (side + 2))
        left.text(*place, classes[c][:3], va="center", fontsize=110 / columns, color=COLOURS[1])
    counts = predicted.bincount(minlength=len(classes)).numpy()
    bars = right.bar(range(len(classes)), counts, color=COLOURS[0])
    right.bar_label(bars, fontsize=9)
    marks = {"color": COLOURS[1], "linewidth": 2, "label": "expected of real data"}
    right.stairs(expected, np.arange(len(classes) + 1) - 0.5, baseline=None, **marks)
    right.set_xticks(range(len(classes)), classes, rotation=0 if len(classes[0]) < 3 else 60)
    right.set(xlabel="predicted class", ylabel=f"of {len(pixels)} samples")
    right.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form)
    return buffer.getvalue()


AXES: dict[str, Any] = {
    "gridColor": "#e6e8eb",
    "domainColor": "#9aa0a6",
    "tickColor": "#9aa0a6",
    "labelColor": "#4a4f57",
    "titleColor": "#4a4f57",
    "titleFontWeight": "normal",
    "labelFontSize": 12,
    "titleFontSize": 12,
}
"""How the axes of every chart look, as Altair takes it."""
