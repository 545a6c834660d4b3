"""Many image files, one after the other, to pixels of one shape."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich import get_console
from rich.markup import escape
from rich.progress import track

from ganatomy.data.pixels import decode, memory, size
from ganatomy.data.samples import Samples
from ganatomy.data.shape import Shape, reshape

Item = TypeVar("Item")


@dataclass(frozen=True)
class Source:
    """Image files that make one dataset."""

    name: str
    """of where they are, which messages begin with"""
    labels: Mapping[str, int]
    """the label of each image by its name, in order; -1 if it lies outside the class folders"""
    files: Mapping[str, Callable[[], IO[bytes]]]
    """how each is opened; others may be among them"""
    classes: tuple[str, ...]
    cure: str
    """what the person may do about a image that cannot be used"""


@dataclass(frozen=True)
class Decoded:
    """What has become of a source."""

    samples: Samples
    left_out: dict[str, str] = field(default_factory=dict)
    """why, by the name of each image that could not be used"""


def decode_all(source: Source, shape: Shape | None, skip_bad: bool) -> Decoded:
    """Put all images that can be used into memory.

    Raises:
        ValueError: as usable does, or if they do not fit there.
    """
    left_out: dict[str, str] = {}
    values: NDArray[np.uint8] = np.empty(0, np.uint8)
    labels: list[int] = []
    for label, pixels in usable(source, shape, skip_bad, left_out):
        if not labels:
            if (needed := len(source.labels) * pixels.size) > memory():
                raise ValueError(
                    f"{source.name}: {len(source.labels):,} images of {size(pixels.shape)} need "
                    f"{needed / 1e9:.2g} GB, and memory has {memory() / 1e9:.2g}; bring them to a "
                    "smaller shape, such as --shape 3 64 64"
                )
            values = np.empty((len(source.labels), *pixels.shape), np.uint8)
        values[len(labels)] = pixels
        labels.append(label)
    kept = torch.from_numpy(values[: len(labels)])
    return Decoded(Samples(kept, torch.tensor(labels), source.classes), left_out)


def usable(
    source: Source, shape: Shape | None, skip_bad: bool, left_out: dict[str, str]
) -> Generator[tuple[int, NDArray[np.uint8]], None, None]:
    """Yield the label and the pixels (C, H, W) of each image that can be used, in order.

    Args:
        source: the images.
        shape: what each is brought to (see shape.py), or None if all are like the first.
        skip_bad: leave out what is damaged or unlike the first.
        left_out: takes the name of each image that is left out, and why.

    Raises:
        ValueError: naming the first image that cannot be used; if there is none left.
    """
    first = ""
    known: Shape = shape or (0,)
    for name, label in shown(source.labels.items(), source.name, len(source.labels)):
        try:
            if label < 0:
                raise ValueError("lies outside the class folders")
            pixels = decode(source.files[name], known[0])
            if shape is not None:
                pixels = reshape(pixels, shape)
            elif first and pixels.shape != known:
                raise ValueError(
                    f"is {size(pixels.shape)} but the first, {first}, is {size(known)}; bring all "
                    "to one shape, such as --shape 3 64 64"
                )
        except ValueError as error:
            if not skip_bad:
                raise ValueError(f"{source.name}: {name} {error}; {source.cure}") from error
            left_out[name] = str(error)
        else:
            first, known = first or name, pixels.shape
            yield label, pixels
    if not first:
        raise ValueError(f"{source.name}: {told(left_out, len(source.labels))}; nothing is left")


def told(left_out: Mapping[str, str], count: int) -> str:
    """Say how many of so many images were left out, and why the first was."""
    listed = ", ".join(list(left_out)[:3]) + (", …" if len(left_out) > 3 else "")
    reason = next(iter(left_out.values()))
    return f"left out {len(left_out)} of {count} images, {listed}: {reason}"


def shown(items: Iterable[Item], name: str, count: int, quiet: bool = False) -> Iterable[Item]:
    """Pass items on, with a bar in a terminal if that takes a while."""
    console = get_console()
    if quiet or count < BAR or not console.is_terminal:
        return items
    label = f"decoding {escape(name)}"
    return track(items, label, total=count, console=console, transient=True)


BAR = 1000
"""Images of which fewer are read before a bar could be seen."""
