"""The classes that a classifier predicts for samples, as a figure."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from ganatomy.figures.charts import COLORS, encode, style
from ganatomy.figures.images import grid


def class_counts(
    pixels: Tensor, predicted: Tensor, classes: Sequence[str], expected: Sequence[float], form: str
) -> bytes:
    """Draw images with their predicted classes next to a bar chart of the class counts.

    Args:
        pixels: uint8 (N, C, H, W).
        predicted: class indices (N,).
        classes: names of the classes.
        expected: number of images of each class among N real images.
        form: png, svg or pdf.
    """
    from matplotlib.figure import Figure  # half a second of import

    columns = math.ceil(len(pixels) ** 0.5)
    side, gap = pixels.shape[3], max(6, pixels.shape[3] // 3)
    laid = F.pad(pixels, (1, gap, 1, 1), value=255)  # room for the class on the right of each image
    sheet = grid(laid, columns, gap=0).permute(1, 2, 0).numpy()
    with style():
        figure = Figure(figsize=(13, 6.2), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        left.imshow(sheet.repeat(3, 2) if sheet.shape[2] == 1 else sheet, interpolation="nearest")
        left.set_axis_off()
        for i, c in enumerate(predicted.tolist()):
            place = (i % columns * (side + gap + 1) + side + 2, (i // columns + 0.5) * (side + 2))
            how = {"va": "center", "fontsize": 110 / columns, "color": COLORS[1]}
            left.text(*place, classes[c][:3], **how)
        counts = predicted.bincount(minlength=len(classes)).tolist()
        right.bar_label(right.bar(range(len(classes)), counts, color=COLORS[0]), padding=2)
        edges = [c - 0.5 for c in range(len(classes) + 1)]
        how = {"color": COLORS[1], "linewidth": 2, "label": "expected for real images"}
        right.stairs(expected, edges, baseline=None, **how)
        right.set_xticks(range(len(classes)), classes, rotation=0 if len(classes[0]) < 3 else 60)
        right.set(xlabel="predicted class", ylabel=f"images of {len(pixels)}")
        right.grid(visible=False, axis="x")
        right.legend()
        return encode(figure, form)
