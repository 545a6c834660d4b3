"""The inception score: confident classes of single images, many classes of all together."""

import torch

from ganatomy.evaluation.metrics.comparison import Comparison, Estimate, require
from ganatomy.evaluation.statistics import interval, resamples

DEEPEST = -700.0
"""Least difference of a logit to the highest; below it a probability is 0 in float64."""


def score(c: Comparison) -> dict[str, Estimate]:
    """Exp of the mean KL divergence of p(y|x) from p(y), mean and deviation over random splits.

    Salimans et al. 2016, arXiv 1606.03498. It lies between 1 and the number of classes, and is
    comparable with the literature only with Inception's logits. It does not depend on real images:
    one perfect image per class is optimal. The interval is a bootstrap of all images as one split.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric

    assert c.fake.logits is not None
    logits = c.fake.logits.double()
    require(len(logits), c.splits, "generated")
    logits = (logits - logits.amax(1, keepdim=True)).clamp(min=DEEPEST)
    found = isc_features_to_metric(logits, c.splits, shuffle=True, rng_seed=c.seed)
    value = found["inception_score_mean"]
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    n = len(p)
    counts = torch.from_numpy(resamples(n, c.resamples, c.seed)).double()
    mean_p, certainty = counts @ p / n, counts @ (p * log_p).sum(1) / n
    estimates = (certainty - mean_p.xlogy(mean_p).sum(1)).exp()
    limits = (1.0, float(logits.shape[1]))
    low, high = interval(estimates.tolist(), value, limits)
    return {"score": Estimate(value, low, high, found["inception_score_std"])}
