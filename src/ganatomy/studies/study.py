"""Studies: a question as data, runs of its conditions over seeds, and a verdict on each claim.

A study folder holds study.json (the plan, written before the first run), runs/ (a run folder for
each condition and seed, found again by recipe key), verdicts.json, and the page.
"""

import dataclasses
import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch

from ganatomy.data import data_root
from ganatomy.evaluation.evaluate import checkpoints, evaluate_run
from ganatomy.evaluation.metrics import METRICS, Comparison, available
from ganatomy.evaluation.protocol import Protocol, preset, require_same
from ganatomy.evaluation.reference import EvalOptions, reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.statistics import least_p
from ganatomy.recipes.named import read
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run
from ganatomy.storage.files import write_atomic
from ganatomy.studies.claim import GROUPS, Claim, last, number
from ganatomy.studies.executors.local import EXECUTORS, Executor, Failure
from ganatomy.training.loop import fit
from ganatomy.validation import lookup

ALPHA = 0.05
"""Chance, over all claims of a study, that one is called supported where there is no effect."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the runs that answer it, and what is claimed of them."""

    name: str
    question: str
    base: str
    """a named recipe, or a recipe file"""
    conditions: Mapping[str, Mapping[str, Any]]
    """name of each condition to the fields in which it differs from base; the field base names
    another recipe, the field steps another length"""
    claims: tuple[Claim, ...]
    steps: int
    """of each run, unless --scale shortens them"""
    seeds: int = 3
    """runs of each condition, with seeds from 0"""
    protocol: str = "classifier-10k"
    log_every: int = 10

    def __post_init__(self) -> None:
        preset(self.protocol)
        for claim in self.claims:
            for condition in itertools.chain(*claim.rows):
                lookup(self.conditions, condition, f"condition of claim {claim.id}")
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) < len(ids) or not ids:
            raise ValueError(f"study {self.name} needs one or more claims, each with its own id")
        for condition in self.conditions:
            if not re.fullmatch(r"\w[\w .,=+-]*", condition):
                raise ValueError(
                    f"study {self.name}: a condition's name becomes a folder's: use letters, "
                    f"digits and any of .,=+-_ and spaces, got {condition!r}"
                )
            self.recipe(condition, 0, 1.0)

    def recipe(self, condition: str, seed: int, scale: float) -> Recipe:
        """Return the recipe of a condition and a seed.

        Raises:
            ValueError: naming the condition, if it is no recipe.
        """
        fields = dict(self.conditions[condition])
        try:
            base = read(fields.pop("base", self.base))
            steps = fields.get("steps", self.steps)
            length = {"steps": max(1, round(steps * scale)), "epochs": None}
            return base.replace(**fields | length | {"seed": seed})
        except ValueError as error:
            raise ValueError(f"study {self.name}, condition {condition}: {error}") from error

    def lengths(self, scale: float) -> dict[str, int]:
        """Return the steps of a run of each condition."""
        return {
            condition: self.recipe(condition, 0, scale).training.steps or 0
            for condition in self.conditions
        }

    def jobs(self, out: Path, scale: float, options: RunOptions) -> list["Job"]:
        """Return a job for each seed and condition; seeds are the outer loop."""
        metrics = {claim.group for claim in self.claims} | {"fd"}
        names = tuple(name for name in METRICS if name in metrics)
        options = dataclasses.replace(options, log_every=self.log_every)
        found = []
        for seed, condition in itertools.product(range(self.seeds), self.conditions):
            recipe = self.recipe(condition, seed, scale)
            folder = out / "runs" / f"{condition}-seed{seed}-{recipe.key}"
            found.append(Job(condition, seed, recipe, folder, options, self.protocol, names))
        return found


class Job(NamedTuple):
    """One run of a study, and how it is measured; it can be sent to another process."""

    condition: str
    seed: int
    recipe: Recipe
    folder: Path
    options: RunOptions
    protocol: str
    metrics: tuple[str, ...]


def work(job: Job) -> float:
    """Train a job to its end and measure it, unless that was done before; return its FD."""
    run = fit(job.recipe, job.folder, job.options)
    if _measured(run, job) is None:
        device = torch.device("cpu")
        place = EvalOptions(data_root(job.options.data_root), device, shape=job.recipe.data.shape)
        ref = reference(preset(job.protocol), job.recipe.data.dataset, place)
        for found in evaluate_run(run, checkpoints(run, "last"), ref, job.metrics):
            run.append("metrics", found.to_dict())
    measured = _measured(run, job)
    assert measured is not None
    return measured["fd"]


def _measured(run: Run, job: Job) -> Evaluation | None:
    """The evaluation of a run's last step; None unless it has all metrics of the study."""
    found = last(run, job.protocol)
    return found if found and {*job.metrics} <= {GROUPS[name] for name in found} else None


def needed(claim: Claim, claims: int) -> int:
    """Fewest seeds with which a claim, one of so many, can be decided at all."""
    rows, conditions = len(claim.rows), len(claim.conditions)
    return next(n for n in range(2, 100) if claims * least_p([n] * conditions) ** rows <= ALPHA)


def decidable(study: Study) -> None:
    """See that some claim of a study can be decided with its seeds.

    Raises:
        ValueError: if none can, with the seeds that it takes.
    """
    fewest = min(needed(claim, len(study.claims)) for claim in study.claims)
    if study.seeds < fewest:
        raise ValueError(
            f"{study.seeds} seeds can decide none of the claims of {study.name}, whatever they "
            f"give; use --seeds {fewest} or more"
        )


def measurable(study: Study, options: RunOptions) -> None:
    """See that what the claims are about can be measured, and by one protocol for all conditions.

    Raises:
        ValueError: if not, saying why.
    """
    found: dict[str, Protocol] = {}
    for condition in study.conditions:
        recipe = study.recipe(condition, 0, 1.0)
        device = torch.device("cpu")
        place = EvalOptions(data_root(options.data_root), device, shape=recipe.data.shape)
        ref = reference(preset(study.protocol), recipe.data.dataset, place)
        found[condition] = ref.protocol
        seen = Comparison(fake=ref.real, real=ref.real, moments=ref.moments, held_out=ref.held_out)
        for claim in study.claims:
            if claim.group is not None and not available(METRICS[claim.group], seen):
                raise ValueError(
                    f"claim {claim.id}: {study.protocol} cannot measure {claim.metric} on "
                    f"{recipe.data.dataset}; name another protocol (see: ganatomy protocols)"
                )
    require_same(found.items())


def begin(study: Study, out: Path, scale: float) -> None:
    """Write the plan before the first run, or see that it is the one that the folder holds.

    Only more seeds may be added to it.

    Raises:
        ValueError: for another plan, naming what differs.
    """
    plan = json.loads(json.dumps(dataclasses.asdict(study) | {"scale": scale}))
    file = out / "study.json"
    if file.exists():
        try:
            held = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}; use another --out") from error
        changed = [k for k in plan if held.get(k) != plan[k] and k != "seeds"]
        if changed:
            raise ValueError(
                f"{out} holds a study with another {', '.join(changed)}: a plan does not change "
                "once runs have begun; use another --out"
            )
        if held["seeds"] > plan["seeds"]:
            raise ValueError(f"{out} has {held['seeds']} seeds already; use as many, or more")
    write_atomic(file, (json.dumps(plan, indent=1) + "\n").encode())


def run(
    todo: Sequence[Job], at_once: int, executor: Executor | None = None
) -> Iterator[tuple[Job, float | Failure]]:
    """Carry out the jobs of a study, yielding each with its FD or why it failed."""
    name = executor or ("serial" if at_once == 1 else "processes")
    yield from EXECUTORS[name](work, todo, at_once)


class Progress(NamedTuple):
    """How far the runs of a study are, as their folders say."""

    steps: list[int]
    """taken, for each job"""
    seconds: float | None
    """until all have taken theirs, at the pace of those of their condition; None: not known yet"""


def progress(todo: Sequence[Job], at_once: int) -> Progress:
    """Look at the run folders of jobs, of which so many go on at once."""
    runs = [Run(job.folder) for job in todo]
    steps = [int(run.newest("log").get("step", 0)) for run in runs]
    paces: dict[str, list[float]] = defaultdict(list)
    for job, run in zip(todo, runs, strict=True):
        for session in run.sessions[-1:]:
            if session["to_step"] > session["from_step"]:
                taken = session["to_step"] - session["from_step"]
                paces[job.condition].append(session["seconds"] / taken)
    if not paces:
        return Progress(steps, None)
    known = {condition: mean(found) for condition, found in paces.items()}
    usual = mean(known.values())
    left = [(job.recipe.training.steps or 0) - done for job, done in zip(todo, steps, strict=True)]
    each = [known.get(job.condition, usual) * n for job, n in zip(todo, left, strict=True)]
    return Progress(steps, max(*each, sum(each) / at_once) if len(each) > 1 else each[0])


def shared(options: RunOptions, at_once: int) -> RunOptions:
    """Return options for runs that share this machine's cores and may start in other folders."""
    threads = options.threads or max(1, (os.cpu_count() or 1) // at_once)
    root = options.data_root.absolute() if options.data_root else None
    return dataclasses.replace(options, threads=threads, data_root=root)


def numbers(claim: Claim, done: Sequence[Job]) -> list[list[list[float]]]:
    """Return a claim's number by row, condition and finished run.

    Runs are in the order of their seeds, whichever ended first: intervals are drawn from them.
    """
    runs = {
        (job.condition, job.seed): number(claim, Run.open(job.folder), job.protocol)
        for job in done
        if job.condition in itertools.chain(*claim.rows)
    }
    return [
        [[n for (name, _), n in sorted(runs.items()) if name == condition] for condition in row]
        for row in claim.rows
    ]
