"""Measure images: sample once, look once, then every metric, each value beside its floor.

What is measured becomes a row: its step, its protocol and fingerprint, its values.
"""

import contextlib
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganatomy.data import Samples
from ganatomy.data.samples import as_samples
from ganatomy.data.shape import reshape_all
from ganatomy.evaluation.metrics import (
    BUILT_IN,
    METRICS,
    Comparison,
    Estimate,
    Extracted,
    Metric,
    available,
    class_counts,
    resolve_metrics,
    values,
)
from ganatomy.evaluation.reference import Reference
from ganatomy.evaluation.result import Evaluation, Score
from ganatomy.figures.images import to_uint8, ungrid
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run
from ganatomy.runs.sampling import GeneratorMode, generate, load_generator
from ganatomy.storage.cache import cached

MIN_SAMPLES = 2048
"""Samples below which a Fréchet distance is mostly its own bias; warned of."""

MODES: tuple[GeneratorMode, ...] = ("eval", "train", "reestimated")
"""Of a generator, as an audit sets them side by side."""


def evaluate(
    images: Any, ref: Reference, metrics: str | Sequence[str] = (), force: bool = False
) -> Evaluation:
    """Measure images from anywhere.

    Args:
        images: what as_samples takes: uint8, or floats in [0, 1] or [-1, 1].
        ref: the reference. Its protocol's number of samples, mode and weights do not count: the
            evaluation has the number of these images, which are "given".
        metrics: names of values or of metrics, as resolve_metrics takes them; none means all that
            the feature space allows.
        force: measure even if there are fewer images than 2,048 features.

    Raises:
        ValueError: for images of another shape, too few of them, or an unknown metric.
    """
    given = ref.protocol.replace(mode="given", weights="given")
    pixels = as_samples(images).values
    return evaluate_samples(pixels, ref._replace(protocol=given), metrics, force)


def evaluate_samples(
    pixels: Tensor, ref: Reference, metrics: str | Sequence[str] = (), force: bool = False
) -> Evaluation:
    """Measure samples that were made as the reference's protocol says.

    Args:
        pixels: uint8 images (n, C, H, W), where n may differ from the protocol's.
        ref: the reference.
        metrics: names of values or of metrics, as resolve_metrics takes them; none means all that
            the feature space allows.
        force: measure even if there are fewer images than 2,048 features.

    Raises:
        ValueError: for images of another shape, too few of them, or an unknown metric.
    """
    names = resolve_metrics(metrics)
    ref = ref._replace(protocol=ref.protocol.replace(n=len(pixels)))
    real = ref.real.pixels
    assert real is not None
    if pixels.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"the images are {_size(pixels)}, those of {ref.protocol.dataset} {_size(real)}; "
            "bring them to that size and mode"
        )
    complaints = _too_few(len(pixels), ref, names or values().keys(), force)
    fake = Extracted(*ref.space.extract(pixels), pixels)
    measured = _measure(fake, ref, names)
    real_n, real_scores = _real_scores(len(pixels), ref, names)
    counts = None if fake.logits is None else tuple(class_counts(fake.logits).tolist())
    return Evaluation(
        protocol=ref.protocol,
        n=len(pixels),
        dim=ref.space.dim,
        real_n=real_n,
        scores={name: Score(*found, real_scores.get(name)) for name, found in measured.items()},
        class_counts=counts,
        warnings=tuple(complaints),
    )


def evaluate_grid(pixels: Tensor, ref: Reference) -> Evaluation:
    """Measure what a few samples already tell: classes, variety and exact duplicates."""
    return evaluate(pixels, ref, ("classes", "diversity", "pixel_diversity", "exact_duplicates"))


def evaluate_grids(run: Run, ref: Reference) -> list[Evaluation]:
    """Judge the sample grids that a run has kept, one after the other, oldest first.

    A grid that cannot be read, or is none of such images, is left out.
    """
    assert ref.real.pixels is not None
    shape = run.recipe.data.shape or tuple(ref.real.pixels.shape[1:])
    found = []
    for step, file in run.grids():
        with contextlib.suppress(ValueError):
            pixels = fitted(ungrid(file.read_bytes(), shape), ref)
            found.append(evaluate_grid(pixels, ref).replace(step=step))
    return found


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
    )


def _giving(names: Sequence[str]) -> dict[str, Metric]:
    """Return the metrics that give these values; all if there are no names."""
    if not names:
        return METRICS
    return {name: m for name, m in METRICS.items() if not m.values.keys().isdisjoint(names)}


def _measure(fake: Extracted, ref: Reference, names: Sequence[str]) -> dict[str, Estimate]:
    """Compute the values asked for, or all there can be."""
    comparison = _comparison(fake, ref)
    found: dict[str, Estimate] = {}
    for name, metric in _giving(names).items():
        if available(metric, comparison):
            found |= metric.measure(comparison)
        elif names:
            needs = ", ".join(dict.fromkeys(_NEEDS[need] for need in metric.needs))
            raise ValueError(f"{name} needs {needs}, which {ref.protocol.name} does not have here")
    return {name: e for name, e in found.items() if not names or name in names}


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

    They depend on nothing but the protocol and the images, so those of metrics that come with
    ganatomy are cached.
    """
    if ref.held_out is None:
        return None, {}
    features, logits, *_ = ref.held_out
    n = min(n, len(features))
    spread = torch.arange(n) * len(features) // n  # MNIST's first test digits are the easy ones
    real = Extracted(features[spread], None if logits is None else logits[spread])
    comparison = _comparison(real, ref)
    alike = ref.protocol.replace(n=n, mode="given", weights="given")
    kept_back = hashlib.sha256(features.numpy().tobytes()).hexdigest()
    found: dict[str, float] = {}
    for name, metric in _giving(names).items():
        if available(metric, comparison):
            key = f"real {alike.fingerprint} {kept_back} {name} {torch.__version__}"
            compute = partial(_values, metric, comparison)
            with contextlib.suppress(ValueError):  # there are too few for this metric
                found |= cached(key, compute) if name in BUILT_IN else compute()
    return n, found


def _values(metric: Metric, comparison: Comparison) -> dict[str, float]:
    return {name: e.value for name, e in metric.measure(comparison).items()}


def _too_few(n: int, ref: Reference, names: Iterable[str], force: bool) -> list[str]:
    """Say, and warn of, what a number of samples is too small for."""
    dim, complaints = ref.space.dim, []
    if not {"fd", "fd_infinity"} & set(names):
        return []
    if n < dim:
        complaints.append(f"n = {n:,} is below the {dim:,} dimensions of {ref.protocol.features}")
    if n < MIN_SAMPLES:
        complaints.append(f"n = {n:,} is below {MIN_SAMPLES:,}: Fréchet distances are mostly bias")
    if complaints and dim >= MIN_SAMPLES and not force:
        raise ValueError(f"{'; '.join(complaints)}; measure more samples, or insist with --force")
    if ref.protocol.features == "inception-64":
        complaints.append("64 features of Inception are not FID as the field means it")
    for complaint in complaints:
        warnings.warn(complaint, stacklevel=3)
    return complaints


def _size(pixels: Tensor) -> str:
    channels, height, width = pixels.shape[1:]
    return f"{width} x {height} {'gray' if channels == 1 else 'RGB'}"


def predict(pixels: Tensor, ref: Reference) -> Tensor:
    """Return the class (n,) that the reference's classifier sees in each uint8 image.

    Raises:
        ValueError: if its feature space has no classifier.
    """
    logits = ref.space.extract(pixels)[1]
    if logits is None:
        raise ValueError(f"{ref.protocol.features} has no classifier; use a classifier")
    return logits.argmax(1)


def choose(pixels: Tensor, n: int, seed: int) -> Tensor:
    """Take n of the given images at random, as files are often sorted by class.

    Raises:
        ValueError: if there are fewer.
    """
    if len(pixels) < n:
        raise ValueError(
            f"there are {len(pixels):,} images and the protocol wants {n:,}; "
            f"measure what there is with --n {len(pixels)}"
        )
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    return pixels[order[:n]]


def samples(generator: nn.Module, recipe: Recipe, ref: Reference) -> Tensor:
    """Generate the uint8 images (n, C, H, W) that a reference's protocol measures."""
    protocol = ref.protocol
    assert protocol.mode != "given"
    made = generate(generator, protocol.n, recipe, protocol.seed, protocol.mode)
    return fitted(to_uint8(made), ref)


def fitted(pixels: Tensor, ref: Reference) -> Tensor:
    """Bring generated images to the shape of the reference's, by the policy for real ones.

    Resizing costs quality: real digits at 64 pixels and back have an FD of 4.7. So real images go
    the same way, and numbers of unlike ways have unlike fingerprints.
    """
    assert ref.real.pixels is not None
    shape = tuple(ref.real.pixels.shape[1:])
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return reshape_all(Samples(pixels, labels), shape).values


def evaluate_run(
    run: Run,
    files: Sequence[Path],
    ref: Reference,
    metrics: str | Sequence[str] = (),
    force: bool = False,
) -> Iterator[Evaluation]:
    """Measure checkpoints of a run, one after the other."""
    protocol = ref.protocol
    assert protocol.weights != "given"
    for file in files:
        step, generator = load_generator(run, file, protocol.weights)
        pixels = samples(generator, run.recipe, ref)
        yield evaluate_samples(pixels, ref, metrics, force).replace(step=step)


def checkpoints(run: Run, which: str) -> list[Path]:
    """Return the checkpoint files of "last", "all" or a step.

    Raises:
        ValueError: if there is none, or not that one, naming those there are.
    """
    if which == "last" or not run.checkpoints():
        return [run.checkpoint()]
    if which != "all" and not which.isdigit():
        raise ValueError(f"--checkpoint must be last, best, all or a step, got {which}")
    return run.checkpoints() if which == "all" else [run.checkpoint(int(which))]


def best(run: Run, files: Sequence[Path], ref: Reference, force: bool = False) -> Path:
    """Pick the checkpoint of least Fréchet distance, on samples of the next seed.

    The samples that it is picked by are not those that it is then reported on: the luckiest of
    many measurements is better than what it measures.
    """
    other = ref._replace(protocol=ref.protocol.replace(seed=ref.protocol.seed + 1))
    found = [measured["fd"] for measured in evaluate_run(run, files, other, ["fd"], force)]
    return files[found.index(min(found))]


def measured(run: Run) -> list[Evaluation]:
    """Return the evaluations of a run: one for each step and fingerprint, oldest first.

    A later measurement of the same adds to the values of the earlier, or replaces them.
    """
    merged: dict[tuple[int, str], Evaluation] = {}
    for row in run.rows("metrics"):
        found = Evaluation.from_dict(row)
        key = (row["step"], found.fingerprint)
        if key in merged:
            found = found.replace(scores={**merged[key].scores, **found.scores})
        merged[key] = found
    return [merged[key] for key in sorted(merged)]
