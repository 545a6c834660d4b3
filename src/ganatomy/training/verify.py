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

from ganatomy.data import Content
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.branch import branch
from ganatomy.runs.data import check_data, contents, load_data, trained_on
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
class DataCheck:
    """Whether the data are those that the run was trained on."""

    same: bool | None
    """None if they were not compared: they are absent, or no session recorded them"""
    about: str
    """number and digest, or the reason"""


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
    data: DataCheck
    replay: Replay | None
    """None if it was not asked for, a file is damaged, or the data changed"""

    @property
    def damaged(self) -> tuple[FileCheck, ...]:
        """The damaged files."""
        return tuple(check for check in self.files if not check.intact)

    @property
    def passed(self) -> bool:
        """Whether no file is damaged, the data did not change, and a replay gave the same file."""
        sound = not self.damaged and self.data.same is not False
        return sound and (self.replay is None or self.replay.same)

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as JSON holds it."""
        files, replay = [*map(dataclasses.asdict, self.files)], self.replay
        return {
            "run": str(self.run),
            "passed": self.passed,
            "files": files,
            "data": dataclasses.asdict(self.data),
            "replay": replay and dataclasses.asdict(replay),
        }


def verify(
    run: Run, *, replay: bool = False, seed: int | None = None, data: str | Path | None = None
) -> Verification:
    """Check every file of a run folder, and optionally that its training can be reproduced.

    Settings must match their key, rows and checkpoints their checksums. Steps of logged rows must
    rise, and no row from before a checkpoint may be missing. Weights must be finite and images
    readable. Files that are not part of a run are listed; TensorBoard's are not. Images of a path
    must be those of the last session; other data are compared before a replay only.

    Args:
        run: the run.
        replay: train again from a random checkpoint to the next one, in a temporary folder.
        seed: seed of the choice of the checkpoint; None means a new one each time.
        data: place of the run's own images; None means where they were when it was trained.

    Raises:
        ValueError: for a replay without data, or of a run with fewer than two checkpoints between
            which the data did not change.
    """
    files = tuple(_checked(run))
    intact = all(check.intact for check in files)
    options = run.options if intact else RunOptions()
    if data is not None:
        options = dataclasses.replace(options, data=Path(data))
    found = _checked_data(run, options, replay) if intact else DataCheck(None, "not compared")
    again = replay and intact and found.same is not False
    return Verification(run.path, files, found, _replay(run, options, seed) if again else None)


def _checked_data(run: Run, options: RunOptions, replay: bool) -> DataCheck:
    """Compare the data with those of the last session, if they can be had without a download."""
    known, place = trained_on(run), options.data
    if not replay and (known is None or place is None or not place.exists()):
        absent = f"; there is no {place}" if place and not place.exists() else ""
        return DataCheck(None, f"{known or 'not recorded'}{absent}")
    content = Content.of(load_data(run.recipe, options))
    try:
        check_data(run, run.recipe, options, content)
    except ValueError as error:
        return DataCheck(False, str(error))
    return DataCheck(None if known is None else True, str(content))


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
        "environment.json": lambda: (
            f"sessions: {len(run.sessions)}; data sets: {len(contents(run))}"
        ),
        "parent.json": lambda: (
            trained_on(run),
            f"branched off {run.parent['run']} at step {run.parent['step']}",
        )[1],
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


def _replay(run: Run, options: RunOptions, seed: int | None) -> Replay:
    changes = contents(run)[1:]
    begin = changes[-1][0] if changes else 0  # of the data that there are now
    files = [file for file in run.checkpoints() if step_of(file) >= begin]
    if len(files) < 2:
        since = f" since its data changed at step {begin:,}" if begin else ""
        raise ValueError(f"{run.path} has fewer than two checkpoints to replay between{since}")
    at = random.Random(seed).randrange(len(files) - 1)
    before, after = files[at : at + 2]
    first, last, expected = step_of(before), step_of(after), run.load(after)
    options = dataclasses.replace(options, save_every=last, keep=0)
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
