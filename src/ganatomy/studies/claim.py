"""Claims about the runs of a study, as data, and the numbers that they compare.

To add a kind of number, add a function to KINDS and its names to _NAMES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganatomy.evaluation import statistics
from ganatomy.evaluation.checkpoints import measured
from ganatomy.evaluation.metrics import ALIASES, metric_of, values
from ganatomy.evaluation.result import Evaluation
from ganatomy.runs.folder import Row, Run
from ganatomy.runs.sampling import interpolate, load_generator
from ganatomy.training.session import TAGS
from ganatomy.validation import check, nearest

WINDOW = 0.1
"""Share of the log, at its end, that mean:NAME averages."""

PAIRS, PAIR_STEPS = 5, 10
"""Pairs of latent vectors of interpolation:NAME, and steps between the two of a pair."""

_NAMES: dict[str, Callable[[], list[str]]] = {
    "": lambda: list(values()),
    "mean": lambda: list(TAGS),
    "fluctuation": lambda: list(TAGS),
    "share": lambda: [str(label) for label in range(10)],
    "interpolation": lambda: ["lerp", "slerp"],
}
"""kind of metric -> the names after its colon; share accepts the number of any class"""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim: a number falls or rises across conditions, or is below or above a value in one.

    Raises:
        ValueError: for an unknown metric (naming the nearest) or conditions that do not fit.
    """

    id: str
    """short name, unique within the study"""
    text: str
    """the claim in words"""
    metric: str
    """name of a metric (fd, recall, …); share:CLASS, share of the samples in a class; mean:NAME,
    mean of a logged value at the end of training; fluctuation:NAME, of a logged value in the second
    half of training; interpolation:lerp or interpolation:slerp, largest step over mean step between
    two latent vectors"""
    conditions: tuple[str, ...]
    """names of conditions, in order"""
    blocks: tuple[tuple[str, ...], ...] = ()
    """further rows of conditions of the same length: the same comparison in other settings, pooled
    with the first"""
    direction: Literal["falls", "rises"]
    """direction from the first condition to the last; with one condition, falls means below value
    and rises above it"""
    to: float | None = None
    """compare the distance of the number from this one, instead of the number; None: do not"""
    value: float | None = None
    """value that the number of a single condition is compared with"""
    reported: tuple[float, ...] = ()
    """numbers that a report states for the conditions, for tables only"""

    def __post_init__(self) -> None:
        check(self, {})
        kind, _, name = self.metric.rpartition(":")
        a_class = kind == "share" and name.isdecimal()
        if kind not in _NAMES or not (a_class or name in _NAMES[kind]()):
            known = [f"{k}:{n}".removeprefix(":") for k in _NAMES for n in _NAMES[k]()]
            raise ValueError(
                f"claim {self.id}: unknown metric {self.metric!r} {nearest(self.metric, known)}"
            )
        if (len(self.conditions) == 1) != (self.value is not None) or not self.conditions:
            raise ValueError(
                f"claim {self.id}: expected two or more conditions, or one with a value"
            )
        if any(len(row) != len(self.conditions) for row in self.blocks):
            raise ValueError(
                f"claim {self.id}: expected blocks of as many conditions as conditions has"
            )
        if self.reported and len(self.reported) != len(self.conditions):
            raise ValueError(f"claim {self.id}: expected in reported a number for each condition")

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """All rows of conditions: the first row and the blocks."""
        return (self.conditions, *self.blocks)

    @property
    def group(self) -> str | None:
        """The metric that has to be measured; None if the log or the weights are enough."""
        kind, _, name = self.metric.rpartition(":")
        return {"": metric_of(name), "share": "classes"}.get(kind)


class Point(NamedTuple):
    """A run at the step at which a study looks at it; the run may go on."""

    run: Run
    step: int
    protocol: str
    """name of the protocol that measures the run"""
    log_every: int
    """steps between the rows that count"""
    samplings: int = 1
    """sampling seeds that count: the protocol's own and those that follow it"""

    def evaluation(self) -> Evaluation | None:
        """Return what was measured at the step under the protocol; None if nothing was."""
        return next(iter(self.evaluations().values()), None)

    def evaluations(self) -> dict[int, Evaluation]:
        """Return the evaluations at the step by sampling seed; the protocol's own seed is first."""
        found = [e for e in measured(self.run) if e.step == self.step]
        own = [e for e in found if e.protocol.name == self.protocol][-1:]
        return {
            seed: e
            for first in own
            for seed in range(first.protocol.seed, first.protocol.seed + self.samplings)
            for e in (first, *found)
            if e.protocol == first.protocol.replace(seed=seed)
        }

    def rows(self) -> list[Row]:
        """Return the logged rows up to the step, at equal distances."""
        rows = self.run.rows("log")
        return [r for r in rows if r["step"] <= self.step and r["step"] % self.log_every == 0]


def values_of(claim: Claim, point: Point) -> list[float]:
    """Return the numbers of a claim for a run at a step, one for each sampling seed.

    A number that does not come from measured samples is one only.

    Raises:
        LookupError: if it was not logged or measured.
    """
    kind, _, name = claim.metric.rpartition(":")
    found = KINDS[kind](point, name)
    return found if claim.to is None else [abs(x - claim.to) for x in found]


def _measured(point: Point) -> list[Evaluation]:
    """Return the evaluations; the one with the protocol's own seed is first."""
    found = [*point.evaluations().values()]
    if not found:
        raise LookupError(
            f"{point.run.path} was not measured by {point.protocol} at step {point.step}"
        )
    return found


def _value(point: Point, name: str) -> list[float]:
    own, *others = _measured(point)
    known = ALIASES.get(name, name)  # further seeds may have other metrics
    return [own[name], *(evaluation[name] for evaluation in others if known in evaluation)]


def _share(point: Point, name: str) -> list[float]:
    counts = [evaluation.class_counts for evaluation in _measured(point)]
    return [float(c[int(name)] / sum(c)) for c in counts if c is not None]


def _mean(point: Point, name: str) -> list[float]:
    logged = _logged(point, name)
    return [float(logged[-max(1, round(WINDOW * len(logged))) :].mean())]


def _fluctuation(point: Point, name: str) -> list[float]:
    logged = _logged(point, name)
    return [statistics.fluctuation(logged[len(logged) // 2 :])]


def _interpolation(point: Point, name: str) -> list[float]:
    run, recipe = point.run, point.run.recipe
    _, generator = load_generator(run, run.checkpoint(point.step))
    jumps = interpolate(
        generator, PAIRS, PAIR_STEPS, recipe, recipe.training.seed, name == "slerp"
    ).jump
    return [float(np.mean(jumps))]


def _logged(point: Point, name: str) -> NDArray[np.float64]:
    found = np.array([row[name] for row in point.rows() if name in row])
    if not len(found):
        raise LookupError(
            f"{point.run.path} has no {name} logged every {point.log_every} steps up to step "
            f"{point.step}"
        )
    return found


KINDS: dict[str, Callable[[Point, str], list[float]]] = {
    "": _value,
    "mean": _mean,
    "fluctuation": _fluctuation,
    "share": _share,
    "interpolation": _interpolation,
}
"""kind of metric -> function of a run at a step, and the name after the colon, to numbers"""
