"""Estimates of the time, memory and disk space of a study on this machine."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganatomy.gan.cost import dataset_size, peak, predict_cost
from ganatomy.gan.machine import pick_device
from ganatomy.recipes.recipe import RunOptions
from ganatomy.studies.result import StudyResult
from ganatomy.studies.run import prepare
from ganatomy.studies.study import Study
from ganatomy.studies.variance import seeds_for


@dataclass(frozen=True)
class ConditionPlan:
    """The runs of one condition."""

    condition: str
    runs: int
    steps: int
    """training steps of each run"""
    seconds: float
    """expected training time of each run; 0 if it is the beginning of another condition's"""


DIFFERENCES = (0.1, 0.25, 0.5)
"""Wanted differences whose seeds a plan states, as shares of the first condition's mean."""


@dataclass(frozen=True)
class ClaimPlan:
    """The seeds that a claim about two conditions needs."""

    claim: str
    deviation: float
    """standard deviation of a run's number, the mean over the planned sampling seeds"""
    seeds: tuple[int | None, ...]
    """of each condition, to find each of DIFFERENCES with a probability of 0.8; None if more than
    100"""


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
    device_bytes: int
    """memory on a CUDA device, without workspaces of libraries; 0 on a CPU"""
    disk_bytes: int
    conditions: tuple[ConditionPlan, ...]
    claims: tuple[ClaimPlan, ...] = ()
    """the claims whose variance is known from an earlier end of the study"""

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        return dataclasses.asdict(self) | {
            "conditions": [*map(dataclasses.asdict, self.conditions)],
            "claims": [*map(dataclasses.asdict, self.claims)],
        }


def plan_study(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    seeds: int | None = None,
    jobs: int = 1,
    scale: float = 1.0,
    options: RunOptions | None = None,
) -> StudyPlan:
    """Time a few steps of every condition of a study, and estimate the cost of all its runs.

    Nothing is written. The arguments and errors are those of run_study.
    """
    plan, folder, todo = prepare(study, out, seeds, jobs, scale, options)
    conditions, disk_bytes, data_bytes, on_device = [], 0, 0, 0
    runs = {job.folder: job for job in sorted(todo, key=lambda job: job.point.step)}
    for condition in plan.conditions:
        job = next(job for job in todo if job.condition == condition)
        recipe, steps = job.recipe, job.point.step
        if runs[job.folder] != job:
            conditions.append(ConditionPlan(condition, plan.seeds, steps, 0.0))
            continue
        cost = predict_cost(recipe, dataset_size(recipe, job.options), job.options)
        disk_bytes += plan.seeds * cost.disk_bytes
        data_bytes = max(data_bytes, cost.data)
        if pick_device(job.options.device).type == "cuda":
            on_device = max(on_device, cost.member + cost.data)
        conditions.append(ConditionPlan(condition, plan.seeds, steps, cost.run_seconds or 0.0))
    at_once = min(jobs, len(runs))
    total = sum(condition.runs * condition.seconds for condition in conditions)
    longest = max(condition.seconds for condition in conditions)
    return StudyPlan(
        study=plan.name,
        runs=len(runs),
        at_once=at_once,
        seconds=round(max(longest, total / at_once)),
        memory_bytes=at_once * (peak(torch.device("cpu")) + data_bytes),
        device_bytes=at_once * on_device,
        disk_bytes=disk_bytes,
        conditions=tuple(conditions),
        claims=tuple(_claims(plan, folder / "verdicts.json")),
    )


def _claims(plan: Study, file: Path) -> Iterator[ClaimPlan]:
    """Yield the seeds that claims need by the variance of an earlier end of the study, if known."""
    if not file.exists():
        return
    for finding in StudyResult.from_dict(json.loads(file.read_text())).claims:
        rows = finding.claim.rows
        first = [finding.variance[row[0]].mean for row in rows if row[0] in finding.variance]
        parts = [
            split.training**2 + split.sampling**2 / plan.samplings
            for split in finding.variance.values()
        ]
        if len(rows[0]) == 2 and first and sum(first) and sum(parts):
            deviation, mean = math.sqrt(statistics.mean(parts)), statistics.mean(first)
            wanted = [
                seeds_for(share * mean, deviation, len(plan.claims), len(rows))
                for share in DIFFERENCES
            ]
            yield ClaimPlan(finding.claim.id, deviation, tuple(wanted))
