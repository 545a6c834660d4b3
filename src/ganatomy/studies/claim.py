"""Claims about the runs of a study, as data, and the numbers that they compare.

To add a kind of number, add a function to KINDS and its names to _NAMES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganatomy.evaluation import statistics
from ganatomy.evaluation.checkpoints import measured
from ganatomy.evaluation.metrics import metric_of, values
from ganatomy.evaluation.result import Evaluation
from ganatomy.runs.folder import Run
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


def value_of(claim: Claim, run: Run, protocol: str) -> float:
    """Return the number of a claim for a finished run, measured under a protocol.

    Raises:
        LookupError: if it was not logged or measured.
    """
    kind, _, name = claim.metric.rpartition(":")
    found = KINDS[kind](run, name, protocol)
    return found if claim.to is None else abs(found - claim.to)


def last(run: Run, protocol: str) -> Evaluation | None:
    """Return the evaluation of a run's last step under a protocol; None if there is none."""
    step = run.recipe.training.steps
    found = [e for e in measured(run) if e.step == step and e.protocol.name == protocol]
    return found[-1] if found else None


def _last(run: Run, protocol: str) -> Evaluation:
    found = last(run, protocol)
    if found is None:
        raise LookupError(f"{run.path} was not measured by {protocol}")
    return found


def _value(run: Run, name: str, protocol: str) -> float:
    return _last(run, protocol)[name]


def _share(run: Run, name: str, protocol: str) -> float:
    counts = _last(run, protocol).class_counts
    assert counts is not None
    return float(counts[int(name)] / sum(counts))


def _mean(run: Run, name: str, protocol: str) -> float:
    logged = _logged(run, name)
    return float(logged[-max(1, round(WINDOW * len(logged))) :].mean())


def _fluctuation(run: Run, name: str, protocol: str) -> float:
    logged = _logged(run, name)
    return statistics.fluctuation(logged[len(logged) // 2 :])


def _interpolation(run: Run, name: str, protocol: str) -> float:
    _, generator = load_generator(run)
    recipe = run.recipe
    jumps = interpolate(
        generator, PAIRS, PAIR_STEPS, recipe, recipe.training.seed, name == "slerp"
    ).jump
    return float(np.mean(jumps))


def _logged(run: Run, name: str) -> NDArray[np.float64]:
    return np.array([row[name] for row in run.rows("log") if name in row])


KINDS: dict[str, Callable[[Run, str, str], float]] = {
    "": _value,
    "mean": _mean,
    "fluctuation": _fluctuation,
    "share": _share,
    "interpolation": _interpolation,
}
"""kind of metric -> function of a run, the name after the colon, and the protocol"""
