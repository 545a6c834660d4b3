"""Images in a folder, an archive or an npz file, as Samples."""

import warnings
from contextlib import ExitStack
from pathlib import Path

from ganatomy.data.arrays import is_arrays, joined, read_arrays
from ganatomy.data.brightness import brightness_warning
from ganatomy.data.cache import archive_key, collect, recall
from ganatomy.data.convert import Convert
from ganatomy.data.decoding import Decoded, Source, describe
from ganatomy.data.layout import Layout, layout, selected
from ganatomy.data.listing import Listing, listing
from ganatomy.data.parquet import parquet_files, read_parquet
from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check, reshape_all

FIX = "repair or remove it, or leave such images out with skip_bad"


def load_images(
    path: str | Path,
    split: Split | None = None,
    skip_bad: bool = False,
    shape: Shape | None = None,
    convert: Convert = "none",
) -> Samples:
    """Read the images of a folder, .zip, .tar, .tar.gz, .tgz, .npz, .h5 or .parquet, by name.

    Images have 8 bits and are gray (1 channel) or RGB (3). All have the size of the first, unless
    they are resized to a shape (see shape.py). Folders give the split and the class of an image
    (see layout.py); a choice that could have been another is a warning. Large sets are decoded into
    the cache.

    An npz or HDF5 file holds uint8 arrays (N, H, W), (N, H, W, C) or (N, C, H, W), maybe with
    labels and of several splits, by their names (see arrays.py). A row of a parquet file holds an
    image file (see parquet.py).

    Args:
        path: the folder or file.
        split: split to read, None for all; without split folders all are training images.
        skip_bad: leave out damaged images and images of another size, with one warning.
        shape: (C, H, W) that images are cropped and resized to; None keeps them.
        convert: how to convert images of other modes: on a background of this color (see
            convert.py); none refuses them.

    Raises:
        ValueError: if there is nothing to read, or naming the first unusable image.
        OSError: if there is no space for the cache.
    """
    check(shape)
    path = Path(path)
    if is_arrays(path):
        parts, notes = read_arrays(path, split)
        made = Decoded(reshape_all(joined(path, parts.values()), shape), notes=notes)
    else:
        made = _collect(path, split, skip_bad, shape, convert)
    for note in (*made.notes, brightness_warning(made.samples.values)):
        if note:
            warnings.warn(f"{path}: {note}", stacklevel=2)
    made.samples.release()
    if made.left_out:
        count = len(made.samples) + len(made.left_out)
        warnings.warn(f"{path}: {describe(made.left_out, count)}", stacklevel=2)
    return made.samples


def _collect(
    path: Path, split: Split | None, skip_bad: bool, shape: Shape | None, convert: Convert
) -> Decoded:
    key = archive_key(path, split, shape, skip_bad, convert) if path.is_file() else ""
    if key and (kept := recall(key)):  # first, because a large archive is slow to list
        return kept
    with ExitStack() as stack:
        files, found = located(path, stack)
        labels, classes = choose(path, found, split)
        notes = found.notes if split else ()
        source = Source(str(path), labels, files.images, classes, FIX, notes, convert)
        return collect(source, shape, skip_bad, key)


def located(path: Path, stack: ExitStack) -> tuple[Listing, Layout]:
    """List the images of a folder, an archive or parquet files, with their splits and classes."""
    if files := parquet_files(path):
        return read_parquet(path, files)
    found = listing(path, stack)
    return found, layout(found.images)


def choose(
    path: Path, found: Layout, split: Split | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the label of each name in a split (-1 outside the class folders), and the classes.

    Classes are those of all splits, so that a label has the same meaning in each.
    """
    places = found.places
    parts = {place.part for place in places.values()}
    used = selected(path, parts, split, f"put them into a folder {split} at its top")
    chosen = {name: place for name, place in places.items() if place.part in used}
    counted = [place for place in places.values() if place.part or split is None or parts == {""}]
    named = {place.kind for place in counted} - {""}
    classes = [kind for kind in found.order or sorted(named) if kind in named]
    kinds = [place.kind for place in chosen.values()]
    if len(classes) < 2 or not any(kinds) or (len(used) > 1 and not all(kinds)):
        return dict.fromkeys(chosen, 0), ()
    labels = {kind: label for label, kind in enumerate(classes)} | {"": -1}
    return {name: labels[place.kind] for name, place in chosen.items()}, tuple(classes)
