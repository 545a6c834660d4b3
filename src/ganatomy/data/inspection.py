"""What a folder or an archive of images is like, and what must be done before training on it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganatomy.data.decoding import with_progress
from ganatomy.data.folder import choose, places_of, split_folder
from ganatomy.data.listing import Listing, Open, listing
from ganatomy.data.pixels import LIMIT, decode, header, read_npz
from ganatomy.data.samples import Split
from ganatomy.data.shape import Shape

SPLITS: tuple[Split, Split] = ("train", "test")

PAIRS, BAD, SIZES = 3, 10, 10
"""How many examples are given of copies, of what cannot be used, and of sizes."""


@dataclass(frozen=True)
class Findings:
    """What was found; counts are of images."""

    path: str
    images: int
    splits: dict[str, dict[str, int]]
    """by class ("" where there are none), by the folder of a split ("" where there are none)"""
    used: dict[str, str]
    """what the images of each of these are for: train, test, all or nothing"""
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]
    """the most frequent ones, W x H"""
    distinct_sizes: int
    copies: int
    """usable images whose pixels are those of one before, in the order of names"""
    copy_pairs: list[tuple[str, str]]
    leaks: int
    """usable test images whose pixels are those of a training image"""
    leak_pairs: list[tuple[str, str]]
    bad: int
    bad_examples: dict[str, str]
    """why, by name"""
    others: dict[str, int]
    """files that are no images, by their suffix"""
    todo: list[str]
    """what must be done before training on those that are used; empty if nothing need be"""

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON holds them."""
        return asdict(self)


class Seen(NamedTuple):
    """One image."""

    name: str
    part: str
    """the folder of its split"""
    kind: str
    """the folder of its class"""
    format: str
    mode: str
    size: str
    shape: Shape = ()
    """of its pixels, if it can be used"""
    digest: bytes = b""
    problem: str = ""
    """why it cannot be used"""


def inspect(path: str | Path, quiet: bool = False) -> Findings:
    """Look at every image of a folder, archive or npz; nothing is written or unpacked.

    Args:
        path: where they are.
        quiet: without a bar.

    Raises:
        ValueError: if that is none, or has no images.
    """
    path = Path(path)
    if path.is_file() and path.name.lower().endswith(".npz"):
        return _findings(path, list(_seen_npz(path)), {"": "all"}, ())
    with ExitStack() as stack:
        found = listing(path, stack)
        parts = {part for part, _ in places_of(list(found.images)).values()}
        used = _used(parts)
        return _findings(path, list(_seen(path, found, used, quiet)), used, found.others)


def _used(parts: set[str]) -> dict[str, str]:
    """What the images of each split folder are for."""
    if parts == {""}:
        return {"": "all"}
    train, test = (split_folder(split, parts) for split in SPLITS)
    order = sorted(parts, key=lambda part: (part != train, part != test, part))
    return {p: "train" if p == train else "test" if p == test else "nothing" for p in order}


def _seen(path: Path, found: Listing, used: dict[str, str], quiet: bool) -> Iterator[Seen]:
    names = list(found.images)
    places, outside = places_of(names), set[str]()
    splits: list[Split | None] = [split for split in SPLITS if split in used.values()]
    for split in splits or [None]:
        outside.update(name for name, label in choose(path, names, split)[0].items() if label < 0)
    channels = 0
    for name in with_progress(names, str(path), len(names), quiet):
        seen = _look(name, places[name], found.images[name], channels)
        if name in outside and not seen.problem:
            seen = seen._replace(problem="lies outside the class folders")
        channels = channels or (0 if seen.problem else seen.shape[0])
        yield seen


def _look(name: str, place: tuple[str, str], opened: Open, channels: int) -> Seen:
    content = b""
    with suppress(Exception), opened() as file:  # decode will say what is wrong
        content = file.read(LIMIT + 1)
    form, mode, size = header(content) or ("unknown", "unknown", None)
    seen = Seen(name, *place, form, mode, f"{size[0]} x {size[1]}" if size else "unknown")
    try:
        pixels = decode(opened, channels)
    except ValueError as error:
        return seen._replace(problem=str(error))
    return seen._replace(shape=pixels.shape, digest=_digest(pixels))


def _seen_npz(path: Path) -> Iterator[Seen]:
    values, labels, classes = read_npz(path)
    channels, height, width = values.shape[1:]
    looks = "gray" if channels == 1 else "RGB", f"{width} x {height}"
    for i, pixels in enumerate(values.numpy()):
        kind = classes[labels[i]] if classes else ""
        yield Seen(str(i), "", kind, "npz", *looks, pixels.shape, _digest(pixels))


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def _findings(
    path: Path, seen: Sequence[Seen], used: dict[str, str], others: Iterable[str]
) -> Findings:
    good = [s for s in seen if not s.problem]
    needed = [s for s in seen if used[s.part] != "nothing"]
    bad = {s.name: s.problem for s in seen if s.problem}
    copies = _copies(good)
    train, test = ([s for s in good if used[s.part] == split] for split in SPLITS)
    leaks = _leaks(train, test)
    sizes = Counter(s.size for s in seen)
    splits = {part: Counter(s.kind for s in seen if s.part == part) for part in used}
    return Findings(
        str(path),
        len(seen),
        {part: dict(sorted(kinds.items())) for part, kinds in splits.items()},
        used,
        dict(Counter(s.format for s in seen).most_common()),
        dict(Counter(s.mode for s in seen).most_common()),
        dict(sizes.most_common(SIZES)),
        len(sizes),
        len(copies),
        copies[:PAIRS],
        len(leaks),
        leaks[:PAIRS],
        len(bad),
        dict(list(bad.items())[:BAD]),
        dict(Counter(map(_suffix, others)).most_common()),
        _todo(needed, len(leaks)),
    )


def _copies(images: Sequence[Seen]) -> list[tuple[str, str]]:
    """Pairs of an image and a later one of the same pixels."""
    first: dict[bytes, str] = {}
    for seen in images:
        first.setdefault(seen.digest, seen.name)
    return [(first[s.digest], s.name) for s in images if first[s.digest] != s.name]


def _leaks(train: Sequence[Seen], test: Sequence[Seen]) -> list[tuple[str, str]]:
    """Pairs of a training image and a test image of the same pixels."""
    first = {seen.digest: seen.name for seen in reversed(train)}
    return [(first[seen.digest], seen.name) for seen in test if seen.digest in first]


def _suffix(name: str) -> str:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return "hidden" if hidden else PurePosixPath(name).suffix.lower() or "no suffix"


def _todo(needed: Sequence[Seen], leaks: int) -> list[str]:
    todo = []
    good = [seen for seen in needed if not seen.problem]
    bad = len(needed) - len(good)
    if not good:
        return ["none of the images can be used; mend them"]
    if bad:
        todo.append(f"--skip_bad: leave out {bad:,} that cannot be used, or mend them")
    shapes = Counter(seen.shape for seen in good)
    if len(shapes) > 1:
        wanted = " ".join(map(str, suggested(shapes)))
        todo.append(f"--shape {wanted}: bring all to one shape, or to another of your choice")
    if leaks:
        todo.append(
            f"remove {leaks:,} test images that are training images too: what is measured on "
            "them would say nothing"
        )
    return todo


def suggested(shapes: Mapping[Shape, int]) -> Shape:
    """A shape for images of many: theirs if only channels differ, else a square of 16 to 128."""
    channels = max(shape[0] for shape in shapes)
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) == 1:
        return channels, *sizes.pop()
    side = median_low(side for shape, n in shapes.items() for side in [min(shape[1:])] * n)
    return channels, *[min(128, max(16, 1 << side.bit_length() - 1))] * 2
