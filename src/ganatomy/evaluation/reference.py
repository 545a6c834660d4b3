"""The real images that generated ones are compared with, and their features.

Features are cached in files named after the sha256 of all that they depend on.
"""

import hashlib
import json
import warnings
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor

from ganatomy.data import Samples, Shape, balanced, digest, load
from ganatomy.evaluation import classifier
from ganatomy.evaluation.features import CPU, FEATURES, FeatureRequest, Space
from ganatomy.evaluation.metrics import Extracted, Moments, moments, require
from ganatomy.evaluation.protocol import Protocol, without_classes
from ganatomy.storage.cache import cache_root, read_cache, write_cache
from ganatomy.validation import lookup

REAL = 10_000
"""Reference images of all metrics but the Fréchet distance, unless the protocol has n_real."""


class Reference(NamedTuple):
    """Real images under one protocol."""

    protocol: Protocol
    """protocol, with the dataset and all sha256 sums"""
    space: Space
    """feature space"""
    classes: tuple[str, ...]
    """names of the classes; empty if the images have no labels"""
    real: Extracted
    """up to REAL images, or the protocol's n_real"""
    moments: Moments
    """moments of the whole split, or of the n_real images"""
    held_out: Extracted | None
    """features of images that nothing was trained on, without pixels; None if there are none"""
    class_shares: Tensor | None
    """shares (classes,) that the feature space's classifier predicts in the whole split"""


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
    fit: bool = True
    """whether to fit a network to images without classes, if there is none"""


def reference(protocol: Protocol, data: str, options: EvalOptions) -> Reference:
    """Load a dataset and the features of its images, as a protocol asks for.

    MNIST in the features of a classifier needs no download. Images without classes are measured by
    own-10k where classifier-10k was asked for, and by own-2k for classifier-2k.

    Args:
        protocol: protocol. That of the result has the dataset, the resizing, the sha256 sums of
            images and weights, and the number of images chosen in place of n_real.
        data: dataset of DATASETS, importable name, or path of images.
        options: circumstances.

    Raises:
        ValueError: if the dataset or the feature space is not available, or the data are points.
    """
    lookup(FEATURES, protocol.features, "feature space")
    digits = protocol.features.startswith("classifier") and data in ("mnist", "mnist10k")
    if digits and options.shape in (None, (1, 28, 28)):
        # the embedded images are those that balanced() takes of the 60,000
        train, test, data = load("mnist10k", options.root, "train"), None, "mnist"
        images = classifier.MNIST
    else:
        train, test = classifier.train_test_split(
            data, options.root, options.shape, options.skip_bad
        )
        images = digest(train)
    require(len(train), 2, "real")
    if test is not None and len(test) < 2:
        warnings.warn(
            f"the real score is left out: {data} has {len(test)} held-out real images, of which "
            "it needs 2; add images",
            stacklevel=3,
        )
        test = None
    if len(train.shape) != 3:
        raise ValueError(
            f"expected images, got the points of {data}; count their modes with: "
            "ganatomy class-counts RUN --out modes.png"
        )
    if not train.classes:
        protocol = without_classes(protocol, data)
    space = FEATURES[protocol.features].load(
        FeatureRequest(
            data=data,
            digest=classifier.MNIST if digits else images,
            shape=train.shape,
            device=options.device,
            inception_weights=options.inception_weights,
            force=options.force,
            train=train if options.fit else None,
            test=test,
        )
    )
    if space.classifier is not None and space.classifier.shape != train.shape:
        protocol = protocol.replace(resize="to the classifier's shape, bilinear as Pillow")
    chosen = balanced(train, protocol.n_real or REAL)
    protocol = protocol.replace(
        dataset=Path(data).name,
        reference_sha256=images,
        features_sha256=space.sha256,
        n_real=None if protocol.n_real is None else len(chosen),
    )
    found = _cached(protocol, space, train, test, chosen)
    return Reference(
        protocol=protocol,
        space=space,
        classes=train.classes,
        real=found.real._replace(pixels=chosen.values),
        moments=found.moments,
        held_out=found.held_out,
        class_shares=_class_shares(space),
    )


def grid_reference(data: str, options: EvalOptions, n: int) -> Reference | None:
    """Return the reference for grids of n samples; None if the dataset has no features yet."""
    try:
        with warnings.catch_warnings(action="ignore"):  # those of bad images were shown before
            return reference(Protocol(n=n), data, replace(options, fit=False))
    except ValueError:
        return None


def _class_shares(space: Space) -> Tensor | None:
    """Return the shares (classes,) that a classifier predicts for its training images."""
    if space.classifier is None:
        return None
    counts = torch.tensor(space.classifier.about["class_counts"])
    return counts / counts.sum()


class _Features(NamedTuple):
    """Features of a reference, as the cache holds them."""

    real: Extracted
    moments: Moments
    held_out: Extracted | None


def _cached(
    protocol: Protocol, space: Space, train: Samples, test: Samples | None, chosen: Samples
) -> _Features:
    """Read features from the cache, or extract them and write them there."""
    held_out = "" if test is None else digest(test)
    parts = (protocol.reference_sha256, protocol.features_sha256, protocol.features)
    text = json.dumps([*parts, protocol.n_real, held_out, torch.__version__])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = cache_root() / "references" / key
    if (content := read_cache(file)) is not None:
        return _unpack(read_tensors(content))
    found = _extract(protocol, space, train, test, chosen)
    write_cache(file, write_tensors(_pack(found)))
    return found


def _extract(
    protocol: Protocol, space: Space, train: Samples, test: Samples | None, chosen: Samples
) -> _Features:
    """Extract features, except for those that the file of a classifier has."""
    real = Extracted(*space.extract(chosen.values))
    known = space.classifier if space.classifier and space.classifier.shape == train.shape else None
    if known is not None:
        features = known.held_out
        held_out: Extracted | None = Extracted(features, classifier.logits(known.net, features))
    else:
        held_out = None if test is None else Extracted(*space.extract(balanced(test, REAL).values))
    if protocol.n_real is not None or (len(chosen) == len(train) and known is None):
        return _Features(real, moments(real.features), held_out)
    if known is not None:
        return _Features(real, known.train, held_out)
    return _Features(real, moments(space.extract(train.values)[0]), held_out)


def _pack(found: _Features) -> dict[str, Tensor]:
    mean, cov, n = found.moments
    tensors = {"mean": mean, "cov": cov, "n": torch.tensor(n)}
    for name, part in (("real", found.real), ("held_out", found.held_out)):
        if part is not None:
            tensors[f"{name}.features"] = part.features
            if part.logits is not None:
                tensors[f"{name}.logits"] = part.logits
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _unpack(tensors: dict[str, Tensor]) -> _Features:
    def part(name: str) -> Extracted:
        return Extracted(tensors[f"{name}.features"], tensors.get(f"{name}.logits"))

    held_out = part("held_out") if "held_out.features" in tensors else None
    whole = Moments(tensors["mean"], tensors["cov"], int(tensors["n"]))
    return _Features(part("real"), whole, held_out)
