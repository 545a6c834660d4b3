"""All studies of the reports in one call, within a budget of time, the quickest claims first."""

import contextlib
import dataclasses
import functools
import json
import math
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ganatomy.recipes.recipe import RunOptions
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.archive import pack, unpack
from ganatomy.studies.executors.local import Failure, serial
from ganatomy.studies.pacing import Pacing
from ganatomy.studies.reports import STUDIES
from ganatomy.studies.result import StudyResult
from ganatomy.studies.run import Progress, conclude, each, fuses, prepare, repeat
from ganatomy.studies.study import Job, Study, begin, measurable
from ganatomy.studies.trainings import Training, groups, run_training, train_group, trainings

UNITS = {"s": 1, "m": 60, "h": 3600}
"""Seconds of the units of a budget."""

TIMING = 0.1
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


class _Plan(NamedTuple):
    """A study with its folder and its jobs."""

    study: Study
    folder: Path
    jobs: list[Job]
    command: str
    """that repeats it"""


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
        unpack(file, out, _jobs(studies, out, seeds, scale, options))
    plans, refused = _plans(studies, out, seeds, scale, options, plan)
    runs = trainings([job for p in plans for job in p.jobs])
    pacing = Pacing(runs, math.inf if plan else begun + TIMING * limit)
    unfinished = [run for run in runs if _unfinished(run)]
    units = groups(unfinished) if together else [[run] for run in unfinished]
    plans, todo = _ordered(plans, units, pacing)
    found: dict[str, StudyResult] = {}
    if not plan:
        _warn_of_little(runs, pacing, limit)
        try:
            new = _work(todo, begun + limit, together, progress)
            found, more = _conclude(plans, new, scale)
        finally:
            if file:
                pack(file, out, runs, _interpolated(plans, found))
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
    return math.inf if budget is None else budget


def archive_file(archive: str | Path | None) -> Path | None:
    """Return the file of an archive.

    Raises:
        ValueError: if its name has another ending.
    """
    if archive is not None and not str(archive).endswith(".tar.gz"):
        raise ValueError(f"an archive ends in .tar.gz, got {archive}")
    return Path(archive) if archive else None


def _jobs(
    studies: Sequence[Study | str | Path],
    out: Path,
    seeds: int | None,
    scale: float,
    options: RunOptions,
) -> list[Job]:
    """Return the jobs of all studies that can be prepared."""
    found = list[Job]()
    for study in studies:
        with contextlib.suppress(ValueError):
            found += prepare(study, None, seeds, 1, scale, options, out / "runs")[2]
    return found


def _interpolated(plans: Sequence[_Plan], found: Mapping[str, StudyResult]) -> set[Path]:
    """Return the runs whose weights a claim that is not decided yet reads."""
    return {
        job.folder
        for p in plans
        if p.study.name not in found
        and any(c.metric.startswith("interpolation:") for c in p.study.claims)
        for job in p.jobs
    }


def _plans(
    studies: Sequence[Study | str | Path],
    out: Path,
    seeds: int | None,
    scale: float,
    options: RunOptions,
    plan: bool,
) -> tuple[list[_Plan], dict[str, str]]:
    """Return the studies that can begin, and why the others cannot."""
    plans, refused = list[_Plan](), dict[str, str]()
    for study in studies:
        name = study.name if isinstance(study, Study) else Path(study).stem
        try:
            found, folder, jobs = prepare(study, out / name, seeds, 1, scale, options, out / "runs")
            measurable(found, jobs[0].options)
            if not plan:
                begin(found, folder, scale)
        except ValueError as error:
            refused[name] = str(error)
        else:
            command = repeat(study, seeds, scale, 1, None, options.precision)
            plans.append(_Plan(found, folder, jobs, command))
    if not plans:
        raise ValueError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    return plans, refused


def _ordered(
    plans: Sequence[_Plan], units: Sequence[list[Training]], pacing: Pacing
) -> tuple[list[_Plan], list[list[Training]]]:
    """Return studies and units of runs, those first that decide most claims in a second."""
    waiting, left, ordered, work = list(plans), list(units), list[_Plan](), list[list[Training]]()
    while waiting:
        needs = [
            [unit for unit in left if any(job in p.jobs for run in unit for job in run.jobs)]
            for p in waiting
        ]
        times = [1 + sum(map(pacing.seconds, need)) for need in needs]
        best = max(range(len(waiting)), key=lambda i: len(waiting[i].study.claims) / times[i])
        ordered.append(waiting.pop(best))
        work += sorted(needs[best], key=pacing.seconds)
        left = [unit for unit in left if unit not in needs[best]]
    return ordered, work


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


def _unfinished(run: Training) -> bool:
    with contextlib.suppress(DamagedError):
        return bool(run.unmeasured())
    return True


def _conclude(
    plans: Sequence[_Plan], new: Mapping[Job, float | Failure], scale: float
) -> tuple[dict[str, StudyResult], dict[str, str]]:
    """Return the results of finished studies, and why others have none."""
    found, refused = dict[str, StudyResult](), dict[str, str]()
    for p in plans:
        results = dict(_results(p.jobs, new))
        file = p.folder / "verdicts.json"
        if len(results) < len(set(p.jobs)):
            continue
        if file.exists() and not new.keys() & set(p.jobs):
            result = StudyResult.from_dict(json.loads(file.read_text()))
            found[p.study.name] = dataclasses.replace(result, path=p.folder)
            continue
        try:
            found[p.study.name] = conclude(p.study, p.folder, p.jobs, results, scale, p.command)
        except ValueError as error:
            refused[p.study.name] = str(error)
    return found, refused


def _results(
    jobs: Sequence[Job], new: Mapping[Job, float | Failure]
) -> Iterator[tuple[Job, float | Failure]]:
    """Yield the jobs that have a result, new or from an earlier call."""
    for job in jobs:
        if job in new:
            yield job, new[job]
        elif (evaluation := job.evaluation()) is not None:
            yield job, evaluation["fd"]


def _left(p: _Plan, runs: Sequence[Training], pacing: Pacing) -> Left:
    folders = {job.folder for job in p.jobs}
    own = [run for run in runs if run.folder in folders and _unfinished(run)]
    return Left(p.study.name, len(own), round(pacing.seconds(own)))
