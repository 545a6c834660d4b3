"""Measure images against a reference: extract features once, then compute every metric."""

import contextlib
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ganatomy.data import Samples
from ganatomy.data.content import content_order, value_hashes
from ganatomy.data.given import as_samples
from ganatomy.data.shape import reshape_all
from ganatomy.evaluation.metrics import (
    BUILT_IN,
    CPU,
    METRICS,
    Comparison,
    Estimate,
    Extracted,
    Metric,
    TooFewImagesError,
    available,
    class_counts,
    require,
    resolve_metrics,
    values,
)
from ganatomy.evaluation.reference import Reference
from ganatomy.evaluation.result import Evaluation, Score
from ganatomy.storage.cache import cached

MIN_SAMPLES = 2048
"""Number of samples below which a Fréchet distance is mostly bias, which a warning says."""


def evaluate(
    images: Any, ref: Reference, metrics: str | Sequence[str] = (), force: bool = False
) -> Evaluation:
    """Measure images from anywhere.

    Args:
        images: n images, as as_samples takes them: uint8, or floats in [0, 1] or [-1, 1].
        ref: reference. The evaluation has its protocol, except for the number of samples, which
            is n, and for mode and weights, which are "given".
        metrics: values or metrics, as resolve_metrics takes them; empty means all that the feature
            space allows.
        force: compute Fréchet distances of 2,048 or more features from fewer images.

    Raises:
        ValueError: for images of another shape, too few images, or an unknown metric.
    """
    given = ref.protocol.replace(mode="given", weights="given")
    pixels = as_samples(images).values
    return evaluate_samples(pixels, ref._replace(protocol=given), metrics, force)


def evaluate_samples(
    pixels: Tensor, ref: Reference, metrics: str | Sequence[str] = (), force: bool = False
) -> Evaluation:
    """Measure samples that were generated according to the reference's protocol.

    Args:
        pixels: uint8 images (n, C, H, W). The evaluation has n, whatever the protocol's number.
        ref: reference.
        metrics: as evaluate takes them.
        force: as evaluate takes it.

    Raises:
        ValueError: as evaluate does.
    """
    names = resolve_metrics(metrics)
    require(len(pixels), 2, "generated")
    pixels = pixels[content_order(value_hashes(pixels))]  # subsets are functions of the set
    ref = ref._replace(protocol=ref.protocol.replace(n=len(pixels)))
    real = ref.real.pixels
    assert real is not None
    if pixels.shape[1:] != real.shape[1:]:
        shape = " ".join(map(str, real.shape[1:]))
        raise ValueError(
            f"the images are {_size(pixels)}, those of {ref.protocol.dataset} {_size(real)}; "
            f"bring them to that size and mode with --shape {shape}"
        )
    warned = _too_few(len(pixels), ref, names or values().keys(), force)
    fake = Extracted(*ref.space.extract(pixels), pixels)
    measured, left_out = _measure(fake, ref, names)
    real_n, real_scores = _real_scores(len(pixels), ref, names)
    return Evaluation(
        protocol=ref.protocol,
        n=len(pixels),
        dim=ref.space.dim,
        real_n=real_n,
        scores={name: Score(*found, real_scores.get(name)) for name, found in measured.items()},
        class_counts=None if fake.logits is None else tuple(class_counts(fake.logits).tolist()),
        warnings=(*warned, *left_out),
    )


def evaluate_grid(pixels: Tensor, ref: Reference) -> Evaluation:
    """Measure uint8 images (n, C, H, W) by metrics that work for as few as a grid has.

    They are the predicted classes, if any, the diversity and the exact duplicates.
    """
    names = ("classes", "diversity", "pixel_diversity", "exact_duplicates")
    return evaluate(pixels, ref, possible(names, ref))


def possible(names: Iterable[str], ref: Reference) -> list[str]:
    """Return the names of METRICS, of these, that a reference allows."""
    real = _comparison(ref.real, ref)
    return [name for name in names if available(METRICS[name], real)]


def predict(pixels: Tensor, ref: Reference) -> Tensor:
    """Return the class (n,) that the feature space predicts for uint8 images (n, C, H, W).

    Raises:
        ValueError: if the feature space has no classifier.
    """
    logits = ref.space.extract(pixels)[1]
    if logits is None:
        raise ValueError(f"{ref.protocol.features} predicts no classes; use features classifier")
    return logits.argmax(1)


def choose(pixels: Tensor, n: int, seed: int) -> Tensor:
    """Return n of the images, drawn at random by content with a seed.

    Raises:
        ValueError: if there are fewer.
    """
    if len(pixels) < n:
        raise ValueError(
            f"expected at least {n:,} images, got {len(pixels):,}; measure them with "
            f"--n {len(pixels)}"
        )
    return pixels[content_order(value_hashes(pixels), seed)[:n]]


def fitted(pixels: Tensor, ref: Reference) -> Tensor:
    """Bring generated images to the shape of the reference images, as real ones are.

    Resizing costs quality: MNIST at 64 x 64 and back at 28 x 28 has an FD of 4.7. So real images
    are resized in the same way, and the fingerprint depends on it.
    """
    assert ref.real.pixels is not None
    shape = tuple(ref.real.pixels.shape[1:])
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return reshape_all(Samples(pixels, labels), shape).values


def _comparison(fake: Extracted, ref: Reference) -> Comparison:
    protocol = ref.protocol
    return Comparison(
        fake=fake,
        real=ref.real,
        moments=ref.moments,
        held_out=ref.held_out,
        class_shares=ref.class_shares if protocol.n_real is None else None,
        k=protocol.k,
        splits=protocol.splits,
        seed=protocol.seed,
        device=_computing(ref),
    )


def _computing(ref: Reference) -> torch.device:
    """Return the device that metrics compute on: CUDA if features are there, else the CPU."""
    return ref.space.device if ref.space.device.type == "cuda" else CPU


def _giving(names: Sequence[str]) -> dict[str, Metric]:
    """Return the metrics that give these values; without names, all metrics."""
    if not names:
        return METRICS
    return {name: m for name, m in METRICS.items() if not m.values.keys().isdisjoint(names)}


def _measure(
    fake: Extracted, ref: Reference, names: Sequence[str]
) -> tuple[dict[str, Estimate], list[str]]:
    """Compute these values; without names, all that are possible. Return why others are left out.

    Raises:
        ValueError: if names are given, and all of them are left out.
    """
    comparison = _comparison(fake, ref)
    found: dict[str, Estimate] = {}
    left_out = []
    for metric in _giving(names).values():
        titles = ", ".join(value.title for value in metric.values.values())
        if not available(metric, comparison):
            if names:
                needs = ", ".join(dict.fromkeys(_NEEDS[need] for need in metric.needs))
                here = f"which {ref.protocol.name} does not have here"
                left_out.append(f"{titles} left out: needs {needs}, {here}")
            continue
        try:
            found |= metric.measure(comparison)
        except TooFewImagesError as error:
            left_out.append(f"{titles} left out: {error}")
    if names and not found:
        raise ValueError("; ".join(left_out))
    for reason in left_out:
        warnings.warn(reason, stacklevel=4)
    return {name: e for name, e in found.items() if not names or name in names}, left_out


_NEEDS = {
    "fake.logits": "a feature space with a classifier",
    "real.logits": "a feature space with a classifier",
    "fake.pixels": "pixels",
    "real.pixels": "pixels",
    "held_out": "held-out real images",
}


def _real_scores(
    n: int, ref: Reference, names: Sequence[str]
) -> tuple[int | None, dict[str, float]]:
    """Measure n held-out real images, or all if there are fewer; return their number and values.

    The values depend only on the protocol and the images. They are cached, except those of metrics
    that do not come with ganatomy, whose code may change.
    """
    if ref.held_out is None:
        return None, {}
    features, logits, *_ = ref.held_out
    n = min(n, len(features))
    real = Extracted(features[:n], None if logits is None else logits[:n])
    comparison = _comparison(real, ref)
    protocol = ref.protocol.replace(n=n, mode="given", weights="given")
    held_out = hashlib.sha256(features.numpy().tobytes()).hexdigest()
    computing = _computing(ref)
    place = "" if computing == CPU else f" {computing.type}"  # a CPU's values are its own
    found: dict[str, float] = {}
    for name, metric in _giving(names).items():
        if available(metric, comparison):
            key = f"real {protocol.fingerprint} {held_out} {name} {torch.__version__}{place}"
            compute = partial(_values, metric, comparison)
            with contextlib.suppress(ValueError):  # there are too few for this metric
                found |= cached(key, compute) if name in BUILT_IN else compute()
    return n, found


def _values(metric: Metric, comparison: Comparison) -> dict[str, float]:
    return {name: e.value for name, e in metric.measure(comparison).items()}


def _too_few(n: int, ref: Reference, names: Iterable[str], force: bool) -> list[str]:
    """Warn of Fréchet distances that n samples are too few for, and return the warnings."""
    dim, warned = ref.space.dim, []
    if not {"fd", "fd_infinity"} & set(names):
        return []
    if n < dim:
        warned.append(f"n = {n:,} is below the {dim:,} dimensions of {ref.protocol.features}")
    if n < MIN_SAMPLES:
        warned.append(f"n = {n:,} is below {MIN_SAMPLES:,}: Fréchet distances are mostly bias")
    if warned and dim >= MIN_SAMPLES and not force:
        raise ValueError(f"{'; '.join(warned)}; measure more samples, or use --force")
    if ref.protocol.features == "inception-64":
        warned.append("a distance of 64 Inception features is not comparable with FID")
    for warning in warned:
        warnings.warn(warning, stacklevel=4)
    return warned


def _size(pixels: Tensor) -> str:
    channels, height, width = pixels.shape[1:]
    return f"{width} x {height} {'gray' if channels == 1 else 'RGB'}"
