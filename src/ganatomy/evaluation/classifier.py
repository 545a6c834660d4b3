"""Classifiers: small classifiers whose last hidden layer is a feature space for images like theirs.

One for MNIST, and the one that report R3.4 describes, come with ganatomy; `fit` makes one for any
labelled images. A classifier's file holds all that a measurement needs of its data. To add a kind,
write its build function and add a line to KINDS.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor
from torch.nn import functional as F

from ganatomy.data import Samples, Shape, balanced, derive_seed, digest, is_name
from ganatomy.data import load as read_images
from ganatomy.data.shape import check
from ganatomy.evaluation.metrics import Moments, moments
from ganatomy.models.classifier import FEATURES, Classifier, conv, mlp
from ganatomy.storage.cache import cache_root
from ganatomy.storage.files import write_atomic
from ganatomy.validation import lookup

CHUNK = 500
"""Images judged at a time."""

HELD_OUT = 10_000
"""Most test images whose features a classifier's file keeps."""


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


KINDS: dict[str, Kind] = {
    "conv": Kind(conv, F.cross_entropy, 4e-3, "five convolutions, cross-entropy"),
    "mlp-hinge": Kind(mlp, F.multi_margin_loss, 2e-3, "two hidden layers, hinge loss"),
}
"""name -> architecture and fitting"""

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
"""kind -> file in the package and its sha256; both classifier MNIST"""

MNIST = "0d4e8b667ff048906dd254ee247470055579ba6e618eeabdf871882705ffca4d"
"""Digest of the 60,000 images that the shipped classifiers were fitted on."""


@dataclass(frozen=True)
class FittedClassifier:
    """A fitted classifier, what it was fitted on, and how well."""

    net: Classifier
    about: dict[str, Any]
    """kind, data, seed, epochs, batch, torch, threads, classes, shape, digest of its training
    images, n_train, n_test, test accuracy, confusion (rows true, columns predicted), and the
    class_counts that it predicts for the training images"""
    train: Moments
    """of its features on the training images, as they are"""
    test: Moments
    """of its features on the test images"""
    held_out: Tensor
    """features (n, FEATURES) of up to HELD_OUT test images; float16 in the file"""
    sha256: str
    """of its file"""
    file: Path | None = None
    """its file, if it was fitted now"""

    def to_dict(self) -> dict[str, Any]:
        """Return hash, file and description as JSON holds them."""
        file = None if self.file is None else str(self.file)
        return {"sha256": self.sha256, "file": file} | self.about

    @property
    def shape(self) -> Shape:
        """Shape of the images that it knows."""
        return tuple(self.about["shape"])


@torch.no_grad()
def extract(net: Classifier, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (N, FEATURES) and logits (N, classes) of uint8 images (N, C, H, W)."""
    features, scores = zip(*(net(scaled(part)) for part in pixels.split(CHUNK)), strict=True)
    return torch.cat(features), torch.cat(scores)


@torch.no_grad()
def logits(net: Classifier, features: Tensor) -> Tensor:
    """Return the logits (N, classes) that go with features (N, FEATURES), both on the CPU."""
    device = next(net.parameters()).device
    return net.head(features.to(device)).cpu()


def scaled(pixels: Tensor) -> Tensor:
    """Turn uint8 images into what networks read: float32 in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1)


class Progress(NamedTuple):
    """Where a fitting stands after an epoch; the last one has the classifier's file."""

    epoch: int
    epochs: int
    loss: float
    content: bytes | None = None


def fit(
    train: Samples,
    test: Samples | None,
    data: str,
    kind: str,
    epochs: int,
    seed: int,
    batch: int = 128,
) -> Iterator[Progress]:
    """Fit a classifier with one-cycle Adam on slightly moved images, yielding after every epoch.

    Everything random is a function of (seed, step), so the same images give the same file on one
    machine with one number of threads.

    Raises:
        ValueError: for images without at least two classes, test images unlike them, no epochs or
            a negative seed.
    """
    _check_numbers(epochs, seed)
    if test is None or len(train.classes) < 2:
        lacks = "classes; put each into a folder of its own" if test else "test images"
        raise ValueError(f"a classifier cannot be fitted on {data}: it has no {lacks}")
    if (test.classes, test.shape) != (train.classes, train.shape):
        raise ValueError(
            f"training and test images of {data} have unlike classes or shapes: "
            f"{train.classes} {train.shape} and {test.classes} {test.shape}"
        )
    chosen = lookup(KINDS, kind, "kind of classifier")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed))
        net = chosen.build(train.shape, len(train.classes))
        net.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(net.parameters(), chosen.rate, weight_decay=1e-3)
        per_epoch = max(1, len(train) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, chosen.rate, total_steps=epochs * per_epoch
        )
        for epoch in range(epochs):
            torch.manual_seed(derive_seed(seed, 1, epoch))
            places = torch.randperm(len(train))[: per_epoch * batch].split(batch)
            losses = [_step(net, optimizer, schedule, chosen.loss, train, p) for p in places]
            content = None
            if epoch + 1 == epochs:
                about = {"kind": kind, "data": Path(data).name, "seed": seed, "epochs": epochs}
                about |= {"batch": batch, "torch": torch.__version__}
                about |= {"threads": torch.get_num_threads()}
                content = _content(net.eval(), train, test, about)
            yield Progress(epoch + 1, epochs, sum(losses) / per_epoch, content)


def _check_numbers(epochs: int, seed: int) -> None:
    if epochs < 1 or seed < 0:
        raise ValueError(f"epochs must be at least 1 and seed at least 0, got {epochs} and {seed}")


def fit_classifier(
    data: str,
    root: Path,
    *,
    kind: str = "conv",
    epochs: int = 12,
    seed: int = 0,
    shape: Shape | None = None,
    skip_bad: bool = False,
    progress: Callable[[Progress], object] = lambda progress: None,
) -> tuple[FittedClassifier, Path]:
    """Fit a classifier and put it into the cache, where reference finds it.

    Args:
        data: a labelled dataset or a path of images with a folder for each class.
        root: folder of full datasets.
        kind: one of KINDS.
        epochs: passes over the training images, at least 1.
        seed: seed of weights, order and augmentation, at least 0.
        shape: shape (C, H, W) that images are brought to.
        skip_bad: skip unreadable images of a path instead of stopping.
        progress: called after every epoch.

    Returns:
        The classifier and its file.

    Raises:
        ValueError: for data that no classifier can be fitted on, or numbers out of range.
    """
    _check_numbers(epochs, seed)
    lookup(KINDS, kind, "kind of classifier")
    train, test = train_test_split(data, root, shape, skip_bad)
    content = b""
    for at in fit(train, test, data, kind, epochs, seed):
        progress(at)
        content = at.content or content
    path = store(content)
    return load(content, str(path)), path


def find_classifier(
    data: str, root: Path, kind: str = "conv", shape: Shape | None = None, skip_bad: bool = False
) -> FittedClassifier:
    """Return the classifier of a dataset or path: the one that comes with ganatomy, or the newest.

    Raises:
        ValueError: if there is none, with the command that fits one.
    """
    if data == "mnist" and shape is None:
        lookup(SHIPPED, kind, "kind of classifier")
        return shipped(kind)
    return find(kind, digest(train_test_split(data, root, shape, skip_bad)[0]), data)


def _step(
    net: Classifier,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loss: Callable[[Tensor, Tensor], Tensor],
    train: Samples,
    places: Tensor,
) -> float:
    scores = net(_moved(scaled(train.values[places])))[1]
    value = loss(scores, train.labels[places])
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()
    schedule.step()
    return value.item()


def _moved(images: Tensor) -> Tensor:
    """Turn each image by up to 10 degrees, scale it by up to 10 % and shift it by up to 7 %."""
    n = len(images)
    angle = torch.empty(n).uniform_(-math.pi / 18, math.pi / 18)
    scale = torch.empty(2, n).uniform_(0.9, 1.1)
    shift = torch.empty(2, n).uniform_(-0.14, 0.14)  # of an image that reaches from -1 to 1
    cos, sin = angle.cos(), angle.sin()
    rows = (scale[0] * cos, -scale[0] * sin, shift[0], scale[1] * sin, scale[1] * cos, shift[1])
    grid = F.affine_grid(
        torch.stack(rows, 1).view(n, 2, 3), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _content(net: Classifier, train: Samples, test: Samples, about: dict[str, Any]) -> bytes:
    """Write a fitted net, and all that measurements need of its data, as safetensors."""
    on_train, train_scores = extract(net, train.values)
    on_test, scores = extract(net, test.values)
    n = len(train.classes)
    confusion = torch.bincount(test.labels * n + scores.argmax(1), minlength=n * n).view(n, n)
    both = {"train": moments(on_train), "test": moments(on_test)}
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {f"{split}.mean": m.mean for split, m in both.items()}
    tensors |= {f"{split}.cov": m.cov for split, m in both.items()}
    tensors["held_out"] = extract(net, balanced(test, HELD_OUT).values)[0].half()
    about = about | {
        "classes": list(train.classes),
        "shape": list(train.shape),
        "digest": digest(train),
        "n_train": len(train),
        "n_test": len(test),
        "accuracy": confusion.diagonal().sum().item() / len(test),
        "confusion": confusion.tolist(),
        "class_counts": train_scores.argmax(1).bincount(minlength=n).tolist(),
    }
    # one entry, because safetensors writes several in no fixed order
    metadata = {"ganatomy": json.dumps(about)}
    return write_tensors({k: v.contiguous() for k, v in tensors.items()}, metadata)


def load(content: bytes, name: str, sha256: str = "") -> FittedClassifier:
    """Read a classifier from its file's content, whose hash must begin with sha256.

    Raises:
        ValueError: for a file that is no classifier, or one whose hash differs.
    """
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(sha256):
        raise ValueError(
            f"{name} is not the classifier it should be: sha256 {sha256} expected, {found} found; "
            "fit it again with: ganatomy classifier fit"
        )
    try:
        tensors = read_tensors(content)
        size = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["ganatomy"])
        with torch.device("meta"):  # what it says of its size takes no memory yet
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
            f"{name} is no classifier: {' '.join(str(error).split())[:160]}"
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
        raise ValueError("its features are of other sizes, or its weights no float32")
    check(tuple(about["shape"]))
    names = [*about["classes"], about["data"], about["digest"]]
    whole = [about[name] for name in ("n_train", "n_test")]
    if not all(type(v) is str for v in names) or not all(type(v) is int for v in whole):
        raise ValueError("what it says of its images is not what classifiers say")


def shipped(kind: str) -> FittedClassifier:
    """Return the MNIST classifier of a kind that comes with ganatomy."""
    name, sha256 = SHIPPED[kind]
    return load(
        files("ganatomy.evaluation").joinpath("classifiers", name).read_bytes(), name, sha256
    )


def store(content: bytes) -> Path:
    """Put a classifier's file into the cache, under its kind, the images it knows and its hash."""
    classifier = load(content, "a new classifier")
    name = "-".join(
        (classifier.about["kind"], classifier.about["digest"][:8], classifier.sha256[:16])
    )
    path = cache_root() / "classifiers" / f"{name}.safetensors"
    write_atomic(path, content)
    return path


def find(kind: str, images: str, data: str) -> FittedClassifier:
    """Return the classifier for images of this digest: a shipped one, or the last fitted.

    Raises:
        ValueError: if there is none, saying how to fit one; or if its file was changed.
    """
    if images == MNIST:
        return shipped(kind)
    folder = cache_root() / "classifiers"
    found = sorted(
        folder.glob(f"{kind}-{images[:8]}-*.safetensors"), key=lambda f: f.stat().st_mtime
    )
    if not found:
        raise ValueError(
            f"there is no {kind} classifier for {data} in {folder}; fit one with: "
            f"ganatomy classifier fit --data {data} --kind {kind}"
        )
    return load(found[-1].read_bytes(), str(found[-1]), found[-1].stem.rpartition("-")[2])


def train_test_split(
    data: str, root: Path, shape: Shape | None = None, skip_bad: bool = False
) -> tuple[Samples, Samples | None]:
    """Return training and test images of a dataset or a path.

    Of an undivided path a tenth, drawn at random and always the same, is for test; a name that has
    no test images gives None. Images are brought to shape, if one is given,
    and bad ones of a path left out with skip_bad.

    Raises:
        ValueError: if there is no such dataset or path.
    """
    train = read_images(data, root, "train", skip_bad, shape)
    try:
        return train, read_images(data, root, "test", skip_bad, shape)
    except ValueError:
        if is_name(data) and not data.startswith("tensor-"):  # given from Python, as undivided
            return train, None
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    tenth = order % 10 == 9  # not every tenth: images may be in an order with a period
    rest, test = (
        Samples(train.values[part], train.labels[part], train.classes) for part in (~tenth, tenth)
    )
    return rest, test
