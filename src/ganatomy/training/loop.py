"""Training in a run folder: resume, step, log, sample, evaluate, save."""

import collections
import contextlib
import itertools
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import torch

from ganatomy.data import Content, Samples
from ganatomy.gan import captured, fused
from ganatomy.gan.machine import (
    keep_memory,
    native_bf16,
    numerics,
    pick_device,
    stop_signal,
)
from ganatomy.gan.share import Share
from ganatomy.gan.state import State
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.data import absolute, check_data, load_data
from ganatomy.runs.folder import Run
from ganatomy.training.monitor import create_monitor
from ganatomy.training.session import Logger, Session, StepInfo


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
    *,
    data: Samples | None = None,
    accept_data: bool = False,
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
        data: the recipe's data, if they are loaded already.
        accept_data: continue although the data changed, and record the new ones.

    Raises:
        ValueError: for a folder, dataset, part, device or length that cannot be used, or if the
            data changed since the run was last trained.
        FloatingPointError: if a loss or weight is no longer finite; it is not saved.
        KeyboardInterrupt: after a stop signal, once the state is saved; its arguments are the
            number of the signal and the folder.
    """
    folder, share = Path(folder), share or Share()
    if share.rank > 0:
        yield from _assist(recipe, folder, options, share, data)
        return
    with share.together():
        Run.check(folder, recipe, longer)  # before a download, which may take minutes
        data, state = _prepare(recipe, options, share, data)
        content = Content.of(data)
        check_data(Run(folder), recipe, options, content, accept_data)
    options, device = absolute(recipe, options), next(state.generator.parameters()).device
    monitor = create_monitor(recipe, options, device)
    run = Run.create(folder, recipe, longer)
    session = Session(run, recipe, options, state, data, content, monitor, tuple(loggers))
    computing = numerics(device, options.precision, options.fast)
    with run.lock(), stop_signal() as stopped, computing:
        share.spread(session.restore())
        yield session.info({})
        if session.ended:
            session.note_data()
            return
        yield from _alone(session, stopped)


def _alone(session: Session, stopped: list[int]) -> Iterator[StepInfo]:
    """Take the steps that a run has left."""
    state, precision = session.state, session.options.precision
    steps = captured.best_steps(next(state.generator.parameters()).device)
    with session.recording():
        for logs in steps(state, session.recipe, session.data, precision):
            stop = state.share.stop(stopped)
            session.record(logs, bool(stop))
            yield session.info(logs)
            if stop and not session.ended:
                raise KeyboardInterrupt(stop, session.run.path)


def run_members(
    recipes: Sequence[Recipe],
    folders: Sequence[Path],
    options: RunOptions,
    loggers: Sequence[Logger] = (),
    longer: bool = False,
) -> Generator[StepInfo, None, None]:
    """Train runs as one program, see gan/fused.py, yielding as run_steps does.

    Runs that their folders hold are continued; those at different steps are trained apart. A run
    that is no longer finite ends with a warning, and the others continue.

    Args:
        recipes: of the runs, which fused.groups has put together.
        folders: of the runs, new or to be continued.
        options: how to carry out the training.
        loggers: functions that receive each logged row of each run.
        longer: replace the lengths that the folders hold by those of the recipes.

    Raises:
        FusionError: if the runs cannot be trained as one program, before the first step.
        ValueError: as run_steps does.
        KeyboardInterrupt: as run_steps does.
    """
    fused.check_members(recipes)
    for recipe, folder in zip(recipes, folders, strict=True):
        Run.check(folder, recipe, longer)
    data, first = _prepare(recipes[0], options, Share(), None)
    content = Content.of(data)
    for recipe, folder in zip(recipes, folders, strict=True):
        check_data(Run(folder), recipe, options, content)
    options, device = absolute(recipes[0], options), next(first.generator.parameters()).device
    states = [first, *(State.new(recipe, data.shape, device) for recipe in recipes[1:])]
    monitor = create_monitor(recipes[0], options, device)
    with contextlib.ExitStack() as stack:
        sessions = []
        for recipe, folder, state in zip(recipes, folders, states, strict=True):
            run = Run.create(folder, recipe, longer)
            stack.enter_context(run.lock())
            own = monitor._replace(recipe=recipe, logs=[], measures=[], warned=set())
            sessions.append(
                Session(run, recipe, options, state, data, content, own, tuple(loggers))
            )
            sessions[-1].restore()
        stopped = stack.enter_context(stop_signal())
        stack.enter_context(numerics(device, options.precision, options.fast))
        yield sessions[0].info({})
        left = sorted((s for s in sessions if not s.ended), key=lambda s: s.state.step)
        for _, at_one_step in itertools.groupby(left, key=lambda s: s.state.step):
            group = list(at_one_step)
            taken = _alone(group[0], stopped) if len(group) == 1 else _together(group, stopped)
            yield from taken


def _together(sessions: Sequence[Session], stopped: list[int]) -> Iterator[StepInfo]:
    """Take the steps that runs at one step have left, as one program."""
    members = fused.Members([s.recipe for s in sessions], [s.state for s in sessions])
    going = dict(enumerate(sessions))
    with contextlib.ExitStack() as stack:
        for session in sessions:
            session.fused = len(sessions)
            stack.enter_context(session.recording())
        for logs in fused.steps(members, sessions[0].data, sessions[0].options.precision):
            stop, step = members.state.share.stop(stopped), members.state.step
            due = bool(stop) or sessions[0].reads(step)
            for m, session in list(going.items()) if due or members.state.nonfinite is None else ():
                session.state.step = step
                if due:
                    members.write(m)
                try:
                    session.record({name: value[m] for name, value in logs.items()}, bool(stop))
                except FloatingPointError as error:
                    session.fail(error)
                    warnings.warn(f"{session.run.path} has ended: {error}", stacklevel=2)
                    del going[m]
            if not going:
                return
            shown, session = next(iter(going.items()))
            session.state.step = step
            yield session.info({name: value[shown] for name, value in logs.items()})
            if stop and not session.ended:
                raise KeyboardInterrupt(stop, session.run.path)


def _assist(
    recipe: Recipe, folder: Path, options: RunOptions, share: Share, given: Samples | None
) -> Generator[StepInfo, None, None]:
    """Take the steps of a training whose folder another process writes."""
    with share.together():
        data, state = _prepare(recipe, options, share, given)
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
                raise KeyboardInterrupt(stop, folder)


def _prepare(
    recipe: Recipe, options: RunOptions, share: Share, data: Samples | None
) -> tuple[Samples, State]:
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
    if data is None:
        data = load_data(recipe, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    state = state or State.new(recipe, data.shape, device)
    state.join(share)
    return data, state
