"""Studies: a question as data, runs of its cells over seeds, and a verdict on each claim.

A study folder holds study.json (the plan, written before the first run), runs/ (a run folder for
each cell and seed, found again by recipe key), verdicts.json and README.md.
"""

import dataclasses
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ganatomy import stats
from ganatomy.data import data_root
from ganatomy.evaluate import evaluate_run, measured
from ganatomy.execute import EXECUTORS, Executor, Failure
from ganatomy.fields import check, from_dict, lookup, nearest
from ganatomy.files import replace
from ganatomy.fit import TAGS, fit
from ganatomy.metrics import METRICS
from ganatomy.protocol import preset
from ganatomy.recipe import Options, Recipe
from ganatomy.recipes import read
from ganatomy.reference import Place, reference
from ganatomy.runs import Run

ALPHA = 0.05
"""Chance, over all claims of a study, that one is called supported where there is no effect."""

WINDOW = 0.1
"""Share of a log, its end, of which mean:NAME is the mean."""

_SEVERAL = {
    "prdc": ("precision", "recall", "density", "coverage"),
    "classes": ("chi2", "chi2_p", "entropy", "missing", "confidence"),
}
GROUPS = {name: name for name in METRICS if name not in _SEVERAL} | {
    value: name for name, values in _SEVERAL.items() for value in values
}
"""Value that a claim may be about to the metric that gives it."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That a number falls, or rises, from cell to cell; of one cell: is below or above a value."""

    id: str
    """such as R3.c1"""
    text: str
    """the claim in words"""
    metric: str
    """a measured value (fd, recall, …), mean:NAME of a logged value at the end of training, or
    jump:NAME, how much it fluctuates in its latter half"""
    cells: tuple[str, ...]
    """names of cells, in order"""
    direction: Literal["falls", "rises"]
    """from the first cell to the last; of one cell: below or above value"""
    to: float | None = None
    """compare how far the number is from this one, instead of the number"""
    value: float | None = None
    """what the number of a single cell is compared with"""
    reported: tuple[float, ...] = ()
    """what a report stated for each cell"""

    def __post_init__(self) -> None:
        check(self, {})
        kind, _, name = self.metric.rpartition(":")
        if kind not in ("", "mean", "jump") or name not in (TAGS if kind else GROUPS):
            known = [*GROUPS, *(f"{k}:{tag}" for k in ("mean", "jump") for tag in TAGS)]
            raise ValueError(
                f"claim {self.id}: unknown metric {self.metric!r} {nearest(self.metric, known)}"
            )
        if (len(self.cells) == 1) != (self.value is not None) or not self.cells:
            raise ValueError(
                f"claim {self.id}: a claim compares two or more cells, or one with a value"
            )
        if self.reported and len(self.reported) != len(self.cells):
            raise ValueError(f"claim {self.id}: reported wants a number for each of its cells")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the runs that answer it, and what is claimed of them."""

    name: str
    question: str
    base: str
    """a named recipe, or a recipe file"""
    cells: Mapping[str, Mapping[str, Any]]
    """name of each cell to the fields in which it differs from base; the field base, if there is
    one, is another recipe to start from"""
    claims: tuple[Claim, ...]
    steps: int
    """of each run, unless --scale shortens them"""
    seeds: int = 3
    """runs of each cell, with seeds from 0"""
    protocol: str = "judge-10k"
    log_every: int = 10

    def __post_init__(self) -> None:
        preset(self.protocol)
        for claim in self.claims:
            for cell in claim.cells:
                lookup(self.cells, cell, f"cell of claim {claim.id}")
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) < len(ids) or not ids:
            raise ValueError(f"study {self.name} needs one or more claims, each with its own id")
        for cell in self.cells:
            self.recipe(cell, 0, 1.0)

    def recipe(self, cell: str, seed: int, scale: float) -> Recipe:
        """Return the recipe of a cell and a seed.

        Raises:
            ValueError: naming the cell, if it is no recipe.
        """
        fields = dict(self.cells[cell])
        try:
            base = read(fields.pop("base", self.base))
            length = {"steps": max(1, round(self.steps * scale)), "epochs": None}
            return from_dict(Recipe, vars(base) | fields | length | {"seed": seed})
        except ValueError as error:
            raise ValueError(f"study {self.name}, cell {cell}: {error}") from error


class Job(NamedTuple):
    """One run of a study, and how it is measured; it can be sent to another process."""

    cell: str
    seed: int
    recipe: Recipe
    folder: Path
    options: Options
    protocol: str
    metrics: tuple[str, ...]


def from_toml(path: Path) -> Study:
    """Read a study from a TOML file: the fields of Study, a table for each cell and claim.

    Raises:
        ValueError: for a file that is none, saying what is wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return _study({"name": path.stem} | values)
    except OSError as error:
        raise ValueError(f"cannot read the study {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a study: {error}") from error


def _study(values: dict[str, Any]) -> Study:
    known = {field.name for field in dataclasses.fields(Study)}
    for name in values:
        if name not in known:
            raise ValueError(f"unknown field {name!r} {nearest(name, known)}")
    claims = tuple(from_dict(Claim, claim) for claim in values.pop("claims", ()))
    return Study(**values, claims=claims)


def jobs(study: Study, out: Path, scale: float, options: Options) -> list[Job]:
    """List the runs of a study, seeds outermost, so that it can be judged before all are done."""
    metrics = {GROUPS[c.metric] for c in study.claims if ":" not in c.metric} | {"fd"}
    options = dataclasses.replace(options, log_every=study.log_every)
    found = []
    for seed in range(study.seeds):
        for cell in study.cells:
            recipe = study.recipe(cell, seed, scale)
            folder = out / "runs" / f"{cell}-seed{seed}-{recipe.key}"
            names = tuple(name for name in METRICS if name in metrics)
            found.append(Job(cell, seed, recipe, folder, options, study.protocol, names))
    return found


def work(job: Job) -> float:
    """Train a job to its end and measure it, unless that was done before; return its FD."""
    run = fit(job.recipe, job.folder, job.options)
    if not _measured(run, job):
        device = torch.device("cpu")
        place = Place(data_root(job.options.data_root), device, shape=job.recipe.shape)
        ref = reference(preset(job.protocol), job.recipe.dataset, place)
        for row in evaluate_run(run, run.checkpoints()[-1:], ref, job.metrics):
            run.append("metrics", row)
    return float(_measured(run, job)["fd"]["value"])


def _measured(run: Run, job: Job) -> dict[str, Any]:
    """The values of a run's last step by the study's protocol; empty if there are none yet."""
    last = job.recipe.steps
    found = [r for r in measured(run) if r["step"] == last and r["protocol"] == job.protocol]
    values: dict[str, Any] = found[-1]["values"] if found else {}
    return values if all(any(GROUPS.get(v, v) == m for v in values) for m in job.metrics) else {}


def needed(cells: int, claims: int) -> int:
    """Fewest seeds with which one of so many claims, about so many cells, can be decided at all."""
    return next(n for n in range(2, 100) if claims * stats.least_p([n] * cells) <= ALPHA)


def decidable(study: Study) -> None:
    """See that some claim of a study can be decided with its seeds.

    Raises:
        ValueError: if none can, with the seeds that it takes.
    """
    fewest = min(needed(len(claim.cells), len(study.claims)) for claim in study.claims)
    if study.seeds < fewest:
        raise ValueError(
            f"{study.seeds} seeds can decide none of the claims of {study.name}, whatever they "
            f"give; use --seeds {fewest} or more"
        )


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
    replace(file, (json.dumps(plan, indent=1) + "\n").encode())


def run(
    todo: Sequence[Job], at_once: int, executor: Executor | None = None
) -> Iterator[tuple[Job, float | Failure]]:
    """Carry out the jobs of a study, yielding each with its FD or why it failed."""
    name = executor or ("serial" if at_once == 1 else "processes")
    yield from EXECUTORS[name](work, todo, at_once)


def options_for(at_once: int, **settings: Any) -> Options:
    """Options of runs that go on side by side: as many threads for each as do not fight."""
    return Options(threads=max(1, (os.cpu_count() or 1) // at_once), **settings)


def numbers(claim: Claim, done: Sequence[Job]) -> list[list[float]]:
    """Return a claim's number for each of its cells and, within, for each run that is done."""
    return [[_number(claim, job) for job in done if job.cell == cell] for cell in claim.cells]


def _number(claim: Claim, job: Job) -> float:
    kind, _, name = claim.metric.rpartition(":")
    run = Run.open(job.folder)
    if not kind:
        number = float(_measured(run, job)[name]["value"])
    else:
        logged = np.array([row[name] for row in run.rows("log") if name in row])
        if kind == "mean":
            number = float(logged[-max(1, round(WINDOW * len(logged))) :].mean())
        else:
            number = stats.fluctuation(logged[len(logged) // 2 :])
    return number if claim.to is None else abs(number - claim.to)
