"""Degrade real digits step by step, measure each step, and write the tables of docs/metrics.md.

python scripts/metric_curves.py DATA_ROOT [--n N] [--json FILE] [--from FILE]
DATA_ROOT contains MNIST/raw. --json writes the measurements to a file instead of the page, and
--from writes the page from such a file.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from planting import noisy, some
from tables import DOCS, machine, number, put, table
from torch import Tensor
from torch.nn import functional as F

from ganatomy.data import Samples, load
from ganatomy.evaluation import evaluate
from ganatomy.evaluation.metrics import value
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.figures.charts import COLORS

COLUMNS = (
    "fd",
    "fd_infinity",
    "kid",
    "score",
    "precision",
    "recall",
    "density",
    "coverage",
    "diversity",
    "class_diversity",
    "missing",
    "near_duplicates",
    "memorized",
)

_SHARE = (-0.05, 1.08)
DRAWN: dict[str, tuple[str, tuple[float, float]]] = {
    "fd": ("FD", (0, 1e4)),
    "precision": ("precision", _SHARE),
    "recall": ("recall", _SHARE),
    "coverage": ("coverage", _SHARE),
    "score": ("score", (0.5, 10.8)),
    "near_duplicates": ("near duplicates", _SHARE),
}
"""value with a row in the figure -> label and limits of the axis"""


class Damage(NamedTuple):
    """A kind of degradation."""

    title: str
    unit: str
    levels: tuple[float, ...]
    """from none to most"""
    harm: Callable[[Samples, int, float, torch.Generator], Tensor]
    """(real images, n, level, randomness) -> up to n images"""


def dropped(real: Samples, n: int, level: float, rng: torch.Generator) -> Tensor:
    """Leave out the first classes; fewer images remain, since repeating some is another damage."""
    return some(real.values[real.labels >= level], n, rng)


def noised(real: Samples, n: int, level: float, rng: torch.Generator) -> Tensor:
    """Add Gaussian noise to every pixel."""
    return noisy(some(real.values, n, rng), level, rng)


def repeated(real: Samples, n: int, level: float, rng: torch.Generator) -> Tensor:
    """Repeat each of n / level distinct images."""
    distinct = some(real.values, round(n / level), rng)
    return distinct[torch.arange(n) % len(distinct)]


def blurred(real: Samples, n: int, level: float, rng: torch.Generator) -> Tensor:
    """Blur with a Gaussian."""
    images = some(real.values, n, rng)
    if level == 0:
        return images
    reach = torch.arange(-9, 10).float()
    weights = (-(reach**2) / (2 * level**2)).exp()
    weights /= weights.sum()
    smooth = F.conv2d(images.float(), weights.view(1, 1, 1, -1), padding=(0, 9))
    smooth = F.conv2d(smooth, weights.view(1, 1, -1, 1), padding=(9, 0))
    return smooth.round().clamp(0, 255).to(torch.uint8)


def mixed(real: Samples, n: int, level: float, rng: torch.Generator) -> Tensor:
    """Replace a share of the images by uniform noise."""
    images = some(real.values, n, rng).clone()
    lost = round(level / 100 * n)
    noise = torch.randint(0, 256, (lost, *real.shape), generator=rng)
    images[:lost] = noise.to(torch.uint8)
    return images


DAMAGES: dict[str, Damage] = {
    "classes": Damage("Classes dropped", "of 10", (0, 1, 2, 4, 6, 8, 9), dropped),
    "noise": Damage("Gaussian pixel noise", "sd of 255", (0, 8, 16, 32, 64, 128), noised),
    "blur": Damage("Gaussian blur", "sd in pixels", (0, 0.5, 1, 2, 4), blurred),
    "repeats": Damage("Images repeated", "times each", (1, 2, 5, 10, 100), repeated),
    "mixture": Damage("Mixed with uniform noise", "% of noise", (0, 1, 5, 20, 50, 100), mixed),
}
"""name -> damage"""


def measure(real: Samples, ref: Reference) -> dict[str, list[dict[str, Any]]]:
    """Measure every level of every damage with all metrics."""
    n = ref.protocol.n
    found: dict[str, list[dict[str, Any]]] = {}
    for name, damage in DAMAGES.items():
        found[name] = []
        for level in damage.levels:
            images = damage.harm(real, n, level, torch.Generator().manual_seed(0))
            e = evaluate.evaluate(images, ref)
            found[name].append({"level": level} | e.to_dict())
            print(name, level, number(e["fd"]), flush=True)
    return found


def tables(found: dict[str, list[dict[str, Any]]]) -> str:
    """Write a table for each damage, whose first row is undamaged, and the protocol."""
    parts = []
    for name, rows in found.items():
        damage = DAMAGES[name]
        lines = [
            [
                f"{row['level']:g}",
                f"{row['n']:,}",
                *(number(row["values"][k]["value"]) for k in COLUMNS),
            ]
            for row in rows
        ]
        head = [damage.unit, "n", *(value(k).title + value(k).arrow for k in COLUMNS)]
        parts.append(f"**{damage.title}**\n\n{table(head, lines)}")
    row = next(iter(found.values()))[0]
    real_scores = [number(row["values"][k]["real"] or 0) for k in COLUMNS]
    parts.append(
        f"**Real score**: {row['real_n']:,} held-out real images, "
        f"{row['protocol']} [{row['fingerprint']}]\n\n"
        + table(["", *(value(k).title + value(k).arrow for k in COLUMNS)], [["real", *real_scores]])
    )
    return "\n\n".join([*parts, machine()])


def figure(found: dict[str, list[dict[str, Any]]]) -> bytes:
    """Draw a grid of charts with intervals: a column for each damage, a row for each value."""
    size = (2.3 * len(found), 1.35 * len(DRAWN))
    drawn = Figure(figsize=size, dpi=110, layout="constrained")
    axes = drawn.subplots(len(DRAWN), len(found), sharex="col", sharey="row")
    for row, (name, (label, limits)) in enumerate(DRAWN.items()):
        for column, (damage, measured) in enumerate(found.items()):
            ax = axes[row, column]
            x = range(len(measured))
            values = [m["values"][name] for m in measured]
            y = [v["value"] for v in values]
            ax.plot(x, y, "o-", color=COLORS[row], markersize=3, linewidth=1.4)
            if values[0]["low"] is not None:
                low, high = ([v[end] for v in values] for end in ("low", "high"))
                ax.fill_between(x, low, high, color=COLORS[row], alpha=0.2, linewidth=0)
            ax.spines[["top", "right"]].set_visible(False)
            ax.tick_params(labelsize=7)
            ax.grid(axis="y", color="#e6e8eb", linewidth=0.6)
            if name == "fd":
                ax.set_yscale("symlog", linthresh=1)
                ax.set_title(DAMAGES[damage].title, fontsize=9)
            ax.set_ylim(limits)
            if column == 0:
                ax.set_ylabel(label, fontsize=9)
            if row == len(DRAWN) - 1:
                ax.set_xticks(x, [f"{m['level']:g}" for m in measured])
                ax.set_xlabel(DAMAGES[damage].unit, fontsize=8)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png")
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", type=Path, dest="earlier")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.earlier:
        found = json.loads(given.earlier.read_text())
    else:
        protocol = preset("classifier-10k").replace(n=given.n)
        ref = reference(protocol, "mnist10k", EvalOptions(given.data_root))
        alike = ref.protocol.replace(mode="given", weights="given")
        found = measure(load("mnist", given.data_root, "test"), ref._replace(protocol=alike))
    if given.json:
        given.json.write_text(json.dumps(found))
    else:
        (DOCS / "metrics.png").write_bytes(figure(found))
        put(tables(found), "metrics.md")


if __name__ == "__main__":
    main()
