"""What is written of a run in training: rows, images, evaluations, checkpoints, sessions."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ganatomy.data import Content, Samples, batch_indices
from ganatomy.evaluation.diagnose import diagnose
from ganatomy.figures.images import GRID, POINTS, encoded, to_uint8
from ganatomy.gan.machine import environment
from ganatomy.gan.state import CHECKED, State
from ganatomy.gan.step import Logs
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.data import contents, trained_on
from ganatomy.runs.folder import Row, Run, step_of
from ganatomy.runs.sampling import generate
from ganatomy.training.monitor import Monitor, check_samples, measure
from ganatomy.validation import to_dict

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TAGS = {
    "d_loss": "Loss/discriminator",
    "d_loss_real": "Loss/real_discriminator",
    "d_loss_fake": "Loss/fake_discriminator",
    "d_penalty": "Loss/penalty",
    "g_loss": "Loss/generator",
    "d_real": "D/real",
    "d_fake": "D/fake",
    "d_fake_after": "D/fake_after",
    "g_grad": "gradient/generator",
}
"""TensorBoard tag of each logged value."""

Logger = Callable[[Row], None]
"""Receives each logged row: step, epoch, and the values that TAGS names."""


class StepInfo(NamedTuple):
    """Progress of a training after a step."""

    step: int
    """steps taken"""
    total: int
    """steps of the whole training"""
    epoch: float
    """passes over the data"""
    logs: Logs
    """scalars of this step, see gan.step.steps; empty before the first step"""


@dataclasses.dataclass
class Session:
    """A process's training of one run."""

    run: Run
    recipe: Recipe
    options: RunOptions
    state: State
    data: Samples
    content: Content
    """of the data"""
    monitor: Monitor
    loggers: tuple[Logger, ...] = ()
    """functions that receive each logged row"""
    fused: int = 1
    """runs that are trained as one program with this one, including it"""

    def __post_init__(self) -> None:
        n, options = len(self.data), self.options
        self.total = self.recipe.total_steps(n)
        self.per_epoch = n / self.recipe.images_per_step
        self.sample_every = options.sample_every or math.ceil(self.per_epoch)
        self.save_every = options.save_every or math.ceil(self.per_epoch)
        self.entry: Row = {}

    @property
    def ended(self) -> bool:
        """Whether all steps are taken."""
        return self.state.step == self.total

    def info(self, logs: Logs) -> StepInfo:
        """Return the progress after a step with these logs."""
        step = self.state.step
        return StepInfo(step, self.total, step / self.per_epoch, logs)

    def reads(self, step: int) -> bool:
        """Return whether anything is written after a step, so that it is read from the device."""
        return step % self.options.log_every == 0 or self.needs_networks(step)

    def needs_networks(self, step: int) -> bool:
        """Return whether more than a row is written after a step."""
        intervals = (self.sample_every, self.save_every, self.options.eval_every)
        marked = step == self.total or step in self.options.save_at
        return marked or any(n and step % n == 0 for n in intervals)

    def restore(self) -> dict[str, Any]:
        """Load the newest checkpoint, and drop rows and grids that came after it.

        Returns:
            What was loaded; step 0 alone without a checkpoint.
        """
        file = self.run.newest_checkpoint()
        saved: dict[str, Any] = {"step": 0}
        if file is not None:
            saved = self.run.load(file)
            with self.run.fitting(file):
                self.state.load_state_dict(saved)
        if self.state.step > self.total:
            raise ValueError(
                f"{self.run.path} is at step {self.state.step}, which is past the {self.total} "
                "requested"
            )
        # the last step is logged and drawn at any interval; in a longer run it is not the last
        ended = self.state.step < self.total
        step = self.state.step
        drawn = step % self.sample_every == 0 or step in self.options.save_at
        self.run.rewind(
            saved,
            step - (ended and step % self.options.log_every > 0),
            step - (ended and not drawn),
        )
        return saved

    def note_data(self) -> None:
        """Record a session without steps if the place of the data, or the data, changed."""
        moved = self.options.data != self.run.options.data
        if moved or trained_on(self.run) not in (None, self.content):
            self._begin()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record the session; a failure in the block is recorded too."""
        self._begin()
        if self.state.step == 0:
            self._save_first()
        self.monitor.logs.extend(self.run.rows("log"))
        with _board(self.run, self.state.step) as self.board:
            try:
                yield
            except FloatingPointError as error:
                self.fail(error)
                raise

    def record(self, logs: Logs, stop: bool = False) -> None:
        """Write what is due after a step; everything if the training stops.

        Raises:
            FloatingPointError: if a loss or weight is no longer finite; it is not saved.
        """
        step, last, options = self.state.step, self.ended, self.options
        marked = last or step in options.save_at
        self._check_finite(logs, stop or self.reads(step))
        if last or step % options.log_every == 0:
            row = self._log(logs)
            self.monitor.logs.append(row)
            for logger in self.loggers:
                logger(row)
        if marked or step % self.sample_every == 0:
            check_samples(self.monitor, step, to_uint8(self._save_grid()))
        if options.eval_every and (last or step % options.eval_every == 0):
            self.run.append("metrics", measure(self.monitor, step, self.state.ema).to_dict())
        if marked or stop or step % self.save_every == 0:
            self._save()
            self._end()

    def fail(self, error: FloatingPointError) -> None:
        """Record which number was not finite, and the diagnoses of the rows."""
        found = diagnose(self.recipe, self.monitor.logs, self.monitor.measures, str(error))
        self._end({"failure": str(error), "diagnoses": [d.to_dict() for d in found]})

    def _begin(self) -> None:
        """Record recipe, options and machine."""
        device = next(self.state.generator.parameters()).device
        how: Row = {"device": str(device), "precision": self.options.precision}
        how |= {"fast": True} if self.options.fast else {}
        how |= {"processes": self.state.share.size, "fused": self.fused}
        session = {"from_step": self.state.step} | how | environment()
        if self.run.sessions:
            older: Row = {"precision": "fp32", "processes": 1, "fused": 1}  # the only ones
            before = older | self.run.sessions[-1]
            changed = [k for k in session if k != "from_step" and before.get(k) != session[k]]
            if changed:
                warnings.warn(
                    f"{', '.join(changed)} changed since this run was last trained: the run "
                    "continues, but its bits differ from those of an uninterrupted run",
                    stacklevel=2,
                )
        self.run.write_settings(self.recipe, self.options)
        session["data"] = dataclasses.asdict(self.content)
        session["started"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.entry = session
        self._end()

    def _end(self, told: Row | None = None) -> None:
        """Update the session's entry and the model card with the current step."""
        started = datetime.fromisoformat(self.entry["started"])
        seconds = round((datetime.now(UTC) - started).total_seconds(), 1)
        now = {"to_step": self.state.step, "seconds": seconds}
        self.run.write_session(self.entry | (told or {}) | now)
        self.run.write("README.md", _card(self.run, self.state.step).encode())

    def _log(self, logs: Logs) -> Row:
        step, epoch = self.state.step, self.state.step / self.per_epoch
        values = dict(zip(logs, torch.stack([*logs.values()]).tolist(), strict=True))
        row = {"step": step, "epoch": round(epoch, 6)} | values
        self.run.append("log", row)
        for name, value in values.items():
            self.board.add_scalar(TAGS[name], value, step)
        return row

    def _save(self) -> None:
        nets = (self.state.generator, self.state.discriminator)
        if not all(t.isfinite().all() for net in nets for t in net.state_dict().values()):
            raise FloatingPointError(_diverged(self.run, self.state.step, "a weight"))
        self.run.save(self.state.state_dict(), self.options.keep, self.options.keep_best)

    def _check_finite(self, logs: Logs, read: bool) -> None:
        """Raise FloatingPointError at the first step with a value that is not finite.

        On a GPU the state keeps the first such step, which is read only where a step is read
        anyway; nothing is logged or saved in between.
        """
        if self.state.nonfinite is None:
            step, values = self.state.step, [logs[name].item() for name in CHECKED]
        elif read:
            step, *values = self.state.nonfinite.tolist()  # all -1 if there is none
        else:
            return
        for name, value in zip(CHECKED, values, strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(_diverged(self.run, int(step), f"{name} ({value})"))

    def _save_grid(self) -> Tensor:
        n, seed = _shown(self.state), self.recipe.training.seed
        made = generate(self.state.ema, n, self.recipe, seed)
        _write_image(self.run, f"samples/step-{self.state.step:08d}.png", made)
        return made

    def _save_first(self) -> None:
        """Draw samples of the untrained generator, and the first real samples."""
        self._save_grid()
        n, seed = _shown(self.state), self.recipe.training.seed
        first = self.data.batch(batch_indices(len(self.data), n, seed, 0))
        _write_image(self.run, "samples/real.png", first)


def _diverged(run: Run, step: int, what: str) -> str:
    files = run.checkpoints()
    if not files:
        return f"{what} is not finite at step {step}, before a checkpoint; lower --lr_d or --lr_g"
    last = step_of(files[-1])
    return (
        f"{what} is not finite at step {step}; {files[-1].name} is the last good checkpoint; "
        f"branch off it with lower rates: ganatomy resume {run.path} --from {last} --lr_d 1e-4"
    )


def _shown(state: State) -> int:
    """Number of samples in an image of a run."""
    return POINTS if len(state.shape) == 1 else GRID


def _write_image(run: Run, name: str, samples: Tensor) -> None:
    run.write(name, encoded(samples, ".png"))


def _card(run: Run, step: int) -> str:
    """Return the model card: description, newest samples, commands and recipe of the run."""
    shown = [f"![samples of one fixed z](samples/{file.name})" for _, file in run.grids()[-1:]]
    parent = run.parent
    begun = f" It branched off at step {parent['step']:,} of `{parent['run']}`." if parent else ""
    data = [
        f"{content.n:,} samples with the SHA-256 `{content.sha256}`"
        + f" since step {begin:,}" * (begin > 0)
        for begin, content in contents(run)
    ]
    settings = "\n".join(f"| {k} | {v} |" for k, v in to_dict(run.recipe).items())
    return f"""# {run.path.name}

A GAN trained by ganatomy {run.sessions[-1]["ganatomy"]}, now at step {step:,}; recipe key \
`{run.recipe.key}`.{begun}

Trained on {" and ".join(data)}.

{"".join(shown)}

    ganatomy resume {run.path.name}          # continue training
    ganatomy sample {run.path.name} --n 64 --out samples.png

| field | value |
|---|---|
{settings}
"""


@contextlib.contextmanager
def _board(run: Run, step: int) -> Iterator["SummaryWriter"]:
    from torch.utils.tensorboard import SummaryWriter  # slow to import, so only to train

    with SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1) as board:
        yield board
