"""Training and sampling variance: against simulated grids and studies."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import mannwhitneyu

from ganatomy.evaluation.statistics import permutation
from ganatomy.studies import variance
from ganatomy.studies.study import ALPHA
from ganatomy.studies.variance import POWER, power, seeds_for, split


def grid(
    rng: np.random.Generator, training: float, sampling: float, n: int = 8, k: int = 5
) -> np.ndarray:
    """Values of n training seeds with k sampling seeds each."""
    return 10 + training * rng.standard_normal((n, 1)) + sampling * rng.standard_normal((n, k))


@pytest.mark.parametrize(("training", "sampling"), [(3.2, 1.0), (1.0, 1.0), (1.0, 3.0)])
def test_variances_of_simulated_grids(training: float, sampling: float) -> None:
    rng = np.random.default_rng(0)
    found = [split(grid(rng, training, sampling, 20)) for _ in range(500)]
    assert np.mean([s.sampling**2 for s in found]) == pytest.approx(sampling**2, rel=0.1)
    # cut off at 0, which the smallest of these meets in a fifth of the grids
    assert np.mean([s.training**2 for s in found]) == pytest.approx(training**2, rel=0.1)
    covered = np.mean([s.low <= training / sampling <= s.high for s in found])
    assert 0.92 <= covered <= 0.98


def test_parts_of_a_split() -> None:
    found = split([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0], [30.0, 32.0]])
    assert (found.seeds, found.samplings, found.mean) == (4, 2, 12.25)
    assert found.interquartile_mean == 8.0
    assert found.sampling == pytest.approx(math.sqrt(2))
    means = np.array([2.0, 6, 10, 31])
    assert found.training == pytest.approx(math.sqrt(means.var(ddof=1) - 2 / 2))
    assert found.single == pytest.approx(math.sqrt(found.training**2 + 2))
    assert found.variation == pytest.approx(found.single / 12.25)


def test_no_variance_of_one_kind() -> None:
    exact = split([[1.0, 1.0], [2.0, 2.0]])
    assert exact.sampling == 0 and exact.ratio == exact.low == exact.high == math.inf
    same = split([[1.0, 2.0], [1.1, 2.1]])
    assert same.training == same.ratio == same.low == 0 and same.high > 0


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0], [2.0]], [1.0, 2.0]])
def test_too_few_seeds_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="expected values of two or more training seeds, each"):
        split(values)


def simulated(effect: float, seeds: int) -> Iterator[list[list[float]]]:
    """Simulate 500 studies of two conditions, other ones than those of the plan."""
    rng = np.random.default_rng(1)
    for _ in range(500):
        first, last = rng.standard_normal((2, seeds))
        yield [first.tolist(), (last + effect).tolist()]


def planned(seeds: int) -> float:
    """Find the effect that this number of seeds is just enough for."""
    effect = float(brentq(lambda d: power(d, seeds) - POWER - 0.01, 0.5, 4.0, xtol=1e-3))
    assert seeds_for(effect, 1.0) == seeds_for(-10 * effect, 10.0) == seeds
    return effect


def test_planned_power_is_met_by_the_test_of_studies() -> None:
    decided = [permutation([study])[1] <= ALPHA for study in simulated(planned(5), 5)]
    assert 0.75 <= np.mean(decided) <= 0.85


@pytest.mark.parametrize("seeds", [8, 21])
def test_planned_power_is_met(seeds: int) -> None:
    studies = np.array(list(simulated(planned(seeds), seeds)))
    found = mannwhitneyu(
        studies[:, 1], studies[:, 0], alternative="greater", axis=1, method="exact"
    )
    assert 0.75 <= np.mean(found.pvalue <= ALPHA) <= 0.85
    if seeds == 8:  # it is the test of studies
        for study, p in zip(studies[:3].tolist(), found.pvalue, strict=False):
            assert permutation([study])[1] == pytest.approx(p, rel=1e-9)


def test_more_claims_and_smaller_differences_need_more_seeds() -> None:
    found = [seeds_for(d, 1.0) for d in (4.0, 2.0, 1.0, 0.6)]
    assert found == sorted(found, key=lambda n: n or 0) and found[0] == 3
    assert (seeds_for(2.0, 1.0, claims=5) or 0) > (seeds_for(2.0, 1.0) or 0)
    assert seeds_for(0.1, 1.0) is None


def test_the_normal_approximation_joins_the_simulation() -> None:
    exact, normal = power(0.75, 30), power(0.75, 31)
    assert normal == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize(("difference", "deviation"), [(0.0, 1.0), (1.0, 0.0), (1.0, math.nan)])
def test_an_impossible_plan_is_refused(difference: float, deviation: float) -> None:
    with pytest.raises(ValueError, match="expected a difference and a positive deviation"):
        seeds_for(difference, deviation)


def test_simulated_studies_are_enough() -> None:
    assert math.sqrt(POWER * (1 - POWER) / variance.STUDIES) < 0.01
