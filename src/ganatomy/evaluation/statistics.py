"""How sure a number is: bootstrap resamples, 95 % intervals, and tests of claims over seeds.

An interval holds, with 95 % confidence, the value that sets of n images of this generator have
on average: how far chance in drawing the n may have moved the value. It is not the value at
infinitely many images, which for a biased statistic is another number; a single other set of n
falls outside more often than one time in twenty, for it scatters too. Where a statistic has its
best value (equal distributions, equal classes) a bootstrap is too wide rather than too narrow.
"""

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from scipy.special import comb, stdtrit

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
    """Return the 95 % interval of a share, hits of n independent images (Wilson 1927).

    Unlike a bootstrap it has a width when the share is 0 or 1.
    """
    share = hits / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


MOST = 20_000
"""Arrangements up to which a permutation test goes through all; of more it draws so many."""


def permutation(blocks: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float]:
    """Return p of falling and of rising from group to group, in their order, by permutation.

    One value for each seed. The statistic is Jonckheere and Terpstra's: over all pairs of groups,
    how often a value of the later one is above one of the earlier one (ties count half); for two
    groups it is Mann and Whitney's. Of several blocks, which are the same comparison in other
    settings, it is the sum, and values change places within their block only. Exact up to MOST
    arrangements of a block; no distribution is assumed. Groups of a single value are left
    undecided: 1 and 1.

    Raises:
        ValueError: for fewer than two groups or an empty one.
    """
    if any(len(groups) < 2 or not all(groups) for groups in blocks):
        raise ValueError("a comparison needs two or more conditions with a run each")
    if min(len(values) for groups in blocks for values in groups) < 2:
        return 1.0, 1.0
    found, ways = 0, np.ones(1)
    for groups in blocks:
        twice, chances = _arrangements(groups)
        found, ways = found + twice, np.convolve(ways, chances)
    return float(ways[: found + 1].sum() / ways.sum()), float(ways[found:].sum() / ways.sum())


def _arrangements(groups: Sequence[Sequence[float]]) -> tuple[int, NDArray[np.float64]]:
    """Twice the statistic of groups, and how many arrangements have each value of it, from 0."""
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
    ways = np.bincount(null, minlength=2 * pairs + 1).astype(np.float64)
    if len(null) == MOST:  # drawn ones: what was found is one more arrangement
        ways[found] += 1
    return found, ways


def sign_flips(gaps: Sequence[float]) -> tuple[float, float]:
    """Return p of lying below and above 0 for values (n,), by flipping signs.

    All ways of it up to MOST, of more so many drawn ones. What is assumed is that chance moves a
    value up as easily as down (Fisher 1935).
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
    """The smallest p that groups of such sizes can give; one size means sign_flips."""
    if len(sizes) == 1:
        return 0.5 ** sizes[0]
    left = np.cumsum(sizes[::-1])[::-1]
    return 1 / math.prod(comb(n, k, exact=True) for n, k in zip(left, sizes, strict=True))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p values of several claims, so that at most one time in twenty any is wrong at 0.05.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
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

    Each has a sequence of values for each block; it is the mean of the blocks's differences.
    Where there are too few values to resample, or no two differ, the interval is infinite.
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
        warnings.simplefilter("ignore")  # of too few different resamples, which give NaN
        ends = scipy.stats.bootstrap(
            values, between, n_resamples=5000, method="BCa", rng=0, vectorized=True
        ).confidence_interval
    if not (math.isfinite(ends.low) and math.isfinite(ends.high)):
        return middle, -math.inf, math.inf
    return middle, float(ends.low), float(ends.high)


def superiority(first: Sequence[Sequence[float]], last: Sequence[Sequence[float]]) -> float:
    """Return the chance that a value of last is above one of first, mean over blocks.

    Ties count half. 0.5 means no effect; 0 and 1 are complete separation. Vargha and Delaney 2000.
    """
    shares = [
        scipy.stats.mannwhitneyu(b, a, method="asymptotic").statistic / (len(a) * len(b))
        for a, b in zip(first, last, strict=True)
    ]
    return float(np.mean(shares))
