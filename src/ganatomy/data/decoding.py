"""Image files decoded in turn to pixels of one shape."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich import get_console
from rich.markup import escape
from rich.progress import track

from ganatomy.data.convert import Convert
from ganatomy.data.pixels import decode, memory, size
from ganatomy.data.samples import Samples
from ganatomy.data.shape import Shape, reshape

Item = TypeVar("Item")


@dataclass(frozen=True)
class Source:
    """Image files of one dataset."""

    name: str
    """folder or archive, with which messages begin"""
    labels: Mapping[str, int]
    """label of each image by file name, in order; -1 outside the class folders"""
    files: Mapping[str, Callable[[], IO[bytes]]]
    """functions that open the files, by name; files without a label are not read"""
    classes: tuple[str, ...]
    """class names"""
    fix: str
    """advice for an unusable image, with which messages end"""
    notes: tuple[str, ...] = ()
    """choices that could have been others, a sentence each"""
    convert: Convert = "none"
    """how to convert images that are not 8-bit gray or RGB, see convert.py"""


@dataclass(frozen=True)
class Decoded:
    """Samples of a source, and the images that were left out."""

    samples: Samples
    left_out: dict[str, str] = field(default_factory=dict)
    """reason by file name of each unusable image"""
    notes: tuple[str, ...] = ()
    """those of the source"""


def decode_all(source: Source, shape: Shape | None, skip_bad: bool) -> Decoded:
    """Decode all usable images into memory.

    Raises:
        ValueError: as usable does, or if they do not fit into memory.
    """
    left_out: dict[str, str] = {}
    values: NDArray[np.uint8] = np.empty(0, np.uint8)
    labels: list[int] = []
    for label, pixels in usable(source, shape, skip_bad, left_out):
        if not labels:
            if (needed := len(source.labels) * pixels.size) > memory():
                raise ValueError(
                    f"{source.name}: {len(source.labels):,} images of {size(pixels.shape)} need "
                    f"{needed / 1e9:.2g} GB, and memory has {memory() / 1e9:.2g}; resize them to a "
                    "smaller shape, such as --shape 3 64 64"
                )
            values = np.empty((len(source.labels), *pixels.shape), np.uint8)
        values[len(labels)] = pixels
        labels.append(label)
    kept = torch.from_numpy(values[: len(labels)])
    return Decoded(Samples(kept, torch.tensor(labels), source.classes), left_out, source.notes)


def usable(
    source: Source, shape: Shape | None, skip_bad: bool, left_out: dict[str, str]
) -> Generator[tuple[int, NDArray[np.uint8]], None, None]:
    """Yield the label and the pixels, uint8 (C, H, W), of each usable image, in order.

    Args:
        source: the images.
        shape: shape that each is cropped and resized to; None requires the shape of the first.
        skip_bad: leave out damaged images and images of another shape.
        left_out: receives the reason for each image that is left out, by file name.

    Raises:
        ValueError: naming the first unusable image, or if no image is left.
    """
    first = ""
    known: Shape = shape or (0,)
    for name, label in with_progress(source.labels.items(), source.name, len(source.labels)):
        try:
            pixels = decode(source.files[name], known[0], source.convert).pixels
            if label < 0:
                raise ValueError("lies outside the class folders")
            if shape is not None:
                pixels = reshape(pixels, shape)
            elif first and pixels.shape != known:
                raise ValueError(
                    f"is {size(pixels.shape)} but the first, {first}, is {size(known)}; "
                    "resize all to one shape, such as --shape 3 64 64"
                )
        except ValueError as error:
            if not skip_bad:
                raise ValueError(f"{source.name}: {name} {error}; {source.fix}") from error
            left_out[name] = str(error)
        else:
            first, known = first or name, pixels.shape
            yield label, pixels
    if not first:
        raise ValueError(
            f"{source.name}: {describe(left_out, len(source.labels))}; nothing is left"
        )


def describe(left_out: Mapping[str, str], count: int) -> str:
    """Describe how many of count images were left out, with the first reason."""
    listed = ", ".join(list(left_out)[:3]) + (", …" if len(left_out) > 3 else "")
    reason = next(iter(left_out.values()))
    return f"left out {len(left_out)} of {count} images, {listed}: {reason}"


def with_progress(
    items: Iterable[Item], name: str, count: int, quiet: bool = False
) -> Iterable[Item]:
    """Return the items, with a progress bar in a terminal if there are BAR or more."""
    console = get_console()
    if quiet or count < BAR or not console.is_terminal:
        return items
    label = f"decoding {escape(name)}"
    return track(items, label, total=count, console=console, transient=True)


BAR = 1000
"""Images; fewer are decoded within a second."""
