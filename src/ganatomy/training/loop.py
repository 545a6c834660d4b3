"""Training in a run folder: resume, step, log, sample, evaluate, save."""

import collections
import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ganatomy.data import Samples, batch_indices, data_root, load
from ganatomy.evaluation.diagnose import diagnose
from ganatomy.figures.images import GRID, POINTS, encoded, to_uint8
from ganatomy.gan import captured
from ganatomy.gan.machine import (
    environment,
    keep_memory,
    native_bf16,
    numerics,
    pick_device,
    stop_signal,
)
from ganatomy.gan.share import Share
from ganatomy.gan.state import CHECKED, State, check_recipe
from ganatomy.gan.step import Logs
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Row, Run, step_of
from ganatomy.runs.sampling import generate
from ganatomy.training.monitor import Monitor, check_samples, create_monitor, measure
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


def load_data(recipe: Recipe, options: RunOptions) -> Samples:
    """Load the recipe's dataset after checking that all its parts exist.

    Raises:
        ValueError: if a part is unknown or the dataset is not available.
    """
    check_recipe(recipe)
    return load(
        recipe.data.dataset,
        data_root(options.data_root),
        "train",
        options.skip_bad,
        recipe.data.shape,
    )


def fit(recipe: Recipe, folder: str | Path, options: RunOptions | None = None) -> Run:
    """Train a recipe to its end, continuing the training that the folder holds."""
    collections.deque(run_steps(recipe, folder, options or RunOptions()), maxlen=0)
    return Run.open(Path(folder))


def run_steps(
    recipe: Recipe,
    folder: str | Path,
    options: RunOptions,
    longer: bool = False,
    loggers: Sequence[Logger] = (),
    share: Share | None = None,
) -> Generator[StepInfo, None, None]:
    """Train as fit does, yielding once before the first step and then after every step.

    Of several processes, the first one writes the folder, and the others help with the steps.

    Args:
        recipe: the settings of the GAN.
        folder: its run folder, new or to be continued.
        options: how to carry out the training.
        longer: replace the length that the folder holds by the recipe's.
        loggers: functions that receive each logged row.
        share: of each batch, if there are several processes.

    Raises:
        ValueError: for a folder, dataset, part, device or length that cannot be used.
        FloatingPointError: if a loss or weight is no longer finite; it is not saved.
        KeyboardInterrupt: after a stop signal, once the state is saved; its argument is the number
            of the signal.
    """
    folder, share = Path(folder), share or Share()
    if share.rank > 0:
        yield from _assist(recipe, options, share)
        return
    with share.together():
        Run.check(folder, recipe, longer)  # before a download, which may take minutes
        data, state = _prepare(recipe, options, share)
    device = next(state.generator.parameters()).device
    monitor = create_monitor(recipe, options, device)
    total, per_epoch = recipe.total_steps(len(data)), len(data) / recipe.images_per_step
    sample_every = options.sample_every or math.ceil(per_epoch)
    save_every = options.save_every or math.ceil(per_epoch)
    intervals = (options.log_every, sample_every, save_every, options.eval_every)

    run = Run.create(folder, recipe, longer)
    computing = numerics(device, options.precision, options.fast)
    with run.lock(), stop_signal() as stopped, computing:
        share.spread(_restore(run, state, total, options.log_every, sample_every))
        yield StepInfo(state.step, total, state.step / per_epoch, {})
        if state.step == total:
            return
        session = _begin(run, recipe, options, state)
        if state.step == 0:
            _save_first(run, state, recipe, data)
        monitor.logs.extend(run.rows("log"))
        with _board(run, state.step) as board, _noting_failure(run, session, monitor, state):
            for logs in captured.best_steps(device)(state, recipe, data, options.precision):
                stop, last = share.stop(stopped), state.step == total
                info = StepInfo(state.step, total, state.step / per_epoch, logs)
                read = last or stop or any(n and state.step % n == 0 for n in intervals)
                _check_finite(run, state, info, bool(read))
                if last or state.step % options.log_every == 0:
                    monitor.logs.append(_log(run, board, info))
                    for logger in loggers:
                        logger(monitor.logs[-1])
                if last or state.step % sample_every == 0:
                    check_samples(monitor, state.step, to_uint8(_save_grid(run, state, recipe)))
                if options.eval_every and (last or state.step % options.eval_every == 0):
                    run.append("metrics", measure(monitor, state.step, state.ema).to_dict())
                if last or stop or state.step % save_every == 0:
                    _save(run, state, options)
                    _end(run, session, state.step)
                yield info
                if stop and not last:
                    raise KeyboardInterrupt(stop)


def _assist(recipe: Recipe, options: RunOptions, share: Share) -> Generator[StepInfo, None, None]:
    """Take the steps of a training whose folder another process writes."""
    with share.together():
        data, state = _prepare(recipe, options, share)
    device = next(state.generator.parameters()).device
    total, per_epoch = recipe.total_steps(len(data)), len(data) / recipe.images_per_step
    with stop_signal() as stopped, numerics(device, options.precision, options.fast):
        saved = share.spread(None)
        if saved["step"]:
            state.load_state_dict(saved)
        yield StepInfo(state.step, total, state.step / per_epoch, {})
        for logs in captured.best_steps(device)(state, recipe, data, options.precision):
            stop = share.stop(stopped)
            yield StepInfo(state.step, total, state.step / per_epoch, logs)
            if stop and state.step < total:
                raise KeyboardInterrupt(stop)


def _prepare(recipe: Recipe, options: RunOptions, share: Share) -> tuple[Samples, State]:
    device, state = share.device or pick_device(options.device), None
    with numerics(device, options.precision):  # refuse an impossible precision before a download
        pass
    if options.precision == "bf16" and not native_bf16(device):
        warnings.warn(
            f"this {device.type} has no native bf16; --precision fp32 is faster",
            stacklevel=2,
        )
    keep_memory()
    if recipe.data.shape is not None:  # refuse impossible networks before a download
        state = State.new(recipe, recipe.data.shape, device)
    data = load_data(recipe, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    state = state or State.new(recipe, data.shape, device)
    state.join(share)
    return data, state


def _restore(
    run: Run, state: State, total: int, log_every: int, sample_every: int
) -> dict[str, Any]:
    """Load the newest checkpoint into state and drop rows and grids that came after it.

    Returns:
        What was loaded; step 0 alone without a checkpoint.
    """
    file = run.newest_checkpoint()
    saved: dict[str, Any] = {"step": 0}
    if file is not None:
        saved = run.load(file)
        with run.fitting(file):
            state.load_state_dict(saved)
    if state.step > total:
        raise ValueError(f"{run.path} is at step {state.step}, which is past the {total} requested")
    # the last step is logged and drawn at any interval; in a longer run it is not the last
    ended = state.step < total
    run.rewind(
        saved,
        state.step - (ended and state.step % log_every > 0),
        state.step - (ended and state.step % sample_every > 0),
    )
    return saved


def _begin(run: Run, recipe: Recipe, options: RunOptions, state: State) -> Row:
    """Record recipe, options and machine."""
    device = next(state.generator.parameters()).device
    how: Row = {"device": str(device), "precision": options.precision}
    how |= {"fast": True} if options.fast else {}
    how |= {"processes": state.share.size}
    session = {"from_step": state.step} | how | environment()
    if run.sessions:
        before = run.sessions[-1]
        before = {"precision": "fp32", "processes": 1} | before  # the only ones of older runs
        changed = [k for k in session if k != "from_step" and before.get(k) != session[k]]
        if changed:
            warnings.warn(
                f"{', '.join(changed)} changed since this run was last trained: the run continues, "
                "but its bits differ from those of an uninterrupted run",
                stacklevel=2,
            )
    if options.data_root is not None:  # so that the run can be resumed from another folder
        options = dataclasses.replace(options, data_root=options.data_root.absolute())
    run.write_settings(recipe, options)
    session["started"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    _end(run, session, state.step)
    return session


def _end(run: Run, session: Row, step: int) -> None:
    """Update the session's entry and the model card with the current step."""
    started = datetime.fromisoformat(session["started"])
    seconds = round((datetime.now(UTC) - started).total_seconds(), 1)
    run.write_session(session | {"to_step": step, "seconds": seconds})
    run.write("README.md", _card(run, step).encode())


@contextlib.contextmanager
def _noting_failure(run: Run, session: Row, monitor: Monitor, state: State) -> Iterator[None]:
    """Record in environment.json which number was not finite, and the diagnoses of the rows."""
    try:
        yield
    except FloatingPointError as error:
        found = diagnose(run.recipe, monitor.logs, monitor.measures, str(error))
        told = {"failure": str(error), "diagnoses": [d.to_dict() for d in found]}
        _end(run, session | told, state.step)
        raise


def _log(run: Run, board: "SummaryWriter", info: StepInfo) -> Row:
    values = dict(zip(info.logs, torch.stack([*info.logs.values()]).tolist(), strict=True))
    row = {"step": info.step, "epoch": round(info.epoch, 6)} | values
    run.append("log", row)
    for name, value in values.items():
        board.add_scalar(TAGS[name], value, info.step)
    return row


def _save(run: Run, state: State, options: RunOptions) -> None:
    nets = (state.generator, state.discriminator)
    if not all(t.isfinite().all() for net in nets for t in net.state_dict().values()):
        raise FloatingPointError(_diverged(run, state.step, "a weight"))
    run.save(state.state_dict(), options.keep, options.keep_best)


def _check_finite(run: Run, state: State, info: StepInfo, read: bool) -> None:
    """Raise FloatingPointError at the first step with a value that is not finite.

    On a GPU the state keeps the first such step, which is read only where a step is read anyway;
    nothing is logged or saved in between.
    """
    if state.nonfinite is None:
        step, values = info.step, [info.logs[name].item() for name in CHECKED]
    elif read:
        step, *values = state.nonfinite.tolist()  # all -1 if there is none
    else:
        return
    for name, value in zip(CHECKED, values, strict=True):
        if not math.isfinite(value):
            raise FloatingPointError(_diverged(run, int(step), f"{name} ({value})"))


def _diverged(run: Run, step: int, what: str) -> str:
    files = run.checkpoints()
    if not files:
        return f"{what} is not finite at step {step}, before a checkpoint; lower --lr_d or --lr_g"
    last = step_of(files[-1])
    return (
        f"{what} is not finite at step {step}; {files[-1].name} is the last good checkpoint; "
        f"branch off it with lower rates: ganatomy resume {run.path} --from {last} --lr_d 1e-4"
    )


def _save_grid(run: Run, state: State, recipe: Recipe) -> Tensor:
    made = generate(state.ema, _shown(state), recipe, recipe.training.seed)
    _write_image(run, f"samples/step-{state.step:08d}.png", made)
    return made


def _save_first(run: Run, state: State, recipe: Recipe, data: Samples) -> None:
    """Draw samples of the untrained generator, and the first real samples."""
    _save_grid(run, state, recipe)
    first = batch_indices(len(data), _shown(state), recipe.training.seed, 0)
    _write_image(run, "samples/real.png", data.batch(first))


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
    settings = "\n".join(f"| {k} | {v} |" for k, v in to_dict(run.recipe).items())
    return f"""# {run.path.name}

A GAN trained by ganatomy {run.sessions[-1]["ganatomy"]}, now at step {step:,}; recipe key \
`{run.recipe.key}`.{begun}

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
