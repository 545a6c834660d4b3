"""Uncertainty: bootstrap resamples, 95 % confidence intervals, and tests of claims over seeds.

An interval is one for the mean value over sets of n images of the generator. It is not an interval
for the value at infinitely many images, which differs for a biased statistic. The value of a single
other set of n images falls outside more often than 5 % of the time, because it varies too. Where a
statistic has its best value (equal distributions, equal classes), a bootstrap interval is too wide
rather than too narrow.
"""

import functools
import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from scipy.special import comb, stdtrit

Z = 1.959963984540054
"""Standard deviations from the mean that enclose 95 % of a normal distribution."""

FEW = 40
"""Smallest number of estimates of which a 2.5th percentile is taken."""


@functools.lru_cache(maxsize=1)  # metrics of one comparison share them
def resamples(n: int, times: int, seed: int) -> NDArray[np.int64]:
    """Return bootstrap counts (times, n): how often each of n items is drawn, with replacement.

    Callers must not change them. Efron 1979, "Bootstrap Methods: Another Look at the Jackknife".
    """
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(times)])


def fluctuation(values: NDArray[np.float64]) -> float:
    """Return the standard deviation of the noise of a curve (n,) with a slow trend.

    It is the root mean square difference of neighbors, divided by the root of 2 (von Neumann et
    al. 1941). For white noise of deviation s on a line it is s.

    Raises:
        ValueError: for fewer than two points.
    """
    if len(values) < 2:
        raise ValueError("a curve needs two points to fluctuate; log more often with --log_every")
    return float(np.sqrt(np.mean(np.square(np.diff(values))) / 2))


def reach(free: int) -> float:
    """Return the half width of a 95 % interval in standard errors (Student's t)."""
    return float(stdtrit(free, 0.975))


def interval(
    estimates: Sequence[float] | NDArray[np.float64],
    value: float,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """Return the 95 % interval of a value from its bootstrap estimates.

    Resampling biases statistics such as the Fréchet distance upwards, so the estimates are shifted
    to have the value as their mean. With at least FEW estimates the interval is that of
    percentiles, with fewer it is Student's t.

    Args:
        estimates: bootstrap estimates.
        value: value of the whole sample.
        within: range of possible values.
    """
    found = np.asarray(estimates, np.float64)
    if len(found) < FEW:
        half = reach(len(found) - 1) * float(found.std(ddof=1))
        low, high = value - half, value + half
    else:
        low, high = (np.quantile(found, [0.025, 0.975]) - found.mean() + value).tolist()
    return float(max(min(low, value), within[0])), float(min(max(high, value), within[1]))


def share_interval(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of the share hits / n of independent images (Wilson 1927).

    Unlike a bootstrap interval it has a width where the share is 0 or 1.
    """
    share = hits / n
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, min(center - half, share)), min(1.0, max(center + half, share))


MOST = 20_000
"""Largest number of arrangements for an exact permutation test; of more, this number is drawn."""


def permutation(blocks: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float]:
    """Return the p values of a fall and of a rise over ordered groups, by a permutation test.

    The statistic is that of Jonckheere and Terpstra: over all pairs of groups, the number of pairs
    of values that rise (ties count half). For two groups it is that of Mann and Whitney. Over
    blocks, which repeat the comparison in other settings, it is the sum, and values are permuted
    within their block. The test is exact up to MOST arrangements of a block. Groups of a single
    value decide nothing: both p values are 1.

    Args:
        blocks: values, one for each seed, of each group of each block.

    Raises:
        ValueError: for fewer than two groups or an empty one.
    """
    if any(len(groups) < 2 or not all(groups) for groups in blocks):
        raise ValueError("a comparison needs two or more conditions with a run each")
    if min(len(values) for groups in blocks for values in groups) < 2:
        return 1.0, 1.0
    found, counts = 0, np.ones(1)
    for groups in blocks:
        twice, more = _arrangements(groups)
        found, counts = found + twice, np.convolve(counts, more)
    fall, rise = counts[: found + 1].sum(), counts[found:].sum()
    return float(fall / counts.sum()), float(rise / counts.sum())


def _arrangements(groups: Sequence[Sequence[float]]) -> tuple[int, NDArray[np.float64]]:
    """Return twice the statistic, and the number of arrangements with each value of it, from 0."""
    ranks = scipy.stats.rankdata(np.concatenate([np.asarray(g, np.float64) for g in groups]))
    parts = np.split(ranks, np.cumsum([len(g) for g in groups])[:-1])

    def twice_above(*samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        assert axis == -1
        later = (b[..., :, None] - a[..., None, :] for a, b in itertools.combinations(samples, 2))
        return np.sum([(np.sign(gaps) + 1).sum((-2, -1)) for gaps in later], axis=0)

    test = scipy.stats.permutation_test(
        parts, twice_above, vectorized=True, n_resamples=MOST, batch=2000, rng=0
    )
    found = round(float(test.statistic))
    null = np.rint(test.null_distribution).astype(np.int64)
    pairs = sum(len(a) * len(b) for a, b in itertools.combinations(groups, 2))
    counts = np.bincount(null, minlength=2 * pairs + 1).astype(np.float64)
    if len(null) == MOST:  # drawn at random: the observed arrangement is one more
        counts[found] += 1
    return found, counts


def sign_flips(gaps: Sequence[float]) -> tuple[float, float]:
    """Return the p values of values (n,) below and above 0, by a sign-flip test (Fisher 1935).

    It is exact up to MOST arrangements. It assumes that the noise is symmetric. Sums that tie are
    compared with a tolerance, which scipy.stats.permutation_test does not have.
    """
    n = len(gaps)
    if 2**n <= MOST:
        flips = np.array(list(itertools.product((1, -1), repeat=n)), np.float64)
    else:
        flips = np.random.default_rng(0).choice((1.0, -1.0), (MOST + 1, n))
        flips[0] = 1
    means = flips @ np.asarray(gaps, np.float64)
    slack = 1e-12 * np.abs(gaps).sum()
    return float(np.mean(means <= means[0] + slack)), float(np.mean(means >= means[0] - slack))


def least_p(sizes: Sequence[int]) -> float:
    """Return the smallest possible p of groups of these sizes; of one size, that of sign_flips."""
    if len(sizes) == 1:
        return 0.5 ** sizes[0]
    left = np.cumsum(sizes[::-1])[::-1]
    return 1 / math.prod(comb(n, k, exact=True) for n, k in zip(left, sizes, strict=True))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust the p values of several claims for multiple testing (Holm 1979)."""
    order = np.argsort(ps)
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def gap(
    first: Sequence[Sequence[float]], last: Sequence[Sequence[float]]
) -> tuple[float, float, float]:
    """Return mean of last minus mean of first, and its 95 % interval (BCa bootstrap, Efron 1987).

    Both have a sequence of values for each block; the result is the mean difference of the blocks.
    The interval is infinite where there are too few values to resample, or all are equal.
    """
    values = [np.asarray(x, np.float64) for x in (*first, *last)]
    half = len(first)

    def between(*samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        means = [x.mean(axis) for x in samples]
        return np.mean(means[half:], axis=0) - np.mean(means[:half], axis=0)

    middle = float(between(*values, axis=-1))
    if min(map(len, values)) < 3:
        return middle, -math.inf, math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few different resamples, which give NaN
        ends = scipy.stats.bootstrap(
            values, between, n_resamples=5000, method="BCa", rng=0, vectorized=True
        ).confidence_interval
    if not (math.isfinite(ends.low) and math.isfinite(ends.high)):
        return middle, -math.inf, math.inf
    return middle, float(ends.low), float(ends.high)


def superiority(first: Sequence[Sequence[float]], last: Sequence[Sequence[float]]) -> float:
    """Return the probability that a value of last is above one of first, mean over blocks.

    Ties count half. 0.5 means no effect; 0 and 1 are complete separation. Vargha and Delaney 2000.
    """
    shares = [
        scipy.stats.mannwhitneyu(b, a, method="asymptotic").statistic / (len(a) * len(b))
        for a, b in zip(first, last, strict=True)
    ]
    return float(np.mean(shares))
