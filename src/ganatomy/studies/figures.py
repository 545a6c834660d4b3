"""Data of the figures of a study: the axes of dot plots, and curves with bands over seeds."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ganatomy.figures.charts import Axis, Series
from ganatomy.pages.sections import POINTS
from ganatomy.runs.folder import Row

DECADE = 10.0
"""Ratio of the largest to the smallest number above which an axis is logarithmic."""

NEAR = 3.0
"""Factor by which a marked value may lengthen the axis; beyond it, the value is not drawn."""


def axis(numbers: Sequence[float], marks: Sequence[tuple[str, float]]) -> Axis:
    """Choose the axis for some numbers, with room for marks (name and value) that are near."""
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


def bands(logs: Sequence[Sequence[Row]], field: str) -> Series:
    """Return a field of the logs of several seeds: mean, lowest and highest over seeds.

    Only steps that all seeds have logged count. If there are more than POINTS of them, neighboring
    steps of each seed are averaged first.
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
