"""The figures of a study: each seed's number by condition, and training curves."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ganatomy.figures.charts import Axis, Series
from ganatomy.pages.sections import POINTS
from ganatomy.runs.folder import Row

DECADE = 10.0
"""An axis is logarithmic where its largest number is more than so many times its least."""

NEAR = 3.0
"""A marked value is drawn while the axis that it takes is at most so many times that without it."""


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
