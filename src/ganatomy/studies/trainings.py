"""The runs of a study's jobs: each is trained once, to the longest of its jobs, then measured."""

import collections
import contextlib
import dataclasses
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ganatomy.evaluation.checkpoints import evaluate_run
from ganatomy.gan import fused as fusing
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run, step_of
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.executors.outcome import Failure
from ganatomy.studies.study import Job, reference_for
from ganatomy.training.loop import fit, run_members

SHARE, LEAST = 10, 500
"""A run is saved this many times, but not more often than after this many steps."""


class Training(NamedTuple):
    """A run that jobs need; it can be sent to another process."""

    recipe: Recipe
    """with the length of the longest job that is not measured yet"""
    folder: Path
    options: RunOptions
    """with the steps of all jobs in save_at"""
    jobs: tuple[Job, ...]
    failed: str | None = None
    """why the run ended before this length"""

    def behind(self) -> bool:
        """Whether steps are missing to measure all jobs."""
        if self.failed or all(job.evaluation() for job in self.jobs):
            return False
        steps = map(step_of, Run(self.folder).checkpoints())
        return max(steps, default=0) < (self.recipe.training.steps or 0)


def trainings(jobs: Sequence[Job]) -> list[Training]:
    """Return the runs of jobs in their order, one for all jobs with one folder."""
    found: dict[Path, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.folder, []).append(job)
    return [_training(folder, together) for folder, together in found.items()]


def _training(folder: Path, jobs: Sequence[Job]) -> Training:
    left, held = list(jobs), tuple[int, ...]()
    with contextlib.suppress(DamagedError):  # which the run itself will say
        left = [job for job in jobs if job.evaluation() is None]
        held = Run(folder).options.save_at
    longest = max(left or jobs, key=lambda job: job.point.step)
    options, steps = longest.options, longest.point.step
    every = max(LEAST, math.ceil(steps / SHARE))
    options = dataclasses.replace(
        options,
        save_at=tuple(sorted({*held, *(job.point.step for job in jobs)})),
        save_every=options.save_every or every,
        sample_every=options.sample_every or every,
        keep=1,
    )
    return Training(longest.recipe, folder, options, tuple(jobs))


def run_training(training: Training) -> list[float | Failure]:
    """Train a run as far as its jobs need it, and measure it for each of them.

    Returns:
        The FD for each job; a failure for those whose step a run that is not finite does not reach.
    """
    here = tuple(job._replace(folder=training.folder) for job in training.jobs)
    training = training._replace(jobs=here)  # on another machine the folder is another
    if training.behind():
        try:
            fit(training.recipe, training.folder, training.options, longer=True)
        except FloatingPointError as error:
            training = training._replace(failed=str(error))
    return [_measured(training, job) for job in training.jobs]


def _measured(training: Training, job: Job) -> float | Failure:
    run, step = Run.open(training.folder), job.point.step
    if job.evaluation() is None:
        if training.failed and step not in map(step_of, run.checkpoints()):
            return Failure(training.failed)
        others = [o for o in training.jobs if (o.point.step, o.protocol) == (step, job.protocol)]
        metrics = list(dict.fromkeys(name for other in others for name in other.metrics))
        ref = reference_for(job.recipe, job.protocol, training.options)
        for found in evaluate_run(run, [run.checkpoint(step)], ref, metrics):
            run.append("metrics", found.to_dict())
    evaluation = job.evaluation()
    assert evaluation is not None
    return evaluation["fd"]


def groups(found: Sequence[Training]) -> list[list[Training]]:
    """Return runs in groups that can be trained as one program."""
    alike: dict[RunOptions, list[Training]] = {}
    for training in found:
        alike.setdefault(dataclasses.replace(training.options, save_at=()), []).append(training)
    return [
        [members[i] for i in group]
        for members in alike.values()
        for group in fusing.groups([training.recipe for training in members])
    ]


def train_group(group: Sequence[Training]) -> list[Training]:
    """Train runs of a group as one program, and note which of them ended early.

    Runs that cannot be fused are left to be trained one after the other, with a warning.
    """
    left = [training for training in group if training.behind()]
    if len(left) < 2:
        return list(group)
    marks = sorted({step for training in left for step in training.options.save_at})
    options = dataclasses.replace(left[0].options, save_at=tuple(marks))
    recipes, folders = [t.recipe for t in left], [t.folder for t in left]
    try:
        collections.deque(run_members(recipes, folders, options, longer=True), maxlen=0)
    except (fusing.FusionError, torch.OutOfMemoryError) as error:
        reason = str(error).partition("\n")[0]
        warnings.warn(f"runs are trained one after the other: {reason}", stacklevel=2)
        return list(group)
    return [t._replace(failed=_failure(t)) if t in left else t for t in group]


def _failure(training: Training) -> str | None:
    """Return why the last session of a run ended early, if it did."""
    sessions = Run.open(training.folder).sessions
    return sessions[-1].get("failure") if sessions and training.behind() else None
