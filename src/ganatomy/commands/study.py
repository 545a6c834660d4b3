"""The command that answers a question."""

import dataclasses
import json as jsons
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ganatomy import terminal
from ganatomy.commands.answer import answer
from ganatomy.commands.summary import duration
from ganatomy.execute import Executor
from ganatomy.recipe import Precision

if TYPE_CHECKING:
    from ganatomy.study import Job


@dataclass(frozen=True, kw_only=True)
class Study:
    """Test claims over seeds: run every cell, then say of each claim whether it holds."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """a named study, or a .toml file of one"""
    seeds: int | None = None
    """runs of each cell; a study that is repeated with more only adds to it"""
    scale: float = 1.0
    """multiplies every run's steps, and is stamped on every result"""
    jobs: int = 1
    """runs at once, each with its share of this machine's cores as threads"""
    executor: Executor | None = None
    """where: here one after the other, here in processes, or on a Ray cluster, the one at
    $RAY_ADDRESS if that is set; by default serial for --jobs 1 and processes for more"""
    precision: Precision = "fp32"
    """as of: ganatomy train"""
    out: Path | None = None
    """study folder; by default studies/NAME"""
    plan: bool = False
    """say what would be run and how long it takes here, and stop"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the verdicts, or the plan, as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy import studies, verdict
        from ganatomy import study as running
        from ganatomy.files import replace

        if self.jobs < 1 or not 0 < self.scale <= 1:
            raise ValueError(
                f"--jobs must be 1 or more and --scale in (0, 1], got {self.jobs} {self.scale:g}"
            )
        study = studies.study(self.name)
        if self.seeds is not None:
            study = dataclasses.replace(study, seeds=self.seeds)
        out = self.out or Path("studies") / study.name
        root = self.data_root.absolute() if self.data_root else None  # jobs may start elsewhere
        options = running.options_for(self.jobs, precision=self.precision, data_root=root)
        todo = running.jobs(study, out, self.scale, options)
        running.decidable(study)
        if self.plan:
            return _plan(self, todo)
        running.begin(study, out, self.scale)
        done = _run(todo, self.jobs, self.executor)
        found = verdict.verdicts(study, done, self.scale)
        replace(out / "verdicts.json", (jsons.dumps(found, indent=1) + "\n").encode())
        replace(out / "README.md", verdict.page(found, _repeat(self)).encode())

        def show() -> None:
            terminal.table(verdict.COLUMNS, verdict.lines(found))
            terminal.say(f"\n{out / 'README.md'}, {out / 'verdicts.json'}")

        answer(self.json, found, show)
        if len(done) < len(todo):
            terminal.complain(
                f"{len(todo) - len(done)} of {len(todo)} runs failed; repeat the command to try "
                "them again"
            )
        return int(len(done) < len(todo))


def _run(todo: Sequence["Job"], at_once: int, executor: Executor | None) -> list["Job"]:
    """Carry out jobs, with a line for each; return those that did not fail."""
    from ganatomy.execute import Failure
    from ganatomy.study import run

    done: list[Job] = []
    begun = time.monotonic()
    for count, (job, came) in enumerate(run(todo, at_once, executor), 1):
        name = f"[{count}/{len(todo)}] {job.cell}, seed {job.seed}"
        if isinstance(came, Failure):
            terminal.complain(f"{name}: failed: {came.why}")
            continue
        done.append(job)
        left = (time.monotonic() - begun) / count * (len(todo) - count)
        terminal.complain(f"{name}: FD {came:.4g}; {duration(left)} left")
    return done


def _plan(command: Study, todo: Sequence["Job"]) -> int:
    """Time some steps of every cell, and say how long and how large all runs will be."""
    from ganatomy.data import load
    from ganatomy.summary import Size, cost, known_size, memory
    from ganatomy.train import State

    rows, seconds, disk = [], 0.0, 0
    for cell in dict.fromkeys(job.cell for job in todo):
        jobs = [job for job in todo if job.cell == cell]
        recipe = jobs[0].recipe
        size = known_size(recipe)
        if size is None:
            data = load(recipe.dataset, Path(), "train", shape=recipe.shape)
            size = Size(len(data), data.shape)
        state = State.new(recipe, size.shape)
        step = statistics.median(cost(state, recipe, measure=True).seconds)
        each = step * (recipe.steps or 0)
        seconds += each * len(jobs)
        disk += memory(state, size)["checkpoint"] * jobs[0].options.keep * len(jobs)
        rows.append([cell, str(len(jobs)), f"{recipe.steps:,}", duration(each)])
    result = {"runs": len(todo), "seconds": round(seconds), "disk_bytes": disk}

    def show() -> None:
        terminal.table(("cell", "runs", "steps each", "time each"), rows)
        terminal.say(
            f"\n{len(todo)} runs: {duration(seconds)} one after the other, without "
            f"measuring; {disk / 1e6:,.0f} MB of checkpoints; nothing written"
        )

    return answer(command.json, result, show)


def _repeat(command: Study) -> str:
    """The command line that was given, but for where things are on this machine."""
    words = [f"ganatomy study {command.name}"]
    for field in ("seeds", "scale", "jobs", "executor", "precision"):
        value = getattr(command, field)
        if value != next(f.default for f in dataclasses.fields(command) if f.name == field):
            words.append(f"--{field} {value}")
    return " ".join(words)
