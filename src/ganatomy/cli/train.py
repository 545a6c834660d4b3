"""ganatomy train, ganatomy resume."""

import contextlib
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command
from ganatomy.gan.launch import rank
from ganatomy.recipes.named import RECIPES, read
from ganatomy.recipes.recipe import Recipe, RunOptions, differences

if TYPE_CHECKING:
    from ganatomy.training.progress import Style


@dataclass(frozen=True, kw_only=True)
class Training(Command):
    """The arguments that both commands share."""

    log_style: Literal["auto", "dcgan"] = "auto"
    """a bar in a terminal and lines elsewhere, or lines as in PyTorch's DCGAN example"""
    quiet: bool = False
    """show no progress"""
    devices: int = 1
    """processes that share each batch, each with a GPU, or with some cores"""
    recipe: Annotated[Recipe, arg(name="")] = dataclasses.field(default=RECIPES["basic-gan"].recipe)
    options: Annotated[OmitArgPrefixes[RunOptions], arg(name="run")] = dataclasses.field(
        default=RunOptions()
    )

    @property
    def style(self) -> "Style":
        """How to show progress."""
        return "none" if self.quiet else self.log_style

    @property
    def trains(self) -> bool:
        """Whether a training is carried out."""
        return True

    def show(self, result: Any) -> None:
        """Print where the run is."""
        terminal.say(f"{result.path}: complete at step {result.step:,}")

    def __call__(self) -> int:
        """Run the command; after a stop signal say how to continue."""
        try:
            with contextlib.redirect_stdout(sys.stderr) if self.json else contextlib.nullcontext():
                result = self.call()
        except KeyboardInterrupt as stop:
            if not stop.args:  # before the first step, or a second signal
                raise
            signal, folder = stop.args
            terminal.complain(f"stopped and saved; continue with: ganatomy resume {folder}")
            return 128 + int(signal)
        return self.answer(result) if rank() == 0 else 0


@dataclass(frozen=True, kw_only=True)
class Train(Training):
    """Train a recipe; repeat the command to continue a run that was stopped."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """named recipe (see: ganatomy recipes), or a .json or .toml file of recipe fields"""
    out: Path | None = None
    """run folder; by default runs/NAME-KEY"""
    dry_run: bool = False
    """print the plan of the training without training"""

    @property
    def trains(self) -> bool:
        """Whether it is more than a plan."""
        return not self.dry_run

    def call(self) -> Any:
        """Train, or plan."""
        with terminal.waiting("importing torch"):
            from ganatomy.api.train import train
            from ganatomy.training.plan import plan

        if self.dry_run:
            return plan(self.name, self.out, self.recipe, self.options)
        changed = changes(read(self.name), self.recipe)
        return train(self.name, self.out, options=self.options, progress=self.style, **changed)

    def show(self, result: Any) -> None:
        """Print the plan, or where the run is."""
        if self.dry_run:
            terminal.say(str(result))
        else:
            super().show(result)


@dataclass(frozen=True, kw_only=True)
class Resume(Training):
    """Continue a run, to its planned end or a later one; or branch off it with another recipe."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    from_step: Annotated[int | None, arg(name="from", metavar="STEP")] = None
    """branch off this checkpoint, in another folder, which records its parent"""
    out: Path | None = None
    """folder of the branch; by default RUN-from-STEP"""
    accept_data: bool = False
    """continue although the data changed since the run was last trained, and record the new ones"""

    def call(self) -> Any:
        """Continue the run, or the branch."""
        with terminal.waiting("importing torch"):
            from ganatomy.api.train import load, resume

        run = load(self.run)
        return resume(
            run,
            step=self.from_step,
            out=self.out,
            options=self.options,
            accept_data=self.accept_data,
            progress=self.style,
            **changes(run.recipe, self.recipe),
        )


def changes(old: Recipe, new: Recipe) -> dict[str, Any]:
    """Return the fields that differ, by public name, with their new values."""
    return {name: value for name, (_, value) in differences(old, new).items()}
