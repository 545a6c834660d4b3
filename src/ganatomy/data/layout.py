"""Split and class of each image, from the names of its folders.

The split folder is the first folder at which paths differ, or the one below it. The class is the
first folder below the split folder. A folder that holds everything is passed over.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ganatomy.data.samples import Split

ROLES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "validate", "eval", "evaluation"),
}
"""Words that name a split."""

FILLERS = ("set", "seg", "data", "dataset", "image", "images", "img", "imgs", "split")
"""Words next to the word of a split that mean nothing, as in training_set and train-images."""

_ROLE = {word: role for role, words in ROLES.items() for word in words}
_WORD = re.compile(r"[^\W\d_]+|\d+")
Folders = tuple[str, ...]
_CAPITAL = re.compile("(?<=[a-z])(?=[A-Z])")


def words(name: str) -> list[str]:
    """Return the words and numbers of a name in lower case: trainSet_2 is train, set, 2."""
    return _WORD.findall(_CAPITAL.sub(" ", name).lower())


def role_of(word: str) -> str:
    """Return the split that one word names, also with a filler at its end; empty for others."""
    ends = ("", *FILLERS)
    return next((_ROLE[w] for end in ends if (w := word.removesuffix(end)) in _ROLE), "")


@lru_cache
def role(name: str) -> str:
    """Return the split that a folder's name stands for: train, test, val, or empty."""
    told = [word for word in words(name) if word not in FILLERS and not word.isdigit()]
    return role_of(told[0]) if len(told) == 1 else ""


def part_of(split: Split, parts: Collection[str]) -> str | None:
    """Return the part, of those that there are, with the images of a split."""
    wanted = ("train",) if split == "train" else ("test", "val")
    return next((part for part in wanted if part in parts), None)


def selected(path: Path, parts: Collection[str], split: Split | None, fix: str) -> set[str]:
    """Return the parts of a split: all of them without one, and for training without parts.

    Raises:
        ValueError: if no part holds its images, with the fix.
    """
    named = set(parts) - {""}
    if split is None or (split == "train" and not named):
        return set(parts)
    if (used := part_of(split, named)) is None:
        raise ValueError(f"{path} has no {split} images: {fix}, or name a dataset that has some")
    return {used}


def split_notes(parts: Mapping[str, int], outside: Collection[str] = ()) -> list[str]:
    """Say which images of parts of these sizes are not used.

    Args:
        parts: numbers of images of train, test, val, and "" for no split.
        outside: names of places in no split.
    """
    notes = []
    if "test" in parts and "val" in parts:
        notes.append(
            f"the test images are those of test; those of val ({parts['val']:,}) are not used"
        )
    if any(parts) and "" in parts:
        where = f", in {_listed(outside)}" if outside else ""
        notes.append(f"images in no split are not used: {parts['']:,}{where}")
    return notes


class Place(NamedTuple):
    """Where an image belongs."""

    part: str
    """train, test or val; empty outside the split folders"""
    kind: str
    """class; empty if it has none"""


@dataclass(frozen=True)
class Layout:
    """Places of images, and the choices that were made."""

    places: Mapping[str, Place]
    notes: tuple[str, ...] = ()
    """a sentence for each choice that could have been another"""
    order: tuple[str, ...] = ()
    """classes in order; empty means sorted by name"""


@dataclass(frozen=True)
class _Found:
    """One image's folders."""

    part: str
    folder: str
    """name of the split folder; the first folder outside of those"""
    below: tuple[str, ...]
    """folders below the split folder, the class first"""


def layout(names: Iterable[str]) -> Layout:
    """Find the split and the class of each name of a file, with / between its folders."""
    folders = {name: tuple(name.split("/")[:-1]) for name in names}
    while (top := _common(folders.values())) and not role(top):
        folders = {name: inner[1:] for name, inner in folders.items()}
    found = _unwrapped(_split(folders))
    places = {name: Place(f.part, "".join(f.below[:1])) for name, f in found.items()}
    return Layout(places, tuple(_notes(found)))


def _common(folders: Iterable[Folders]) -> str:
    """Return the first folder, if it is the same of all; else nothing."""
    tops = {inner[:1] for inner in folders}
    return "".join(tops.pop()) if len(tops) == 1 else ""


def _split(folders: Mapping[str, Folders]) -> dict[str, _Found]:
    """Take the split from the first folder or, if each class has its own splits, the second.

    A folder named train among others, none of them for tests, may be a class.
    """
    tops, seconds = ({inner[at] for inner in folders.values() if len(inner) > at} for at in (0, 1))
    if tops and (_both(tops) or all(map(role, tops))):
        return {
            name: _Found(role(inner[0]), inner[0], inner[1:]) if inner else _Found("", "", ())
            for name, inner in folders.items()
        }
    with_splits = {inner[0] for inner in folders.values() if len(inner) > 1 and role(inner[1])}
    if tops and tops == with_splits and _both(seconds) and all(folders.values()):
        return {
            name: _Found(role("".join(inner[1:2])), "".join(inner[1:2]), inner[:1] + inner[2:])
            for name, inner in folders.items()
        }
    return {name: _Found("", "".join(inner[:1]), inner) for name, inner in folders.items()}


def _both(names: Iterable[str]) -> bool:
    roles = set(map(role, names))
    return "train" in roles and not roles.isdisjoint(("test", "val"))


def _unwrapped(found: dict[str, _Found]) -> dict[str, _Found]:
    """Remove folders between a split and its classes: train/train, and the only one of a split.

    The only folder of a split is a class if another split has it next to others.
    """
    tops: dict[str, set[str]] = {}
    while tops != (tops := _tops(found)):
        shared = set[str]().union(*(kinds for kinds in tops.values() if len(kinds) > 1))
        for part in sorted(tops, key=lambda part: (part == "", part != "train", part)):
            only = next(iter(tops[part])) if len(tops[part]) == 1 else ""
            if only and (only not in shared or role(only) == part != ""):
                found = {
                    name: replace(f, below=f.below[1:]) if f.part == part else f
                    for name, f in found.items()
                }
                break
    return found


def _tops(found: Mapping[str, _Found]) -> dict[str, set[str]]:
    """Return the first folders below each split, "" for images without one."""
    tops: dict[str, set[str]] = {}
    for f in found.values():
        tops.setdefault(f.part, set()).add("".join(f.below[:1]))
    return tops


def _notes(found: Mapping[str, _Found]) -> Iterator[str]:
    """Say which choices could have been others."""
    parts = Counter(f.part for f in found.values())
    outside = {f.folder or "the top" for f in found.values() if not f.part}
    yield from split_notes(parts, outside)
    for part in sorted(parts.keys() - {""}):
        several = {f.folder for f in found.values() if f.part == part}
        if len(several) > 1:
            yield f"read as one split, {part}: {_listed(several)}"
    deep = [f.below for f in found.values() if len(f.below) > 1]
    if len({below[-1] for below in deep}) > 1:
        first, *_, last = deep[0]
        yield f"the class is the first folder, such as {first}, not the last, such as {last}"
    alike = {folder: _alike(folder) for folder in outside if _alike(folder)}
    if not any(parts) and (any(map(role, alike)) or len(set(alike.values())) > 1):
        yield f"read as classes, not as splits: {_listed(alike)}; splits are named train and test"


def _alike(name: str) -> str:
    """Return the split of which a folder's name has a word, such as trainA; empty without."""
    return next((found for word in words(name) if (found := role_of(word))), "")


def _listed(names: Iterable[str]) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:3]) + (", …" if len(distinct) > 3 else "")
