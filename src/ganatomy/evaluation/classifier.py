"""Classifiers whose last hidden layer is a feature space for images of their data.

Those of MNIST come with ganatomy; fitting.py makes one for any images. A classifier's file holds
everything that a measurement needs of its data. To add a kind, write its build function and add an
entry to KINDS.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from torch import Tensor
from torch.nn import functional as F

from ganatomy.data import Convert, Samples, Shape, is_name, scaled
from ganatomy.data import load as read_images
from ganatomy.data.content import digest_of, hold_out_tenth, image_hashes, label_digest
from ganatomy.data.shape import check
from ganatomy.evaluation.metrics import Moments
from ganatomy.gan.machine import numerics
from ganatomy.models.classifier import FEATURES, Classifier, conv, mlp
from ganatomy.storage.cache import cache_root
from ganatomy.validation import lookup

CONFUSION = 200
"""Largest number of classes whose confusion matrix is recorded."""

CHUNK = 500
"""Images that a classifier gets at a time."""


@dataclass(frozen=True)
class Kind:
    """A kind of classifier."""

    build: Callable[[tuple[int, ...], int], Classifier]
    """(shape of an image, number of classes) -> classifier"""
    loss: Callable[[Tensor, Tensor], Tensor]
    """(logits (N, classes), labels (N,)) -> scalar"""
    rate: float
    """highest learning rate"""
    about: str
    """one line of description"""
    labeled: bool = True
    """whether its classes are those of the images, or else the quarter turns of TURNS"""


KINDS: dict[str, Kind] = {
    "conv": Kind(conv, F.cross_entropy, 4e-3, "five convolutions, cross-entropy"),
    "mlp-hinge": Kind(mlp, F.multi_margin_loss, 2e-3, "two hidden layers, hinge loss"),
    "rotation": Kind(
        conv, F.cross_entropy, 4e-3, "as conv, of quarter turns of images without classes", False
    ),
}
"""name -> architecture and fitting"""

TURNS = ("0°", "90°", "180°", "270°")
"""Classes of images without classes (Gidaris et al. 2018, arXiv 1803.07728)."""

SHIPPED = {
    "conv": (
        "mnist-conv.safetensors",
        "a6a8e28d5e8aa5f456f250e11c0efddb674d8e7e27569551e12e3c94c0308092",
    ),
    "mlp-hinge": (
        "mnist-mlp-hinge.safetensors",
        "bd850604c1b4a817a82f665461fa0d00316577718439930d97b4fc05280b7627",
    ),
}
"""kind -> file in the package and its sha256; both are of MNIST"""

MNIST = "7abe1dc255673877a220273999bbd1bee74c4a65f928138d0299543109601c7c"
"""Digest of the 60,000 images that the classifiers of the package were fitted on, see
data.content.digest_of."""


@dataclass(frozen=True)
class FittedClassifier:
    """A fitted classifier and the features that measurements need of its data."""

    net: Classifier
    about: dict[str, Any]
    """kind, data, seed, epochs, batch, torch, threads, classes, shape, digest and labels, which are
    the digests of the training images without and with their classes, n_train, n_test, accuracy in
    [0, 1] and confusion matrix of the test images (rows true, columns predicted; empty for more
    than CONFUSION classes), and class_counts, which are the predictions for the training images"""
    train: Moments
    """moments of the features of the training images, without augmentation"""
    test: Moments
    """moments of the features of the test images"""
    held_out: Tensor
    """features (n, FEATURES) of up to 10,000 test images; float16 in the file"""
    sha256: str
    """sha256 of the file"""
    file: Path | None = None
    """the file, if it was fitted now"""

    def to_dict(self) -> dict[str, Any]:
        """Return hash, file and description as JSON holds them."""
        file = None if self.file is None else str(self.file)
        return {"sha256": self.sha256, "file": file} | self.about

    @property
    def shape(self) -> Shape:
        """Shape (C, H, W) of its images."""
        return tuple(self.about["shape"])


@torch.no_grad()
def extract(net: Classifier, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (N, FEATURES) and logits (N, classes) of uint8 images (N, C, H, W)."""
    features, scores = zip(*(net(scaled(part)) for part in pixels.split(CHUNK)), strict=True)
    return torch.cat(features), torch.cat(scores)


@torch.no_grad()
def logits(net: Classifier, features: Tensor) -> Tensor:
    """Return the logits (N, classes) of features (N, FEATURES), both on the CPU."""
    device = next(net.parameters()).device
    with numerics(device):
        return net.head(features.to(device)).cpu()


def load(content: bytes, name: str, sha256: str = "") -> FittedClassifier:
    """Read a classifier from the content of its file.

    Args:
        content: content of the file.
        name: name of the file in messages.
        sha256: beginning of the sha256 that the file must have.

    Raises:
        ValueError: for a file that is not a classifier, or has another sha256.
    """
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(sha256):
        raise ValueError(
            f"{name} is damaged: expected sha256 {sha256}, got {found}; fit it again with: "
            "ganatomy classifier fit"
        )
    try:
        tensors = read_tensors(content)
        size = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["ganatomy"])
        with torch.device("meta"):  # sizes that the file claims take no memory yet
            net = KINDS[about["kind"]].build(tuple(about["shape"]), len(about["classes"]))
        weights = {k[4:]: v for k, v in tensors.items() if k.startswith("net.")}
        net.load_state_dict(weights, assign=True)
        train, test = (
            Moments(tensors[f"{s}.mean"], tensors[f"{s}.cov"], about[f"n_{s}"])
            for s in ("train", "test")
        )
        held_out = tensors["held_out"].float()
        _check_sizes(net, about, train, test, held_out)
    except Exception as error:  # safetensors and torch raise many kinds
        raise ValueError(
            f"{name} is not a classifier: {' '.join(str(error).split())[:160]}"
        ) from error
    net.to(memory_format=torch.channels_last)
    return FittedClassifier(net.eval().requires_grad_(False), about, train, test, held_out, found)


def _check_sizes(
    net: Classifier, about: dict[str, Any], train: Moments, test: Moments, held_out: Tensor
) -> None:
    sizes = [held_out.shape[1:], train.mean.shape, train.cov[0].shape, test.mean.shape]
    square = train.cov.shape == test.cov.shape == (FEATURES, FEATURES)
    plain = all(w.dtype == torch.float32 for w in net.parameters())
    if not square or not plain or any(size != (FEATURES,) for size in sizes):
        raise ValueError("its features have other sizes, or its weights are not float32")
    check(tuple(about["shape"]))
    names = [*about["classes"], about["data"], about["digest"], about.get("labels", "")]
    whole = [about[name] for name in ("n_train", "n_test")]
    if not all(type(v) is str for v in names) or not all(type(v) is int for v in whole):
        raise ValueError("the description of its images has the wrong types")


def shipped(kind: str) -> FittedClassifier:
    """Return the MNIST classifier of a kind that comes with ganatomy."""
    name, sha256 = SHIPPED[kind]
    return load(
        files("ganatomy.evaluation").joinpath("classifiers", name).read_bytes(), name, sha256
    )


def find(
    kind: str, images: str, data: str, shape: tuple[int, ...], labels: str = ""
) -> FittedClassifier:
    """Return the classifier of images with this digest: of the package, or the newest in the cache.

    Args:
        kind: one of KINDS.
        images: digest of the images, as data.content.digest_of returns it.
        data: name of the images in messages.
        shape: shape (C, H, W) of the images.
        labels: digest of the images with their classes, as data.content.label_digest returns it;
            empty for any.

    Raises:
        ValueError: if there is none, with the command that fits one, or if its file is damaged.
    """
    if images == MNIST and kind in SHIPPED:
        return shipped(kind)
    files = cached_files(kind, images)
    for file in files:
        found = load(file.read_bytes(), str(file), file.stem.rpartition("-")[2])
        if found.about["digest"] == images and labels in ("", found.about.get("labels")):
            return found
    other, size = " with these classes" if files else "", " ".join(map(str, shape))
    raise ValueError(
        f"there is no {kind} classifier for {data}{other} in {_folder()}; fit one with: "
        f"ganatomy classifier fit --data {quote(data)} --kind {kind} --shape {size}"
    )


def cached_files(kind: str, images: str) -> list[Path]:
    """Return the classifiers of images with this digest in the cache, newest first."""
    found = _folder().glob(f"{kind}-{images[:8]}-*.safetensors")
    return sorted(found, key=lambda file: -file.stat().st_mtime)


def _folder() -> Path:
    return cache_root() / "classifiers"


def find_classifier(
    data: str,
    root: Path,
    kind: str | None = None,
    shape: Shape | None = None,
    skip_bad: bool = False,
    convert: Convert = "none",
) -> FittedClassifier:
    """Return the classifier of a dataset or path: the one that comes with ganatomy, or the newest.

    The kind is conv by default, or rotation for images without classes.

    Raises:
        ValueError: if there is none, with the command that fits one.
    """
    lookup(KINDS, kind or "conv", "kind of classifier")
    if data == "mnist" and shape is None and (kind or "conv") in SHIPPED:
        return shipped(kind or "conv")
    train, _ = train_test_split(data, root, shape, skip_bad, convert)
    kind, hashes = kind or default_kind(train), image_hashes(train)
    labels = label_digest(train, hashes) if KINDS[kind].labeled else ""
    return find(kind, digest_of(train, hashes), data, train.shape, labels)


def default_kind(train: Samples) -> str:
    """Return the kind of classifier for images with or without classes."""
    return "conv" if train.classes else "rotation"


def train_test_split(
    data: str,
    root: Path,
    shape: Shape | None = None,
    skip_bad: bool = False,
    convert: Convert = "none",
) -> tuple[Samples, Samples | None]:
    """Return training and test images of a dataset or a path.

    A tenth of a path without a test split is for test, drawn at random by content. A dataset
    without a test split has None.

    Args:
        data: name of a dataset, or a path of images.
        root: folder of full datasets.
        shape: shape (C, H, W) that images are brought to; None leaves them as they are.
        skip_bad: skip unreadable images of a path instead of stopping.
        convert: how to convert images of a path that are not 8-bit gray or RGB.

    Raises:
        ValueError: for an unknown dataset or path.
    """
    train = read_images(data, root, "train", skip_bad, shape, convert)
    try:
        return train, read_images(data, root, "test", skip_bad, shape, convert)
    except ValueError:
        if is_name(data) and not data.startswith("tensor-"):  # given from Python, as undivided
            return train, None
    return hold_out_tenth(train)
