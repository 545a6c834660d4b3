"""The command that answers a question."""

import dataclasses
import json as jsons
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer
from ganatomy.cli.summary import duration
from ganatomy.recipes.recipe import Precision
from ganatomy.studies.executors.local import Executor

if TYPE_CHECKING:
    from ganatomy.studies.study import Job


@dataclass(frozen=True, kw_only=True)
class Study:
    """Test claims over seeds: run every condition, then say of each claim whether it holds."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """a named study, or a .toml file of one"""
    seeds: int | None = None
    """runs of each condition; a study that is repeated with more only adds to it"""
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
        from ganatomy.storage.files import write_atomic
        from ganatomy.studies import page, reports, verdict
        from ganatomy.studies import study as running

        if self.jobs < 1 or not 0 < self.scale <= 1:
            raise ValueError(
                f"--jobs must be 1 or more and --scale in (0, 1], got {self.jobs} {self.scale:g}"
            )
        study = reports.study(self.name)
        if self.seeds is not None:
            study = dataclasses.replace(study, seeds=self.seeds)
        out = self.out or Path("studies") / study.name
        root = self.data_root.absolute() if self.data_root else None  # jobs may start elsewhere
        options = running.options_for(self.jobs, precision=self.precision, data_root=root)
        todo = running.jobs(study, out, self.scale, options)
        running.decidable(study)
        if self.plan:
            return _plan(self, todo)
        running.measurable(study, options)
        running.begin(study, out, self.scale)
        done = _run(todo, self.jobs, self.executor)
        found = verdict.verdicts(study, done, self.scale)
        write_atomic(
            out / "verdicts.json", (jsons.dumps(found.to_dict(), indent=1) + "\n").encode()
        )
        for name, text in page.contents(study, out, done, found, _repeat(self)).items():
            write_atomic(out / name, text.encode())

        def show() -> None:
            terminal.table(("verdict", "claim"), map(_told, found.table()))
            terminal.say(f"\n{out / 'page.html'}, {out / 'README.md'}, {out / 'verdicts.json'}")

        answer(self.json, found.to_dict(), show)
        if len(done) < len(todo):
            terminal.complain(
                f"{len(todo) - len(done)} of {len(todo)} runs failed; repeat the command to try "
                "them again"
            )
        return int(len(done) < len(todo))


def _told(line: Sequence[str]) -> tuple[str, str]:
    """A line of verdicts for a terminal, which is too narrow for its columns."""
    claim, measure, reported, ours, change, p, word = line
    numbers = f"{measure}: {ours}, change {change}, p {p}"
    return word, f"{claim}\n{numbers}" + (f"; reported: {reported}" if reported != "—" else "")


def _run(todo: Sequence["Job"], at_once: int, executor: Executor | None) -> list["Job"]:
    """Carry out jobs, with a view of all and a line for each; return those that did not fail."""
    from ganatomy.studies.executors.local import Failure
    from ganatomy.studies.study import progress, run

    done: list[Job] = []
    with terminal.overview(lambda: _overview(todo, at_once)):
        for count, (job, came) in enumerate(run(todo, at_once, executor), 1):
            name = f"[{count}/{len(todo)}] {_title(job)}"
            if isinstance(came, Failure):
                terminal.complain(f"{name}: failed: {came.why}")
                continue
            done.append(job)
            left = progress(todo, at_once).seconds
            more = f"; {duration(left)} left" if left else ""
            terminal.complain(f"{name}: FD {came:.4g}{more}")
    return sorted(done, key=todo.index)  # as planned, whichever ended first


def _title(job: "Job") -> str:
    return f"{job.condition}, seed {job.seed}"


def _overview(todo: Sequence["Job"], at_once: int) -> tuple[str, list[terminal.Bar]]:
    """How many runs are done and how long the rest takes; a bar for each that has begun."""
    from ganatomy.studies.study import progress

    seen = progress(todo, at_once)
    bars = [
        terminal.Bar(_title(job), steps, job.recipe.training.steps or 0)
        for job, steps in zip(todo, seen.steps, strict=True)
    ]
    ended = sum(bar.done == bar.total for bar in bars)
    left = "" if seen.seconds is None else f"; {duration(seen.seconds)} left"
    headline = f"{ended} of {len(bars)} runs trained{left}"
    return headline, [bar for bar in bars if 0 < bar.done < bar.total]


def _plan(command: Study, todo: Sequence["Job"]) -> int:
    """Time some steps of every condition, and say how long and how large all runs will be."""
    import torch

    from ganatomy.data import load
    from ganatomy.gan.cost import Size, cost, disk, known_size, memory, peak
    from ganatomy.gan.step import State

    torch.set_num_threads(todo[0].options.threads or 1)
    rows, seconds, disk_bytes, data_bytes = [], [0.0], 0, 0
    for condition in dict.fromkeys(job.condition for job in todo):
        jobs = [job for job in todo if job.condition == condition]
        recipe = jobs[0].recipe
        size = known_size(recipe)
        if size is None:
            root = jobs[0].options.data_root or Path()
            data = load(recipe.data.dataset, root, "train", shape=recipe.data.shape)
            size = Size(len(data), data.shape)
        state = State.new(recipe, size.shape)
        timed = cost(state, recipe, measure=True, precision=command.precision).seconds
        each = statistics.median(timed) * (recipe.training.steps or 0)
        seconds += [each] * len(jobs)
        needs = memory(state, size)
        disk_bytes += len(jobs) * disk(needs["checkpoint"], recipe, size, jobs[0].options)
        data_bytes = max(data_bytes, needs["data"])
        rows.append([condition, str(len(jobs)), f"{recipe.training.steps:,}", duration(each)])
    at_once = min(command.jobs, len(todo))
    result = {
        "runs": len(todo),
        "seconds": round(max(*seconds, sum(seconds) / at_once)),
        "memory_bytes": at_once * (peak(torch.device("cpu")) + data_bytes),
        "disk_bytes": disk_bytes,
    }

    def show() -> None:
        terminal.table(("condition", "runs", "steps each", "time each"), rows)
        terminal.say(
            f"\n{len(todo)} runs, {at_once} at once: {duration(result['seconds'])}, without "
            f"measuring; {result['memory_bytes'] / 1e9:.1f} GB of memory, "
            f"{disk_bytes / 1e6:,.0f} MB on disk; nothing written"
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


@dataclass(frozen=True, kw_only=True)
class StudyNew:
    """Write the file of a study of your own: every combination of some fields of a recipe."""

    base: str
    """a named recipe, or a recipe file"""
    vary: tuple[str, ...]
    """FIELD=VALUE,VALUE in the order that claims mean: lr_g=1e-4,2e-4 g_widths=16,48"""
    claim: tuple[str, ...]
    """"METRIC falls" or "METRIC rises", from the first value of the first field to the last,
    pooled over the others; "METRIC falls with FIELD" for another field"""
    seeds: int = 3
    """runs of each condition"""
    steps: int | None = None
    """of each run; by default the recipe's"""
    out: Annotated[Path, arg(metavar="FILE.toml")] = Path("study.toml")
    """the file to write"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.storage.files import write_atomic
        from ganatomy.studies import files
        from ganatomy.studies.study import decidable

        if self.out.suffix != ".toml":
            raise ValueError(f"a study file ends in .toml, got --out {self.out}")
        if self.out.exists():
            raise ValueError(f"{self.out} exists; remove it, or use another --out")
        name = self.out.stem
        study = files.grid(name, self.base, self.vary, self.claim, self.seeds, self.steps)
        decidable(study)
        write_atomic(self.out, files.to_toml(study).encode())
        runs = len(study.conditions) * study.seeds
        terminal.say(
            f"{self.out}: {runs} runs of {study.steps:,} steps, {len(study.claims)} claims; edit "
            f"what it asks, then\nganatomy study {self.out} --plan"
        )
        return 0
