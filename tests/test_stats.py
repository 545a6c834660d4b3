"""Intervals cover as often as they say, and resamples are bootstrap's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganatomy.stats import FEW, fluctuation, interval, reach, resamples, share_interval


def test_resamples_are_counts_of_n_draws() -> None:
    counts = resamples(50, 400, seed=1)
    assert counts.shape == (400, 50) and (counts.sum(1) == 50).all()
    assert counts.mean(0) == pytest.approx(1, abs=0.25)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # binomial (n, 1/n)
    assert (counts == resamples(50, 400, seed=1)).all()
    assert (counts != resamples(50, 400, seed=2)).any()


@given(slope=st.floats(-1e-3, 1e-3), scale=st.floats(0.1, 10), shift=st.floats(-100, 100))
def test_fluctuation_is_the_deviation_of_noise_on_a_slow_trend(
    slope: float, scale: float, shift: float
) -> None:
    noise = np.random.default_rng(0).standard_normal(20_000) * scale
    curve = shift + slope * np.arange(20_000) + noise
    assert fluctuation(curve) == pytest.approx(scale, rel=0.03)


def test_fluctuation_by_hand() -> None:
    assert fluctuation(np.array([0.0, 2.0, 0.0])) == pytest.approx(math.sqrt(2))
    assert fluctuation(np.ones(5)) == 0
    with pytest.raises(ValueError, match="log more often"):
        fluctuation(np.ones(1))


def test_interval_is_of_percentiles_put_at_the_value() -> None:
    found = np.arange(1000.0)
    low, high = interval(found, 10.0)
    assert (low, high) == pytest.approx((10 - 0.475 * 999, 10 + 0.475 * 999))
    assert interval(found, 10.0, (0, 300)) == (0, 300)


def test_few_estimates_are_taken_for_normal() -> None:
    found = np.random.default_rng(0).normal(size=FEW - 1)
    half = reach(FEW - 2) * found.std(ddof=1)
    assert interval(found, 5.0) == pytest.approx((5 - half, 5 + half))
    assert reach(10) == pytest.approx(2.2281, abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_share_interval_holds_the_share(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = share_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1 and low < high


def test_share_interval_is_wilsons() -> None:
    # the textbook's example: 8 of 10
    assert share_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_intervals_cover_a_mean() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        drawn = rng.exponential(size=60)
        low, high = interval(resamples(60, 200, seed) @ drawn / 60, float(drawn.mean()))
        covered += low <= 1 <= high
    assert 0.88 <= covered / 200 <= 0.98
