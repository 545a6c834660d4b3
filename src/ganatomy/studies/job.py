"""Jobs of a study: a run up to a step, and what is measured there."""

import re
from pathlib import Path
from typing import NamedTuple

from ganatomy.evaluation.metrics import metric_of
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.result import Evaluation
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run, step_of
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.claim import Point


class Job(NamedTuple):
    """A condition and a seed of a study: a run up to a step, and its evaluation there."""

    condition: str
    seed: int
    recipe: Recipe
    """with the condition's length; the run may be longer"""
    folder: Path
    options: RunOptions
    protocol: str
    metrics: tuple[str, ...]
    """that are measured on the samples of the protocol's own seed"""
    again: tuple[str, ...] = ()
    """metrics that are measured on the samples of further seeds too"""
    samplings: int = 1
    """sampling seeds, the protocol's own and those that follow it"""

    @property
    def name(self) -> str:
        """The condition and the seed."""
        return f"{self.condition}-seed{self.seed}"

    @property
    def point(self) -> Point:
        """The run at the job's step."""
        step = steps_of(self.recipe)
        return Point(Run(self.folder), step, self.protocol, self.options.log_every, self.samplings)

    def missing(self) -> dict[int, list[str]]:
        """Return the metrics that are not measured yet, by sampling seed.

        A run that was measured once and kept no checkpoint stays as it is.
        """
        found, first, left = self.point.evaluations(), preset(self.protocol).seed, {}
        for seed in range(first, first + self.samplings):
            known = {*map(metric_of, found.get(seed, ()))}
            names = self.metrics if seed == first else self.again
            if new := [name for name in names if name not in known]:
                left[seed] = new
        if left and first not in left and self.point.step not in self._checkpoints():
            return {}
        return left

    def evaluation(self) -> Evaluation | None:
        """Return the evaluation of the run at the job's step, if nothing is missing."""
        return None if self.missing() else self.point.evaluation()

    def _checkpoints(self) -> list[int]:
        return [*map(step_of, Run(self.folder).checkpoints())]

    def passed(self) -> bool:
        """Whether the run went past the step and kept neither a checkpoint nor an evaluation."""
        steps, step = self._checkpoints(), steps_of(self.recipe)
        try:
            return max(steps, default=0) > step not in steps and self.evaluation() is None
        except DamagedError:  # which the run itself will say
            return False


def steps_of(recipe: Recipe) -> int:
    """Return the training steps of a recipe that has them."""
    assert recipe.training.steps is not None
    return recipe.training.steps


def run_name(recipe: Recipe, options: RunOptions) -> str:
    """Return the name of a run in a store, from all that decides its rows and weights but length.

    A schedule spreads over the length, which is then a part of the name.
    """
    constant = recipe.training.schedule == "constant"
    key = recipe.key_without_length if constant else recipe.key
    parts = [recipe.data.dataset, recipe.network.model, f"seed{recipe.training.seed}", key]
    parts += [f"log{options.log_every}"] if options.log_every != 10 else []
    parts += [options.precision] if options.precision != "fp32" else []
    parts += ["fast"] if options.fast else []
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))
