"""How sure a number is: bootstrap resamples, and 95 % intervals from them and from shares.

An interval holds, with 95 % confidence, the value that sets of n pictures of this generator have
on average: how far chance in drawing the n may have moved the value. It is not the value at
infinitely many pictures, which for a biased statistic is another number; a single other set of n
falls outside more often than one time in twenty, for it scatters too. Where a statistic has its
best value (equal distributions, equal classes) a bootstrap is too wide rather than too narrow.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Z = 1.959963984540054
"""Standard deviations of a normal between which 95 % lie."""

FEW = 40
"""Estimates of which the outermost is the 2.5th percentile; with fewer, percentiles say little."""


def resamples(n: int, times: int, seed: int) -> NDArray[np.int64]:
    """Return how often each of n items is drawn with replacement, (times, n), rows that sum to n.

    Efron 1979, "Bootstrap Methods: Another Look at the Jackknife".
    """
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(times)])


def fluctuation(values: NDArray[np.float64]) -> float:
    """How much a curve (n,) jumps from point to point: the deviation of noise on a slow trend.

    Root mean square of the differences of neighbours, over the root of 2 (von Neumann et al. 1941),
    in units of the curve. For white noise of deviation s on a line it is s; a trend hardly counts.

    Raises:
        ValueError: for fewer than two points.
    """
    if len(values) < 2:
        raise ValueError("a curve of one point cannot fluctuate; log more often with --log_every")
    return float(np.sqrt(np.mean(np.square(np.diff(values))) / 2))


def reach(free: int) -> float:
    """Return how many standard errors a 95 % interval reaches at so many degrees of freedom."""
    return float(stdtrit(free, 0.975))


def interval(
    estimates: Sequence[float] | NDArray[np.float64],
    value: float,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """Return the 95 % interval of a value, given its bootstrap estimates and its possible range.

    Resampling adds noise of its own, which moves a statistic such as the Fréchet distance upwards;
    so the estimates are shifted to have the value as their mean. From FEW on, their percentiles
    are taken; of fewer, the spread, as if they were normal (Student's t).
    """
    found = np.asarray(estimates, np.float64)
    if len(found) < FEW:
        half = reach(len(found) - 1) * float(found.std(ddof=1))
        low, high = value - half, value + half
    else:
        low, high = (np.quantile(found, [0.025, 0.975]) - found.mean() + value).tolist()
    return float(max(min(low, value), within[0])), float(min(max(high, value), within[1]))


def share_interval(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share, hits of n independent pictures (Wilson 1927).

    Unlike a bootstrap it has a width when the share is 0 or 1.
    """
    share = hits / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
