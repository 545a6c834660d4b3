"""Intervals cover as often as they say, and resamples are bootstrap's."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ganatomy.evaluation.statistics import (
    FEW,
    MOST,
    fluctuation,
    gap,
    holm,
    interval,
    least_p,
    permutation,
    reach,
    resamples,
    share_interval,
    sign_flips,
    superiority,
)


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
    # a textbook example: 8 of 10
    assert share_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_intervals_cover_a_mean() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        drawn = rng.exponential(size=60)
        low, high = interval(resamples(60, 200, seed) @ drawn / 60, float(drawn.mean()))
        covered += low <= 1 <= high
    assert 0.88 <= covered / 200 <= 0.98


@given(st.permutations(range(7)), st.integers(2, 5))
def test_two_groups_are_mann_and_whitneys(values: list[int], cut: int) -> None:
    first, last = values[:cut], values[cut:]
    expected = [
        scipy.stats.mannwhitneyu(last, first, alternative=way, method="exact").pvalue
        for way in ("less", "greater")
    ]
    assert permutation([[first, last]]) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[3, 1, 2, 4, 6, 5], [1, 1, 2, 2, 2, 3], [6, 5, 4, 3, 2, 1]])
def test_a_trend_is_tested_by_all_arrangements(values: list[int]) -> None:
    def rises(order: tuple[int, ...]) -> float:
        groups = order[:2], order[2:4], order[4:]
        pairs = [p for a, b in itertools.combinations(groups, 2) for p in itertools.product(a, b)]
        return sum((b > a) + (b == a) / 2 for a, b in pairs)

    found = [rises(order) for order in itertools.permutations(values)]
    seen = rises(tuple(values))
    expected = (
        sum(f <= seen for f in found) / len(found),
        sum(f >= seen for f in found) / len(found),
    )
    assert permutation([[values[:2], values[2:4], values[4:]]]) == pytest.approx(expected)


def test_strata_are_pooled_over_all_arrangements_within_each() -> None:
    strata = [[[5, 1], [2, 3]], [[60, 20], [10, 20, 30]]]

    def above(groups: tuple[tuple[int, ...], ...]) -> float:
        return sum((b > a) + (b == a) / 2 for a, b in itertools.product(*groups))

    orders = [
        [above((order[:2], order[2:])) for order in itertools.permutations([*first, *last])]
        for first, last in strata
    ]
    sums = [a + b for a, b in itertools.product(*orders)]
    seen = sum(above((tuple(first), tuple(last))) for first, last in strata)
    expected = [np.mean(np.array(sums) <= seen), np.mean(np.array(sums) >= seen)]
    assert permutation(strata) == pytest.approx(expected)
    # what differs between strata is not taken for an effect
    assert permutation([[[1, 2], [3, 4]], [[101, 102], [103, 104]]])[1] == pytest.approx(1 / 36)


def test_drawn_arrangements_count_what_was_found_as_one() -> None:
    first, last = list(range(12)), list(range(12, 24))  # 2.7 million arrangements
    assert permutation([[first, last]]) == pytest.approx((1.0, 1 / (MOST + 1)))


@pytest.mark.parametrize("sizes", [[3, 3], [5, 5], [2, 4], [2, 2, 2], [4, 3, 2]])
def test_the_least_p_is_that_of_complete_order(sizes: list[int]) -> None:
    values, ends = list(range(sum(sizes))), np.cumsum([0, *sizes])
    groups = [values[a:b] for a, b in itertools.pairwise(ends)]
    assert permutation([groups]) == pytest.approx((1.0, least_p(sizes)))


def test_signs_are_flipped_in_all_ways() -> None:
    assert sign_flips([1, 2, 3, 4, 5]) == pytest.approx((1, least_p([5])))
    assert sign_flips([1, -2]) == (0.5, 0.75)  # means 3, 1, -1, -3 (halved); ours is -1
    assert sign_flips([0.0, 0.0]) == (1, 1)
    assert sign_flips([1.0] * 24) == (1, 1 / (MOST + 1))  # of so many, drawn


def test_comparisons_of_nothing_are_refused() -> None:
    assert permutation([[[1.0], [2.0, 3.0, 4.0]]]) == (1, 1)  # a single run decides nothing
    for groups in ([[1.0]], [[1.0], []]):
        with pytest.raises(ValueError, match="two or more conditions with a run each"):
            permutation([groups])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1] and holm([0.02]) == [0.02]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferronis(ps: list[float]) -> None:
    adjusted = holm(ps)
    for (a, p), (b, q) in itertools.product(zip(adjusted, ps, strict=True), repeat=2):
        assert p <= a <= min(1, p * len(ps)) + 1e-12 and (a <= b if p <= q else True)


def test_intervals_of_gaps_cover_as_they_say() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        first, last = rng.normal(0, 1, 12), rng.normal(2, 3, 12)
        middle, low, high = gap([first.tolist()], [last.tolist()])
        assert low <= middle <= high
        hits += low <= 2 <= high
    assert 0.88 <= hits / 200 <= 0.99  # twelve a side: somewhat under 0.95


def test_a_gap_of_too_few_has_no_interval() -> None:
    assert gap([[1, 2]], [[3, 4, 5]]) == (2.5, -math.inf, math.inf)
    assert gap([[1, 1, 1]], [[4, 4, 4]]) == (3, -math.inf, math.inf)


def test_gaps_and_superiority_of_strata_are_means() -> None:
    first, last = [[1.0, 2, 3], [10.0, 20, 30]], [[2.0, 3, 4.5], [21.0, 31, 40]]
    middle, low, high = gap(first, last)
    assert middle == pytest.approx((3.5 / 3 + 32 / 3) / 2) and low < middle < high
    assert gap([first[0], [1, 2]], last)[1:] == (-math.inf, math.inf)
    assert superiority(first, last) == pytest.approx(
        (superiority(first[:1], last[:1]) + superiority(first[1:], last[1:])) / 2
    )


def test_superiority() -> None:
    assert superiority([[1, 2]], [[3, 4]]) == 1 and superiority([[3, 4]], [[1, 2]]) == 0
    assert superiority([[1, 2]], [[2, 1]]) == 0.5 and superiority([[1, 3]], [[2, 4]]) == 0.75
    assert superiority([[1.0, 1.0]], [[1.0, 1.0]]) == 0.5 and superiority([[1.0]], [[2.0]]) == 1


VALUES = st.lists(st.integers(0, 4), min_size=1, max_size=5)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=3))
def test_superiority_counts_pairs(blocks: list[tuple[list[int], list[int]]]) -> None:
    shares = [np.mean([(y > x) + (y == x) / 2 for x in a for y in b]) for a, b in blocks]
    first, last = [a for a, _ in blocks], [b for _, b in blocks]
    assert superiority(first, last) == pytest.approx(np.mean(shares), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_sign_flips_are_scipys_where_no_flips_tie(n: int) -> None:
    gaps = np.random.default_rng(n).normal(0.3, 1, n).tolist()
    expected = [
        scipy.stats.permutation_test(
            [gaps], np.mean, permutation_type="samples", n_resamples=MOST, alternative=way
        ).pvalue
        for way in ("less", "greater")
    ]
    assert sign_flips(gaps) == pytest.approx(expected, abs=1e-12)
    # scipy's, which compares sums without a tolerance, gives 0.5 for one of these
    assert sign_flips([0.1, 0.2, -0.3]) == (0.625, 0.625)
