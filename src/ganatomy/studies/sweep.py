"""All studies of the reports in one call, within a budget of time, the quickest claims first."""

import dataclasses
import functools
import math
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganatomy.recipes.recipe import RunOptions
from ganatomy.studies.agenda import (
    Plan,
    begin_all,
    conclude_all,
    interpolated,
    jobs_of,
    ordered,
    unfinished,
)
from ganatomy.studies.archive import pack, unpack
from ganatomy.studies.executors.local import Failure, serial
from ganatomy.studies.job import Job
from ganatomy.studies.pacing import Pacing
from ganatomy.studies.reports import STUDIES
from ganatomy.studies.result import StudyResult
from ganatomy.studies.run import Progress, each, fuses
from ganatomy.studies.study import Study
from ganatomy.studies.trainings import Training, groups, run_training, train_group, trainings

UNITS = {"s": 1, "m": 60, "h": 3600}
"""Seconds of the units of a budget."""

TIMING = 0.05
"""Largest part of a budget in which steps are timed, to plan."""


@dataclass(frozen=True)
class Left:
    """What a study has left."""

    study: str
    runs: int
    """runs that are not measured to the end"""
    seconds: int
    """expected time of their training; a run of several studies counts for each of them"""


@dataclass(frozen=True)
class Sweep:
    """The state of several studies after a call of study_all."""

    results: Mapping[str, StudyResult]
    """result of each finished study, by name"""
    left: tuple[Left, ...]
    """the studies that are not finished, in the order in which they will be"""
    seconds: int
    """expected time of all training that is left"""
    refused: Mapping[str, str]
    """reason why a study cannot begin or has no verdict, by name"""

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as JSON holds it."""
        results = {name: result.to_dict() for name, result in self.results.items()}
        left = [*map(dataclasses.asdict, self.left)]
        refused = dict(self.refused)
        return {"results": results, "left": left, "seconds": self.seconds, "refused": refused}


def study_all(
    out: str | Path = "studies",
    *,
    studies: Sequence[Study | str | Path] = tuple(STUDIES),
    budget: float | str | None = None,
    seeds: int | None = None,
    scale: float = 1.0,
    fused: bool | None = None,
    options: RunOptions | None = None,
    plan: bool = False,
    archive: str | Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Run the studies of the reports until a budget of time is used; the same call continues.

    Studies share their runs, which are trained in an order that decides many claims soon. When the
    budget is used, the runs in training are saved. A study that is finished then has its files.

    >>> gan.study_all(budget="9m").left

    Args:
        out: folder with a folder for each study, and with runs, a folder of the runs of all.
        studies: names, files or studies; by default those of the reports.
        budget: seconds, or text such as "90s", "9m" or "2h"; None means no limit. What is in
            measurement then is finished, and pages are written, which takes some seconds more.
        seeds: runs of each condition; None means each study's own number.
        scale: factor in (0, 1] for the steps of every run.
        fused: as in study.
        options: how runs are carried out.
        plan: only say what is left, with times.
        archive: file that ends in .tar.gz; its runs, if it is there, are added to out first, and
            studies and runs are written to it in the end.
        progress: as in study.

    Raises:
        ValueError: as study does, for a budget that is not a time, if no study can begin, or for an
            archive that is damaged, or has runs of another recipe, protocol, data or version.
        KeyboardInterrupt: after a stop signal, once the state is saved.
    """
    begun, limit = time.monotonic(), seconds_of(budget)
    options = options or RunOptions()
    together = fuses(1, None, fused, options.device)
    out, file = Path(out), archive_file(archive)
    if file and file.exists() and not plan:
        unpack(file, out, jobs_of(studies, out, seeds, scale, options))
    plans, refused = begin_all(studies, out, seeds, scale, options, plan)
    runs = trainings([job for p in plans for job in p.jobs])
    pacing = Pacing(runs, math.inf if plan else begun + TIMING * limit)
    waiting = [run for run in runs if unfinished(run)]
    units = groups(waiting) if together else [[run] for run in waiting]
    plans, todo = ordered(plans, units, pacing)
    found: dict[str, StudyResult] = {}
    if not plan:
        _warn_of_little(runs, pacing, limit)
        try:
            new = _work(todo, begun + limit, together, progress)
            found, more = conclude_all(plans, new, scale)
        finally:
            if file:
                pack(file, out, runs, interpolated(plans, found))
        refused |= more
        pacing.read()
    left = [_left(p, runs, pacing) for p in plans if p.study.name not in {*found, *refused}]
    return Sweep(found, tuple(left), round(pacing.seconds(runs)), refused)


def seconds_of(budget: float | str | None) -> float:
    """Return the seconds of a budget; infinity for None.

    Raises:
        ValueError: for text of another form, or a time that is not above 0.
    """
    if isinstance(budget, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smh])", budget)
        budget = float(found[1]) * UNITS[found[2]] if found else 0.0
    if budget is not None and not budget > 0:
        raise ValueError('a budget is a time above 0 with its unit, such as "90s", "9m" or "2h"')
    if budget is not None and threading.current_thread() is not threading.main_thread():
        raise ValueError("a budget stops training by a signal, which only the main thread receives")
    return math.inf if budget is None else budget


def archive_file(archive: str | Path | None) -> Path | None:
    """Return the file of an archive.

    Raises:
        ValueError: if its name has another ending.
    """
    if archive is not None and not str(archive).endswith(".tar.gz"):
        raise ValueError(f"an archive ends in .tar.gz, got {archive}")
    return Path(archive) if archive else None


def _warn_of_little(runs: Sequence[Training], pacing: Pacing, limit: float) -> None:
    times = [pacing.seconds([run]) for run in runs if run.left()]
    if times and min(times) > limit:
        warnings.warn(
            f"a budget of {limit:.0f} s is too small for one run: the shortest takes about "
            f"{math.ceil(min(times))} s more; it begins, and the same command continues it",
            stacklevel=3,
        )


def _work(
    todo: Sequence[list[Training]], until: float, together: bool, progress: Progress | None
) -> dict[Job, float | Failure]:
    """Train and measure runs until a time, and return what came of them."""
    jobs = [job for unit in todo for run in unit for job in run.jobs]
    outcomes = _outcomes(todo, until, together)
    return dict(progress(jobs, outcomes) if progress else outcomes)


def _outcomes(
    todo: Sequence[list[Training]], until: float, together: bool
) -> Iterator[tuple[Job, float | Failure]]:
    one = functools.partial(run_training, until=until)
    for unit in todo:
        if time.monotonic() >= until:
            return
        try:
            ready = train_group(unit, until) if together else unit
            for run, came in serial(one, ready, 1):
                yield from each(run, came)
                if time.monotonic() >= until:
                    return
        except KeyboardInterrupt:
            if time.monotonic() < until:
                raise
            return


def _left(p: Plan, runs: Sequence[Training], pacing: Pacing) -> Left:
    folders = {job.folder for job in p.jobs}
    own = [run for run in runs if run.folder in folders and unfinished(run)]
    return Left(p.study.name, len(own), round(pacing.seconds(own)))
