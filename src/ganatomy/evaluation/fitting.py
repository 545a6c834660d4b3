"""Fit a classifier to images: to their classes, or without classes to quarter turns of them."""

import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as write_tensors
from torch import Tensor
from torch.nn import functional as F

from ganatomy.data import Convert, Samples, Shape, derive_seed, scaled
from ganatomy.data.content import content_order, digest_of, draw, image_hashes, label_digest
from ganatomy.evaluation.classifier import (
    CHUNK,
    CONFUSION,
    KINDS,
    TURNS,
    FittedClassifier,
    Kind,
    default_kind,
    extract,
    load,
    train_test_split,
)
from ganatomy.evaluation.metrics import Moments, moments
from ganatomy.models.classifier import FEATURES, Classifier
from ganatomy.storage.cache import cache_root
from ganatomy.storage.files import write_atomic
from ganatomy.validation import lookup

HELD_OUT = 10_000
"""Largest number of test images whose features a classifier's file has."""

SECONDS = 0.15
"""Time of a fit to quarter turns for each pixel of an image, on one core."""

EPOCHS = 12
"""Passes over labeled images, unless another number is asked for."""

TURNED = 120_000
"""Images that a fit to quarter turns gets, unless a number of passes is asked for."""


class Progress(NamedTuple):
    """State of a fit after an epoch."""

    epoch: int
    """epochs so far"""
    epochs: int
    """epochs in all"""
    loss: float
    """mean loss of the epoch"""
    content: bytes | None = None
    """content of the classifier's file; None before the last epoch"""


def fit_classifier(
    data: str,
    root: Path,
    *,
    kind: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    shape: Shape | None = None,
    skip_bad: bool = False,
    convert: Convert = "none",
    progress: Callable[[Progress], object] = lambda progress: None,
) -> tuple[FittedClassifier, Path]:
    """Fit a classifier and put it into the cache, where reference() finds it.

    Args:
        data: a dataset or a path of images.
        root: folder of full datasets.
        kind: one of KINDS; None means conv, or rotation for images without classes.
        epochs: passes over the training images, at least 1; None means EPOCHS, or as many as show
            TURNED images of those without classes.
        seed: seed of weights, order and augmentation, at least 0.
        shape: shape (C, H, W) that images are brought to.
        skip_bad: skip unreadable images of a path instead of stopping.
        convert: how to convert images of a path that are not 8-bit gray or RGB.
        progress: called after every epoch.

    Returns:
        The classifier and its file.

    Raises:
        ValueError: for data that no classifier can be fitted on, or numbers out of range.
    """
    _check_numbers(epochs, seed)
    lookup(KINDS, kind or "conv", "kind of classifier")
    train, test = train_test_split(data, root, shape, skip_bad, convert)
    kind = kind or default_kind(train)
    content = b""
    for at in fit(train, test, data, kind, epochs, seed):
        progress(at)
        content = at.content or content
    path = store(content)
    return load(content, str(path)), path


def fit_rotation(train: Samples, test: Samples | None, data: str) -> None:
    """Fit a classifier of quarter turns with the default settings, and put it into the cache."""
    warnings.warn(
        f"fitting a small network to {data}, whose features measure images without classes; this "
        f"takes about {_minutes(train.shape)}, once",
        stacklevel=5,
    )
    *_, last = fit(train, test, data, "rotation", None, 0)
    assert last.content is not None
    store(last.content)


def fit(
    train: Samples,
    test: Samples | None,
    data: str,
    kind: str,
    epochs: int | None,
    seed: int,
    batch: int = 128,
) -> Iterator[Progress]:
    """Fit a classifier and yield after every epoch.

    AdamW with a one-cycle learning rate, on augmented images. Randomness is a function of (seed,
    epoch), so the same images, in any order, give the same file on one machine with one number of
    threads.

    Args:
        train: training images, with at least two classes if the kind needs them.
        test: test images of the same classes and shape; None if the kind needs no classes.
        data: name of the images.
        kind: one of KINDS.
        epochs: as fit_classifier takes it.
        seed: seed of weights, order and augmentation, at least 0.
        batch: images in a batch.

    Raises:
        ValueError: for images that no classifier can be fitted on, or a number out of range.
    """
    _check_numbers(epochs, seed)
    chosen = lookup(KINDS, kind, "kind of classifier")
    train, test = _labeled(train, test, data, kind) if chosen.labeled else _turned(train, test)
    epochs = epochs or (EPOCHS if chosen.labeled else math.ceil(TURNED / max(len(train), batch)))
    order = content_order(image_hashes(train))
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
            places = order[torch.randperm(len(train))[: per_epoch * batch]].split(batch)
            losses = [_step(net, optimizer, schedule, chosen, train, p) for p in places]
            content = None
            if epoch + 1 == epochs:
                about = {"kind": kind, "data": Path(data).name, "seed": seed, "epochs": epochs}
                about |= {"batch": batch, "torch": torch.__version__}
                about |= {"threads": torch.get_num_threads()}
                content = _content(net.eval(), train, test, about)
            yield Progress(epoch + 1, epochs, sum(losses) / per_epoch, content)


def _labeled(train: Samples, test: Samples | None, data: str, kind: str) -> tuple[Samples, Samples]:
    """Return the images, once they are found to have classes.

    Raises:
        ValueError: if they have not.
    """
    if test is None or len(test) < 2:
        n = 0 if test is None else len(test)
        raise ValueError(
            f"a {kind} classifier needs 2 or more test images, but {data} has {n}; add images, or "
            "measure it with --protocol own-10k, which needs none"
        )
    if not train.classes or len(train.labels.unique()) < 2:
        raise ValueError(
            f"a {kind} classifier needs classes, but {data} has none; put each class into a folder "
            "of its own, or use --kind rotation"
        )
    if (test.classes, test.shape) != (train.classes, train.shape):
        raise ValueError(
            f"training and test images of {data} have different classes or shapes: "
            f"{train.classes} {train.shape} and {test.classes} {test.shape}"
        )
    return train, test


def _turned(train: Samples, test: Samples | None) -> tuple[Samples, Samples]:
    """Return the images with quarter turns for classes, and each test image turned by one."""
    train = replace(train, classes=TURNS)
    if test is None or len(test) < 2:
        return train, Samples(train.values[:0], train.labels[:0], TURNS)
    turns = content_order(image_hashes(test)).argsort() % len(TURNS)
    one, zero = torch.ones(2, len(test)), torch.zeros(2, len(test))
    turned = _warped(test.values.float(), turns * (math.pi / 2), one, zero)
    return train, Samples(turned.round().to(torch.uint8), turns, TURNS)


def _minutes(shape: tuple[int, ...]) -> str:
    """Return the time that a fit to quarter turns takes on one core of 2026."""
    seconds = SECONDS * shape[-2] * shape[-1]
    return (
        f"{max(1, round(seconds / 10)) * 10} seconds"
        if seconds < 90
        else f"{seconds / 60:.0f} minutes"
    )


def _check_numbers(epochs: int | None, seed: int) -> None:
    if (epochs is not None and epochs < 1) or seed < 0:
        raise ValueError(f"epochs must be at least 1 and seed at least 0, got {epochs} and {seed}")


def _step(
    net: Classifier,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    kind: Kind,
    train: Samples,
    places: Tensor,
) -> float:
    images = scaled(train.values[places])
    if kind.labeled:
        labels, turns = train.labels[places], None
    else:
        labels = turns = torch.randint(len(TURNS), (len(places),))
    value = kind.loss(net(_augmented(images, turns))[1], labels)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()
    schedule.step()
    return value.item()


def _augmented(images: Tensor, turns: Tensor | None = None) -> Tensor:
    """Rotate each image by up to 10 degrees, scale it by up to 10 % and shift it by up to 7 %.

    Args:
        images: (n, C, H, W).
        turns: (n,), quarter turns of each in addition.
    """
    n = len(images)
    angle = torch.empty(n).uniform_(-math.pi / 18, math.pi / 18)
    scale = torch.empty(2, n).uniform_(0.9, 1.1)
    shift = torch.empty(2, n).uniform_(-0.14, 0.14)  # of an image that reaches from -1 to 1
    return _warped(images, angle if turns is None else angle + turns * (math.pi / 2), scale, shift)


def _warped(images: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Rotate images by angle (n,), and scale and shift them by (2, n)."""
    n = len(images)
    cos, sin = angle.cos(), angle.sin()
    rows = (scale[0] * cos, -scale[0] * sin, shift[0], scale[1] * sin, scale[1] * cos, shift[1])
    grid = F.affine_grid(
        torch.stack(rows, 1).view(n, 2, 3), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _content(net: Classifier, train: Samples, test: Samples, about: dict[str, Any]) -> bytes:
    """Write a network, and everything that measurements need of its data, as safetensors."""
    hashes, n = image_hashes(train), len(train.classes)
    on_train, predicted = _extract_all(net, train, hashes)
    on_test, found = _extract_all(net, test, image_hashes(test))
    none = Moments(torch.zeros(FEATURES), torch.zeros(FEATURES, FEATURES), 0)
    both = {"train": moments(on_train), "test": moments(on_test) if len(test) else none}
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {f"{split}.mean": m.mean for split, m in both.items()}
    tensors |= {f"{split}.cov": m.cov for split, m in both.items()}
    tensors["held_out"] = extract(net, draw(test, HELD_OUT).values)[0].half()
    about = about | {
        "classes": list(train.classes),
        "shape": list(train.shape),
        "digest": digest_of(train, hashes),
        "labels": label_digest(train, hashes) if KINDS[about["kind"]].labeled else "",
        "n_train": len(train),
        "n_test": len(test),
        "accuracy": (found == test.labels).double().mean().item() if len(test) else None,
        "confusion": _confusion(test.labels, found, n) if n <= CONFUSION else [],
        "class_counts": predicted.bincount(minlength=n).tolist(),
    }
    # one entry, because safetensors writes several in no fixed order
    metadata = {"ganatomy": json.dumps(about)}
    return write_tensors({k: v.contiguous() for k, v in tensors.items()}, metadata)


def _extract_all(
    net: Classifier, samples: Samples, hashes: Sequence[bytes]
) -> tuple[Tensor, Tensor]:
    """Return features (N, FEATURES) and predicted classes (N,), computed in an order by content.

    Sums of rounded numbers depend on their order.
    """
    order = content_order(hashes)
    parts = [extract(net, samples.values[places]) for places in order.split(CHUNK)]
    samples.release()
    features, scores = (torch.cat(part) for part in zip(*parts, strict=True))
    places = order.argsort()
    return features, scores.argmax(1)[places]


def _confusion(true: Tensor, predicted: Tensor, n: int) -> list[list[int]]:
    return torch.bincount(true * n + predicted, minlength=n * n).view(n, n).tolist()


def store(content: bytes) -> Path:
    """Write a classifier's file into the cache, named after its kind, images and sha256."""
    classifier = load(content, "a new classifier")
    name = "-".join(
        (classifier.about["kind"], classifier.about["digest"][:8], classifier.sha256[:16])
    )
    path = cache_root() / "classifiers" / f"{name}.safetensors"
    write_atomic(path, content)
    return path
