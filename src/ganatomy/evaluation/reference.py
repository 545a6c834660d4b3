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

from ganatomy.data import Convert, Samples, Shape, is_name
from ganatomy.data.content import (
    content_order,
    digest_of,
    draw,
    image_hashes,
    label_digest,
    value_hashes,
)
from ganatomy.data.mnist import natural
from ganatomy.data.shape import reshape_all
from ganatomy.evaluation import classifier
from ganatomy.evaluation.classifier import FittedClassifier
from ganatomy.evaluation.features import FEATURES, FeatureRequest, Space
from ganatomy.evaluation.metrics import CPU, Extracted, Moments, moments, require
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
    """names of the classes that the feature space predicts, or else of the images' own; may be
    empty"""
    real: Extracted
    """up to REAL images, or the protocol's n_real, drawn at random"""
    moments: Moments
    """moments of the whole split, or of the n_real images"""
    held_out: Extracted | None
    """features of images that nothing was trained on, in random order and without pixels; None if
    there are none"""
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
    convert: Convert = "none"
    """how to convert images of a path that are not 8-bit gray or RGB"""
    fit: bool = True
    """whether to fit a network to images without classes, if there is none"""


class _Images(NamedTuple):
    """Real images before their features are known."""

    data: str
    """name or path"""
    train: Samples
    """images to draw from"""
    test: Samples | None
    """held-out images; None if there are none, or if the file of a classifier has their features"""
    hashes: list[bytes]
    """hashes of train"""
    digest: str
    """digest of the whole split"""
    fitted_on: str
    """digest of the images of their classifier"""


def reference(protocol: Protocol, data: str, options: EvalOptions) -> Reference:
    """Load a dataset and the features of its images, as a protocol asks for.

    MNIST in the features of a classifier needs no download. Images without classes are measured by
    own-10k where classifier-10k was asked for, and by own-2k for classifier-2k.

    Args:
        protocol: protocol. That of the result has the dataset, the resizing, the digests of images
            and weights, and the numbers of real images.
        data: dataset of DATASETS, importable name, or path of images.
        options: circumstances.

    Raises:
        ValueError: if the dataset or the feature space is not available, or the data are points.
    """
    lookup(FEATURES, protocol.features, "feature space")
    images = _load(protocol.features, data, options)
    train = images.train
    if not train.classes:
        protocol = without_classes(protocol, data)
    space = FEATURES[protocol.features].load(
        FeatureRequest(
            data=images.data,
            digest=images.fitted_on,
            labels=label_digest(train, images.hashes),
            shape=train.shape,
            device=options.device,
            inception_weights=options.inception_weights,
            force=options.force,
            train=train if options.fit else None,
            test=images.test,
        )
    )
    drawn = draw(train, protocol.n_real or REAL, images.hashes)
    test = None if _file(space, train) else images.test
    held_out = None if test is None else draw(test, REAL)
    protocol = _described(protocol, space, images, drawn, held_out)
    found = _cached(protocol, space, train, drawn, held_out)
    return Reference(
        protocol=protocol,
        space=space,
        classes=tuple(space.classifier.about["classes"]) if space.classifier else train.classes,
        real=found.real._replace(pixels=drawn.values),
        moments=found.moments,
        held_out=found.held_out,
        class_shares=_class_shares(space),
    )


def _described(
    protocol: Protocol, space: Space, images: _Images, drawn: Samples, held_out: Samples | None
) -> Protocol:
    """Return the protocol with everything that it measures against."""
    if space.classifier is not None and space.classifier.shape != images.train.shape:
        protocol = protocol.replace(resize="to the classifier's shape, bilinear as Pillow")
    whole, drawn_sha256 = protocol.n_real is None, digest_of(drawn)
    return protocol.replace(
        dataset=images.data if is_name(images.data) else "images",  # of a path, known by digest
        reference_sha256=images.digest if whole else drawn_sha256,
        drawn_n=len(drawn),
        drawn_sha256=drawn_sha256,
        held_out_sha256="" if held_out is None else digest_of(held_out),
        features_sha256=space.sha256,
        n_real=None if whole else len(drawn),
    )


def _load(features: str, data: str, options: EvalOptions) -> _Images:
    """Load images; for a classifier's features of MNIST, those of the package."""
    digits = features.startswith("classifier") and data in ("mnist", "mnist10k")
    embedded = digits and options.shape in (None, (1, 28, 28))
    if embedded:
        train, test, data = natural(), None, "mnist"
    else:
        train, test = classifier.train_test_split(
            data, options.root, options.shape, options.skip_bad, options.convert
        )
        if digits and data == "mnist10k":
            train = reshape_all(natural(), options.shape)
    require(len(train), 2, "real")
    if test is not None and len(test) < 2:
        warnings.warn(
            f"the real score is left out: {data} has {len(test)} held-out real images, of which "
            "it needs 2; add images",
            stacklevel=4,
        )
        test = None
    if len(train.shape) != 3:
        raise ValueError(
            f"expected images, got the points of {data}; count their modes with: "
            "ganatomy class-counts RUN --out modes.png"
        )
    hashes = image_hashes(train)
    digest = classifier.MNIST if embedded else digest_of(train, hashes)
    fitted_on = classifier.MNIST if digits else digest
    return _Images(data, train, test, hashes, digest, fitted_on)


def _file(space: Space, train: Samples) -> FittedClassifier | None:
    """Return the classifier whose file has the features of the images, if any."""
    found = space.classifier
    return found if found is not None and found.shape == train.shape else None


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
    protocol: Protocol, space: Space, train: Samples, drawn: Samples, held_out: Samples | None
) -> _Features:
    """Read features from the cache, or extract them and write them there."""
    p = protocol
    digests = (p.reference_sha256, p.drawn_sha256, p.held_out_sha256, p.features_sha256)
    text = json.dumps([*digests, p.features, p.n_real, torch.__version__])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = cache_root() / "references" / key
    if (content := read_cache(file)) is not None:
        return _unpack(read_tensors(content))
    found = _extract(protocol, space, train, drawn, held_out)
    write_cache(file, write_tensors(_pack(found)))
    return found


def _extract(
    protocol: Protocol, space: Space, train: Samples, drawn: Samples, held_out: Samples | None
) -> _Features:
    """Extract features, except for those that the file of a classifier has."""
    real = Extracted(*space.extract(drawn.values))
    kept = None if held_out is None else Extracted(*space.extract(held_out.values))
    known = _file(space, train)
    if known is not None:
        features = known.held_out[content_order(value_hashes(known.held_out))]
        kept = Extracted(features, classifier.logits(known.net, features))
    if protocol.n_real is not None or (len(drawn) == len(train) and known is None):
        return _Features(real, moments(real.features), kept)
    if known is not None:
        return _Features(real, known.train, kept)
    return _Features(real, moments(space.extract(train.values)[0]), kept)


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
