"""Random choices of images by their content, which depend neither on order nor on file names.

An image is known by the SHA-256 of its pixels. The k-th copy of an image is an image of its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ganatomy.data.samples import READ, Samples


def image_hashes(samples: Samples) -> list[bytes]:
    """Return the SHA-256 of the values of each sample, which are read in parts."""
    found = []
    for part in samples.values.split(READ):
        found += value_hashes(part)
        samples.release()
    return found


def value_hashes(values: Tensor) -> list[bytes]:
    """Return the SHA-256 of each item of a tensor (N, ...)."""
    return [hashlib.sha256(item.tobytes()).digest() for item in values.numpy()]


def digest_of(samples: Samples, hashes: Sequence[bytes] | None = None) -> str:
    """Return the SHA-256, in hex, of a set of samples: of their shape and their sorted hashes.

    Their order has no effect, unlike in data.digest.

    Args:
        samples: samples.
        hashes: of image_hashes, if they are known.
    """
    sha = hashlib.sha256(str(samples.shape).encode())
    sha.update(b"".join(sorted(image_hashes(samples) if hashes is None else hashes)))
    return sha.hexdigest()


def label_digest(samples: Samples, hashes: Sequence[bytes]) -> str:
    """Return the SHA-256, in hex, of a set of samples with their classes; empty without classes.

    Args:
        samples: samples.
        hashes: of image_hashes.
    """
    if not samples.classes:
        return ""
    pairs = zip(hashes, samples.labels.tolist(), strict=True)
    texts = (image.hex() + samples.classes[label] for image, label in pairs)
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()


def content_order(hashes: Iterable[bytes], seed: int = 0) -> Tensor:
    """Return a random order, int64 (N,), that is a function of the set of hashes and the seed."""
    copies: Counter[bytes] = Counter()
    keys = []
    for image in hashes:
        keys.append(hashlib.sha256(image + f"{seed} {copies[image]}".encode()).digest())
        copies[image] += 1
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.int64)


def draw(samples: Samples, n: int, hashes: Iterable[bytes] | None = None, seed: int = 0) -> Samples:
    """Return n of the samples, drawn at random by content, or all if there are fewer.

    Their order is random too, so that the first of them are a smaller draw. Labels have no effect,
    so classes keep their shares.

    Args:
        samples: samples to draw from.
        n: number of samples.
        hashes: of image_hashes, if they are known.
        seed: seed of the draw.
    """
    order = content_order(image_hashes(samples) if hashes is None else hashes, seed)[:n]
    drawn = Samples(samples.values[order], samples.labels[order], samples.classes)
    samples.release()
    return drawn


def hold_out_tenth(samples: Samples) -> tuple[Samples, Samples]:
    """Divide samples into nine tenths and a tenth, drawn at random by content.

    Copies of an image stay on one side. So an image with copies that are more than what is left of
    the tenth is not held out.
    """
    hashes = image_hashes(samples)
    copies = Counter(hashes)
    left, held = len(samples) // 10, set()
    for image in sorted(copies):
        if copies[image] <= left:
            held.add(image)
            left -= copies[image]
    tenth = torch.tensor([image in held for image in hashes])
    rest, test = (
        Samples(samples.values[part], samples.labels[part], samples.classes)
        for part in (~tenth, tenth)
    )
    samples.release()
    return rest, test
