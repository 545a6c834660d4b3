"""A run is a folder: recipe, options, environments, rows, checkpoints and sample grids.

It is the only interface between training and everything that reads. Files are written whole or
not at all, so whatever ends a process, the folder stays readable.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ganatomy.fields import from_dict, nearest, to_dict
from ganatomy.files import replace
from ganatomy.recipe import Options, Recipe, differences

Row = dict[str, Any]

LONGEST = 16_384
"""Bytes that a row has at most, where the last one is looked for."""


class DamagedError(RuntimeError):
    """A file of a run folder is not what was written there."""


@dataclass(frozen=True)
class Run:
    """One run folder; make it with create or open."""

    path: Path

    @classmethod
    def check(cls, path: Path, recipe: Recipe, longer: bool = False) -> None:
        """See that a folder is free for this recipe or holds it (longer: but for its length).

        Raises:
            ValueError: if it holds another recipe, naming the fields, or other files.
        """
        if not (path / "recipe.json").exists():
            if path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir()):
                raise ValueError(f"{path} has files but is no run folder; use another --out")
            return
        changed = differences(cls(path).recipe, recipe)
        only_length = changed.keys() <= {"epochs", "steps"}
        if changed and only_length and recipe.schedule != "constant":
            raise ValueError(
                f"{path} cannot be made longer: its learning rates fall over its length (schedule "
                f"{recipe.schedule}); train the longer recipe in another --out"
            )
        if changed and not (longer and only_length):
            listed = "; ".join(f"{k}: {a} there, {b} asked" for k, (a, b) in changed.items())
            cure = "change its length with: ganatomy resume" if only_length else "use another --out"
            raise ValueError(f"{path} holds another recipe ({listed}); {cure}")

    @classmethod
    def create(cls, path: Path, recipe: Recipe, longer: bool = False) -> "Run":
        """Make the folder, or reopen it if it is as check wants it.

        Raises:
            ValueError: as check does, or if the folder cannot be written.
        """
        cls.check(path, recipe, longer)
        run = cls(path)
        if not (path / "recipe.json").exists():
            try:
                path.mkdir(parents=True, exist_ok=True)
                run.write("recipe.json", _json(to_dict(recipe)))
            except OSError as error:
                raise ValueError(f"cannot write to {path}: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing run folder.

        Raises:
            ValueError: if it is none, naming the nearest one beside it.
        """
        if not (path / "recipe.json").exists():
            beside = sorted(p.parent.name for p in path.absolute().parent.glob("*/recipe.json"))
            hint = f" {nearest(path.name, beside)}" if beside else ""
            raise ValueError(f"{path} is no run folder (it has no recipe.json){hint}")
        return cls(path)

    @property
    def recipe(self) -> Recipe:
        """What this run trains."""
        with self._blaming("recipe.json"):
            return from_dict(Recipe, json.loads((self.path / "recipe.json").read_text()))

    @property
    def options(self) -> Options:
        """How it was last carried out; the defaults if it was killed before it began."""
        file = self.path / "options.json"
        with self._blaming(file.name):
            return from_dict(Options, json.loads(file.read_text())) if file.exists() else Options()

    @property
    def sessions(self) -> list[Row]:
        """One entry for each process that trained it: machine, versions, steps and seconds."""
        file = self.path / "environment.json"
        with self._blaming(file.name):
            return json.loads(file.read_text()) if file.exists() else []

    @contextlib.contextmanager
    def _blaming(self, name: str, what: str = "is damaged") -> Iterator[None]:
        """Name the file when what is read from it makes no sense."""
        try:
            yield
        except (OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]  # torch lists every layer
            raise DamagedError(f"{self.path / name} {what}: {reason}") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock goes with the process, however it ends.

        Raises:
            ValueError: if another process holds it.
        """
        try:
            with FileLock(self.path / ".lock", timeout=0):
                for left in self.path.rglob(".*.tmp"):  # of a process that was killed
                    left.unlink()
                yield
        except Timeout:
            raise ValueError(f"{self.path} is being trained by another process") from None

    def write(self, name: str, content: bytes) -> None:
        """Put a file into the folder, whole or not at all, and durably."""
        replace(self.path / name, content)

    def write_session(self, session: Row) -> None:
        """Add a session to environment.json, or renew it if it began when the last one did."""
        past = [s for s in self.sessions if s["started"] != session["started"]]
        self.write("environment.json", _json([*past, session]))

    def write_settings(self, recipe: Recipe, options: Options) -> None:
        """Record the recipe and how it is now carried out."""
        self.write("recipe.json", _json(to_dict(recipe)))
        self.write("options.json", _json(to_dict(options)))

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.path.glob("step-*.pt"))

    def save(self, saved: dict[str, Any], keep: int) -> None:
        """Write a checkpoint after its rows are on disk; drop all but the newest keep (0: none)."""
        for rows in self.path.glob("*.jsonl"):
            with rows.open("rb") as file:
                os.fsync(file.fileno())
        buffer = io.BytesIO()  # torch.save to a full disk can end the process; bytes cannot
        torch.save(_canonical(saved), buffer)
        self.write(f"step-{saved['step']:08d}.pt", buffer.getvalue())
        for old in self.checkpoints()[:-keep] if keep else []:
            old.unlink()

    def load(self, file: Path | None = None) -> dict[str, Any] | None:
        """Read a checkpoint, by default the newest, onto the CPU; None if there is none.

        Raises:
            DamagedError: if it is cut short or not a checkpoint, naming it and the one before.
        """
        files = self.checkpoints()
        if not files:
            return None
        file = file or files[-1]
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a bad file
            place = files.index(file)
            before = files[place - 1].name if place else "the start"
            raise DamagedError(
                f"{file} is damaged ({type(error).__name__}); remove it to go on from {before}"
            ) from error

    def fitting(self, file: Path | None = None) -> contextlib.AbstractContextManager[None]:
        """Name the checkpoint when what load gave of it does not fit this run's networks."""
        name = (file or self.checkpoints()[-1]).name
        return self._blaming(name, "does not fit the recipe beside it")

    def rewind(self, last_row: int, last_measured: int, last_grid: int) -> None:
        """Forget logged rows, measured rows and sample grids of later steps than these.

        And a last row that was cut short, to which the next one would be joined.
        """
        for name, last in (("log", last_row), ("metrics", last_measured)):
            rows, file = self.rows(name), self.path / f"{name}.jsonl"
            kept = [row for row in rows if row["step"] <= last]
            cut_short = file.exists() and file.read_bytes()[-1:] not in (b"\n", b"")
            if len(kept) < len(rows) or cut_short:
                self.write(f"{name}.jsonl", b"".join(map(_line, kept)))
        for step, file in self.grids():
            if step > last_grid:
                file.unlink()

    def append(self, name: str, row: Row) -> None:
        """Add one line to name.jsonl."""
        with (self.path / f"{name}.jsonl").open("ab") as file:
            file.write(_line(row))

    def rows(self, name: str) -> list[Row]:
        """Read name.jsonl; empty if there is none. A last line cut short by a kill is left out."""
        file = self.path / f"{name}.jsonl"
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise DamagedError(f"{file} has a line that is not JSON: {error}") from error

    def newest(self, name: str) -> Row:
        """Read the last whole line of name.jsonl alone; empty if there is none."""
        file = self.path / f"{name}.jsonl"
        if not file.exists():
            return {}
        with file.open("rb") as rows:
            rows.seek(max(0, file.stat().st_size - LONGEST))
            lines = rows.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else {}

    def grids(self) -> list[tuple[int, Path]]:
        """Steps and files of the sample grids, oldest first."""
        files = sorted((self.path / "samples").glob("step-*.png"))
        return [(int(file.stem.removeprefix("step-")), file) for file in files]


def _canonical(value: Any) -> Any:
    """Rebuild a nest so that equal states pickle to equal bytes, whatever objects they share."""
    if isinstance(value, dict):
        return {sys.intern(k) if isinstance(k, str) else k: _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_canonical(v) for v in value])
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _line(row: Row) -> bytes:
    return (json.dumps(row, allow_nan=False) + "\n").encode()
