"""Is a run folder what was written, and does it go on as it says? Every file, and a replay."""

import contextlib
import dataclasses
import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ganatomy.runs.branch import branch
from ganatomy.runs.folder import Run, step_of
from ganatomy.storage.checksums import DamagedError
from ganatomy.training.loop import run_steps


class Found(NamedTuple):
    """What is to be said of a file."""

    file: str
    whole: bool
    what: str


def verify(run: Run) -> Iterator[Found]:
    """Look at every file of a run folder, in the order of names.

    Settings must have their key, rows and checkpoints their checksums; steps of logged rows must
    rise, and there must be as many as each checkpoint was saved with; weights must be finite;
    images must be readable. Other files are told of, and TensorBoard's are not looked into.
    """
    for file in sorted(run.path.rglob("*")):
        name = file.relative_to(run.path).as_posix()
        if file.is_dir() or name == ".lock" or name.startswith("tensorboard/"):
            continue
        try:
            yield Found(name, True, _look(run, file, name))
        except (DamagedError, OSError, SyntaxError, ValueError) as error:  # Pillow's for a PNG
            yield Found(name, False, str(error).removeprefix(f"{file} ").removeprefix(f"{file}, "))


def _look(run: Run, file: Path, name: str) -> str:
    """Say what a file holds, or raise what is wrong with it."""
    settings: dict[str, Callable[[], object]] = {
        "recipe.json": lambda: f"key {run.recipe.key}",
        "options.json": lambda: run.options and "",
        "environment.json": lambda: f"sessions: {len(run.sessions)}",
        "parent.json": lambda: f"branched off {run.parent['run']} at step {run.parent['step']}",
        "README.md": lambda: "",
    }
    if name in settings:
        return str(settings[name]())
    if file.suffix == ".jsonl" and file.parent == run.path:
        return _rows(run, file)
    if file.suffix == ".pt" and file.parent == run.path:
        return _checkpoint(run, file)
    if file.parent == run.path / "samples" and file.suffix == ".png":
        with Image.open(file, formats=("PNG",)) as image:
            image.load()
        return ""
    if file.suffix == ".broken":
        return "set aside by an earlier resume; nothing reads it"
    return "not of a run; nothing reads it"


def _rows(run: Run, file: Path) -> str:
    steps = [row["step"] for row in run.rows(file.stem)]
    if file.stem == "log" and any(b <= a for a, b in itertools.pairwise(steps)):
        raise DamagedError("its steps do not rise")
    cut = file.read_bytes()[-1:] not in (b"\n", b"")
    return f"{len(steps):,} rows" + (", and one cut short, which resume drops" if cut else "")


def _checkpoint(run: Run, file: Path) -> str:
    saved = run.load(file)
    nets = (saved["generator"], saved["discriminator"])
    if not all(weight.isfinite().all() for net in nets for weight in net.values()):
        raise DamagedError("has weights that are not finite")
    run.check_rows(saved)
    return f"step {saved['step']:,}"


class Replay(NamedTuple):
    """What training from one checkpoint to the next has given."""

    first: int
    last: int
    same: bool
    """whether it is the same file, to the byte"""
    difference: float
    """largest difference of a weight"""


def replay(run: Run, seed: int | None = None) -> Replay:
    """Train again from a checkpoint, drawn at random, to the next one, in a temporary folder.

    Args:
        run: of which two checkpoints are there, one after the other.
        seed: which is drawn; None for another each time.

    Raises:
        ValueError: if there are fewer than two checkpoints.
        DamagedError: if one of them is not whole.
    """
    files = run.checkpoints()
    if len(files) < 2:
        raise ValueError(f"{run.path} has fewer than two checkpoints to replay between")
    place = random.Random(seed).randrange(len(files) - 1)
    before, after = files[place : place + 2]
    first, last, wanted = step_of(before), step_of(after), run.load(after)
    options = dataclasses.replace(run.options, save_every=last, keep=0)
    with tempfile.TemporaryDirectory() as folder:
        other = branch(run, first, run.recipe, options, Path(folder) / "replay")
        with contextlib.closing(run_steps(run.recipe, other.path, options)) as running:
            for tick in running:
                if tick.step == last:
                    break
        made = other.path / after.name
        same = made.read_bytes() == after.read_bytes()
        difference = _difference(wanted["generator"], other.load(made)["generator"])
    return Replay(first, last, same, difference)


def _difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    pairs = zip(a.values(), b.values(), strict=True)
    return max(torch.max(torch.abs(x.double() - y.double())).item() for x, y in pairs)
