"""A run is a folder: recipe, options, environments, rows, checkpoints and sample grids.

It is the only interface between training and everything that reads. Files are written whole or
not at all, and say by a checksum that they still are, so whatever ends a process or befalls a file,
the folder stays readable and nothing wrong is read.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ganatomy.recipes.recipe import Recipe, RunOptions, differences
from ganatomy.storage.checksums import DamagedError, check_whole, line, pack, row, unpack
from ganatomy.storage.files import write_atomic
from ganatomy.validation import from_keyed, keyed, nearest

Row = dict[str, Any]

LONGEST = 16_384
"""Bytes that a row has at most, where the last one is looked for."""


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
        if changed and only_length and recipe.training.schedule != "constant":
            raise ValueError(
                f"{path} cannot be made longer: its learning rates fall over its length (schedule "
                f"{recipe.training.schedule}); train the longer recipe in another --out"
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
                run.write("recipe.json", _json(keyed(recipe)))
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
            return from_keyed(Recipe, json.loads((self.path / "recipe.json").read_text()))

    @property
    def options(self) -> RunOptions:
        """How it was last carried out; the defaults if it was killed before it began."""
        file = self.path / "options.json"
        with self._blaming(file.name):
            return (
                from_keyed(RunOptions, json.loads(file.read_text()))
                if file.exists()
                else RunOptions()
            )

    @property
    def sessions(self) -> list[Row]:
        """One entry for each process that trained it: machine, versions, steps and seconds."""
        file = self.path / "environment.json"
        with self._blaming(file.name):
            found = json.loads(file.read_text()) if file.exists() else []
            if not isinstance(found, list):
                raise ValueError("it holds no list of sessions")
            return found

    @property
    def parent(self) -> Row:
        """The run, its step and what was changed, if this run branched off another; else empty."""
        file = self.path / "parent.json"
        with self._blaming(file.name):
            return json.loads(file.read_text()) if file.exists() else {}

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
        write_atomic(self.path / name, content)

    def write_session(self, session: Row) -> None:
        """Add a session to environment.json, or renew it if it began when the last one did."""
        past = [s for s in self.sessions if s["started"] != session["started"]]
        self.write("environment.json", _json([*past, session]))

    def write_settings(self, recipe: Recipe, options: RunOptions) -> None:
        """Record the recipe and how it is now carried out."""
        self.write("recipe.json", _json(keyed(recipe)))
        self.write("options.json", _json(keyed(options)))

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.path.glob("step-*.pt"))

    def save(self, saved: dict[str, Any], keep: int, best: bool = False) -> None:
        """Write a checkpoint after its rows are on disk; drop all but the newest keep (0: none).

        Args:
            saved: a state, with its step.
            keep: how many of the newest are kept; 0 for all.
            best: keep, besides, the one of least measured Fréchet distance.
        """
        for rows in self.path.glob("*.jsonl"):
            with rows.open("rb") as file:
                os.fsync(file.fileno())
        step = saved["step"]
        log, measured = self._steps_before(step)
        every = (
            self.options.eval_every or step
        )  # others were measured by hand, maybe not in a rerun
        counts = [len(log), sum(at % every == 0 for at in measured)]
        of_run = {"recipe": self._identity, "rows": counts}
        name = f"step-{step:08d}.pt"
        self.write(name, pack(saved | {"run": of_run}))
        if keep:
            check_whole((self.path / name).read_bytes())  # before what it replaces goes
            files = self.checkpoints()
            for old in {*files[:-keep]} - ({self.best(files)} if best else set()):
                old.unlink()

    def best(self, files: list[Path]) -> Path | None:
        """Which of these checkpoints has the least Fréchet distance; None if none was measured."""
        measured = {
            r["step"]: r["values"]["fd"]["value"]
            for r in self.rows("metrics")
            if "fd" in r["values"]
        }
        known = {file: measured[step_of(file)] for file in files if step_of(file) in measured}
        return min(known, key=known.__getitem__) if known else None

    @property
    def _identity(self) -> str:
        """The key of the recipe but for its length, which may change as the run goes on."""
        return self.recipe.replace(steps=1).key

    def _steps_before(self, step: int) -> list[set[int]]:
        """Which steps before this one were logged, and which measured.

        A row of the step itself may be there only because a shorter run ended with it.
        """
        names = ("log", "metrics")
        return [{r["step"] for r in self.rows(n) if r["step"] < step} for n in names]

    def load(self, file: Path) -> dict[str, Any]:
        """Read a checkpoint onto the CPU.

        Raises:
            DamagedError: if it is not whole, or of another recipe.
        """
        try:
            saved = unpack(file.read_bytes())
            of_run = saved["run"]["recipe"]
        except Exception as error:  # torch raises many kinds for what was not written by save
            reason = str(error) if isinstance(error, DamagedError) else "cannot be read"
            raise DamagedError(f"{file} {reason}") from error
        if of_run != self._identity:
            raise DamagedError(f"{file} does not fit the recipe beside it: it is of another run")
        return saved

    def newest_whole(self) -> Path | None:
        """Find the newest checkpoint that is whole, warning of those that are not; None: no file.

        Raises:
            DamagedError: if there are some and none is whole.
        """
        broken: list[str] = []
        files = self.checkpoints()
        for file in reversed(files):
            try:
                check_whole(file.read_bytes())
            except DamagedError as error:
                broken.append(f"{file.name} {error}")
                continue
            if broken:
                warnings.warn(
                    f"{self.path}: {'; '.join(broken)}; {file.name} is used", stacklevel=2
                )
            return file
        if files:
            raise DamagedError(
                f"{self.path} has no whole checkpoint: {'; '.join(broken)}; put one back, or "
                "remove them to train from the start"
            )
        return None

    def fitting(self, file: Path) -> contextlib.AbstractContextManager[None]:
        """Name the checkpoint when what load gave of it does not fit this run's networks."""
        return self._blaming(file.name, "does not fit the recipe beside it")

    def rewind(self, saved: dict[str, Any], last_row: int, last_grid: int) -> None:
        """Forget what is of later steps than a checkpoint: rows, sample grids, other checkpoints.

        And a last row that was cut short, to which the next one would be joined. What was saved
        later is not whole, or it would have been loaded: it is set aside under another name.

        Args:
            saved: what load gave, or a new state.
            last_row: step of the last logged row to keep.
            last_grid: step of the last sample grid to keep.

        Raises:
            DamagedError: if rows are missing that were there when it was saved.
        """
        step = saved["step"]
        self.check_rows(saved)
        for name, last in (("log", last_row), ("metrics", step)):
            rows, file = self.rows(name), self.path / f"{name}.jsonl"
            kept = [row for row in rows if row["step"] <= last]
            cut_short = file.exists() and file.read_bytes()[-1:] not in (b"\n", b"")
            if len(kept) < len(rows) or cut_short:
                self.write(f"{name}.jsonl", b"".join(map(line, kept)))
        for at, file in self.grids():
            if at > last_grid:
                file.unlink()
        for file in self.checkpoints():
            if step_of(file) > step:
                file.replace(file.with_name(f"{file.name}.broken"))

    def check_rows(self, saved: dict[str, Any]) -> None:
        """See that no row is missing that was there when a checkpoint was saved.

        Raises:
            DamagedError: if one is, saying what to do.
        """
        step, has = saved["step"], list(map(len, self._steps_before(saved["step"])))
        wanted = saved.get("run", {}).get("rows", has)
        for name, there, were in zip(("log", "metrics"), has, wanted, strict=True):
            if there < were:
                raise DamagedError(
                    f"{self.path / name}.jsonl has {there} of the {were} rows that were there when "
                    f"step {step} was saved; put it back, or go on without them in a new run: "
                    f"ganatomy resume {self.path} --from {step} --out NEW"
                )

    def append(self, name: str, row: Row) -> None:
        """Add one line to name.jsonl."""
        with (self.path / f"{name}.jsonl").open("ab") as file:
            file.write(line(row))

    def rows(self, name: str) -> list[Row]:
        """Read name.jsonl; empty if there is none. A last line cut short by a kill is left out.

        Raises:
            DamagedError: for a line that is not as it was written, by its number.
        """
        file = self.path / f"{name}.jsonl"
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        return [self._row(file, f"line {at}", text) for at, text in enumerate(lines, 1)]

    def newest(self, name: str) -> Row:
        """Read the last whole line of name.jsonl alone; empty if there is none."""
        file = self.path / f"{name}.jsonl"
        if not file.exists():
            return {}
        with file.open("rb") as rows:
            rows.seek(max(0, file.stat().st_size - LONGEST))
            lines = rows.read().split(b"\n")[:-1]
        return self._row(file, "the last line", lines[-1]) if lines else {}

    def _row(self, file: Path, where: str, text: bytes) -> Row:
        try:
            return row(text)
        except DamagedError as error:
            raise DamagedError(f"{file}, {where}: {error}; put the file back from a copy") from None

    def grids(self) -> list[tuple[int, Path]]:
        """Steps and files of the sample grids, oldest first."""
        files = sorted((self.path / "samples").glob("step-*.png"))
        return [(step_of(file), file) for file in files]


def step_of(file: Path) -> int:
    """The step that the name of a checkpoint or sample grid tells."""
    return int(file.stem.removeprefix("step-"))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
