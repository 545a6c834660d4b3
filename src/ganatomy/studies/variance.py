"""Two sources of variance of a measured value: another training seed, and another sampling seed.

One value of a run mixes both. With several sampling seeds for each training seed they can be told
apart, which says whether more runs or more samples would make a study more certain.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from ganatomy.studies.study import ALPHA

POWER = 0.8
"""Probability with which a planned study finds the wanted difference."""

MOST_SEEDS = 100
"""Largest number of seeds that is planned."""

STUDIES = 4000
"""Simulated studies for one number of seeds."""


@dataclass(frozen=True)
class VarianceSplit:
    """Standard deviations of a value between training seeds, and between sampling seeds of one."""

    seeds: int
    """training seeds"""
    samplings: int
    """sampling seeds of each training seed"""
    mean: float
    interquartile_mean: float
    """mean of the middle half of the training seeds (Agarwal et al. 2021, arXiv 2108.13264)"""
    training: float
    """standard deviation that training again adds; 0 if sampling explains all"""
    sampling: float
    """standard deviation of sampling again from the same weights"""
    ratio: float
    """training / sampling; infinite if sampling changes nothing"""
    low: float
    """lower end of the 95 % interval of ratio, for normal values (Searle et al. 1992)"""
    high: float
    """upper end"""

    @property
    def single(self) -> float:
        """Standard deviation of one value of one run."""
        return math.hypot(self.training, self.sampling)

    @property
    def variation(self) -> float:
        """Coefficient of variation of one value of one run; infinite around a mean of 0."""
        return self.single / abs(self.mean) if self.mean else math.inf

    @classmethod
    def from_dict(cls, values: Mapping[str, float | None]) -> "VarianceSplit":
        """Read the output of to_dict."""
        known = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        return cls(**{name: math.inf if v is None else v for name, v in known.items()})  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, float | None]:
        """Return the fields and variation as JSON holds them; None is infinite."""
        known = dataclasses.asdict(self) | {"variation": self.variation}
        return {name: v if math.isfinite(v) else None for name, v in known.items()}


def pooled(groups: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation within groups of numbers; 0 if none has two of them."""
    known = [np.var(numbers, ddof=1) for numbers in groups if len(numbers) > 1]
    return math.sqrt(np.mean(known)) if known else 0.0


def split(values: Sequence[Sequence[float]] | NDArray[np.float64]) -> VarianceSplit:
    """Tell two sources of variance apart, by an analysis of variance with random effects.

    Args:
        values: (N, K), K values of different sampling seeds for each of N training seeds.

    Raises:
        ValueError: for fewer than two training or sampling seeds.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(
            "expected values of two or more training seeds, each with two or more sampling seeds, "
            f"got an array of shape {table.shape}"
        )
    n, k = table.shape
    means = table.mean(1)
    between = k * means.var(ddof=1)
    within = table.var(1, ddof=1).mean()
    low = high = math.inf
    if within > 0:
        free = (n - 1, n * (k - 1))
        ends = (between / within / scipy.stats.f.ppf(q, *free) for q in (0.975, 0.025))
        low, high = (math.sqrt(max(0.0, (end - 1) / k)) for end in ends)
    training, sampling = math.sqrt(max(0.0, (between - within) / k)), math.sqrt(within)
    return VarianceSplit(
        seeds=n,
        samplings=k,
        mean=float(means.mean()),
        interquartile_mean=float(scipy.stats.trim_mean(means, 0.25)),
        training=training,
        sampling=sampling,
        ratio=training / sampling if sampling else math.inf,
        low=low,
        high=high,
    )


def seeds_for(difference: float, deviation: float, claims: int = 1, rows: int = 1) -> int | None:
    """Return the seeds of each of two conditions that find a difference with probability POWER.

    Args:
        difference: of the two means, in the units of the value.
        deviation: standard deviation of one run's value, such as VarianceSplit.single.
        claims: of the study; each is tested at ALPHA / claims, the first step of Holm's correction.
        rows: settings that the comparison is pooled over.

    Returns:
        The number; None if it is more than MOST_SEEDS.

    Raises:
        ValueError: for a difference of 0, or a deviation that is not positive.
    """
    if difference == 0 or not deviation > 0:
        raise ValueError(
            f"expected a difference and a positive deviation, got {difference:g} and {deviation:g}"
        )
    effect = abs(difference) / deviation
    if power(effect, MOST_SEEDS, claims, rows) < POWER:
        return None
    low, high = 1, MOST_SEEDS  # too few, and enough
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(effect, middle, claims, rows) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


@functools.lru_cache(maxsize=256)
def power(effect: float, seeds: int, claims: int = 1, rows: int = 1) -> float:
    """Return the probability in [0, 1] that a claim about two conditions is supported.

    It is simulated, for normal values and the test that studies use, which is that of Mann and
    Whitney for two conditions.

    Args:
        effect: difference of the means in standard deviations of one run.
        seeds: of each condition.
        claims: of the study.
        rows: settings that the comparison is pooled over.
    """
    if seeds > 30:  # the distribution of the statistic is normal, and its table large
        efficiency = 3 / math.pi  # of the test, against that of means
        normal = NormalDist()
        reach = effect * math.sqrt(seeds * rows * efficiency / 2) + normal.inv_cdf(ALPHA / claims)
        return normal.cdf(reach)
    rng = np.random.default_rng(0)
    null, above = np.ones(1), np.zeros(STUDIES, np.int64)
    for _ in range(rows):
        first, last = rng.standard_normal((2, STUDIES, seeds))
        above += (first[:, :, None] < last[:, None, :] + effect).sum((1, 2))
        null = np.convolve(null, _orders(seeds))
    p = null[::-1].cumsum()[::-1] / null.sum()
    return float(np.mean(p[above] <= ALPHA / claims))


@functools.lru_cache(maxsize=64)
def _orders(seeds: int) -> NDArray[np.float64]:
    """Return how many orders of two groups have each number of pairs that rise, (seeds² + 1,)."""
    shorter = [np.ones(1)] * (seeds + 1)  # the first group is empty; the last has 0, 1, … values
    for m in range(1, seeds + 1):
        counts = [np.ones(1)]
        for k in range(1, seeds + 1):
            found = np.zeros(m * k + 1)
            found[m:] += counts[-1]  # the largest value is in the last group
            found[: len(shorter[k])] += shorter[k]  # or in the first
            counts.append(found)
        shorter = counts
    return shorter[-1]
