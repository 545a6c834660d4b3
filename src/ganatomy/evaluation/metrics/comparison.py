"""Arguments and results of metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ganatomy.evaluation.statistics import share_interval

CPU = torch.device("cpu")


class Extracted(NamedTuple):
    """Features of n images, and what else is known of them."""

    features: Tensor
    """float32 (n, d)"""
    logits: Tensor | None = None
    """float32 (n, classes); None if the feature space has no classifier"""
    pixels: Tensor | None = None
    """uint8 (n, C, H, W); None if the images are not available"""
    labels: Tensor | None = None
    """int64 (n,), true classes of real images; None if they are not known"""


class Moments(NamedTuple):
    """Mean (d,) and unbiased covariance (d, d) of n feature vectors, float64."""

    mean: Tensor
    cov: Tensor
    n: int


class Estimate(NamedTuple):
    """A value with its uncertainty."""

    value: float
    low: float | None = None
    """lower end of the 95 % interval (see evaluation.statistics); None if there is no interval"""
    high: float | None = None
    """upper end"""
    std: float | None = None
    """standard deviation, of KID over subsets and of the score over splits; None for others"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Generated and real images, of which a metric is a function.

    Raises:
        ValueError: if features are not finite, or the parts do not fit each other.
    """

    fake: Extracted
    """generated images"""
    real: Extracted
    """reference images, 10,000 by default"""
    moments: Moments
    """moments of the whole reference split"""
    held_out: Extracted | None = None
    """real images that no generator was trained on; None if there are none"""
    class_shares: Tensor | None = None
    """shares (classes,) that the classifier predicts in the whole reference split; None means the
    predictions for the reference images"""
    k: int = 5
    """number of neighbors, at least 1"""
    splits: int = 10
    """number of splits of the score, at least 1"""
    seed: int = 0
    """seed of bootstraps and subsets"""
    resamples: int = 200
    """number of bootstrap resamples, at least 2"""
    device: torch.device = CPU
    """device, with float64, that a metric may compute on; all tensors are on the CPU"""

    def __post_init__(self) -> None:
        """Refuse arguments that would give a wrong number instead of an error."""
        for name, least in (("k", 1), ("splits", 1), ("resamples", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.moments.cov.trace() > 0:
            raise ValueError("all reference images have the same features; use other images")
        d = len(self.moments.mean)
        for name in ("fake", "real", "held_out"):
            part: Extracted | None = getattr(self, name)
            if part is not None:
                _check(name, part, d)


@dataclass(frozen=True)
class Value:
    """Title and direction of a value, as tables and pages show them."""

    title: str
    better: Literal["lower", "higher", "1"] | None = None
    """direction of better images; 1 if values near 1 are best, None if there is no direction"""
    about: str = ""
    """one line of description"""

    @property
    def arrow(self) -> str:
        """The direction behind the title, as in FD ↓."""
        return {"lower": " ↓", "higher": " ↑", "1": " → 1", None: ""}[self.better]


@dataclass(frozen=True, eq=False)
class Metric:
    """One computation, which may give several values."""

    measure: Callable[[Comparison], dict[str, Estimate]]
    """returns an estimate for each of the values, in their order"""
    values: Mapping[str, Value]
    """name -> title and direction"""
    needs: tuple[str, ...] = ()
    """parts of a Comparison that must not be None, beyond those that always are there"""
    about: str = ""
    """one line of description"""


def available(metric: Metric, comparison: Comparison) -> bool:
    """Return whether the comparison has everything that the metric needs."""
    return all(attrgetter(need)(comparison) is not None for need in metric.needs)


class TooFewImagesError(ValueError):
    """There are fewer images than a metric needs; other metrics may need fewer."""


def require(n: int, least: int, what: str) -> None:
    """Raise TooFewImagesError unless there are at least this many images of a kind."""
    if n < least:
        raise TooFewImagesError(f"expected at least {least} {what} images, got {n}; use more")


def share(hits: Tensor, together: int = 1) -> Estimate:
    """Return the share of images for which hits (n,) are true, with its interval.

    Args:
        hits: bool (n,).
        together: number of images that are always hits together, such as 2 for pairs, which makes
            the interval wider.
    """
    count, n = int(hits.sum()), len(hits)
    return Estimate(count / n, *share_interval(count / together, n / together))


def _check(name: str, images: Extracted, d: int) -> None:
    if images.features.ndim != 2 or images.features.shape[1] != d:
        raise ValueError(
            f"expected features of {name} (n, {d}), as those of the reference, got "
            f"{tuple(images.features.shape)}; use one feature space for both"
        )
    for what in ("logits", "pixels", "labels"):
        part: Tensor | None = getattr(images, what)
        if part is not None and len(part) != len(images.features):
            raise ValueError(
                f"{name} has {len(images.features)} features but {len(part)} {what}; "
                "all must be of the same images"
            )
    for what in ("features", "logits"):
        part = getattr(images, what)
        if part is not None and not part.isfinite().all():
            raise ValueError(
                f"{what} of {name} are not finite: the generator has diverged, or its images are "
                "damaged; look at them, and measure an earlier checkpoint"
            )
