"""Curves of claims: what conditions of one recipe measure at several lengths, by epoch."""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganatomy.figures.charts import COLORS, DASHES, Series, curves
from ganatomy.studies.claim import Claim, values_of
from ganatomy.studies.figures import axis
from ganatomy.studies.result import StudyResult
from ganatomy.studies.tables import Finished, by_condition

Lines = Mapping[str, Sequence[list[Finished]]]
"""name -> the finished runs of each condition, the shortest condition first."""


def lengths(found: StudyResult, runs: Sequence[Finished]) -> dict[str, Any]:
    """Draw each measured quantity of claims by epoch, if conditions are lengths of one run.

    Returns:
        The `key` (name, color and dashes of each line) and the `charts` (`title`, `svg`, and `log`:
        whether the axis is logarithmic). It is empty if there are no such conditions.
    """
    lines = dict([*several(runs).items()][: len(COLORS)])
    claims = {f.measure.partition(";")[0]: f.claim for f in found.claims if f.claim.group}
    if not lines or not claims:
        return {}
    charts = []
    for title, claim in claims.items():
        series = {name: _series(claim, conditions) for name, conditions in lines.items()}
        shown = axis([x for line in series.values() for x in (*line.low, *line.high)], [])
        marks = [point for line in series.values() for point in zip(line.x, line.mean, strict=True)]
        svg = curves(series, "epoch", shown[:2], log=shown.log, dots=marks)
        charts.append({"title": title, "svg": svg, "log": shown.log})
    return {"key": list(zip(lines, COLORS, DASHES, strict=False)), "charts": charts}


def several(runs: Sequence[Finished]) -> Lines:
    """Return the conditions that are two or more lengths of one run, by what their names share."""
    groups: dict[Path, list[list[Finished]]] = {}
    for seeds in by_condition(runs).values():
        groups.setdefault(seeds[0].job.folder, []).append(seeds)
    return {
        _name([seeds[0].job.condition for seeds in group]): sorted(
            group, key=lambda seeds: seeds[0].job.point.step
        )
        for group in groups.values()
        if len({seeds[0].job.point.step for seeds in group}) > 1
    }


def _name(conditions: Sequence[str]) -> str:
    """Return the beginning that names share, without a part of a number; or else the first name."""
    letters = itertools.takewhile(lambda found: len({*found}) == 1, zip(*conditions, strict=False))
    shared = "".join(found[0] for found in letters)
    if any(name[len(shared) : len(shared) + 1].isdecimal() for name in conditions):
        shared = re.sub(r"\d+$", "", shared)
    return shared.rstrip(" .,=+-_") or conditions[0]


def _series(claim: Claim, conditions: Sequence[list[Finished]]) -> Series:
    """Return mean, lowest and highest number over seeds at the epoch of each condition."""
    points = []
    for seeds in conditions:
        values = [values_of(claim, run.job.point) for run in seeds]
        means = [sum(found) / len(found) for found in values]
        points.append((_epoch(seeds[0]), sum(means) / len(means), min(means), max(means)))
    return Series(*map(list, zip(*points, strict=True)))


def _epoch(run: Finished) -> float:
    """Return the epochs of a run at the step of its job."""
    last = run.logs[-1]
    return float(last["epoch"] * run.job.point.step / last["step"])
