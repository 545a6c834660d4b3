"""Inspection of a folder or an archive of images before training on it."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from statistics import median_low
from typing import Any, NamedTuple

from ganatomy.data.arrays import is_arrays, read_arrays
from ganatomy.data.brightness import brightness_warning, cast_values
from ganatomy.data.convert import FLAG, Convert
from ganatomy.data.decoding import with_progress
from ganatomy.data.folder import choose, located
from ganatomy.data.layout import Layout, Place, part_of, split_notes
from ganatomy.data.listing import Listing, is_hidden
from ganatomy.data.members import Open
from ganatomy.data.pixels import LIMIT, DecodedImage, decode, header
from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape

SPLITS: tuple[Split, Split] = ("train", "test")

PAIRS, BAD, SIZES = 3, 10, 10
"""Numbers of examples of copies, of unusable images, and of sizes."""


@dataclass(frozen=True)
class Findings:
    """Result of an inspection; numbers count images."""

    path: str
    images: int
    splits: dict[str, dict[str, int]]
    """images by split folder and class; "" stands for no split folder, or no class"""
    used: dict[str, str]
    """use of each split folder: train, test, all or nothing"""
    formats: dict[str, int]
    """images by file format"""
    modes: dict[str, int]
    """images by pixel type"""
    turned: int
    """images that their EXIF orientation turns or mirrors, which is done"""
    sizes: dict[str, int]
    """images by size, W x H; the most frequent sizes"""
    distinct_sizes: int
    """number of sizes"""
    copies: int
    """usable images with the pixels of an earlier one, in the order of names"""
    copy_pairs: list[tuple[str, str]]
    """first examples"""
    leaks: int
    """usable test images with the pixels of a training image"""
    leak_pairs: list[tuple[str, str]]
    """first examples"""
    bad: int
    """unusable images"""
    bad_examples: dict[str, str]
    """reason by file name; first examples"""
    others: dict[str, int]
    """other files by suffix"""
    todo: list[str]
    """steps to take before training; empty if all images can be used as they are"""
    notes: tuple[str, ...] = ()
    """choices of splits and classes that could have been others, a sentence each"""

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON holds them."""
        return asdict(self)


class Inspected(NamedTuple):
    """One image."""

    name: str
    part: str
    """split folder"""
    kind: str
    """class folder"""
    format: str
    mode: str
    size: str
    """W x H"""
    shape: Shape = ()
    """(C, H, W) of a usable image"""
    turned: bool = False
    """whether its EXIF orientation is another than upright"""
    values: frozenset[int] = frozenset()
    """distinct values of a usable image that has few, see brightness.py"""
    digest: bytes = b""
    """SHA-256 of the pixels of a usable image"""
    problem: str = ""
    """reason why it is unusable"""


def inspect(path: str | Path, quiet: bool = False, convert: Convert = "none") -> Findings:
    """Inspect every image of a folder, archive or npz file; nothing is written or unpacked.

    Args:
        path: the folder or file.
        quiet: show no progress bar.
        convert: how training would convert images that are not 8-bit gray or RGB.

    Raises:
        ValueError: if the path cannot be read, or has no images.
    """
    path = Path(path)
    if is_arrays(path):
        parts, notes = read_arrays(path, None)
        images = [image for part in parts for image in _inspect_array(part, parts[part])]
        notes = (*split_notes({part: len(parts[part]) for part in parts}), *notes)
        return replace(_findings(path, images, _used(set(parts)), ()), notes=notes)
    with ExitStack() as stack:
        found, placed = located(path, stack)
        used = _used({place.part for place in placed.places.values()})
        images = list(_inspect_files(path, found, placed, used, quiet, convert))
        return replace(_findings(path, images, used, found.others), notes=placed.notes)


def _used(parts: set[str]) -> dict[str, str]:
    """Return the use of each split folder."""
    if parts == {""}:
        return {"": "all"}
    train, test = (part_of(split, parts) for split in SPLITS)
    order = sorted(parts, key=lambda part: (part != train, part != test, part))
    return {p: "train" if p == train else "test" if p == test else "nothing" for p in order}


def _inspect_files(
    path: Path,
    found: Listing,
    placed: Layout,
    used: dict[str, str],
    quiet: bool,
    convert: Convert,
) -> Iterator[Inspected]:
    names = list(found.images)
    outside = set[str]()
    splits: list[Split | None] = [split for split in SPLITS if split in used.values()]
    for split in splits or [None]:
        outside.update(name for name, label in choose(path, placed, split)[0].items() if label < 0)
    channels = 0
    for name in with_progress(names, str(path), len(names), quiet):
        image = _inspect_file(name, placed.places[name], found.images[name], channels, convert)
        if name in outside and not image.problem:
            image = image._replace(problem="lies outside the class folders")
        channels = channels or (0 if image.problem else image.shape[0])
        yield image


def _inspect_file(
    name: str, place: Place, opened: Open, channels: int, convert: Convert
) -> Inspected:
    content = b""
    with suppress(Exception), opened() as file:  # decode reports the fault
        content = file.read(LIMIT + 1)
    try:
        found = decode((lambda: io.BytesIO(content)) if content else opened, channels, convert)
    except ValueError as error:
        form, mode, size = header(content) or ("unknown", "unknown", None)
        looks = form, mode, f"{size[0]} x {size[1]}" if size else "unknown"
        return Inspected(name, *place, *looks, problem=str(error))
    return _usable(name, place, found)


def _inspect_array(part: str, samples: Samples) -> Iterator[Inspected]:
    mode = "gray" if samples.shape[0] == 1 else "RGB"
    for i, pixels in enumerate(samples.values.numpy()):
        place = Place(part, samples.classes[samples.labels[i]] if samples.classes else "")
        found = DecodedImage(pixels, "array", mode, turned=False)
        yield _usable(f"{part}/{i}".lstrip("/"), place, found)


def _usable(name: str, place: Place, found: DecodedImage) -> Inspected:
    shape, content = found.pixels.shape, found.pixels.tobytes()
    size = f"{shape[2]} x {shape[1]}"
    digest = hashlib.sha256(str(shape).encode() + content).digest()
    values = frozenset(cast_values(content))
    return Inspected(
        name, *place, found.format, found.mode, size, shape, found.turned, values, digest
    )


def _findings(
    path: Path, images: Sequence[Inspected], used: dict[str, str], others: Iterable[str]
) -> Findings:
    good = [image for image in images if not image.problem]
    needed = [image for image in images if used[image.part] != "nothing"]
    bad = {image.name: image.problem for image in images if image.problem}
    train, test = ([image for image in good if used[image.part] == split] for split in SPLITS)
    copies, leaks = _copies(good), _leaks(train, test)
    sizes = Counter(image.size for image in images)
    splits = {part: Counter(image.kind for image in images if image.part == part) for part in used}
    return Findings(
        path=str(path),
        images=len(images),
        splits={part: dict(sorted(kinds.items())) for part, kinds in splits.items()},
        used=used,
        formats=dict(Counter(image.format for image in images).most_common()),
        modes=dict(Counter(image.mode for image in images).most_common()),
        turned=sum(image.turned for image in images),
        sizes=dict(sizes.most_common(SIZES)),
        distinct_sizes=len(sizes),
        copies=len(copies),
        copy_pairs=copies[:PAIRS],
        leaks=len(leaks),
        leak_pairs=leaks[:PAIRS],
        bad=len(bad),
        bad_examples=dict(list(bad.items())[:BAD]),
        others=dict(Counter(map(_suffix, others)).most_common()),
        todo=_todo(needed, len(leaks)),
    )


def _copies(images: Sequence[Inspected]) -> list[tuple[str, str]]:
    """Return pairs of an image and a later one with the same pixels."""
    first: dict[bytes, str] = {}
    for image in images:
        first.setdefault(image.digest, image.name)
    return [(first[s.digest], s.name) for s in images if first[s.digest] != s.name]


def _leaks(train: Sequence[Inspected], test: Sequence[Inspected]) -> list[tuple[str, str]]:
    """Return pairs of a training image and a test image with the same pixels."""
    first = {image.digest: image.name for image in reversed(train)}
    return [(first[image.digest], image.name) for image in test if image.digest in first]


def _suffix(name: str) -> str:
    path = PurePosixPath(name)
    return "hidden" if is_hidden(path) else path.suffix.lower() or "no suffix"


def _todo(needed: Sequence[Inspected], leaks: int) -> list[str]:
    todo = []
    good = [image for image in needed if not image.problem]
    bad = [image for image in needed if image.problem]
    other = sum(FLAG in image.problem for image in bad)
    if not good and not other:
        return ["no image can be used; repair them"]
    if other:
        todo.append(f"{FLAG} (or black): convert {other:,} images that are not 8-bit gray or RGB")
    if len(bad) > other:
        todo.append(f"--skip_bad: leave out {len(bad) - other:,} unusable images, or repair them")
    shapes = Counter(image.shape for image in good)
    if len(shapes) > 1:
        wanted = " ".join(map(str, suggested(shapes)))
        todo.append(f"--shape {wanted}: resize all to one shape, this one or another")
    if dark := brightness_warning(set(image.values) for image in good):
        todo.append(dark)
    if leaks:
        todo.append(
            f"remove {leaks:,} test images that are also training images, as they would hide "
            "overfitting"
        )
    return todo


def suggested(shapes: Mapping[Shape, int]) -> Shape:
    """Return a shape for images of several: theirs if only channels differ, else a square."""
    channels = max(shape[0] for shape in shapes)
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) == 1:
        return channels, *sizes.pop()
    side = median_low(side for shape, n in shapes.items() for side in [min(shape[1:])] * n)
    return channels, *[min(128, max(16, 1 << side.bit_length() - 1))] * 2
