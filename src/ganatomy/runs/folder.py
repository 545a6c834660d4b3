"""Run folders: recipe, options, sessions, rows, checkpoints and sample grids.

A run folder is the only interface between training and everything that reads a run. Files are
written atomically and carry checksums, so the folder stays readable when a process ends in the
middle of a write, and damage is detected.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from filelock import FileLock, Timeout

from ganatomy.recipes.recipe import Recipe, RunOptions, differences
from ganatomy.storage.checksums import (
    DamagedError,
    check_checksum,
    decode_checkpoint,
    decode_row,
    encode_checkpoint,
    encode_row,
)
from ganatomy.storage.files import write_atomic
from ganatomy.validation import from_keyed, keyed, nearest

Row = dict[str, Any]
T = TypeVar("T")

LONGEST = 16_384
"""Largest size of a row in bytes, for reading the last row only."""


@dataclass(frozen=True)
class Run:
    """A run folder, made by create or open."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # str works too

    @classmethod
    def check(cls, path: str | Path, recipe: Recipe, longer: bool = False) -> None:
        """Check that a folder is free for a recipe, or holds it.

        Args:
            path: the folder, which need not exist.
            recipe: the recipe.
            longer: whether the folder's recipe may have another length.

        Raises:
            ValueError: if it holds another recipe, naming the fields, or other files.
        """
        path = Path(path)
        if not (path / "recipe.json").exists():
            if path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir()):
                raise ValueError(f"{path} has files but is not a run folder; use another --out")
            return
        changed = differences(cls(path).recipe, recipe)
        only_length = changed.keys() <= {"epochs", "steps"}
        if changed and only_length and recipe.training.schedule != "constant":
            raise ValueError(
                f"{path} cannot be made longer: the schedule {recipe.training.schedule} lowers its "
                "learning rates over its length; train the longer recipe in another --out"
            )
        if changed and not (longer and only_length):
            listed = "; ".join(f"{k}: {a} there, {b} asked" for k, (a, b) in changed.items())
            fix = "change its length with: ganatomy resume" if only_length else "use another --out"
            if changed.keys() == {"dataset"} and changed["dataset"][1].startswith("images-"):
                fix += f", or if its images changed: ganatomy resume {path} --accept-data"
            raise ValueError(f"{path} holds another recipe ({listed}); {fix}")

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe, longer: bool = False) -> Self:
        """Create a run folder, or open it if it holds the recipe.

        Raises:
            ValueError: as check does, or if the folder cannot be written.
        """
        cls.check(path, recipe, longer)
        run = cls(Path(path))
        if not (run.path / "recipe.json").exists():
            try:
                run.path.mkdir(parents=True, exist_ok=True)
                run.write("recipe.json", _json(keyed(recipe)))
            except OSError as error:
                raise ValueError(f"cannot write to {path}: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run folder.

        Raises:
            ValueError: if the path is not a run folder, naming the nearest one next to it.
        """
        path = Path(path)
        if not (path / "recipe.json").exists():
            others = sorted(p.parent.name for p in path.absolute().parent.glob("*/recipe.json"))
            hint = f" {nearest(path.name, others)}" if others else ""
            raise ValueError(f"{path} is not a run folder (it has no recipe.json){hint}")
        return cls(path)

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run trains."""
        return self._read("recipe.json", lambda found: from_keyed(Recipe, found))

    @property
    def options(self) -> RunOptions:
        """The options of the last session; the defaults before the first one."""
        default = RunOptions()
        return self._read("options.json", lambda found: from_keyed(RunOptions, found), default)

    @property
    def sessions(self) -> list[Row]:
        """Machine, versions, data, steps and seconds of each process that trained the run."""
        return self._read("environment.json", _sessions, [])

    @property
    def parent(self) -> Row:
        """The parent's name, key, step and data, and the changed fields; empty without a parent."""
        return self._read("parent.json", dict, {})

    def _read(self, name: str, parse: Callable[[Any], T], default: T | None = None) -> T:
        """Read a JSON file; without the file return the default, if there is one."""
        file = self.path / name
        if default is not None and not file.exists():
            return default
        with self._naming(name):
            return parse(json.loads(file.read_text()))

    @contextlib.contextmanager
    def _naming(self, name: str, what: str = "is damaged") -> Iterator[None]:
        """Raise DamagedError with the name of a file whose content is not valid."""
        try:
            yield
        except (OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]  # torch lists every layer
            raise DamagedError(f"{self.path / name} {what}: {reason}") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this process; the lock ends with the process at the latest.

        Raises:
            ValueError: if another process holds it.
        """
        try:
            with FileLock(self.path / ".lock", timeout=0):
                for left in self.path.rglob(".*.tmp"):  # by a killed process
                    left.unlink()
                yield
        except Timeout:
            raise ValueError(f"{self.path} is being trained by another process") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder atomically and durably."""
        write_atomic(self.path / name, content)

    def write_session(self, session: Row) -> None:
        """Add a session to environment.json, or replace the one with the same start."""
        past = [s for s in self.sessions if s["started"] != session["started"]]
        self.write("environment.json", _json([*past, session]))

    def write_settings(self, recipe: Recipe, options: RunOptions) -> None:
        """Write recipe.json and options.json."""
        self.write("recipe.json", _json(keyed(recipe)))
        self.write("options.json", _json(keyed(options)))

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        return sorted(self.path.glob("step-*.pt"))

    def checkpoint(self, step: int | None = None) -> Path:
        """Return the checkpoint file of a step; None means the newest intact one.

        Raises:
            ValueError: if there is none, naming those there are.
            DamagedError: as newest_checkpoint does.
        """
        if step is None:
            if (newest := self.newest_checkpoint()) is None:
                raise ValueError(f"{self.path} has no checkpoint yet; train it first")
            return newest
        files = {step_of(file): file for file in self.checkpoints()}
        if step not in files:
            listed = ", ".join(map(str, files)) or "none"
            raise ValueError(f"{self.path} has no checkpoint {step} (there are: {listed})")
        return files[step]

    def save(self, saved: dict[str, Any], keep: int, best: bool = False) -> None:
        """Write a checkpoint, once its rows are on disk, and remove older ones.

        Args:
            saved: state with its step.
            keep: number of newest checkpoints to keep; 0 keeps all.
            best: also keep the checkpoint with the lowest measured Fréchet distance.

        Checkpoints of the steps in save_at of the options are kept too.
        """
        for rows in self.path.glob("*.jsonl"):
            with rows.open("rb") as file:
                os.fsync(file.fileno())
        step = saved["step"]
        log, measured = self._steps_before(step)
        every = self.options.eval_every or step  # a rerun may lack evaluations made by hand
        counts = [len(log), sum(at % every == 0 for at in measured)]
        of_run = {"recipe": self.recipe.key_without_length, "rows": counts}
        name = f"step-{step:08d}.pt"
        self.write(name, encode_checkpoint(saved | {"run": of_run}))
        if keep:
            check_checksum((self.path / name).read_bytes())  # before older ones are removed
            files = self.checkpoints()
            kept = {self.best(files)} if best else set()
            for old in {*files[:-keep]} - kept:
                if step_of(old) not in self.options.save_at:
                    old.unlink()

    def best(self, files: list[Path]) -> Path | None:
        """Return the checkpoint with the lowest Fréchet distance; None if none was measured."""
        measured = {
            r["step"]: r["values"]["fd"]["value"]
            for r in self.rows("metrics")
            if "fd" in r["values"]
        }
        known = {file: measured[step_of(file)] for file in files if step_of(file) in measured}
        return min(known, key=known.__getitem__) if known else None

    def _steps_before(self, step: int) -> list[set[int]]:
        """Return the steps before this one that were logged, and those that were measured.

        The row of the step itself may exist only because a shorter run ended there.
        """
        names = ("log", "metrics")
        return [{r["step"] for r in self.rows(n) if r["step"] < step} for n in names]

    def load(self, file: Path) -> dict[str, Any]:
        """Read a checkpoint onto the CPU.

        Raises:
            DamagedError: if it is damaged, or belongs to another recipe.
        """
        try:
            saved = decode_checkpoint(file.read_bytes())
            of_run = saved["run"]["recipe"]
        except Exception as error:  # torch raises many kinds for other files
            reason = str(error) if isinstance(error, DamagedError) else "cannot be read"
            raise DamagedError(f"{file} {reason}") from error
        if of_run != self.recipe.key_without_length:  # its length may change
            raise DamagedError(f"{file} does not fit the recipe: it belongs to another run")
        return saved

    def newest_checkpoint(self) -> Path | None:
        """Return the newest intact checkpoint file, with a warning that names damaged ones.

        None if there are no checkpoints.

        Raises:
            DamagedError: if all checkpoints are damaged.
        """
        damaged: list[str] = []
        files = self.checkpoints()
        for file in reversed(files):
            try:
                check_checksum(file.read_bytes())
            except DamagedError as error:
                damaged.append(f"{file.name} {error}")
                continue
            if damaged:
                warnings.warn(
                    f"{self.path}: {'; '.join(damaged)}; {file.name} is used", stacklevel=2
                )
            return file
        if files:
            raise DamagedError(
                f"{self.path} has no intact checkpoint: {'; '.join(damaged)}; put one back, or "
                "remove them to train from the start"
            )
        return None

    def fitting(self, file: Path) -> contextlib.AbstractContextManager[None]:
        """Raise DamagedError if a loaded checkpoint does not fit the networks of the recipe."""
        return self._naming(file.name, "does not fit the run's recipe")

    def rewind(self, saved: dict[str, Any], last_row: int, last_grid: int) -> None:
        """Remove the rows and sample grids after a checkpoint, to continue from it.

        A truncated last row is removed too. Later checkpoints, which are damaged, are renamed to
        NAME.broken.

        Args:
            saved: the checkpoint's state from load, or a new state.
            last_row: step of the last logged row to keep.
            last_grid: step of the last sample grid to keep.

        Raises:
            DamagedError: as check_rows does.
        """
        step = saved["step"]
        self.check_rows(saved)
        for name, last in (("log", last_row), ("metrics", step)):
            rows, file = self.rows(name), self.path / f"{name}.jsonl"
            kept = [row for row in rows if row["step"] <= last]
            truncated = file.exists() and file.read_bytes()[-1:] not in (b"\n", b"")
            if len(kept) < len(rows) or truncated:
                self.write(f"{name}.jsonl", b"".join(map(encode_row, kept)))
        for at, file in self.grids():
            if at > last_grid:
                file.unlink()
        for file in self.checkpoints():
            if step_of(file) > step:
                file.replace(file.with_name(f"{file.name}.broken"))

    def check_rows(self, saved: dict[str, Any]) -> None:
        """Check that all rows from before a checkpoint are there.

        Raises:
            DamagedError: if one is missing, with the fix.
        """
        step, has = saved["step"], list(map(len, self._steps_before(saved["step"])))
        wanted = saved.get("run", {}).get("rows", has)
        for name, there, were in zip(("log", "metrics"), has, wanted, strict=True):
            if there < were:
                raise DamagedError(
                    f"{self.path / name}.jsonl has {there} of the {were} rows that it had when "
                    f"step {step} was saved; put it back, or continue without them in a new run: "
                    f"ganatomy resume {self.path} --from {step} --out NEW"
                )

    def append(self, name: str, row: Row) -> None:
        """Append a row to name.jsonl."""
        with (self.path / f"{name}.jsonl").open("ab") as file:
            file.write(encode_row(row))

    def rows(self, name: str) -> list[Row]:
        """Read name.jsonl, without a truncated last line; empty if there is no such file.

        Raises:
            DamagedError: for a damaged line, with its number.
        """
        file = self.path / f"{name}.jsonl"
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        return [self._row(file, f"line {at}", text) for at, text in enumerate(lines, 1)]

    def newest(self, name: str) -> Row:
        """Read the last complete row of name.jsonl only; empty if there is none."""
        file = self.path / f"{name}.jsonl"
        if not file.exists():
            return {}
        with file.open("rb") as rows:
            rows.seek(max(0, file.stat().st_size - LONGEST))
            lines = rows.read().split(b"\n")[:-1]
        return self._row(file, "the last line", lines[-1]) if lines else {}

    def _row(self, file: Path, where: str, text: bytes) -> Row:
        try:
            return decode_row(text)
        except DamagedError as error:
            raise DamagedError(f"{file}, {where}: {error}; put the file back from a copy") from None

    def grids(self) -> list[tuple[int, Path]]:
        """Return the steps and files of the sample grids, oldest first."""
        files = sorted((self.path / "samples").glob("step-*.png"))
        return [(step_of(file), file) for file in files]


def step_of(file: Path) -> int:
    """Return the step in the file name of a checkpoint or sample grid."""
    return int(file.stem.removeprefix("step-"))


def _sessions(found: Any) -> list[Row]:
    if not isinstance(found, list):
        raise ValueError("expected a list of sessions")
    return found


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
