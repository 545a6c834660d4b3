"""Feature spaces: functions from images to the vectors that metrics compare.

To add one, write a function that loads it and add an entry to FEATURES.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganatomy.data import Samples
from ganatomy.data.shape import reshape_all
from ganatomy.evaluation import classifier, fitting
from ganatomy.evaluation.classifier import FittedClassifier
from ganatomy.evaluation.metrics import CPU
from ganatomy.gan.machine import numerics
from ganatomy.models.classifier import FEATURES as DIM
from ganatomy.storage.download import fetch

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""sha256 of the weights that define FID, as torch-fidelity publishes them."""

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"

CHUNK = 50
"""Images that Inception gets at a time; at 299 x 299 their activations take about 0.5 GB."""


class Space(NamedTuple):
    """A loaded feature space."""

    sha256: str
    """sha256 of its weights"""
    dim: int
    """number of features"""
    extract: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    """uint8 images (N, C, H, W) -> float32 features (N, dim) and logits (N, classes), on the CPU;
    None without a classifier"""
    classifier: FittedClassifier | None = None
    """classifier whose features they are, if any"""
    device: torch.device = CPU
    """device that computes them, and the samples of runs"""


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """Images that a feature space is needed for, and where to find and compute it."""

    data: str
    """name of the reference dataset"""
    digest: str
    """digest of the images, as data.content.digest_of returns it"""
    labels: str = ""
    """digest of the images with their classes, as data.content.label_digest returns it"""
    shape: tuple[int, ...]
    """shape (C, H, W) of one image"""
    device: torch.device = CPU
    """device that computes features"""
    inception_weights: Path | None = None
    """file of Inception's weights; None means PyTorch's hub cache, with a download into it"""
    force: bool = False
    """whether to accept Inception weights of any sha256"""
    train: Samples | None = None
    """reference images, to which a missing rotation network is fitted"""
    test: Samples | None = None
    """held-out images, if any"""


def load_classifier(kind: str, wanted: FeatureRequest) -> Space:
    """Load the features of the images' classifier, which images are resized to.

    Raises:
        ValueError: for a missing classifier, with the command that fits one.
    """
    labels = wanted.labels if classifier.KINDS[kind].labeled else ""
    found = classifier.find(kind, wanted.digest, wanted.data, wanted.shape, labels)
    net = found.net.to(wanted.device)

    def extract(pixels: Tensor) -> tuple[Tensor, Tensor]:
        labels = torch.zeros(len(pixels), dtype=torch.int64)
        pixels = reshape_all(Samples(pixels, labels), found.shape).values
        with numerics(wanted.device):
            features, logits = classifier.extract(net, pixels.to(wanted.device))
        return features.cpu(), logits.cpu()

    return Space(found.sha256, DIM, extract, found, wanted.device)


def load_rotation(wanted: FeatureRequest) -> Space:
    """Load the features of a network that tells quarter turns of the images apart.

    If there is none, one is fitted to the images, which is said before. It predicts no classes.

    Raises:
        ValueError: if there is neither a network nor images.
    """
    if wanted.train is not None and not classifier.cached_files("rotation", wanted.digest):
        fitting.fit_rotation(wanted.train, wanted.test, wanted.data)
    space = load_classifier("rotation", wanted)
    return space._replace(extract=lambda pixels: (space.extract(pixels)[0], None), classifier=None)


def load_raw(wanted: FeatureRequest) -> Space:
    """Load the space of pixels, divided by 255."""
    dim = math.prod(wanted.shape)

    def extract(pixels: Tensor) -> tuple[Tensor, None]:
        return pixels.flatten(1).float() / 255, None

    return Space("none", dim, extract, device=wanted.device)


def load_inception(layer: str, wanted: FeatureRequest) -> Space:
    """Load the features of a layer of torch-fidelity's Inception, the network that defines FID.

    Raises:
        ValueError: if the weights cannot be downloaded, or have another sha256.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import (
        FeatureExtractorInceptionV3,
    )

    file, sha256 = _inception_weights(wanted)
    # without the logits, early layers cost much less
    layers = [layer, "logits_unbiased"] if layer == "2048" else [layer]
    net = FeatureExtractorInceptionV3("inception", layers, str(file)).to(wanted.device)

    @torch.no_grad()
    def extract(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        parts: list[Any] = []
        for chunk in pixels.split(CHUNK):
            color = chunk.expand(-1, 3, -1, -1) if chunk.shape[1] == 1 else chunk
            with numerics(wanted.device):
                parts.append([output.cpu() for output in net(color.to(wanted.device))])
        found = [torch.cat(part) for part in zip(*parts, strict=True)]
        return found[0], found[-1] if layer in ("2048", "logits_unbiased") else None

    return Space(
        sha256, 1008 if layer == "logits_unbiased" else int(layer), extract, device=wanted.device
    )


def inception_file() -> Path:
    """Return the path of torch-fidelity's download of Inception's weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE


def _inception_weights(wanted: FeatureRequest) -> tuple[Path, str]:
    """Find or download Inception's weights and check them; return file and sha256."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    cache = inception_file()
    file = wanted.inception_weights or cache
    if not file.is_file() and wanted.inception_weights is not None:
        raise ValueError(f"expected a file of Inception's weights, but there is no {file}")
    if not file.is_file():
        try:
            fetch(URL_INCEPTION_V3, cache, f"sha256:{INCEPTION_SHA256}")
        except OSError as error:
            raise ValueError(
                f"cannot download Inception's weights ({error}): put {INCEPTION_FILE} (sha256 "
                f"{INCEPTION_SHA256}) from {URL_INCEPTION_V3} at {cache}, or name it with "
                "--inception-weights; the protocol classifier-10k needs no download"
            ) from error
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != INCEPTION_SHA256 and not wanted.force:
        raise ValueError(
            f"{file} has sha256 {found}, not the {INCEPTION_SHA256} that defines FID; to measure "
            "with it nevertheless, but not as FID, use --force"
        )
    try:
        # torch-fidelity itself would run code that a file holds
        names = torch.load(file, map_location="cpu", weights_only=True).keys()
        assert "Mixed_7c.branch1x1.conv.weight" in names
    except Exception as error:  # torch raises many kinds for a bad file
        kind = type(error).__name__
        raise ValueError(f"{file} does not hold Inception's weights ({kind})") from error
    return file, found


@dataclass(frozen=True)
class Feature:
    """A registered feature space."""

    load: Callable[[FeatureRequest], Space]
    """loader, which raises ValueError if the space is not available"""
    about: str
    """one line of description"""


FEATURES: dict[str, Feature] = {
    "classifier": Feature(
        partial(load_classifier, "conv"), "64 features of a small classifier of the same data"
    ),
    "classifier-mlp-hinge": Feature(
        partial(load_classifier, "mlp-hinge"),
        "64 features of a fully connected classifier of the same data, with hinge loss",
    ),
    "rotation": Feature(
        load_rotation,
        "64 features of a small network fitted to quarter turns of the same images, which need no "
        "classes",
    ),
    "inception-64": Feature(partial(load_inception, "64"), "Inception, first pooling"),
    "inception-192": Feature(partial(load_inception, "192"), "Inception, second pooling"),
    "inception-768": Feature(partial(load_inception, "768"), "Inception, before its last blocks"),
    "inception-2048": Feature(
        partial(load_inception, "2048"), "Inception, last pooling: the features of FID"
    ),
    "inception-logits": Feature(
        partial(load_inception, "logits_unbiased"), "Inception's 1,008 logits"
    ),
    "raw": Feature(load_raw, "pixels, divided by 255"),
}
"""name -> feature space"""
