"""What reads files and words of unknown origin: each of TARGETS gives bytes to one reader.

A reader may refuse them by the errors that it documents. Whatever else it raises is a defect.
"""

import atexit
import contextlib
import hashlib
import importlib.util
import io
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ganatomy.cli.main import parse
from ganatomy.data.arrays import read_arrays
from ganatomy.data.cache import recall
from ganatomy.data.folder import load_images
from ganatomy.data.listing import UNSHOWN, listing
from ganatomy.data.pixels import LIMIT, decode, header
from ganatomy.evaluation import classifier
from ganatomy.recipes import named
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run
from ganatomy.storage.cache import cache_root
from ganatomy.storage.checksums import DamagedError, add_checksum, encode_row
from ganatomy.studies import files
from ganatomy.validation import to_dict

RECIPE = Recipe.of(model="mlp", z_dim=2, g_widths=(2,), d_widths=(2,), batch=2, steps=9)


@cache
def folder() -> Path:
    """Where files are put, until the process ends."""
    made = Path(tempfile.mkdtemp(prefix="ganatomy-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def put(name: str, content: bytes) -> Path:
    path = folder() / name
    path.write_bytes(content)
    return path


@cache
def run() -> Run:
    """A run with nothing but its recipe."""
    return Run.create(folder() / "run", RECIPE)


def a_recipe(name: str, content: bytes) -> None:
    read = named.read(str(put(name, content)))
    assert len(read.key) == 8 and Recipe.of(**to_dict(read)) == read


def a_study(content: bytes) -> None:
    study = files.from_file(put("study.toml", content))
    assert (folder() / study.name).parent == folder()


def an_image(content: bytes) -> None:
    header(content)
    try:
        found = decode(lambda: io.BytesIO(content), 0)
    except ValueError:
        found = decode(lambda: io.BytesIO(content), 0, "white")
    assert found.pixels.shape[0] in (1, 3)


def an_array(name: str, content: bytes) -> None:
    parts, _ = read_arrays(put(name, content), None)
    for samples in parts.values():
        assert len(samples) == len(samples.labels)
        assert samples.labels.max() < max(1, len(samples.classes))


def an_archive(suffix: str, content: bytes) -> None:
    path = put(f"images{suffix}", content)
    with ExitStack() as stack:
        found = listing(path, stack)
        for name, opened in found.images.items():
            assert not name.startswith("/") and not UNSHOWN.search(name)
            with contextlib.suppress(Exception), opened() as file:  # for decode to tell
                assert len(file.read(LIMIT + 1)) <= LIMIT + 1
    samples = load_images(path)
    assert samples.labels.max() < max(1, len(samples.classes))


def a_table(content: bytes) -> None:
    with warnings.catch_warnings(action="ignore"):  # of columns that are not read
        samples = load_images(put("images.parquet", content), "train")
    assert samples.labels.max() < max(1, len(samples.classes))


def of_a_run(name: str, read: Callable[[Run], Any], content: bytes) -> None:
    (run().path / name).write_bytes(content)
    try:
        read(run())
    finally:
        if name == "recipe.json":
            Run(run().path).write_settings(RECIPE, Run(folder()).options)
        else:
            (run().path / name).unlink()


def a_checkpoint(content: bytes) -> None:
    """Sealed where that can be, for else every change would be found by its checksum."""
    can = content[-22:].startswith(b"PK\5\6") and content[-2:] == bytes(2)
    of_a_run(
        "step-00000001.pt",
        lambda run: run.load(run.path / "step-00000001.pt"),
        add_checksum(content) if can else content,
    )


def a_classifier(content: bytes) -> None:
    found = classifier.load(content, "a classifier")
    if math.prod(found.shape) < 10_000:
        classifier.extract(found.net, torch.zeros(1, *found.shape, dtype=torch.uint8))


KEPT: dict[str, bytes] = {}
"""Files of a whole folder of the cache; inputs.py fills it in."""


def about(**arrays: bytes) -> dict[str, Any]:
    """What about.json says of arrays, by default those of KEPT."""
    parts = (arrays.get(name, KEPT[f"{name}.npy"]) for name in ("labels", "values"))
    return {
        "source": "x",
        "count": 3,
        "shape": [1, 2, 2],
        "classes": ["a", "b"],
        "left_out": {},
        "notes": [],
        "sha256": [hashlib.sha256(part).hexdigest() for part in parts],
    }


def kept(name: str, content: bytes) -> None:
    """One file of the cache, beside the other two as they should be."""
    assert os.environ["XDG_CACHE_HOME"]
    place = cache_root() / "images" / "fuzz"
    place.mkdir(parents=True, exist_ok=True)
    files = KEPT | {name: content}
    if name != "about.json":  # as if it had been written so
        files["about.json"] = encode_row(about(**{name.removesuffix(".npy"): content}))
    for other, whole in files.items():
        (place / other).unlink(missing_ok=True)  # it may be mapped into memory
        (place / other).write_bytes(whole)
    found = recall("fuzz")
    if found is None:
        raise ValueError("it is not whole")
    found.samples.batch(torch.arange(len(found.samples)))
    assert found.samples.labels.max() < max(1, len(found.samples.classes))


def a_command_line(content: bytes) -> None:
    """Words with NULs between them, which no word can have."""
    words = [os.fsdecode(word) for word in content.split(b"\0")]
    if any(word.replace("_", "-").startswith("--tyro") for word in words):
        raise ValueError("it would write shell completion")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            parse(words)
    except SystemExit as end:
        assert not end.code, "after help alone"
    except OSError as error:
        raise ValueError(str(error)) from error


TARGETS: dict[str, Callable[[bytes], None]] = {
    "recipe .json": partial(a_recipe, "recipe.json"),
    "recipe .toml": partial(a_recipe, "recipe.toml"),
    "study": a_study,
    "image": an_image,
    "npz": partial(an_array, "images.npz"),
    "zip": partial(an_archive, ".zip"),
    "tar": partial(an_archive, ".tar"),
    "tar.gz": partial(an_archive, ".tar.gz"),
    "run: rows": partial(of_a_run, "log.jsonl", lambda run: run.rows("log")),
    "run: newest": partial(of_a_run, "log.jsonl", lambda run: run.newest("log")),
    "run: recipe": partial(of_a_run, "recipe.json", lambda run: run.recipe),
    "run: options": partial(of_a_run, "options.json", lambda run: run.options),
    "run: sessions": partial(of_a_run, "environment.json", lambda run: run.sessions),
    "checkpoint": a_checkpoint,
    "classifier": a_classifier,
    "cache: values": partial(kept, "values.npy"),
    "cache: labels": partial(kept, "labels.npy"),
    "cache: about": partial(kept, "about.json"),
    "command line": a_command_line,
}


if importlib.util.find_spec("h5py"):  # both of the extra formats
    TARGETS["hdf5"] = partial(an_array, "images.h5")
if importlib.util.find_spec("pyarrow"):
    TARGETS["parquet"] = a_table


def accepts(name: str, content: bytes) -> bool:
    """Whether a reader takes what it is given; what is no refusal goes through."""
    try:
        TARGETS[name](content)
    except (ValueError, DamagedError):
        return False
    return True
