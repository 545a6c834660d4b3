"""The real images that generated ones are measured against, and what a feature space sees there.

What took long to compute is kept in the user's cache, under the hashes it depends on.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor

from ganatomy.data import Samples, Shape, balanced, digest, load
from ganatomy.evaluation import classifier
from ganatomy.evaluation.features import CPU, FEATURES, FeatureRequest, Space
from ganatomy.evaluation.metrics import Extracted, Moments, moments
from ganatomy.evaluation.protocol import Protocol
from ganatomy.storage.cache import cache_root, read_cache, write_cache
from ganatomy.validation import lookup

REAL = 10_000
"""Reference images for all but the Fréchet distance, where the protocol does not say."""


class Reference(NamedTuple):
    """What generated images are measured against, by one protocol."""

    protocol: Protocol
    """with dataset and hashes filled in"""
    space: Space
    classes: tuple[str, ...]
    """empty if the images are not labelled"""
    real: Extracted
    """up to REAL images, or the protocol's n_real"""
    moments: Moments
    """of the whole split, or of those n_real"""
    held_out: Extracted | None
    """images that nothing was trained on, without their pixels"""
    class_shares: Tensor | None
    """(classes,) that the space's classifier predicts in the whole split"""


@dataclass(frozen=True)
class EvalOptions:
    """Circumstances of a measurement."""

    root: Path
    """folder of full datasets"""
    _: KW_ONLY
    device: torch.device = CPU
    """device that computes features"""
    inception_weights: Path | None = None
    """file of Inception's weights; None means PyTorch's hub cache, with a download into it"""
    force: bool = False
    """whether to accept Inception weights of any sha256"""
    shape: Shape | None = None
    """shape (C, H, W) that real and generated images are brought to; None leaves them as they are
    """
    skip_bad: bool = False
    """whether to skip unreadable images of a path instead of stopping"""


def reference(protocol: Protocol, data: str, options: EvalOptions) -> Reference:
    """Make ready what a protocol measures against: a dataset of DATASETS, or a path of images.

    MNIST seen by a classifier that comes with ganatomy needs nothing but the package.

    Raises:
        ValueError: if the dataset or the feature space is not to be had.
    """
    space_named = lookup(FEATURES, protocol.features, "feature space")
    digits = protocol.features.startswith("classifier") and data in ("mnist", "mnist10k")
    as_they_are = options.shape in (None, (1, 28, 28))
    if digits and as_they_are:  # of the 60,000 the embedded ones are those that balanced() takes
        train, test, data = load("mnist10k", options.root, "train"), None, "mnist"
        images = classifier.MNIST
    else:
        train, test = classifier.train_test_split(
            data, options.root, options.shape, options.skip_bad
        )
        images = digest(train)
    if len(train.shape) != 3:
        raise ValueError(
            f"{data} is points, not images, which no protocol measures; count their modes with: "
            "ganatomy class-counts RUN --out modes.png"
        )
    known = classifier.MNIST if digits else images
    space = space_named.load(
        FeatureRequest(
            data=data,
            digest=known,
            shape=train.shape,
            device=options.device,
            inception_weights=options.inception_weights,
            force=options.force,
        )
    )
    if space.classifier is not None and space.classifier.shape != train.shape:
        protocol = protocol.replace(resize="to the classifier's shape, bilinear as Pillow")
    protocol = protocol.replace(
        dataset=Path(data).name, reference_sha256=images, features_sha256=space.sha256
    )
    chosen = balanced(train, protocol.n_real or REAL)
    if protocol.n_real is not None:
        protocol = protocol.replace(n_real=len(chosen))  # the images may be fewer
    kept_back = "" if test is None else digest(test)
    seen = _remembered(protocol, kept_back, lambda: _look(protocol, space, train, test, chosen))
    shares = None
    if space.classifier is not None:
        counts = torch.tensor(space.classifier.about["class_counts"])  # whatever the shape now is
        shares = counts / counts.sum()
    return Reference(
        protocol,
        space,
        train.classes,
        seen.real._replace(pixels=chosen.values),
        seen.moments,
        seen.held_out,
        shares,
    )


def grid_reference(data: str, options: EvalOptions, n: int) -> Reference | None:
    """Return the reference for grids of n samples, or None if the dataset has no classifier."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of bad images, given when training began
            return reference(Protocol(n=n), data, options)
    except ValueError:
        return None


class _Extracted(NamedTuple):
    real: Extracted
    moments: Moments
    held_out: Extracted | None


def _look(
    protocol: Protocol, space: Space, train: Samples, test: Samples | None, chosen: Samples
) -> _Extracted:
    """Extract the features of a reference; a classifier's file holds most of them."""
    real = Extracted(*space.extract(chosen.values))
    known = space.classifier if space.classifier and space.classifier.shape == train.shape else None
    if known is not None:
        features = known.held_out
        held_out: Extracted | None = Extracted(features, classifier.logits(known.net, features))
    else:
        held_out = None if test is None else Extracted(*space.extract(balanced(test, REAL).values))
    if protocol.n_real is not None or (len(chosen) == len(train) and known is None):
        return _Extracted(real, moments(real.features), held_out)
    if known is not None:
        return _Extracted(real, known.train, held_out)
    return _Extracted(real, moments(space.extract(train.values)[0]), held_out)


def _remembered(protocol: Protocol, kept_back: str, look: Callable[[], _Extracted]) -> _Extracted:
    """Read from the cache what these hashes stand for, or compute it and keep it."""
    parts = (protocol.reference_sha256, protocol.features_sha256, protocol.features)
    text = json.dumps([*parts, protocol.n_real, kept_back, torch.__version__])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = cache_root() / "references" / key
    if (content := read_cache(file)) is not None:
        return _unpack(read_tensors(content))
    seen = look()
    write_cache(file, write_tensors(_pack(seen)))
    return seen


def _pack(seen: _Extracted) -> dict[str, Tensor]:
    mean, cov, n = seen.moments
    tensors = {"mean": mean, "cov": cov, "n": torch.tensor(n)}
    for name, part in (("real", seen.real), ("held_out", seen.held_out)):
        if part is not None:
            tensors[f"{name}.features"] = part.features
            if part.logits is not None:
                tensors[f"{name}.logits"] = part.logits
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _unpack(tensors: dict[str, Tensor]) -> _Extracted:
    def part(name: str) -> Extracted:
        return Extracted(tensors[f"{name}.features"], tensors.get(f"{name}.logits"))

    held_out = part("held_out") if "held_out.features" in tensors else None
    kept = Moments(tensors["mean"], tensors["cov"], int(tensors["n"]))
    return _Extracted(part("real"), kept, held_out)
