"""Pictures: samples to pixels, grids, PNG bytes and curves."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_uint8(samples: Tensor) -> Tensor:
    """Turn samples in [-1, 1] into pixels 0 to 255, rounded, not truncated; values beyond clip."""
    return samples.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def grid(pixels: Tensor, columns: int = 8, gap: int = 2) -> Tensor:
    """Lay out uint8 pictures (N, C, H, W) row by row as one picture (C, rows, columns)."""
    from torchvision.utils import make_grid  # a second of import, so only where it is needed

    laid = make_grid(pixels, nrow=columns, padding=gap, pad_value=32)
    return laid[: pixels.shape[1]]  # make_grid repeats grey three times


def png(picture: Tensor) -> bytes:
    """Encode one uint8 picture (C, H, W), C being 1 or 3, as PNG."""
    array = picture.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def npz(pixels: Tensor) -> bytes:
    """Encode uint8 pictures (N, C, H, W) as a compressed npz: array images, uint8 (N, H, W, C)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=pixels.permute(0, 2, 3, 1).contiguous().numpy())
    return buffer.getvalue()


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Told apart by people of every colour vision (Okabe and Ito 2008)."""


class Series(NamedTuple):
    """One line of a chart: x against the mean, lowest and highest y around it."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def curves(series: Sequence[Series], x_title: str, y_range: tuple[float, float] | None) -> str:
    """Draw lines with bands on shared axes as an SVG element, coloured in their order.

    y_range None lets the means decide, so that one spike of a loss does not flatten the rest.
    """
    import altair  # a quarter second of import, so only where it is needed
    import vl_convert

    rows = [
        {"line": i, "x": x, "mean": m, "low": low, "high": high}
        for i, s in enumerate(series)
        for x, m, low, high in zip(s.x, s.mean, s.low, s.high, strict=True)
    ]
    top = max((m for s in series for m in s.mean), default=1.0)
    bottom = min((m for s in series for m in s.mean), default=0.0)
    scale = altair.Scale(
        domain=y_range or (min(0.0, bottom * 1.1), top * 1.1), clamp=True, nice=False
    )
    colour = altair.Color(
        "line:N",
        scale=altair.Scale(domain=list(range(len(series))), range=COLOURS[: len(series)]),
        legend=None,
    )
    base = altair.Chart(altair.Data(values=rows)).encode(
        x=altair.X("x:Q", title=x_title), color=colour
    )
    band = base.mark_area(opacity=0.18).encode(
        y=altair.Y("low:Q", scale=scale, title=None), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2).encode(y=altair.Y("mean:Q", scale=scale, title=None))
    chart = (band + line).properties(width=420, height=210).configure_view(stroke=None)
    chart = chart.configure_axis(**_AXES).configure_axisY(minExtent=30)  # all charts of one size
    return vl_convert.vegalite_to_svg(chart.to_dict())


_AXES = {
    "gridColor": "#e6e8eb",
    "domainColor": "#9aa0a6",
    "tickColor": "#9aa0a6",
    "labelColor": "#4a4f57",
    "titleColor": "#4a4f57",
    "titleFontWeight": "normal",
    "labelFontSize": 12,
    "titleFontSize": 12,
}
