"""The registry of metrics, and the names of metrics and values."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ganatomy.evaluation.metrics.check import check_metric
from ganatomy.evaluation.metrics.comparison import Comparison, Estimate, Metric, Value
from ganatomy.evaluation.metrics.distances import fd, fd_infinity, kid
from ganatomy.evaluation.metrics.inception_score import score
from ganatomy.evaluation.metrics.modes import (
    class_diversity,
    classes,
    copies,
    diversity,
    exact_duplicates,
    memorized,
    near_duplicates,
    pixel_diversity,
)
from ganatomy.evaluation.metrics.prdc import prdc
from ganatomy.validation import lookup, register, resolve

_LOGITS = ("fake.logits", "real.logits")
_PIXELS = ("fake.pixels", "real.pixels")

METRICS: dict[str, Metric] = {
    "fd": Metric(
        fd,
        {"fd": Value("FD", "lower", "Fréchet distance of feature means and covariances")},
        about="Fréchet distance",
    ),
    "fd_infinity": Metric(
        fd_infinity,
        {"fd_infinity": Value("FD∞", "lower", "Fréchet distance at infinitely many samples")},
        about="Fréchet distance without its bias",
    ),
    "kid": Metric(
        kid,
        {"kid": Value("KID", "lower", "squared MMD of features, cubic kernel")},
        about="kernel distance",
    ),
    "score": Metric(
        score,
        {
            "score": Value(
                "classifier score",
                "higher",
                "exp of the mutual information of images and predicted classes",
            )
        },
        needs=("fake.logits",),
        about="inception score, of whichever classifier the feature space has",
    ),
    "prdc": Metric(
        prdc,
        {
            "precision": Value(
                "precision", "higher", "share of fakes in the neighborhood of reals"
            ),
            "recall": Value("recall", "higher", "share of reals in the neighborhood of fakes"),
            "density": Value("density", "1", "reals in whose neighborhood a fake lies, over k"),
            "coverage": Value(
                "coverage", "higher", "share of reals with a fake in their neighborhood"
            ),
        },
        about="precision, recall, density, coverage",
    ),
    "classes": Metric(
        classes,
        {
            "chi2": Value("χ²", "lower", "of predicted classes against the reference's"),
            "chi2_p": Value("p of χ²", None, "chance of such a χ² if the classes had equal shares"),
            "entropy": Value("entropy", None, "of predicted classes, in nats"),
            "missing": Value(
                "missing", "lower", "classes with under a tenth of their expected fakes"
            ),
            "confidence": Value(
                "confidence", "higher", "mean probability of the most probable class"
            ),
        },
        needs=_LOGITS,
        about="predicted classes",
    ),
    "diversity": Metric(
        diversity,
        {"diversity": Value("diversity", "1", "distance of two fakes over that of two reals")},
        about="variation of the features",
    ),
    "pixel_diversity": Metric(
        pixel_diversity,
        {"pixel_diversity": Value("pixel diversity", "1", "the same of pixels; noise is above 1")},
        needs=_PIXELS,
        about="variation of the pixels",
    ),
    "class_diversity": Metric(
        class_diversity,
        {"class_diversity": Value("class diversity", "1", "the same within a predicted class")},
        needs=_LOGITS,
        about="variation of the features within a class",
    ),
    "exact_duplicates": Metric(
        exact_duplicates,
        {
            "exact_duplicates": Value(
                "exact duplicates", "lower", "share of fakes with an earlier fake's pixels"
            )
        },
        needs=("fake.pixels",),
        about="fakes with equal pixels",
    ),
    "near_duplicates": Metric(
        near_duplicates,
        {
            "near_duplicates": Value(
                "near duplicates", "lower", "share of fakes too close to another; 0.01 is none"
            )
        },
        about="fakes with nearly equal features",
    ),
    "copies": Metric(
        copies,
        {"copies": Value("copies", "lower", "share of fakes with a reference image's pixels")},
        needs=_PIXELS,
        about="fakes with the pixels of a reference image",
    ),
    "memorized": Metric(
        memorized,
        {
            "memorized": Value(
                "memorized", "lower", "share of fakes too near the reference; 0.01 is none"
            )
        },
        needs=("held_out",),
        about="fakes too near to the reference images",
    ),
}
"""name -> metric, with the values that it gives"""

BUILT_IN = frozenset(METRICS)
"""Names of the metrics that come with ganatomy."""

ALIASES = {"fid": "fd", "fid∞": "fd_infinity", "is": "score"}
"""Names of the literature -> names of values; FID and IS are these with Inception features."""


def values() -> dict[str, Value]:
    """Return all values by name, in the order of METRICS."""
    return {name: value for metric in METRICS.values() for name, value in metric.values.items()}


def value(name: str) -> Value:
    """Return the title and direction of a value; of an unknown one, its name and no direction."""
    return values().get(name) or Value(name.replace("_", " "))


def metric_of(name: str) -> str | None:
    """Return the name of the metric that gives a value; None if there is none."""
    return next((metric for metric, m in METRICS.items() if name in m.values), None)


def resolve_metrics(names: str | Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names of values that a text asks for.

    Args:
        names: one or several texts of names with commas or spaces between them. A name is that of
            a value (precision) or of a metric (prdc, which has four values), a title (pixel
            diversity), fid, is, or importable (package.module:metric).

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    texts = [names] if isinstance(names, str) else names
    found = (name for text in texts for part in text.split(",") for name in _resolved(part))
    return tuple(dict.fromkeys(found))


def register_metric(name: str, part: Metric | Callable[[Comparison], Any], about: str = "") -> None:
    """Add a metric to METRICS.

    Args:
        name: a new name, without a colon.
        part: a Metric, or a function of a Comparison that returns a number or an Estimate. The
            latter gives one value, with the metric's name.
        about: one line of description.

    Raises:
        ValueError: if a name is taken, or the metric fails check_metric.
    """
    register(METRICS, name, as_metric(part, name, about), "metric", _check_new)


def as_metric(part: Any, name: str, about: str = "") -> Metric:
    """Return a Metric as it is, or make one of a function that returns one value.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(part, Metric):
        return part
    if not callable(part):
        raise ValueError(f"expected a Metric or a function, got a {type(part).__name__}")

    def measure(comparison: Comparison) -> dict[str, Estimate]:
        found = part(comparison)
        return {name: found if isinstance(found, Estimate) else Estimate(float(found))}

    about = about or (part.__doc__ or "").partition("\n")[0]
    return Metric(measure, {name: Value(name.replace("_", " "), about=about)}, about=about)


def _check_new(metric: Metric) -> None:
    """Check that a new metric works, and that the names of its values are new."""
    if taken := (values().keys() | ALIASES.keys()) & metric.values.keys():
        raise ValueError(f"there is a value {min(taken)!r} already; choose another name")
    check_metric(metric)


def _imported(name: str) -> Metric:
    """Import a metric by its importable name, or return the one imported before."""
    if name not in METRICS:
        plain = re.split(r"[:.]", name)[-1]
        metric = resolve(METRICS, name, "metric", lambda part: as_metric(part, plain))
        _check_new(metric)
        METRICS[name] = metric
    return METRICS[name]


def _resolved(text: str) -> Iterator[str]:
    """Yield the values of one name, or of several with spaces between them."""
    known = _known()
    for word in [text] if _plain(text) in known else text.split():
        if ":" in word:
            yield from _imported(word).values
        else:
            yield from lookup(known, _plain(word), "metric")


def _plain(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _known() -> dict[str, tuple[str, ...]]:
    """Return every known name -> names of values."""
    titles = {_plain(value.title): (name,) for name, value in values().items()}
    aliases = {alias: (name,) for alias, name in ALIASES.items()}
    groups = {name: tuple(metric.values) for name, metric in METRICS.items()}
    return titles | aliases | {name: (name,) for name in values()} | groups
