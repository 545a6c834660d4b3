"""Modes: predicted classes, diversity, duplicates and copies."""

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
from ganatomy.evaluation.metrics.remember import remembered
from ganatomy.evaluation.statistics import interval, resamples

EXPECTED = 5
"""Least expected number of images of a class whose absence is significant (Cochran 1954)."""

MISSING = 0.1
"""Share of the expected images of a class below which it is missing."""

CLOSE = 0.01
"""Share of real images whose neighbor is too close. The distance is a quantile of real images,
whose own uncertainty is not in the intervals."""

FEWEST = 30
"""Least number of real images for this quantile. It is about the least of m distances, below which
more than a fifth of honest samples lie with a chance of 0.8 to the power of m, here 0.1 %."""


def class_counts(logits: Tensor) -> Tensor:
    """Return the number of predictions of each class, int64 (classes,), of logits (n, classes)."""
    return logits.argmax(1).bincount(minlength=logits.shape[1])


def classes(c: Comparison) -> dict[str, Estimate]:
    """Predicted classes of generated images, compared with those of the reference images.

    chi2 is Pearson's statistic of the two histograms as samples of one distribution, and chi2_p is
    its p value. Classes of fewer than EXPECTED expected images are pooled. entropy is that of the
    generated images' histogram, in nats. missing is the number of classes with fewer than MISSING
    of their expected images. confidence is the mean probability of the most probable class.
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
    """Root mean square distance of two generated images, divided by that of two reference images.

    The mean squared distance is twice the trace of the covariance, so no pairs are computed.
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
    """Diversity of the pixels: 0 for one image, above 1 for noise."""
    assert c.fake.pixels is not None and c.real.pixels is not None
    value = _spread(c.fake.pixels.flatten(1)) / max(_pixel_spread(c.real.pixels), 1e-12)
    return {"pixel_diversity": Estimate(value)}


def class_diversity(c: Comparison) -> dict[str, Estimate]:
    """Diversity within a predicted class, mean over classes of at least EXPECTED expected images.

    It is 0 for one image in each class. A class of fewer than two generated images counts as 0.
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
    """Share of generated images with the pixels of an earlier one."""
    assert c.fake.pixels is not None
    known: set[bytes] = set()
    again = []
    for image in _digests(c.fake.pixels):
        again.append(image in known)
        known.add(image)
    return {"exact_duplicates": share(torch.tensor(again))}


def near_duplicates(c: Comparison) -> dict[str, Estimate]:
    """Share of generated images as close to another as the closest CLOSE of real images are.

    About CLOSE for a perfect generator. Neighbors are closer among more images, so both sets are
    reduced at random to the size of the smaller one.
    """
    fake, real = c.fake.features, c.real.features
    n = min(len(fake), len(real))
    require(n, FEWEST, "generated and reference")
    near = _apart(fake, n, c.seed, c.device) <= _close(real, n, c.seed, c.device)
    return {"near_duplicates": share(near, together=2)}


def copies(c: Comparison) -> dict[str, Estimate]:
    """Share of generated images with the pixels of a reference image."""
    assert c.fake.pixels is not None and c.real.pixels is not None
    if c.fake.pixels.shape[1:] != c.real.pixels.shape[1:]:
        raise ValueError(
            f"expected images of {tuple(c.real.pixels.shape[1:])}, got "
            f"{tuple(c.fake.pixels.shape[1:])}; resize them to the reference images"
        )
    real = set(_digests(c.real.pixels))
    return {"copies": share(torch.tensor([p in real for p in _digests(c.fake.pixels)]))}


def memorized(c: Comparison) -> dict[str, Estimate]:
    """Share of generated images as near to a reference image as the nearest CLOSE of held-out ones.

    About CLOSE for a generator that does not memorize, if the reference images are its training
    images.
    """
    assert c.held_out is not None
    require(len(c.held_out.features), FEWEST, "held-out")
    near = _near(c.held_out.features, c.real.features, c.device)
    found, _ = nearest(c.fake.features, c.real.features, device=c.device)
    return {"memorized": share(found <= near)}


def _reference_counts(c: Comparison) -> Tensor:
    """Return predictions for the whole reference split, or else for its images."""
    if c.class_shares is not None:
        return c.class_shares.double() * c.moments.n
    assert c.real.logits is not None
    return class_counts(c.real.logits)


def _common(expected: Tensor) -> Tensor:
    """Return whether EXPECTED images of each class are expected, or else the most of any."""
    return expected >= min(EXPECTED, float(expected.max()))


def _pooled(counts: Tensor, common: Tensor) -> Tensor:
    return torch.cat([counts[common], counts[~common].sum()[None]])


def _homogeneity(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Return Pearson's chi-squared of two histograms and its p value, without empty bins."""
    table = torch.stack([a, b])[:, (a + b) > 0].numpy()
    test = scipy.stats.chi2_contingency(table, correction=False)
    return float(test.statistic), float(test.pvalue)


def _entropy(counts: NDArray[Any]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * np.log(shares)).sum()))  # never -0.0


def _spread(features: Tensor) -> float:
    """Return the root of the trace of the covariance; 0 for fewer than two images."""
    return float(features.double().var(0).sum().sqrt()) if len(features) > 1 else 0.0


@remembered
def _pixel_spread(pixels: Tensor) -> float:
    return _spread(pixels.flatten(1))


@remembered
def _digests(pixels: Tensor) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in pixels.contiguous().numpy()]


def _some(features: Tensor, n: int, seed: int) -> Tensor:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return features if n == len(features) else features[order[:n]]


def _apart(features: Tensor, n: int, seed: int, device: torch.device) -> Tensor:
    """Return the distance (n,) of each of n of the images to its nearest other."""
    some = _some(features, n, seed)
    return nearest(some, some, others=True, device=device)[0]


@remembered
def _close(real: Tensor, n: int, seed: int, device: torch.device) -> Tensor:
    """Return the distance that the closest CLOSE of n of the real images have to another."""
    return _apart(real, n, seed, device).quantile(CLOSE)


@remembered
def _near(held_out: Tensor, real: Tensor, device: torch.device) -> Tensor:
    """Return the distance that the nearest CLOSE of held-out images have to a reference image."""
    return nearest(held_out, real, device=device)[0].quantile(CLOSE)
