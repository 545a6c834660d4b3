"""Modes: which classes are there, how varied images are, and whether they repeat or copy."""

import hashlib
import math
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganatomy.evaluation.metrics.comparison import Comparison, Estimate, require, share
from ganatomy.evaluation.metrics.neighbors import nearest
from ganatomy.evaluation.statistics import interval, resamples

EXPECTED = 5
"""Images expected of a class before its absence means anything (Cochran 1954)."""

MISSING = 0.1
"""Share of its expected images below which a class is missing."""

CLOSE = 0.01
"""Share of real images whose neighbor is too close; how close that is, is a quantile of so few
images, whose own chance is not in the intervals."""


def class_counts(logits: Tensor) -> Tensor:
    """Return how often each class is the likeliest, (classes,) int64, for logits (n, classes)."""
    return logits.argmax(1).bincount(minlength=logits.shape[1])


def classes(c: Comparison) -> dict[str, Estimate]:
    """Predicted classes of the fakes against those that the classifier predicts for the reference.

    chi2 is Pearson's statistic of the two histograms as two samples of one distribution, classes
    with fewer than EXPECTED fakes expected being one class; chi2_p is its p-value. entropy is of
    the fakes' histogram, in nats. missing counts the expected classes with fewer than MISSING of
    their expected images. confidence is the mean probability of the likeliest class.
    """
    assert c.fake.logits is not None
    counts, reference = class_counts(c.fake.logits), _reference_counts(c)
    n = len(c.fake.logits)
    expected = n * reference / reference.sum()
    common = _common(expected)
    chi2, p = _homogeneity(*(_pooled(x.double(), common) for x in (counts, reference)))
    draws, predicted = resamples(n, c.resamples, c.seed), c.fake.logits.argmax(1).numpy()
    entropies = [_entropy(np.bincount(predicted, draw)) for draw in draws]
    sure = c.fake.logits.double().softmax(1).amax(1).numpy()
    confidence = float(sure.mean())
    entropy = _entropy(counts.numpy())
    return {
        "chi2": Estimate(chi2),
        "chi2_p": Estimate(p),
        "entropy": Estimate(entropy, *interval(entropies, entropy, (0, math.log(len(counts))))),
        "missing": Estimate(float((counts < MISSING * expected)[common].sum())),
        "confidence": Estimate(confidence, *interval(draws @ sure / n, confidence, (0, 1))),
    }


def diversity(c: Comparison) -> dict[str, Estimate]:
    """Root mean square distance of two fakes over that of two reference images; 1 is as varied.

    Twice the trace of the covariance is the mean squared distance, so no pair is looked at.
    """
    require(len(c.fake.features), 2, "generated")
    x = c.fake.features.double() - c.moments.mean
    norms, real = x.square().sum(1), c.moments.cov.trace()
    n = len(x)

    def ratio(counts: Tensor) -> Tensor:
        shares = counts.double() / n
        spread = (shares @ norms - (shares @ x).square().sum(1)) * n / (n - 1)
        return (spread.clamp(min=0) / real).sqrt()

    value = float(ratio(torch.ones(1, n)))
    estimates = ratio(torch.from_numpy(resamples(n, c.resamples, c.seed))).tolist()
    return {"diversity": Estimate(value, *interval(estimates, value, (0, math.inf)))}


def pixel_diversity(c: Comparison) -> dict[str, Estimate]:
    """Diversity of the pixels themselves: 0 for one image, above 1 for noise."""
    assert c.fake.pixels is not None and c.real.pixels is not None
    value = _spread(c.fake.pixels.flatten(1)) / max(_spread(c.real.pixels.flatten(1)), 1e-12)
    return {"pixel_diversity": Estimate(value)}


def class_diversity(c: Comparison) -> dict[str, Estimate]:
    """Diversity within a predicted class, the mean over the classes that are expected.

    One image per class scores 0 here, and so does a class with fewer than two fakes.
    """
    assert c.fake.logits is not None and c.real.logits is not None
    real = class_counts(c.real.logits)
    common = _common(len(c.fake.logits) * real / real.sum()) & (real > 1)
    require(int(common.sum()), 1, "same-class reference")
    fakes, reals = c.fake.logits.argmax(1), c.real.logits.argmax(1)
    ratios = [
        _spread(c.fake.features[fakes == label]) / _spread(c.real.features[reals == label])
        for label in common.nonzero().flatten()
    ]
    return {"class_diversity": Estimate(sum(ratios) / len(ratios))}


def exact_duplicates(c: Comparison) -> dict[str, Estimate]:
    """Share of fakes whose pixels are those of an earlier fake."""
    assert c.fake.pixels is not None
    seen: set[bytes] = set()
    again = []
    for image in _digests(c.fake.pixels):
        again.append(image in seen)
        seen.add(image)
    return {"exact_duplicates": share(torch.tensor(again))}


def near_duplicates(c: Comparison) -> dict[str, Estimate]:
    """Share of fakes as close to another as the closest CLOSE of as many reals are to theirs.

    About CLOSE for a perfect generator. As many, for the more images, the closer; so both sets
    are cut, at random, to the size of the smaller.
    """
    fake, real = c.fake.features, c.real.features
    n = min(len(fake), len(real))
    require(n, 2, "generated or reference")
    own = [nearest(x, x, others=True)[0] for x in (_some(fake, n, c.seed), _some(real, n, c.seed))]
    return {"near_duplicates": share(own[0] <= own[1].quantile(CLOSE), together=2)}


def copies(c: Comparison) -> dict[str, Estimate]:
    """Share of fakes whose pixels are those of a reference image."""
    assert c.fake.pixels is not None and c.real.pixels is not None
    if c.fake.pixels.shape[1:] != c.real.pixels.shape[1:]:
        raise ValueError(
            f"fakes of {tuple(c.fake.pixels.shape[1:])} cannot equal reference images of "
            f"{tuple(c.real.pixels.shape[1:])}; give both at one size"
        )
    real = set(_digests(c.real.pixels))
    return {"copies": share(torch.tensor([p in real for p in _digests(c.fake.pixels)]))}


def memorised(c: Comparison) -> dict[str, Estimate]:
    """Share of fakes as near to a reference image as the nearest CLOSE of held-out images are.

    About CLOSE for an honest generator, if the reference is what it was trained on.
    """
    assert c.held_out is not None
    near = nearest(c.held_out.features, c.real.features)[0].quantile(CLOSE)
    return {"memorised": share(nearest(c.fake.features, c.real.features)[0] <= near)}


def _reference_counts(c: Comparison) -> Tensor:
    """Predictions for the reference: of the whole split where known, else of its images."""
    if c.class_shares is not None:
        return c.class_shares.double() * c.moments.n
    assert c.real.logits is not None
    return class_counts(c.real.logits)


def _common(expected: Tensor) -> Tensor:
    """Which classes are expected often enough; of very few images, the most expected."""
    return expected >= min(EXPECTED, float(expected.max()))


def _pooled(counts: Tensor, common: Tensor) -> Tensor:
    return torch.cat([counts[common], counts[~common].sum()[None]])


def _homogeneity(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Pearson's chi-squared of two histograms and its p-value, without bins empty in both."""
    table = torch.stack([a, b])[:, (a + b) > 0].numpy()
    test = scipy.stats.chi2_contingency(table, correction=False)
    return float(test.statistic), float(test.pvalue)


def _entropy(counts: NDArray[Any]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * np.log(shares)).sum()))  # never -0.0


def _spread(features: Tensor) -> float:
    """Root of the trace of the covariance; 0 of fewer than two."""
    return float(features.double().var(0).sum().sqrt()) if len(features) > 1 else 0.0


def _digests(pixels: Tensor) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in pixels.contiguous().numpy()]


def _some(features: Tensor, n: int, seed: int) -> Tensor:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return features if n == len(features) else features[order[:n]]
