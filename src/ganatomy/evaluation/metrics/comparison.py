"""What metrics are given and what they give back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

from torch import Tensor

from ganatomy.evaluation.statistics import share_interval


class Extracted(NamedTuple):
    """What a feature space saw in n images."""

    features: Tensor
    """(n, d) float32"""
    logits: Tensor | None = None
    """(n, classes) float32, where the feature space has a classifier"""
    pixels: Tensor | None = None
    """(n, C, H, W) uint8, where the images themselves are at hand"""
    labels: Tensor | None = None
    """(n,) true classes of real images"""


class Moments(NamedTuple):
    """Mean (d,) and unbiased covariance (d, d) of n feature vectors, float64."""

    mean: Tensor
    cov: Tensor
    n: int


class Estimate(NamedTuple):
    """A value and how sure it is."""

    value: float
    low: float | None = None
    """ends of its 95 % interval, as defined in ganatomy.evaluation.statistics"""
    high: float | None = None
    std: float | None = None
    """where the field quotes one: KID over subsets, the score over splits"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything a metric may look at.

    Raises:
        ValueError: if features are not finite, or the parts do not fit each other.
    """

    fake: Extracted
    real: Extracted
    """reference images, about 10,000"""
    moments: Moments
    """of the whole reference split"""
    held_out: Extracted | None = None
    """real images that no generator was trained on"""
    class_shares: Tensor | None = None
    """(classes,) share of each class that the classifier predicts in the whole reference split;
    where None, metrics count the predictions for the reference images"""
    k: int = 5
    """neighbors"""
    splits: int = 10
    """of the score"""
    seed: int = 0
    """of bootstraps and subsets"""
    resamples: int = 200
    """of a bootstrap"""

    def __post_init__(self) -> None:
        """Refuse what would give a wrong number rather than an error."""
        for name, least in (("k", 1), ("splits", 1), ("resamples", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.moments.cov.trace() > 0:
            raise ValueError("the reference images all have the same features; choose others")
        d = len(self.moments.mean)
        for name in ("fake", "real", "held_out"):
            seen: Extracted | None = getattr(self, name)
            if seen is not None:
                _check(name, seen, d)


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
    """Whether the comparison has all that the metric needs."""
    return all(attrgetter(need)(comparison) is not None for need in metric.needs)


def require(n: int, least: int, what: str) -> None:
    """Raise ValueError unless there are at least so many images of this kind."""
    if n < least:
        raise ValueError(f"{n} {what} images are too few; measure at least {least}")


def share(hits: Tensor, together: int = 1) -> Estimate:
    """Return the share of images for which a (n,) bool holds, with its interval.

    Hits that come so many together are so many fewer to be sure by.
    """
    count, n = int(hits.sum()), len(hits)
    return Estimate(count / n, *share_interval(count / together, n / together))


def _check(name: str, seen: Extracted, d: int) -> None:
    if seen.features.ndim != 2 or seen.features.shape[1] != d:
        raise ValueError(
            f"features of {name} are {tuple(seen.features.shape)}, but the reference moments have "
            f"{d} dimensions; extract both with one feature space"
        )
    for what in ("logits", "pixels", "labels"):
        part: Tensor | None = getattr(seen, what)
        if part is not None and len(part) != len(seen.features):
            raise ValueError(
                f"{name} has {len(seen.features)} features but {len(part)} {what}; "
                "give those of the same images"
            )
    for what in ("features", "logits"):
        part = getattr(seen, what)
        if part is not None and not part.isfinite().all():
            raise ValueError(
                f"{what} of {name} are not finite; the generator has diverged or its images "
                "are damaged: look at them and measure an earlier checkpoint"
            )
