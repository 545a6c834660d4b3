"""Verification of a run folder: every file, and a replay of its training between checkpoints."""

import contextlib
import dataclasses
import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ganatomy.runs.branch import branch
from ganatomy.runs.folder import Run, step_of
from ganatomy.storage.checksums import DamagedError
from ganatomy.training.loop import run_steps


@dataclass(frozen=True)
class FileCheck:
    """The state of one file."""

    file: str
    """path in the run folder"""
    intact: bool
    about: str
    """content, or the damage"""


@dataclass(frozen=True)
class Replay:
    """The result of training again from one checkpoint to the next."""

    first: int
    """step of the checkpoint that it begins with"""
    last: int
    same: bool
    """whether the checkpoint files are equal to the byte"""
    difference: float
    """largest difference of a generator weight"""


@dataclass(frozen=True)
class Verification:
    """The state of a run folder."""

    run: Path
    files: tuple[FileCheck, ...]
    """in the order of names"""
    replay: Replay | None
    """None if it was not asked for, or a file is damaged"""

    @property
    def damaged(self) -> tuple[FileCheck, ...]:
        """The damaged files."""
        return tuple(check for check in self.files if not check.intact)

    @property
    def passed(self) -> bool:
        """Whether all files are intact and the replay, if any, gave the same file."""
        return not self.damaged and (self.replay is None or self.replay.same)

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as JSON holds it."""
        files, replay = [*map(dataclasses.asdict, self.files)], self.replay
        return {
            "run": str(self.run),
            "passed": self.passed,
            "files": files,
            "replay": replay and dataclasses.asdict(replay),
        }


def verify(run: Run, *, replay: bool = False, seed: int | None = None) -> Verification:
    """Check every file of a run folder, and optionally that its training can be reproduced.

    Settings must match their key, rows and checkpoints their checksums. Steps of logged rows must
    rise, and no row from before a checkpoint may be missing. Weights must be finite and images
    readable. Files that are not part of a run are listed; TensorBoard's are not.

    Args:
        run: the run.
        replay: train again from a random checkpoint to the next one, in a temporary folder.
        seed: seed of the choice of the checkpoint; None means a new one each time.

    Raises:
        ValueError: for a replay of a run with fewer than two checkpoints.
    """
    files = tuple(_checked(run))
    again = replay and all(check.intact for check in files)
    return Verification(run.path, files, _replay(run, seed) if again else None)


def _checked(run: Run) -> Iterator[FileCheck]:
    for file in sorted(run.path.rglob("*")):
        name = file.relative_to(run.path).as_posix()
        if file.is_dir() or name == ".lock" or name.startswith("tensorboard/"):
            continue
        try:
            yield FileCheck(name, True, _about(run, file, name))
        except (DamagedError, OSError, SyntaxError, ValueError) as error:  # SyntaxError: Pillow
            reason = str(error).removeprefix(f"{file} ").removeprefix(f"{file}, ")
            yield FileCheck(name, False, reason)


def _about(run: Run, file: Path, name: str) -> str:
    """Describe the content of a file, or raise an error that names the damage."""
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
        return "damaged, and renamed by an earlier resume; not used"
    return "not part of a run; not used"


def _rows(run: Run, file: Path) -> str:
    steps = [row["step"] for row in run.rows(file.stem)]
    if file.stem == "log" and any(b <= a for a, b in itertools.pairwise(steps)):
        raise DamagedError("its steps do not rise")
    truncated = file.read_bytes()[-1:] not in (b"\n", b"")
    return f"{len(steps):,} rows" + (", and a truncated one, which resume removes" * truncated)


def _checkpoint(run: Run, file: Path) -> str:
    saved = run.load(file)
    nets = (saved["generator"], saved["discriminator"])
    if not all(weight.isfinite().all() for net in nets for weight in net.values()):
        raise DamagedError("has weights that are not finite")
    run.check_rows(saved)
    return f"step {saved['step']:,}"


def _replay(run: Run, seed: int | None) -> Replay:
    files = run.checkpoints()
    if len(files) < 2:
        raise ValueError(f"{run.path} has fewer than two checkpoints to replay between")
    place = random.Random(seed).randrange(len(files) - 1)
    before, after = files[place : place + 2]
    first, last, expected = step_of(before), step_of(after), run.load(after)
    options = dataclasses.replace(run.options, save_every=last, keep=0)
    with tempfile.TemporaryDirectory() as folder:
        other = branch(run, first, run.recipe, options, Path(folder) / "replay")
        with contextlib.closing(run_steps(run.recipe, other.path, options)) as running:
            for info in running:
                if info.step == last:
                    break
        file = other.path / after.name
        same = file.read_bytes() == after.read_bytes()
        difference = _difference(expected["generator"], other.load(file)["generator"])
    return Replay(first, last, same, difference)


def _difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    pairs = zip(a.values(), b.values(), strict=True)
    return max(torch.max(torch.abs(x.double() - y.double())).item() for x, y in pairs)
