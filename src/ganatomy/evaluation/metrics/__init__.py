"""Metrics: functions of what a feature space saw in generated and in real images.

To add one, write a function from Comparison to named Estimates, and add a line to METRICS and one
to VALUES for each name.
"""

from typing import Literal, NamedTuple

from ganatomy.evaluation.metrics.comparison import (
    Comparison,
    Estimate,
    Extracted,
    Metric,
    Moments,
    available,
)
from ganatomy.evaluation.metrics.distances import fd, fd_infinity, frechet, kid, moments, trace_sqrt
from ganatomy.evaluation.metrics.inception_score import score
from ganatomy.evaluation.metrics.modes import (
    class_counts,
    class_diversity,
    classes,
    copies,
    diversity,
    exact_duplicates,
    memorised,
    near_duplicates,
    pixel_diversity,
)
from ganatomy.evaluation.metrics.neighbours import nearest
from ganatomy.evaluation.metrics.prdc import prdc

__all__ = [
    "METRICS",
    "VALUES",
    "Comparison",
    "Estimate",
    "Extracted",
    "Metric",
    "Moments",
    "Value",
    "available",
    "class_counts",
    "frechet",
    "moments",
    "nearest",
    "trace_sqrt",
]


class Value(NamedTuple):
    """How tables and pages show a value."""

    title: str
    better: Literal["lower", "higher", "target 1", "—"]
    about: str


METRICS: dict[str, Metric] = {
    "fd": Metric("Fréchet distance", (), fd),
    "fd_infinity": Metric("Fréchet distance without its bias", (), fd_infinity),
    "kid": Metric("kernel distance", (), kid),
    "score": Metric("inception or classifier score", ("fake.logits",), score),
    "prdc": Metric("precision, recall, density, coverage", (), prdc),
    "classes": Metric("predicted classes", ("fake.logits", "real.logits"), classes),
    "diversity": Metric("how varied the images are", (), diversity),
    "pixel_diversity": Metric(
        "how varied the pixels are", ("fake.pixels", "real.pixels"), pixel_diversity
    ),
    "class_diversity": Metric(
        "how varied they are within a class", ("fake.logits", "real.logits"), class_diversity
    ),
    "exact_duplicates": Metric("the same pixels again", ("fake.pixels",), exact_duplicates),
    "near_duplicates": Metric("almost the same image again", (), near_duplicates),
    "copies": Metric("pixels of the reference", ("fake.pixels", "real.pixels"), copies),
    "memorised": Metric("too near to the reference", ("held_out",), memorised),
}

VALUES: dict[str, Value] = {
    "fd": Value("FD", "lower", "Fréchet distance of feature means and covariances"),
    "fd_infinity": Value("FD∞", "lower", "Fréchet distance at infinitely many fakes"),
    "kid": Value("KID", "lower", "squared MMD of features, cubic kernel"),
    "score": Value("score", "higher", "exp of how much a image tells of its class"),
    "precision": Value("precision", "higher", "share of fakes in the neighbourhood of reals"),
    "recall": Value("recall", "higher", "share of reals in the neighbourhood of fakes"),
    "density": Value("density", "target 1", "reals in whose neighbourhood a fake lies, over k"),
    "coverage": Value("coverage", "higher", "share of reals with a fake in their neighbourhood"),
    "chi2": Value("χ²", "lower", "of predicted classes against the reference's"),
    "chi2_p": Value("p of χ²", "—", "chance of such a χ² if the classes had equal shares"),
    "entropy": Value("entropy", "—", "of predicted classes, in nats"),
    "missing": Value("missing", "lower", "classes with under a tenth of their expected fakes"),
    "confidence": Value("confidence", "higher", "mean probability of the likeliest class"),
    "diversity": Value("diversity", "target 1", "distance of two fakes over that of two reals"),
    "pixel_diversity": Value("of pixels", "target 1", "the same of pixels; noise is above 1"),
    "class_diversity": Value("in class", "target 1", "the same within a predicted class"),
    "exact_duplicates": Value("equal", "lower", "share of fakes with an earlier fake's pixels"),
    "near_duplicates": Value("near", "lower", "share of fakes too close to another; 0.01 is none"),
    "copies": Value("copies", "lower", "share of fakes with a reference image's pixels"),
    "memorised": Value("memorised", "lower", "share of fakes too near the reference; 0.01 is none"),
}
