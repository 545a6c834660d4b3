"""Studies from start to end: train and evaluate all runs, then decide the claims."""

import dataclasses
import json
import os
import shlex
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ganatomy.gan.machine import pick_device
from ganatomy.recipes.recipe import Precision, RunOptions
from ganatomy.runs.folder import Run
from ganatomy.storage.files import write_atomic
from ganatomy.studies import page, reports, verdict
from ganatomy.studies.executors.local import EXECUTORS, Executor, Failure
from ganatomy.studies.executors.local import Outcomes as ExecutorOutcomes
from ganatomy.studies.job import Job
from ganatomy.studies.pacing import shares
from ganatomy.studies.result import StudyResult
from ganatomy.studies.study import Study, begin, decidable, measurable
from ganatomy.studies.trainings import Training, groups, run_training, train_group, trainings

Outcomes = Iterable[tuple[Job, float | Failure]]
"""Each job with the FD of its run, or with its failure."""

Progress = Callable[[Sequence[Job], Outcomes], Outcomes]
"""Given all jobs and an iterator of outcomes, shows the progress and yields the outcomes."""


def run_study(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    seeds: int | None = None,
    jobs: int = 1,
    scale: float = 1.0,
    executor: Executor | None = None,
    fused: bool | None = None,
    store: str | Path | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run every condition of a study over its seeds, and decide its claims.

    Runs that the store already has are used, and continued if they are too short. So the same call
    continues a study that was stopped, a call with more seeds adds to it, and studies share runs.

    Args:
        study: a study, the name of one in STUDIES, or a .toml or .json file.
        out: the study's folder; by default studies/NAME.
        seeds: runs of each condition; None means the study's own number.
        jobs: runs at once, each with its share of the CPU cores as threads.
        scale: factor in (0, 1] for the steps of every run.
        executor: serial, processes or ray; None means serial for one job, else processes.
        fused: whether to train runs of one shape as one program; None does so on CUDA only, if one
            run is trained at a time.
        store: folder of the runs; None means runs in out if that is given, else studies/runs, which
            all studies share.
        options: how runs are carried out; the study sets log_every.
        progress: a function through which jobs and their outcomes pass, such as a progress bar.

    Returns:
        The result; its folder then has page.html, README.md, verdicts.json and CSV tables.

    Raises:
        ValueError: for an unknown study, too few seeds to decide any claim, a claim that the
            protocol cannot measure, a folder that holds another study, or if all runs of a
            condition failed.
    """
    plan, folder, todo = prepare(study, out, seeds, jobs, scale, options, store)
    todo = spread(todo, jobs, executor)
    together = fuses(jobs, executor, fused, todo[0].options.device)
    measurable(plan, todo[0].options)
    begin(plan, folder, scale)
    outcomes: Outcomes = run_jobs(todo, jobs, executor, together)
    results = dict(progress(todo, outcomes) if progress else outcomes)
    command = repeat(study, seeds, scale, jobs, executor, todo[0].options.precision)
    return conclude(plan, folder, todo, results, scale, command)


def conclude(
    plan: Study,
    folder: Path,
    todo: Sequence[Job],
    results: Mapping[Job, float | Failure],
    scale: float,
    command: str,
) -> StudyResult:
    """Decide the claims of a study from the results of its jobs, and write its files.

    Raises:
        ValueError: if all runs of a condition failed.
    """
    done = [job for job in todo if not isinstance(results[job], Failure)]
    failures = {job.name: r.why for job, r in results.items() if isinstance(r, Failure)}
    for job in todo:
        outcome = results[job]
        if isinstance(outcome, Failure) and job.condition not in {job.condition for job in done}:
            raise ValueError(f"all runs of condition {job.condition} failed: {outcome.why}")
    found = verdict.verdicts(plan, done, scale)
    found = dataclasses.replace(found, path=folder, failures=failures)
    write_atomic(folder / "verdicts.json", (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    for name, text in page.contents(plan, folder, done, found, command).items():
        write_atomic(folder / name, text.encode())
    return found


def spread(jobs: list[Job], at_once: int, executor: Executor | None) -> list[Job]:
    """Give the CUDA devices of this machine to jobs in turn, if several run here at once."""
    count = torch.cuda.device_count()
    if at_once == 1 or executor in ("serial", "ray") or count < 2:
        return jobs
    return [
        job._replace(options=dataclasses.replace(job.options, device=f"cuda:{at % count}"))
        if job.options.device == "auto"
        else job
        for at, job in enumerate(jobs)
    ]


def fuses(at_once: int, executor: Executor | None, fused: bool | None, device: str) -> bool:
    """Return whether runs of one shape are trained as one program; arguments as in run_study.

    Raises:
        ValueError: if they cannot be.
    """
    here = at_once == 1 and executor in (None, "serial")
    if fused and not here:
        raise ValueError("fused runs are trained in this process: use jobs 1, executor serial")
    return here and (pick_device(device).type == "cuda" if fused is None else fused)


def run_jobs(
    jobs: Sequence[Job], at_once: int, executor: Executor | None = None, fused: bool = False
) -> Iterator[tuple[Job, float | Failure]]:
    """Run jobs in an executor, and yield each with its FD or its failure."""
    runs = EXECUTORS[executor or ("serial" if at_once == 1 else "processes")]
    todo = trainings(jobs)
    run: Callable[[Training], list[float | Failure]] = run_training
    for group in groups(todo) if fused else [todo]:
        ready: Sequence[Training] = train_group(group) if fused else group
        found: ExecutorOutcomes[Training, list[float | Failure]] = runs(run, ready, at_once)
        for training, came in found:
            yield from each(training, came)


def each(
    training: Training, came: list[float | Failure] | Failure
) -> Iterator[tuple[Job, float | Failure]]:
    """Yield the jobs of a run with their results, or with the failure of the run."""
    results = [came] * len(training.jobs) if isinstance(came, Failure) else came
    yield from zip(training.jobs, results, strict=True)


class Pace(NamedTuple):
    """Progress of the runs of a study, read from their folders."""

    steps: list[int]
    """training steps taken by each job"""
    seconds: float | None
    """expected time left, from the pace of each condition; None if there is no pace yet"""


def pace(jobs: Sequence[Job], at_once: int) -> Pace:
    """Read the progress of jobs, at_once of which run at a time."""
    longest = {job.folder: job for job in sorted(jobs, key=lambda job: job.point.step)}
    taken = {folder: int(Run(folder).newest("log").get("step", 0)) for folder in longest}
    steps = [min(taken[job.folder], job.point.step) for job in jobs]
    paces: dict[str, list[float]] = defaultdict(list)
    last = [(job, s) for folder, job in longest.items() for s in Run(folder).sessions[-1:]]
    times = [s["seconds"] for _, s in last] if at_once > 1 else shares([s for _, s in last])
    for (job, session), seconds in zip(last, times, strict=True):
        count = session["to_step"] - session["from_step"]
        if count > 0:
            paces[_kind(job)].append(seconds / count)
    if not paces:
        return Pace(steps, None)
    known = {kind: statistics.mean(found) for kind, found in paces.items()}
    usual = statistics.mean(known.values())
    each = [
        known.get(_kind(job), usual) * max(0, job.point.step - taken[folder])
        for folder, job in longest.items()
    ]
    return Pace(steps, max(*each, sum(each) / at_once) if len(each) > 1 else each[0])


def _kind(job: Job) -> str:
    return job.recipe.replace(seed=0).key_without_length


def prepare(
    study: Study | str | Path,
    out: str | Path | None,
    seeds: int | None,
    jobs: int,
    scale: float,
    options: RunOptions | None,
    store: str | Path | None = None,
) -> tuple[Study, Path, list[Job]]:
    """Return a study with its number of seeds, its folder and jobs; arguments as in run_study."""
    if jobs < 1 or not 0 < scale <= 1:
        raise ValueError(f"jobs must be 1 or more and scale in (0, 1], got {jobs} and {scale:g}")
    plan = study if isinstance(study, Study) else reports.study(str(study))
    if seeds is not None:
        plan = dataclasses.replace(plan, seeds=seeds)
    decidable(plan)
    folder = Path("studies") / plan.name if out is None else Path(out)
    runs = Path(store) if store else folder.parent / "runs" if out is None else folder / "runs"
    return plan, folder, plan.jobs(runs, scale, _shared(options or RunOptions(), jobs))


def _shared(options: RunOptions, at_once: int) -> RunOptions:
    """Return options for runs that share this machine's cores and may start in other folders."""
    threads = options.threads or max(1, (os.cpu_count() or 1) // at_once)
    root = options.data_root.absolute() if options.data_root else None
    return dataclasses.replace(options, threads=threads, data_root=root)


def repeat(
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
