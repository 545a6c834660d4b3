"""The studies of one call together: their jobs, the order of their runs, and their ends."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ganatomy.recipes.recipe import RunOptions
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.executors.outcome import Failure
from ganatomy.studies.job import Job
from ganatomy.studies.pacing import Pacing
from ganatomy.studies.result import StudyResult
from ganatomy.studies.run import conclude, prepare, repeat
from ganatomy.studies.study import Study, begin, measurable
from ganatomy.studies.trainings import Training


class Plan(NamedTuple):
    """A study with its folder and its jobs."""

    study: Study
    folder: Path
    jobs: list[Job]
    command: str
    """that repeats it"""


def jobs_of(
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


def interpolated(plans: Sequence[Plan], found: Mapping[str, StudyResult]) -> set[Path]:
    """Return the runs whose weights a claim that is not decided yet reads."""
    return {
        job.folder
        for p in plans
        if p.study.name not in found
        and any(c.metric.startswith("interpolation:") for c in p.study.claims)
        for job in p.jobs
    }


def begin_all(
    studies: Sequence[Study | str | Path],
    out: Path,
    seeds: int | None,
    scale: float,
    options: RunOptions,
    plan: bool,
) -> tuple[list[Plan], dict[str, str]]:
    """Return the studies that can begin, and why the others cannot."""
    plans, refused = list[Plan](), dict[str, str]()
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
            plans.append(Plan(found, folder, jobs, command))
    if not plans:
        raise ValueError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    return plans, refused


def ordered(
    plans: Sequence[Plan], units: Sequence[list[Training]], pacing: Pacing
) -> tuple[list[Plan], list[list[Training]]]:
    """Return studies and units of runs, those first that decide most claims in a second."""
    waiting, left, order, work = list(plans), list(units), list[Plan](), list[list[Training]]()
    while waiting:
        needs = [
            [unit for unit in left if any(job in p.jobs for run in unit for job in run.jobs)]
            for p in waiting
        ]
        times = [1 + sum(map(pacing.seconds, need)) for need in needs]
        best = max(range(len(waiting)), key=lambda i: len(waiting[i].study.claims) / times[i])
        order.append(waiting.pop(best))
        work += sorted(needs[best], key=pacing.seconds)
        left = [unit for unit in left if unit not in needs[best]]
    return order, work


def unfinished(run: Training) -> bool:
    """Whether a run is not measured to the end, or damaged."""
    with contextlib.suppress(DamagedError):
        return bool(run.unmeasured())
    return True


def conclude_all(
    plans: Sequence[Plan], new: Mapping[Job, float | Failure], scale: float
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
        except (ValueError, LookupError, DamagedError) as error:
            refused[p.study.name] = str(error)
    return found, refused


def _results(
    jobs: Sequence[Job], new: Mapping[Job, float | Failure]
) -> Iterator[tuple[Job, float | Failure]]:
    """Yield the jobs that have a result, new or from an earlier call."""
    for job in jobs:
        if job in new:
            yield job, new[job]
            continue
        with contextlib.suppress(DamagedError):  # which the run itself will say
            if (evaluation := job.evaluation()) is not None:
                yield job, evaluation["fd"]
