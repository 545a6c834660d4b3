"""The conformance check of a metric."""

import math

import torch

from ganatomy.evaluation.metrics.comparison import Comparison, Estimate, Extracted, Metric
from ganatomy.evaluation.metrics.distances import moments

N, DIM, CLASSES = 128, 6, 4
"""Number of images, features and classes."""


def check_metric(metric: Metric) -> None:
    """Check a metric on random features, logits and pixels.

    It must return an Estimate of finite floats for each of its values, inside its interval. It must
    be deterministic, and must not change its arguments.

    Raises:
        ValueError: for the first rule that is broken.
    """
    comparison, untouched = _comparison(), _comparison()
    found = metric.measure(comparison)
    if not isinstance(found, dict) or [*found] != [*metric.values]:
        names = ", ".join(found) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"expected the values {', '.join(metric.values)}, got {names}")
    for name, estimate in found.items():
        _check_estimate(name, estimate)
    if metric.measure(comparison) != found:
        raise ValueError(
            "equal arguments give different values; use comparison.seed for randomness"
        )
    if _tensors(comparison) != _tensors(untouched):
        raise ValueError("it changes its arguments; copy them before")


def _check_estimate(name: str, estimate: object) -> None:
    if not isinstance(estimate, Estimate):
        raise ValueError(f"expected an Estimate of {name}, got a {type(estimate).__name__}")
    numbers = [x for x in estimate if x is not None]
    if not all(type(x) is float and math.isfinite(x) for x in numbers):
        raise ValueError(f"expected finite floats as {name}, got {tuple(estimate)}")
    low, high = estimate.low, estimate.high
    if (low is None) != (high is None):
        raise ValueError(f"the interval of {name} has one end, got {low} and {high}")
    if low is not None and high is not None and not low <= estimate.value <= high:
        raise ValueError(f"{name} is {estimate.value}, outside its interval [{low}, {high}]")


def _tensors(comparison: Comparison) -> list[object]:
    parts = (comparison.fake, comparison.real, comparison.held_out or ())
    return [tensor.tolist() for part in parts for tensor in part if tensor is not None]


def _comparison() -> Comparison:
    rng = torch.Generator().manual_seed(0)

    def images(n: int) -> Extracted:
        pixels = torch.randint(0, 256, (n, 1, 4, 4), generator=rng).to(torch.uint8)
        labels = torch.arange(n) % CLASSES
        features, logits = (torch.randn(n, d, generator=rng) for d in (DIM, CLASSES))
        return Extracted(features, logits + 3 * torch.eye(CLASSES)[labels], pixels, labels)

    real = images(N)
    return Comparison(
        fake=images(N), real=real, moments=moments(real.features), held_out=images(N), resamples=20
    )
