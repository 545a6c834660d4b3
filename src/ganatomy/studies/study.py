"""Studies as data: a question, the conditions and seeds of its runs, and its claims.

A study folder contains study.json (the plan, written before the first run), verdicts.json, tables
and the page. Runs are in a store of their own, which studies can share: runs of one recipe are one
run there, trained to the longest length and measured at the steps that its conditions name.
"""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganatomy.data import data_root, is_name
from ganatomy.evaluation.metrics import METRICS, Comparison, available
from ganatomy.evaluation.protocol import Protocol, preset, require_same
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.statistics import least_p
from ganatomy.gan.machine import pick_device
from ganatomy.recipes.named import read
from ganatomy.recipes.recipe import Recipe, RunOptions, data_source
from ganatomy.runs.data import place_all
from ganatomy.storage.files import write_atomic
from ganatomy.studies.claim import Claim
from ganatomy.studies.job import Job, run_name, steps_of
from ganatomy.validation import lookup

ALPHA = 0.05
"""Probability that any claim of a study is supported although there is no effect."""

GROWING = ("seeds", "samplings")
"""Fields of a plan that may become larger after its first run."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the conditions of the runs that answer it, and claims about these runs.

    Raises:
        ValueError: for a condition that is not a recipe, a claim about an unknown condition, or
            claims without ids of their own.
    """

    name: str
    question: str
    base: str
    """a named recipe, or a recipe file"""
    conditions: Mapping[str, Mapping[str, Any]]
    """condition -> the recipe fields in which it differs from base; the field base names another
    recipe, the field steps another length"""
    claims: tuple[Claim, ...]
    steps: int
    """training steps of each run, before scaling"""
    seeds: int = 3
    """number of runs of each condition, with seeds from 0"""
    protocol: str = "classifier-10k"
    """name of the protocol that all runs are evaluated under"""
    log_every: int = 10
    """steps between logged rows"""
    samplings: int = 1
    """sampling seeds that the metrics of claims are measured with in each run; a claim's number is
    the mean over them"""

    def __post_init__(self) -> None:
        preset(self.protocol)
        if self.samplings < 1:
            raise ValueError(f"study {self.name} needs samplings of 1 or more")
        for claim in self.claims:
            for condition in itertools.chain(*claim.rows):
                lookup(self.conditions, condition, f"condition of claim {claim.id}")
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) < len(ids) or not ids:
            raise ValueError(f"study {self.name} needs one or more claims, each with its own id")
        for condition in self.conditions:
            if not re.fullmatch(r"\w[\w .,=+-]*", condition):
                raise ValueError(
                    f"study {self.name}: the name of a condition is part of a folder's name: "
                    f"expected letters, digits, spaces and .,=+-_ only, got {condition!r}"
                )
            self.recipe(condition, 0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the study as JSON holds it."""
        return dataclasses.asdict(self)

    def recipe(self, condition: str, seed: int, scale: float) -> Recipe:
        """Return the recipe of a condition and a seed.

        Raises:
            ValueError: if it is not a recipe, naming the condition.
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
        """Return the scaled training steps of each condition."""
        return {
            condition: self.recipe(condition, 0, scale).training.steps or 0
            for condition in self.conditions
        }

    def jobs(self, store: Path, scale: float, options: RunOptions) -> list[Job]:
        """Return a job for each seed and condition, with a run in a store; seeds go first."""
        metrics = {claim.group for claim in self.claims} | {"fd"}
        names = tuple(name for name in METRICS if name in metrics)
        again = tuple(name for name in names if name in {claim.group for claim in self.claims})
        pairs = [*itertools.product(range(self.seeds), self.conditions)]
        recipes = [_located(self.recipe(c, seed, scale), options) for seed, c in pairs]
        found = []
        for (seed, condition), placed in zip(pairs, place_all(recipes, options), strict=True):
            recipe, own, _ = placed
            own = dataclasses.replace(own, log_every=min(self.log_every, steps_of(recipe)))
            folder = store / run_name(recipe, own)
            measured = (self.protocol, names, again, self.samplings)
            job = Job(condition, seed, recipe, folder, own, *measured)
            if job.passed():
                job = job._replace(folder=folder.with_name(f"{folder.name}-to-{steps_of(recipe)}"))
            found.append(job)
        return found


def _located(recipe: Recipe, options: RunOptions) -> Recipe:
    """Return a recipe whose images, if there is no such path, are in the folder of datasets."""
    name = recipe.data.dataset
    place = data_root(options.data_root) / name
    if is_name(name) or Path(name).exists() or not place.exists():
        return recipe
    return recipe.replace(dataset=str(place))


def reference_for(recipe: Recipe, protocol: str, options: RunOptions) -> Reference:
    """Return the reference of a recipe's data under a protocol."""
    place = EvalOptions(
        data_root(options.data_root),
        device=pick_device(options.device),
        shape=recipe.data.shape,
        convert=recipe.data.convert,
    )
    return _reference(recipe.data.dataset, protocol, data_source(recipe, options), place)


@functools.lru_cache(maxsize=2)
def _reference(content: str, protocol: str, source: str, place: EvalOptions) -> Reference:
    """Return a reference, and keep it with what metrics compute of it; content names images."""
    return reference(preset(protocol), source, place)


def needed(claim: Claim, claims: int) -> int:
    """Return the smallest number of seeds that can decide one of this many claims."""
    rows, conditions = len(claim.rows), len(claim.conditions)
    return next(n for n in range(2, 100) if claims * least_p([n] * conditions) ** rows <= ALPHA)


def decidable(study: Study) -> None:
    """Check that the seeds of a study can decide at least one of its claims.

    Raises:
        ValueError: if they cannot, with the number of seeds needed.
    """
    fewest = min(needed(claim, len(study.claims)) for claim in study.claims)
    if study.seeds < fewest:
        raise ValueError(
            f"no claim of {study.name} can be decided with seeds = {study.seeds}, whatever the "
            f"results; use {fewest} or more (--seeds)"
        )


def measurable(study: Study, options: RunOptions) -> None:
    """Check that one protocol can measure the claims of a study in all conditions.

    Raises:
        ValueError: if it cannot, with the reason.
    """
    found: dict[str, Protocol] = {}
    options = dataclasses.replace(options, data=None)  # these recipes have their own paths
    for condition in study.conditions:
        recipe = _located(study.recipe(condition, 0, 1.0), options)
        ref = reference_for(recipe, study.protocol, options)
        if ref.protocol.preset != study.protocol:
            raise ValueError(
                f"{recipe.data.dataset} has no classes; use protocol = {ref.protocol.preset!r}"
            )
        found[condition] = ref.protocol
        known = Comparison(fake=ref.real, real=ref.real, moments=ref.moments, held_out=ref.held_out)
        for claim in study.claims:
            if claim.group is not None and not available(METRICS[claim.group], known):
                raise ValueError(
                    f"claim {claim.id}: {study.protocol} cannot measure {claim.metric} on "
                    f"{recipe.data.dataset}; use another protocol (see: ganatomy protocols)"
                )
    require_same(found.items())


def begin(study: Study, out: Path, scale: float) -> None:
    """Write the plan of a study, or check that the folder has the same plan with no more seeds.

    Seeds and samplings may become more.

    Raises:
        ValueError: if the folder has another plan, with the fields that differ.
    """
    plan = json.loads(json.dumps(dataclasses.asdict(study) | {"scale": scale}))
    file = out / "study.json"
    if file.exists():
        try:
            held = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}; use another folder") from error
        changed = [k for k in plan if held.get(k) != plan[k] and k not in GROWING]
        if changed:
            raise ValueError(
                f"{out} has a study with another {', '.join(changed)}: a plan does not change "
                "after its first run; use another folder"
            )
        for field in GROWING:
            if held.get(field, 1) > plan[field]:
                raise ValueError(f"{out} has {held[field]} {field} already; use as many or more")
    write_atomic(file, (json.dumps(plan, indent=1) + "\n").encode())
