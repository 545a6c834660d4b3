"""The runs of a study's jobs: each is trained once, to the longest of its jobs, then measured."""

import contextlib
import dataclasses
import math
import signal
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ganatomy.data import Samples
from ganatomy.evaluation.checkpoints import evaluate_run
from ganatomy.gan import fused as fusing
from ganatomy.gan.machine import pick_device
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.data import load_data
from ganatomy.runs.folder import Run, step_of
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.executors.outcome import Failure
from ganatomy.studies.job import Job
from ganatomy.studies.study import reference_for
from ganatomy.training.loop import AT_ONCE, run_members, run_steps
from ganatomy.training.session import StepInfo

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

    def left(self) -> int:
        """Return the number of steps that are missing to measure all jobs."""
        done = max(map(step_of, Run(self.folder).checkpoints()), default=0)
        left = max(0, (self.recipe.training.steps or 0) - done)
        with contextlib.suppress(DamagedError):  # which the run itself will say
            return left if not self.failed and self.unmeasured() else 0
        return 0

    def unmeasured(self) -> list[Job]:
        """Return the jobs that are not measured yet."""
        return [job for job in self.jobs if job.evaluation() is None]


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


def run_training(training: Training, until: float = math.inf) -> list[float | Failure]:
    """Train a run as far as its jobs need it, and measure it for each of them.

    Args:
        training: the run.
        until: time, as time.monotonic gives it, at which the training stops.

    Returns:
        The FD for each job; a failure for those whose step a run that is not finite does not reach.

    Raises:
        KeyboardInterrupt: at that time, or after a stop signal, once the state is saved.
    """
    here = tuple(job._replace(folder=training.folder) for job in training.jobs)
    training = training._replace(jobs=here)  # on another machine the folder is another
    if training.left():
        recipe, folder, options, _, _ = training
        try:
            data = _loaded(training)
            _take(run_steps(recipe, folder, options, longer=True, data=data), until)
        except FloatingPointError as error:
            training = training._replace(failed=str(error))
    return [_measured(training, job) for job in training.jobs]


def _measured(training: Training, job: Job) -> float | Failure:
    run, step = Run.open(training.folder), job.point.step
    if job.evaluation() is None:
        if training.failed and step not in map(step_of, run.checkpoints()):
            return Failure(training.failed)
        others = [o for o in training.jobs if (o.point.step, o.protocol) == (step, job.protocol)]
        ref = reference_for(job.recipe, job.protocol, training.options)
        for seed, metrics in _missing(others).items():
            drawn = ref._replace(protocol=ref.protocol.replace(seed=seed))
            for found in evaluate_run(run, [run.checkpoint(step)], drawn, metrics):
                run.append("metrics", found.to_dict())
    evaluation = job.evaluation()
    assert evaluation is not None
    return evaluation["fd"]


def _missing(jobs: Sequence[Job]) -> dict[int, list[str]]:
    """Return the metrics that one or more jobs at a step miss, by sampling seed."""
    left = dict[int, list[str]]()
    for job in jobs:
        for seed, names in job.missing().items():
            known = left.setdefault(seed, [])
            known += [name for name in names if name not in known]
    return left


def groups(found: Sequence[Training]) -> list[list[Training]]:
    """Return runs of one length in groups that can be trained together.

    Side by side, a group has as many runs as go on at a time, and those of one kind are neighbors.
    """
    alike: dict[tuple[RunOptions, int | None], list[Training]] = {}
    for training in sorted(found, key=lambda t: t.recipe.replace(seed=0).key):
        options = dataclasses.replace(training.options, save_at=())
        alike.setdefault((options, training.recipe.training.steps), []).append(training)
    together = []
    for (options, _), members in alike.items():
        device = pick_device(options.device)
        for group in fusing.groups([training.recipe for training in members], device):
            stacked = fusing.stacks(members[group[0]].recipe, device)
            size = len(group) if stacked else AT_ONCE
            chosen = [members[i] for i in (group if stacked else sorted(group))]
            together += [chosen[at : at + size] for at in range(0, len(chosen), size)]
    return together


_LOADED: dict[Any, Samples] = {}
"""The data that were used last, by their recipe section and place."""


def _loaded(training: Training) -> Samples:
    """Return the data of a run, which are loaded only if the last run had others."""
    recipe, options = training.recipe, training.options
    key = (recipe.data, options.data, options.data_root, options.skip_bad)
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = load_data(recipe, options)
    return _LOADED[key]


def _take(steps: Iterable[StepInfo], until: float) -> None:
    """Take the steps of a training; after some time, stop it as a signal would."""
    told = False
    for _ in steps:
        if not told and time.monotonic() >= until:
            signal.raise_signal(signal.SIGTERM)  # which the training obeys after its next step
            told = True


def train_group(group: Sequence[Training], until: float = math.inf) -> list[Training]:
    """Train the runs of a group together, and note which of them ended early.

    Runs that cannot be are left to be trained one after the other, with a warning. The arguments
    and errors are those of run_training.
    """
    left = [training for training in group if training.left()]
    if len(left) < 2:
        return list(group)
    marks = sorted({step for training in left for step in training.options.save_at})
    options = dataclasses.replace(left[0].options, save_at=tuple(marks))
    recipes, folders = [t.recipe for t in left], [t.folder for t in left]
    try:
        data = _loaded(left[0])
        _take(run_members(recipes, folders, options, longer=True, data=data), until)
    except (ValueError, DamagedError, torch.OutOfMemoryError) as error:
        reason = str(error).partition("\n")[0]
        warnings.warn(f"runs are trained one after the other: {reason}", stacklevel=2)
        return list(group)
    return [t._replace(failed=_failure(t)) if t in left else t for t in group]


def _failure(training: Training) -> str | None:
    """Return why the last session of a run ended early, if it did."""
    sessions = Run.open(training.folder).sessions
    return sessions[-1].get("failure") if sessions and training.left() else None
