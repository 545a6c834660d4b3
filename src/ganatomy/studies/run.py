"""Studies from Python: plan one, run it to its verdicts, write the file of a new one."""

import dataclasses
import json
import shlex
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganatomy.data import Size, data_root, load
from ganatomy.gan.cost import cost, disk, known_size, memory, peak
from ganatomy.gan.step import State
from ganatomy.recipes.recipe import Precision, RunOptions
from ganatomy.storage.files import write_atomic
from ganatomy.studies import files, page, reports, verdict
from ganatomy.studies.executors.local import Executor, Failure
from ganatomy.studies.study import (
    Job,
    Study,
    begin,
    decidable,
    measurable,
    run,
    shared,
)

Outcomes = Iterable[tuple[Job, float | Failure]]

Progress = Callable[[Sequence[Job], Outcomes], Outcomes]
"""Shows how far a study is: given its jobs and their outcomes, it yields the outcomes on."""


def run_study(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    seeds: int | None = None,
    jobs: int = 1,
    scale: float = 1.0,
    executor: Executor | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> verdict.StudyResult:
    """Run every condition of a study over its seeds, and decide its claims.

    Runs that the folder already has are kept, so the same call continues a study that was stopped,
    and a call with more seeds adds to it.

    Args:
        study: a study, the name of one in STUDIES, or a .toml or .json file.
        out: the study's folder; by default studies/NAME.
        seeds: runs of each condition; None means the study's own number.
        jobs: runs at once, each with its share of the CPU cores as threads.
        scale: factor in (0, 1] for the steps of every run.
        executor: serial, processes or ray; None means serial for one job, else processes.
        options: how runs are carried out; the study sets log_every.
        progress: a function through which jobs and their outcomes pass, such as a progress bar.

    Returns:
        The result; its folder then has page.html, README.md, verdicts.json and CSV tables.

    Raises:
        ValueError: for an unknown study, too few seeds to decide any claim, a claim that the
            protocol cannot measure, or a folder that holds another study.
    """
    plan, todo = _jobs(study, out, seeds, jobs, scale, options)
    folder = todo[0].folder.parent.parent
    measurable(plan, todo[0].options)
    begin(plan, folder, scale)
    outcomes: Outcomes = run(todo, jobs, executor)
    came = dict(progress(todo, outcomes) if progress else outcomes)
    done = [job for job in todo if not isinstance(came[job], Failure)]
    failures = {job.folder.name: f.why for job, f in came.items() if isinstance(f, Failure)}
    found = verdict.verdicts(plan, done, scale)
    found = dataclasses.replace(found, path=folder, failures=failures)
    precision = todo[0].options.precision
    again = _repeat(study, seeds, scale, jobs, executor, precision)
    write_atomic(folder / "verdicts.json", (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    for name, text in page.contents(plan, folder, done, found, again).items():
        write_atomic(folder / name, text.encode())
    return found


@dataclass(frozen=True)
class ConditionPlan:
    """The runs of one condition."""

    condition: str
    runs: int
    steps: int
    """training steps of each run"""
    seconds: float
    """expected training time of each run"""


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a study, and an estimate of their cost on this machine."""

    study: str
    """name of the study"""
    runs: int
    at_once: int
    """runs that are trained at the same time"""
    seconds: int
    """expected time of all runs, without their evaluation"""
    memory_bytes: int
    disk_bytes: int
    conditions: tuple[ConditionPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        return dataclasses.asdict(self) | {
            "conditions": [*map(dataclasses.asdict, self.conditions)]
        }


def plan_study(
    study: Study | str | Path,
    *,
    seeds: int | None = None,
    jobs: int = 1,
    scale: float = 1.0,
    options: RunOptions | None = None,
) -> StudyPlan:
    """Time a few steps of every condition of a study, and estimate the cost of all its runs.

    Nothing is written. The arguments and errors are those of run_study.
    """
    plan, todo = _jobs(study, None, seeds, jobs, scale, options)
    torch.set_num_threads(todo[0].options.threads or 1)
    conditions, disk_bytes, data_bytes = [], 0, 0
    for condition in plan.conditions:
        job = next(job for job in todo if job.condition == condition)
        recipe, steps = job.recipe, job.recipe.training.steps or 0
        size = known_size(recipe)
        if size is None:
            root = data_root(job.options.data_root)
            data = load(recipe.data.dataset, root, "train", shape=recipe.data.shape)
            size = Size(len(data), data.shape)
        state = State.new(recipe, size.shape)
        timed = cost(state, recipe, measure=True, precision=job.options.precision).seconds
        needs = memory(state, size)
        disk_bytes += plan.seeds * disk(needs["checkpoint"], recipe, size, job.options)
        data_bytes = max(data_bytes, needs["data"])
        seconds = statistics.median(timed) * steps
        conditions.append(ConditionPlan(condition, plan.seeds, steps, seconds))
    at_once = min(jobs, len(todo))
    total = sum(condition.runs * condition.seconds for condition in conditions)
    longest = max(condition.seconds for condition in conditions)
    return StudyPlan(
        study=plan.name,
        runs=len(todo),
        at_once=at_once,
        seconds=round(max(longest, total / at_once)),
        memory_bytes=at_once * (peak(torch.device("cpu")) + data_bytes),
        disk_bytes=disk_bytes,
        conditions=tuple(conditions),
    )


def new_study(
    out: str | Path,
    base: str,
    vary: Sequence[str],
    claims: Sequence[str],
    *,
    seeds: int = 3,
    steps: int | None = None,
) -> Study:
    """Write the TOML file of a study of every combination of some fields of a recipe.

    Args:
        out: the file to write, which ends in .toml and does not exist yet.
        base: a named recipe, or a recipe file.
        vary: FIELD=VALUE,VALUE for each field, such as lr_g=1e-4,2e-4.
        claims: METRIC falls, METRIC rises, or METRIC falls with FIELD.
        seeds: runs of each condition.
        steps: steps of each run; None means the recipe's own.

    Raises:
        ValueError: for an unusable path, field, metric or number of seeds.
    """
    out = Path(out)
    if out.suffix != ".toml":
        raise ValueError(f"a study file ends in .toml, got {out}")
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or use another file")
    study = files.grid(out.stem, base, vary, claims, seeds, steps)
    decidable(study)
    write_atomic(out, files.to_toml(study).encode())
    return study


def _jobs(
    study: Study | str | Path,
    out: str | Path | None,
    seeds: int | None,
    jobs: int,
    scale: float,
    options: RunOptions | None,
) -> tuple[Study, list[Job]]:
    """Return a study with its number of seeds, and its jobs."""
    if jobs < 1 or not 0 < scale <= 1:
        raise ValueError(f"jobs must be 1 or more and scale in (0, 1], got {jobs} and {scale:g}")
    plan = study if isinstance(study, Study) else reports.study(str(study))
    if seeds is not None:
        plan = dataclasses.replace(plan, seeds=seeds)
    decidable(plan)
    folder = Path("studies") / plan.name if out is None else Path(out)
    return plan, plan.jobs(folder, scale, shared(options or RunOptions(), jobs))


def _repeat(
    study: Study | str | Path,
    seeds: int | None,
    scale: float,
    jobs: int,
    executor: Executor | None,
    precision: Precision,
) -> str:
    """Return the command that repeats a study, but for paths of this machine."""
    named = isinstance(study, Study) and reports.STUDIES.get(study.name) != study
    name = "study.json" if named else study.name if isinstance(study, Study) else str(study)
    words = [f"ganatomy study {shlex.quote(name)}"]
    usual = {"seeds": None, "scale": 1.0, "jobs": 1, "executor": None, "precision": "fp32"}
    given = (seeds, scale, jobs, executor, precision)
    for (name, default), value in zip(usual.items(), given, strict=True):
        words += [f"--{name} {value}"] if value != default else []
    return " ".join(words)
