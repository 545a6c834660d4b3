"""The commands that run a study and write the file of a new one."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command
from ganatomy.cli.summary import duration
from ganatomy.recipes.recipe import Precision, RunOptions
from ganatomy.studies.executors.outcome import Executor

if TYPE_CHECKING:
    from ganatomy.studies.job import Job
    from ganatomy.studies.plan import StudyPlan
    from ganatomy.studies.run import Outcomes
    from ganatomy.studies.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class Study(Command):
    """Run every condition of a study over several seeds, and decide each of its claims."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")] = ""
    """a named study, or the .toml or .json file of one"""
    all: bool = False
    """instead of one study, run those of the reports, which share their runs; the same command
    continues"""
    budget: str | None = None
    """with --all, time after which runs are saved and what is left is listed: 90s, 9m or 2h"""
    archive: Annotated[Path | None, arg(metavar="FILE.tar.gz")] = None
    """with --all, file that runs come from, if it is there, and go to"""
    seeds: int | None = None
    """runs of each condition; a repeated study with more seeds keeps the runs it has"""
    scale: float = 1.0
    """factor in (0, 1] for the steps of every run, stated with every result"""
    jobs: int = 1
    """runs at once, each with its share of this machine's cores as threads"""
    executor: Executor | None = None
    """serial (one run after the other), processes on this machine, or ray (the cluster at
    $RAY_ADDRESS if that is set); by default serial for --jobs 1, else processes"""
    threads: int | None = None
    """CPU threads of each run; by default this machine's cores divided by jobs"""
    precision: Precision = "fp32"
    """precision of training; see: ganatomy train --help"""
    device: str = "auto"
    """device that trains and measures: auto, cpu, cuda, cuda:N or mps"""
    fused: bool = False
    """train runs of one shape as one program; the default on CUDA with --jobs 1"""
    no_fused: bool = False
    """train one run after the other on CUDA too"""
    out: Path | None = None
    """study folder, by default studies/NAME; with --all the folder of all, by default studies"""
    runs: Path | None = None
    """folder of the runs, which studies can share; by default runs in --out if that is given, else
    studies/runs"""
    plan: bool = False
    """print the runs with their expected time, memory and disk space, and stop"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""

    def call(self) -> Any:
        """Run the study or all studies, or plan that."""
        if self.all == bool(self.name) or ((self.budget or self.archive) and not self.all):
            raise ValueError(
                "study takes the NAME or FILE of a study, or --all with its --budget and --archive"
            )
        if self.all:
            return self._all()
        from ganatomy.studies.plan import plan_study
        from ganatomy.studies.run import run_study

        if self.plan:
            return plan_study(
                self.name,
                self.out,
                seeds=self.seeds,
                jobs=self.jobs,
                scale=self.scale,
                options=self._options,
            )
        return run_study(
            self.name,
            self.out,
            seeds=self.seeds,
            jobs=self.jobs,
            scale=self.scale,
            executor=self.executor,
            fused=self._together(),
            store=self.runs,
            options=self._options,
            progress=self._progress,
        )

    def _all(self) -> Any:
        from ganatomy.studies.sweep import study_all

        if self.jobs != 1 or self.executor not in (None, "serial") or self.runs:
            raise ValueError(
                "--all trains in this process: leave out --jobs, --executor and --runs"
            )
        return study_all(
            self.out or "studies",
            budget=self.budget,
            seeds=self.seeds,
            scale=self.scale,
            fused=self._together(),
            options=self._options,
            plan=self.plan,
            archive=self.archive,
            progress=self._progress,
        )

    def show(self, result: Any) -> None:
        """Print the plan, or the verdicts and the files."""
        if self.all:
            _show_all(result)
            return
        if self.plan:
            _show_plan(result)
            return
        terminal.table(("verdict", "claim"), map(_narrow, result.table()))
        terminal.table(("checklist", ""), result.checklist.items())
        files = ("page.html", "README.md", "verdicts.json")
        terminal.say("\n" + ", ".join(str((result.path or Path()) / file) for file in files))

    def code(self, result: Any) -> int:
        """Say how many runs failed; 1 if any."""
        if self.all:
            for name, why in result.refused.items():
                terminal.complain(f"{name}: {why}")
            return int(bool(result.refused) or any(r.failures for r in result.results.values()))
        failed = 0 if self.plan else len(result.failures)
        if failed:
            terminal.complain(
                f"{failed} of {failed + sum(result.seeds.values())} runs failed; repeat the "
                "command to try them again"
            )
        return int(bool(failed))

    @property
    def _options(self) -> RunOptions:
        return RunOptions(
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            data_root=self.data_root,
        )

    def _together(self) -> bool | None:
        if self.fused and self.no_fused:
            raise ValueError("--fused and --no-fused exclude each other; leave one of them out")
        return self.fused or (False if self.no_fused else None)

    def _progress(self, jobs: Sequence["Job"], outcomes: "Outcomes") -> "Outcomes":
        """Show a bar for each run, and print a line at the end of each."""
        from ganatomy.studies.executors.local import Failure
        from ganatomy.studies.run import pace

        with terminal.overview(lambda: _overview(jobs, self.jobs, self.all)):
            for count, (job, outcome) in enumerate(outcomes, 1):
                name = f"[{count}/{len(jobs)}] {_title(job, self.all)}"
                if isinstance(outcome, Failure):
                    terminal.complain(f"{name}: failed: {outcome.why}")
                else:
                    left = pace(jobs, self.jobs).seconds
                    more = f"; {duration(left)} left" if left else ""
                    terminal.complain(f"{name}: FD {outcome:.4g}{more}")
                yield job, outcome


def _narrow(line: Sequence[str]) -> tuple[str, str]:
    """Return a finding in two columns, for a terminal that is too narrow for all."""
    claim, measure, reported, ours, change, p, verdict = line
    numbers = f"{measure}: {ours}, change {change}, p {p}"
    return verdict, f"{claim}\n{numbers}" + (f"; reported: {reported}" if reported != "—" else "")


def _title(job: "Job", shared: bool) -> str:
    """Return the condition and the seed, or the run and the step if studies share it."""
    if shared:
        return f"{job.folder.name}, step {job.point.step:,}"
    return f"{job.condition}, seed {job.seed}"


def _overview(jobs: Sequence["Job"], at_once: int, shared: bool) -> tuple[str, list[terminal.Bar]]:
    """Return the number of trained runs with the time left, and a bar for each run in training."""
    from ganatomy.studies.run import pace

    state = pace(jobs, at_once)
    bars = [
        terminal.Bar(_title(job, shared), steps, job.recipe.training.steps or 0)
        for job, steps in zip(jobs, state.steps, strict=True)
    ]
    ended = sum(bar.done == bar.total for bar in bars)
    left = "" if state.seconds is None else f"; {duration(state.seconds)} left"
    headline = f"{ended} of {len(bars)} runs trained{left}"
    return headline, [bar for bar in bars if 0 < bar.done < bar.total]


def _show_all(sweep: "Sweep") -> None:
    for result in sweep.results.values():
        tally = collections.Counter(result.verdicts.values())
        counts = ", ".join(f"{n} {verdict}" for verdict, n in tally.items())
        terminal.say(f"{result.study}: {counts}; {(result.path or Path()) / 'page.html'}")
    if sweep.left:
        rows = [(x.study, str(x.runs), duration(x.seconds)) for x in sweep.left]
        terminal.table(("study", "runs left", "training left"), rows)
        left = duration(sweep.seconds)
        terminal.say(f"\n{left} of training left in all; the command without --plan continues")


def _show_plan(plan: "StudyPlan") -> None:
    terminal.table(
        ("condition", "runs", "steps each", "time each"),
        [(c.condition, str(c.runs), f"{c.steps:,}", duration(c.seconds)) for c in plan.conditions],
    )
    on_device = f"{plan.device_bytes / 1e9:.1f} GB on the GPU, " if plan.device_bytes else ""
    terminal.say(
        f"\n{plan.runs} runs, {plan.at_once} at once: {duration(plan.seconds)} without evaluation, "
        f"{plan.memory_bytes / 1e9:.1f} GB of memory, {on_device}"
        f"{plan.disk_bytes / 1e6:,.0f} MB on disk; nothing written"
    )
    if plan.claims:
        from ganatomy.studies.plan import DIFFERENCES

        heads = [f"{100 * share:g} %" for share in DIFFERENCES]
        terminal.say("\nseeds that a difference from the first condition's mean needs:")
        terminal.table(
            ("claim", *heads),
            [(c.claim, *("> 100" if n is None else str(n) for n in c.seeds)) for c in plan.claims],
        )


@dataclass(frozen=True, kw_only=True)
class StudyNew(Command):
    """Write the TOML file of a study: every combination of some fields of a recipe."""

    base: str
    """a named recipe, or a recipe file"""
    vary: tuple[str, ...]
    """FIELD=VALUE,VALUE in the order that claims use: lr_g=1e-4,2e-4 g_widths=16,48"""
    claim: tuple[str, ...]
    """"METRIC falls" or "METRIC rises", from the first value of the first field to the last,
    pooled over the others; "METRIC falls with FIELD" for another field"""
    seeds: int = 3
    """runs of each condition"""
    steps: int | None = None
    """steps of each run; by default those of the recipe"""
    out: Annotated[Path, arg(metavar="FILE.toml")] = Path("study.toml")
    """file to write"""

    def call(self) -> Any:
        """Write the file."""
        from ganatomy.studies.files import new_study

        return new_study(
            self.out, self.base, self.vary, self.claim, seeds=self.seeds, steps=self.steps
        )

    def show(self, result: Any) -> None:
        """Print the size of the study and the next command."""
        runs = len(result.conditions) * result.seeds
        terminal.say(
            f"{self.out}: {runs} runs of {result.steps:,} steps, {len(result.claims)} claims; edit "
            f"the question and the claims, then\nganatomy study {self.out} --plan"
        )
