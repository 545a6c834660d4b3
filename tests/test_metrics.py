"""Metrics against closed forms, torch-fidelity, brute force, and what ought to make them worse."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from ganatomy.evaluation.metrics import (
    METRICS,
    Comparison,
    Estimate,
    Extracted,
    Metric,
    Moments,
    Value,
    available,
    check_metric,
    class_counts,
    distances,
    frechet,
    metric_of,
    moments,
    nearest,
    register_metric,
    resolve_metrics,
    trace_sqrt,
    values,
)
from ganatomy.evaluation.metrics.comparison import share
from ganatomy.evaluation.metrics.distances import RESAMPLES_WIDE, SUBSET, SUBSETS, WIDE
from ganatomy.evaluation.metrics.neighbors import blocks, radii
from ganatomy.evaluation.metrics.prdc import hits

CLASSES, D = 10, 16
CENTERS = torch.randn(CLASSES, D, generator=torch.Generator().manual_seed(99)) * 2


def gaussian(n: int, d: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def look(labels: Tensor, seed: int, noise: float = 1.0, around: Tensor = CENTERS) -> Extracted:
    """Features in a cloud per class, the logits of the right classifier, and a digest as pixels."""
    features = around[labels] + noise * gaussian(len(labels), D, seed)
    logits = features @ CENTERS.T - CENTERS.square().sum(1) / 2
    pixels = ((features[:, :9] * 16 + 128).clamp(0, 255)).to(torch.uint8).reshape(-1, 1, 3, 3)
    return Extracted(features, logits, pixels, labels)


def balanced(n: int) -> Tensor:
    return torch.arange(n) % CLASSES


REAL = look(balanced(1200), seed=1)
HELD_OUT = look(balanced(600), seed=2)
GOOD = look(balanced(1000), seed=3)


def compare(
    fake: Extracted = GOOD, real: Extracted = REAL, held_out: Extracted | None = HELD_OUT
) -> Comparison:
    return Comparison(
        fake=fake, real=real, moments=moments(real.features), held_out=held_out, resamples=50
    )


def measure(name: str, fake: Extracted = GOOD) -> dict[str, Estimate]:
    return METRICS[name].measure(compare(fake))


def features(fake: Tensor, real: Tensor, k: int = 5) -> Comparison:
    return Comparison(
        fake=Extracted(fake), real=Extracted(real), moments=moments(real), k=k, resamples=50
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganatomy.evaluation.metrics.distances.SUBSETS", 3)


# the registry


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_finite_values_that_have_titles(name: str) -> None:
    check_metric(METRICS[name])
    assert all(e.std is None or e.std >= 0 for e in measure(name).values())


def test_every_value_has_one_metric_and_is_found_by_its_title() -> None:
    assert [v for m in METRICS.values() for v in m.values] == [*values()]
    for name, v in values().items():
        metric = metric_of(name)
        assert metric is not None and name in METRICS[metric].values
        assert resolve_metrics(v.title) == resolve_metrics(name) == (name,)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ((), ()),
        ("", ()),
        ("fid,is,prdc,precision", ("fd", "score", *METRICS["prdc"].values)),
        ("fd precision", ("fd", "precision")),
        (("fd", "Pixel Diversity, FID∞"), ("fd", "pixel_diversity", "fd_infinity")),
        (("near-duplicates", "classes"), ("near_duplicates", *METRICS["classes"].values)),
    ],
)
def test_names_are_understood_as_people_write_them(said: Any, meant: tuple[str, ...]) -> None:
    assert resolve_metrics(said) == meant


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'precison' .did you mean 'precision'"):
        resolve_metrics("fd,precison")


def mean_feature(c: Comparison) -> float:
    """Mean of all features."""
    return float(c.fake.features.mean())


@pytest.fixture
def as_before() -> Iterator[None]:
    known = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(known)


@pytest.mark.usefixtures("as_before")
def test_own_metrics_are_registered_or_imported() -> None:
    register_metric("mean_feature", mean_feature)
    assert resolve_metrics("mean feature, fd") == ("mean_feature", "fd")
    assert values()["mean_feature"].about == "Mean of all features."
    with pytest.raises(ValueError, match="there is a metric 'mean_feature' already"):
        register_metric("mean_feature", mean_feature)
    with pytest.raises(ValueError, match="there is a value 'precision' already"):
        register_metric("mine", Metric(METRICS["fd"].measure, {"precision": Value("mine")}))
    del METRICS["mean_feature"]
    assert resolve_metrics("fd test_metrics:mean_feature") == ("fd", "mean_feature")
    for name, said in (
        ("test_metrics:absent", "cannot import it .AttributeError"),
        ("test_metrics:CLASSES", "is not a metric: expected a Metric or a function, got a int"),
        ("test_metrics:fails", "expected finite floats as fails"),
    ):
        with pytest.raises(ValueError, match=said):
            resolve_metrics(name)


def fails(c: Comparison) -> float:
    return math.nan


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda c: {"b": Estimate(1.0)}, "expected the values a, got b"),
        (lambda c: {"a": 1.0}, "expected an Estimate of a, got a float"),
        (lambda c: {"a": Estimate(3.0, 1.0, 2.0)}, "outside its interval"),
        (lambda c: {"a": Estimate(3.0, 1.0)}, "has one end"),
        (lambda c: {"a": Estimate(float(torch.rand(())))}, "use comparison.seed for randomness"),
        (lambda c: {"a": Estimate(float(c.fake.features.zero_().sum()))}, "changes its arguments"),
    ],
)
def test_a_metric_that_breaks_the_rules_is_refused(measure: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_metric(Metric(measure, {"a": Value("a")}))


@pytest.mark.parametrize("name", METRICS)
def test_needs_are_all_that_is_needed(name: str) -> None:
    bare = compare(Extracted(GOOD.features), Extracted(REAL.features), None)
    metric = METRICS[name]
    assert available(metric, compare())
    assert available(metric, bare) == (not metric.needs)
    for need in metric.needs:
        part, _, field = need.partition(".")
        given: dict[str, Any] = {"fake": GOOD, "real": REAL, "held_out": HELD_OUT}
        given[part] = given[part]._replace(**{field: None}) if field else None
        assert not available(metric, compare(**given))


# Fréchet


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 6), st.integers(0, 9))
@settings(max_examples=40)
def test_frechet_is_a_distance(n: int, m: int, d: int, seed: int) -> None:
    a, b = moments(gaussian(n, d, seed)), moments(2 * gaussian(m, d, seed + 10) + 1)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-6)
    assert frechet(a, b) >= 0


def test_frechet_of_diagonal_gaussians() -> None:
    m1, m2 = gaussian(2, 5, seed=4).double()
    s1, s2 = gaussian(2, 5, seed=5).double().abs() + 0.1
    expected = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()
    a, b = (Moments(m, (s**2).diag(), 9) for m, s in ((m1, s1), (m2, s2)))
    assert frechet(a, b) == pytest.approx(float(expected), rel=1e-12)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 9), st.floats(0.01, 9))
def test_frechet_in_one_dimension(m1: float, m2: float, s1: float, s2: float) -> None:
    a, b = (Moments(torch.tensor([m]), torch.tensor([[s**2]]), 9) for m, s in ((m1, s1), (m2, s2)))
    assert frechet(a, b) == pytest.approx((m1 - m2) ** 2 + (s1 - s2) ** 2, rel=1e-4, abs=1e-5)


def test_frechet_ignores_order_and_turns() -> None:
    a, b = gaussian(300), gaussian(200, seed=1) * 2 + 1
    whole = frechet(moments(a), moments(b))
    assert frechet(moments(a.flip(0)), moments(b)) == pytest.approx(whole, rel=1e-10)
    turn = torch.linalg.qr(gaussian(8, 8, seed=2).double()).Q
    turned = frechet(moments(a.double() @ turn), moments(b.double() @ turn))
    assert turned == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(500, 400, 8), (20, 400, 32), (20, 30, 64)])
def test_frechet_is_torch_fidelitys(n: int, m: int, d: int) -> None:
    """Also with fewer images than dimensions, where covariances are singular."""
    a, b = gaussian(n, d), 1.5 * gaussian(m, d, seed=1) + 0.3
    stats = [fid_features_to_statistics(x.double()) for x in (a, b)]
    expected = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet(moments(a), moments(b)) == pytest.approx(expected, rel=1e-6)


def test_singular_covariances_on_either_side() -> None:
    full, flat = moments(gaussian(90)).cov, torch.zeros(8, 8).double()
    flat[0, 0] = 4.0
    expected = math.sqrt(4 * full[0, 0])
    assert trace_sqrt(full, flat) == pytest.approx(expected, rel=1e-9)
    assert trace_sqrt(flat, full) == pytest.approx(expected, rel=1e-9)
    assert trace_sqrt(flat * 0, full) == pytest.approx(0, abs=1e-9)


def test_moments_are_numpys_and_counts_repeat_images() -> None:
    x, counts = gaussian(30), torch.arange(30) % 3
    found = moments(x, counts)
    repeated = x.double().repeat_interleave(counts, 0).numpy()
    assert found.n == len(repeated) and found.mean.dtype == torch.float64
    np.testing.assert_allclose(found.mean, repeated.mean(0), atol=1e-14)
    np.testing.assert_allclose(found.cov, np.cov(repeated, rowvar=False), atol=1e-14)


def test_frechet_interval_covers_the_mean_of_other_draws() -> None:
    real = moments(gaussian(5000, seed=500))
    draws = [
        Comparison(
            fake=Extracted(1.2 * gaussian(400, seed=seed) + 0.1),
            real=Extracted(gaussian(10)),
            moments=real,
            resamples=100,
            seed=seed,
        )
        for seed in range(60)
    ]
    found = [METRICS["fd"].measure(c)["fd"] for c in draws]
    mean = np.mean([f.value for f in found])
    covered = np.mean([f.low <= mean <= f.high for f in found if f.low and f.high])
    assert 0.85 <= covered <= 1.0
    spread = np.std([f.value for f in found])
    widths = np.mean([(f.high or 0) - (f.low or 0) for f in found])
    assert 3 * spread < widths < 6 * spread  # ± 1.96 deviations, and not a guess that holds all


def test_wide_features_are_resampled_less(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resamples(n: int, times: int, seed: int) -> np.ndarray:
        asked.append(times)
        return np.ones((2, n), np.int64)

    monkeypatch.setattr("ganatomy.evaluation.metrics.distances.resamples", resamples)
    for d in (WIDE, WIDE + 1):
        METRICS["fd"].measure(features(gaussian(8, d), gaussian(8, d, seed=1)))
    assert asked == [50, RESAMPLES_WIDE]


def test_fd_infinity_takes_the_bias_away() -> None:
    exact = Moments(torch.zeros(D).double(), torch.eye(D).double(), 10**6)
    c = replace(features(gaussian(2000, D), gaussian(20, D)), moments=exact)
    biased = METRICS["fd"].measure(c)["fd"].value
    free, low, high, _ = METRICS["fd_infinity"].measure(c)["fd_infinity"]
    assert low is not None and high is not None
    assert abs(free) < 0.3 * biased and low <= free <= high


def test_fd_infinity_is_the_intercept_of_a_line_in_1_over_n(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def noted(m: Moments) -> float:
        sizes.append(m.n)
        return 3 + 50 / m.n

    monkeypatch.setattr(distances, "frechet_to", lambda moments: noted)
    found = METRICS["fd_infinity"].measure(features(gaussian(480), gaussian(300, seed=1)))
    value, low, high, _ = found["fd_infinity"]
    assert sizes == [480] + 2 * [240] + 3 * [160] + 4 * [120]
    assert value == pytest.approx(3) and low is not None and high is not None and low < 3 < high


@pytest.mark.parametrize(("scale", "shift"), [(1.2, 0.1), (0.8, 0.0), (1.0, 0.0)])
def test_fd_infinity_interval_covers_the_truth(scale: float, shift: float) -> None:
    d, n = 8, 400
    exact = Moments(torch.zeros(d).double(), torch.eye(d).double(), 10**6)
    truth = d * ((scale - 1) ** 2 + shift**2)
    draws = [
        replace(features(scale * gaussian(n, d, seed) + shift, gaussian(10, d)), moments=exact)
        for seed in range(60)
    ]
    found = [METRICS["fd_infinity"].measure(c)["fd_infinity"] for c in draws]
    covered = [f.low <= truth <= f.high for f in found if f.low is not None and f.high is not None]
    assert 0.9 <= np.mean(covered) <= 1.0 and len(covered) == 60
    spread = np.std([f.value for f in found])
    widths = np.mean([(f.high or 0) - (f.low or 0) for f in found])
    assert 3 * spread < widths < 14 * spread
    assert abs(np.mean([f.value for f in found]) - truth) < 4 * spread / 60**0.5 + 0.005


def test_fd_infinity_hardly_depends_on_how_images_are_divided() -> None:
    c = features(1.2 * gaussian(1000, D) + 0.1, gaussian(1000, D, seed=1))
    found = [METRICS["fd_infinity"].measure(replace(c, seed=seed)) for seed in range(10)]
    values = [f["fd_infinity"] for f in found]
    assert np.std([f.value for f in values]) < 0.05 * values[0].value
    for one in values:
        assert all(f.low < one.value < f.high for f in values if f.low and f.high)


def test_influence_is_the_derivative_of_the_distance() -> None:
    """Weighting one image more changes the distance by its influence over n."""
    x, b = 1.3 * gaussian(2000, 5, seed=2).double(), moments(gaussian(2000, 5, seed=3))
    found = distances._influence(x, b)
    many = torch.full((2000,), 1000)
    before = frechet(moments(x, many), b)
    for i in range(5):
        once_more = many.clone()
        once_more[i] += 1
        slope = (frechet(moments(x, once_more), b) - before) * 2_000_000
        assert slope == pytest.approx(float(found[i] - found.mean()), rel=1e-2, abs=1e-2)


# KID and the score


def test_kid_is_torch_fidelitys_and_zero_for_equals() -> None:
    fake, real = 1.2 * gaussian(1100), gaussian(1300, seed=1)
    found = METRICS["kid"].measure(replace(features(fake, real), seed=7))["kid"]
    assert (SUBSETS, SUBSET) == (100, 1000)
    theirs = kid_features_to_metric(fake, real, kid_subsets=3, rng_seed=7, verbose=False)
    assert found.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert found.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-6)
    assert found.low is not None and found.low > 0
    same = METRICS["kid"].measure(features(gaussian(1100, seed=2), real))["kid"]
    assert same.low is not None and same.high is not None and same.low < 0 < same.high


def test_kid_interval_covers_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganatomy.evaluation.metrics.distances.SUBSETS", 20)
    real = gaussian(3000, 4, seed=500)
    found = [
        METRICS["kid"].measure(features(1.1 * gaussian(150, 4, seed=s), real))["kid"]
        for s in range(30)
    ]
    mean = np.mean([f.value for f in found])
    covered = np.mean([(f.low or 0) <= mean <= (f.high or 0) for f in found])
    assert covered >= 0.8
    widths = np.mean([(f.high or 0) - (f.low or 0) for f in found])
    assert widths < 6 * np.std([f.value for f in found])


def test_score_is_torch_fidelitys() -> None:
    assert GOOD.logits is not None
    found = measure("score")["score"]
    theirs = isc_features_to_metric(GOOD.logits, splits=10, shuffle=True, rng_seed=0)
    assert found.value == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert found.std == pytest.approx(theirs["inception_score_std"], rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_score_goes_from_one_to_the_classes(scale: float) -> None:
    """Also for a classifier so sure that the other classes' probabilities are 0."""
    same = torch.zeros(100, CLASSES)
    same[:, 0] = scale
    assert measure("score", fake_of(same))["score"].value == pytest.approx(1)
    if scale > 1:
        sure = scale * torch.eye(CLASSES)[balanced(100) + 0].roll(0, 0)
        found = METRICS["score"].measure(replace(compare(fake_of(sure)), splits=1))["score"]
        assert found.value == pytest.approx(CLASSES, rel=1e-6)


def test_score_interval_covers_the_mean_of_other_draws() -> None:
    found = []
    for seed in range(40):  # of unequal classes, for at the best score the interval is too wide
        drawn = torch.rand(400, generator=torch.Generator().manual_seed(seed))
        labels = (drawn**2 * CLASSES).long()
        c = replace(compare(look(labels, seed, noise=3.0)), splits=1)
        found.append(METRICS["score"].measure(c)["score"])
    mean = np.mean([f.value for f in found])
    covered = np.mean([(f.low or 0) <= mean <= (f.high or 0) for f in found])
    assert covered >= 0.8
    widths = np.mean([(f.high or 0) - (f.low or 0) for f in found])
    assert widths < 6 * np.std([f.value for f in found])


def fake_of(logits: Tensor) -> Extracted:
    return GOOD._replace(
        features=GOOD.features[: len(logits)], logits=logits, pixels=None, labels=None
    )


# neighborhoods


def brute(fake: Tensor, real: Tensor, k: int) -> dict[str, float]:
    """The four definitions, written out over all pairs."""
    x, y = fake.double().numpy(), real.double().numpy()

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    reach_real = np.sort(distances(y, y), axis=1)[:, k]
    reach_fake = np.sort(distances(x, x), axis=1)[:, k]
    across = distances(x, y)
    inside = across <= reach_real[None] * (1 + 1e-12)
    return {
        "precision": inside.any(1).mean(),
        "recall": (across <= reach_fake[:, None] * (1 + 1e-12)).any(0).mean(),
        "density": inside.sum() / (k * len(x)),
        "coverage": inside.any(0).mean(),
    }


@given(
    st.integers(6, 60), st.integers(6, 60), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99)
)
@settings(max_examples=40)
def test_prdc_is_what_the_definitions_say(n: int, m: int, d: int, k: int, seed: int) -> None:
    """Half of the fakes are copies of reals or of each other, so ties decide."""
    fake, real = gaussian(n, d, seed), gaussian(m, d, seed + 100)
    copied = min(n, m) // 3
    fake[:copied] = real[:copied]
    fake[-1] = fake[0]
    found = METRICS["prdc"].measure(features(fake, real, k))
    assert {name: f.value for name, f in found.items()} == pytest.approx(brute(fake, real, k))


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("far", [0.0, 100.0])
def test_equal_sets_have_everything(k: int, far: float) -> None:
    x = gaussian(200, 40) + far
    found = METRICS["prdc"].measure(features(x, x.clone(), k))
    assert found["precision"].value == found["recall"].value == found["coverage"].value == 1
    assert found["density"].value == pytest.approx((k + 1) / k)  # the ball's own center counts


def test_all_copies_of_one_image() -> None:
    real = gaussian(50)
    found = METRICS["prdc"].measure(features(real[:1].expand(50, -1), real))
    assert found["precision"].value == 1 and found["recall"].value == pytest.approx(1 / 50)


@pytest.mark.parametrize(("n", "m", "d"), [(700, 500, D), (500, 700, 64)])
def test_precision_and_recall_are_torch_fidelitys(n: int, m: int, d: int) -> None:
    fake, real = 1.1 * gaussian(n, d), gaussian(m, d, seed=1)
    for k in (3, 5):
        found = METRICS["prdc"].measure(features(fake, real, k))
        theirs = prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
        assert 0.1 < theirs["precision"] < 1
        for name in ("precision", "recall"):
            assert found[name].value == pytest.approx(theirs[name], rel=1e-6)


@given(st.integers(1, 10**5), st.integers(0, 99))
@settings(max_examples=30)
def test_blocks_do_not_matter(block: int, seed: int) -> None:
    fake, real = gaussian(90, 5, seed), gaussian(70, 5, seed + 100)
    fake[:30] = real[:30]
    for ours, whole in zip(hits(fake, real, 3, block), hits(fake, real, 3), strict=True):
        assert torch.equal(ours, whole)
    for ours, whole in zip(nearest(fake, real, block=block), nearest(fake, real), strict=True):
        assert torch.equal(ours, whole)
    sizes = [d2.numel() * 8 for _, d2 in blocks(fake, real, block)]
    assert max(sizes) <= max(block, 8 * len(real))


def test_nearest_is_brute_force_and_zero_for_copies() -> None:
    fake, real = gaussian(60) + 1e3, gaussian(50, seed=1) + 1e3
    fake[5], real[9] = real[7], real[7]
    distances, indices = nearest(fake, real)
    pairs = (fake.double()[:, None] - real.double()[None]).norm(dim=2)
    torch.testing.assert_close(distances, pairs.min(1).values)
    assert torch.equal(indices, pairs.argmin(1)) and distances[5] == 0 and indices[5] == 7
    others, which = nearest(fake, fake, others=True, block=1)
    assert (which != torch.arange(60)).all() and (others > 0).all()


def test_radii_leave_the_image_itself_out() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(line, 1).sqrt().tolist() == pytest.approx([1, 1, 2, 4])
    assert radii(line, 2).sqrt().tolist() == pytest.approx([3, 2, 3, 6])


# modes


def test_class_histogram_values() -> None:
    labels = balanced(1000) % 8  # two classes are never drawn
    found = measure("classes", fake_of(50 * torch.eye(CLASSES)[labels]))
    assert found["missing"].value == 2 and found["confidence"].value == pytest.approx(1)
    shares = np.bincount(labels) / 1000
    assert found["entropy"].value == pytest.approx(float(-(shares * np.log(shares)).sum()))
    assert found["chi2_p"].value < 1e-10


def test_chi2_is_pearsons() -> None:
    assert GOOD.logits is not None and REAL.logits is not None
    fake = look(torch.randint(CLASSES, (900,), generator=torch.Generator().manual_seed(0)), seed=4)
    assert fake.logits is not None
    table = torch.stack([class_counts(fake.logits), class_counts(REAL.logits)]).double()
    table = table[:, table.sum(0) > 0]
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    half = torch.tensor((table.shape[1] - 1) / 2, dtype=torch.float64)
    found = measure("classes", fake)
    assert found["chi2"].value == pytest.approx(float(chi2), rel=1e-12)
    p = float(torch.special.gammaincc(half, chi2 / 2))
    assert found["chi2_p"].value == pytest.approx(p, rel=1e-12)
    shares = class_counts(REAL.logits) / len(REAL.features)
    with_shares = METRICS["classes"].measure(replace(compare(fake), class_shares=shares))
    assert with_shares["chi2"].value == pytest.approx(float(chi2))


def test_chi2_p_is_uniform_for_honest_generators() -> None:
    rng = torch.Generator().manual_seed(5)
    eye = 50 * torch.eye(CLASSES)
    ps = []
    for _ in range(60):
        fake, real = (torch.randint(CLASSES, (400,), generator=rng) for _ in range(2))
        c = compare(fake_of(eye[fake]), Extracted(REAL.features[:400], eye[real]))
        ps.append(METRICS["classes"].measure(replace(c, resamples=2))["chi2_p"].value)
    assert 0.35 < np.mean(ps) < 0.65 and np.mean(np.array(ps) < 0.05) < 0.15


def test_rare_classes_are_one_and_never_missing() -> None:
    labels = torch.cat([torch.zeros(594), torch.arange(1, 7)]).long()
    logits = 9 * torch.eye(CLASSES)[labels]
    c = compare(fake_of(9 * torch.eye(CLASSES)[labels * 0]), Extracted(REAL.features[:600], logits))
    found = METRICS["classes"].measure(c)
    assert found["missing"].value == 0 and found["entropy"].value == 0
    alone = METRICS["classes"].measure(
        replace(c, real=Extracted(REAL.features[:600], c.fake.logits))
    )
    assert (alone["chi2"].value, alone["chi2_p"].value) == (0, 1)


def test_pairs_are_half_as_sure() -> None:
    hit = torch.arange(1000) < 100
    alone, paired = share(hit), share(hit, together=2)
    assert alone.value == paired.value == 0.1 and alone.low and alone.high
    assert paired.low and paired.high
    wider = (paired.high - paired.low) / (alone.high - alone.low)
    assert wider == pytest.approx(2**0.5, rel=0.01)


def test_diversity_is_of_pairs() -> None:
    fake, real = 0.5 * gaussian(40), gaussian(30, seed=1)
    rms = [torch.nn.functional.pdist(x.double()).square().mean().sqrt() for x in (fake, real)]
    found = METRICS["diversity"].measure(features(fake, real))["diversity"]
    assert found.value == pytest.approx(float(rms[0] / rms[1]))


def test_one_image_per_class_is_diverse_but_not_in_class() -> None:
    fake = look(balanced(500), seed=3, noise=0.0)
    assert measure("diversity", fake)["diversity"].value > 0.9
    assert measure("class_diversity", fake)["class_diversity"].value == pytest.approx(0, abs=1e-6)
    half = look(balanced(500) % 5, seed=3)  # five classes as varied as real, five absent
    assert measure("class_diversity", half)["class_diversity"].value == pytest.approx(0.5, rel=0.1)


def test_duplicates_and_copies_are_counted() -> None:
    assert GOOD.pixels is not None and REAL.pixels is not None
    apart = torch.arange(1000).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2) // torch.tensor([256, 1])
    apart = (apart % 256).to(torch.uint8)
    pixels = apart.clone()
    pixels[1:11] = pixels[0]
    fake, real = (
        GOOD._replace(pixels=pixels),
        REAL._replace(pixels=pixels[:1].expand(1200, -1, -1, -1)),
    )
    assert METRICS["exact_duplicates"].measure(compare(fake))["exact_duplicates"].value == 0.01
    assert METRICS["copies"].measure(compare(fake, real))["copies"].value == 0.011


def test_memorized_and_near_duplicates_are_about_a_hundredth_of_honest_images() -> None:
    for name in ("memorized", "near_duplicates"):
        found = []
        for seed in range(10):  # reals too are drawn anew, for it is they who say what is close
            drawn = (look(balanced(n), 3 * seed + i + 10) for i, n in enumerate((1000, 1200, 600)))
            found.append(METRICS[name].measure(compare(*drawn))[name].value)
        assert np.mean(found) == pytest.approx(0.01, abs=0.005)
    stolen = Extracted(torch.cat([GOOD.features[:700], REAL.features[:300] + 1e-3]))
    assert measure("memorized", stolen)["memorized"].value == pytest.approx(0.3, abs=0.02)


# what makes images worse


def dropped(level: int) -> Extracted:
    return look(balanced(1000) % (CLASSES - 3 * level), seed=3)


def noisy(level: int) -> Extracted:
    return look(balanced(1000), seed=3, noise=1 + level)


def repeated(level: int) -> Extracted:
    return Extracted(
        *(part[torch.arange(1000) % (1000 - 400 * level)] for part in GOOD if part is not None)
    )


def narrowed(level: int) -> Extracted:
    return look(balanced(1000), seed=3, noise=0.6**level)


@pytest.mark.parametrize(
    ("damage", "metric", "value", "direction"),
    [
        (dropped, "fd", "fd", 1),
        (dropped, "fd_infinity", "fd_infinity", 1),
        (dropped, "kid", "kid", 1),
        (dropped, "score", "score", -1),
        (dropped, "prdc", "recall", -1),
        (dropped, "prdc", "coverage", -1),
        (dropped, "classes", "missing", 1),
        (dropped, "classes", "chi2", 1),
        (dropped, "classes", "entropy", -1),
        (dropped, "class_diversity", "class_diversity", -1),
        (noisy, "fd", "fd", 1),
        (noisy, "fd_infinity", "fd_infinity", 1),
        (noisy, "kid", "kid", 1),
        (noisy, "prdc", "precision", -1),
        (noisy, "prdc", "density", -1),
        (noisy, "prdc", "coverage", -1),
        (noisy, "classes", "confidence", -1),
        (noisy, "diversity", "diversity", 1),
        (repeated, "prdc", "coverage", -1),
        (repeated, "prdc", "recall", -1),
        (repeated, "exact_duplicates", "exact_duplicates", 1),
        (repeated, "near_duplicates", "near_duplicates", 1),
        (narrowed, "class_diversity", "class_diversity", -1),
        (narrowed, "prdc", "recall", -1),
        (narrowed, "fd", "fd", 1),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_damage_shows(
    damage: Callable[[int], Extracted], metric: str, value: str, direction: int
) -> None:
    found = [measure(metric, damage(level))[value].value * direction for level in range(3)]
    assert found[0] < found[1] < found[2]


# mistakes


def test_mistakes_are_said_in_one_line() -> None:
    bad = GOOD.features.clone()
    bad[0, 0] = torch.nan
    mistakes: list[tuple[str, Callable[[], object]]] = [
        ("features of fake are not finite", lambda: compare(Extracted(bad))),
        ("logits of fake are not finite", lambda: compare(Extracted(GOOD.features, bad))),
        ("one feature space", lambda: compare(Extracted(GOOD.features[:, :5]))),
        ("same images", lambda: compare(GOOD._replace(pixels=torch.zeros(3, 1, 2, 2)))),
        ("all reference images have the same", lambda: features(bad[1:], torch.ones(9, D))),
        ("k must be at least 1", lambda: features(bad[1:], bad[1:], k=0)),
        ("at least 6", lambda: METRICS["prdc"].measure(features(gaussian(5), gaussian(9)))),
        ("at least 6", lambda: METRICS["prdc"].measure(features(gaussian(9), gaussian(5)))),
        ("at least 10", lambda: measure("score", fake_of(torch.zeros(9, CLASSES)))),
        (
            "at least 8",
            lambda: METRICS["fd_infinity"].measure(features(gaussian(7), gaussian(9))),
        ),
        ("at least 2", lambda: moments(gaussian(1))),
        ("one feature space", lambda: frechet(moments(gaussian(9)), moments(gaussian(9, 3)))),
        (
            "resize them to the reference images",
            lambda: measure("copies", GOOD._replace(pixels=torch.zeros(1000, 1, 2, 2))),
        ),
    ]
    for expected, mistake in mistakes:
        with pytest.raises(ValueError, match=expected) as caught:
            mistake()
        assert "\n" not in str(caught.value)
