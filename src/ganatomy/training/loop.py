"""Training in a run folder: resume, step, log, sample, evaluate, save."""

import collections
import contextlib
import itertools
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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

AT_ONCE = 16
"""Runs on streams of a GPU at a time; the others wait for their end."""


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
    *,
    data: Samples | None = None,
) -> Generator[StepInfo, None, None]:
    """Train runs together, see gan/fused.py, yielding as run_steps does.

    Runs that their folders hold are continued; as one program, those at different steps are trained
    apart. A run that is no longer finite ends with a warning, and the others continue.

    Args:
        recipes: of the runs, which fused.groups has put together.
        folders: of the runs, new or to be continued.
        options: how to carry out the training.
        loggers: functions that receive each logged row of each run.
        longer: replace the lengths that the folders hold by those of the recipes.
        data: the data of the recipes, if they are loaded already.

    Raises:
        FusionError: if the runs cannot be trained as one program, before the first step.
        ValueError: as run_steps does.
        KeyboardInterrupt: as run_steps does.
    """
    stacked = fused.stacks(recipes[0], pick_device(options.device))
    if stacked:
        fused.check_members(recipes)
    for recipe, folder in zip(recipes, folders, strict=True):
        Run.check(folder, recipe, longer)
    data, first = _prepare(recipes[0], options, Share(), data)
    content = Content.of(data)
    for recipe, folder in zip(recipes, folders, strict=True):
        check_data(Run(folder), recipe, options, content)
    options, device = absolute(recipes[0], options), next(first.generator.parameters()).device
    others = (State.new(r, data.shape, device, options.precision) for r in recipes[1:])
    monitor = create_monitor(recipes[0], options, device)
    with contextlib.ExitStack() as stack:
        sessions = []
        states = itertools.chain([first], others)
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
        if not stacked:
            yield from _side_by_side(left, stopped, device)
            return
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
            if not due and members.state.nonfinite is not None:
                shown, session = next(iter(going.items()))
                session.state.step = step
                yield session.info({name: value[shown] for name, value in logs.items()})
                continue
            bring = members.write if stop or sessions[0].needs_networks(step) else members.note
            rows = dict(zip(logs, torch.stack([*logs.values()]).cpu(), strict=True))
            for m, session in list(going.items()):
                bring(m)
                try:
                    session.record({name: row[m] for name, row in rows.items()}, bool(stop))
                except FloatingPointError as error:
                    session.fail(error)
                    warnings.warn(f"{session.run.path} has ended: {error}", stacklevel=2)
                    del going[m]
            if not going:
                return
            shown, session = next(iter(going.items()))
            yield session.info({name: row[shown] for name, row in rows.items()})
            if stop and not session.ended:
                raise KeyboardInterrupt(stop, session.run.path)


def _side_by_side(
    sessions: Sequence[Session], stopped: list[int], device: torch.device
) -> Iterator[StepInfo]:
    """Take the steps that runs have left, each as alone, AT_ONCE of them on streams of a GPU.

    Runs whose networks draw random numbers share one stream, see captured.draws_on_device.
    """
    waiting, going = collections.deque(sessions), dict[int, _Stepping]()
    ended: KeyboardInterrupt | None = None
    while waiting or going:
        while waiting and len(going) < AT_ONCE and not stopped:
            session = waiting.popleft()
            alone = device.type != "cuda" or captured.draws_on_device(session.recipe)
            stream = None if alone else torch.cuda.Stream(device)
            if stream is not None:  # the state is made on the current one
                stream.wait_stream(torch.cuda.current_stream(device))
            going[id(session)] = _Stepping(session, _alone(session, stopped), stream)
        for key, (session, steps, stream) in list(going.items()):
            try:
                with torch.cuda.stream(stream):
                    info = next(steps)
            except StopIteration:
                del going[key]
            except FloatingPointError as error:
                warnings.warn(f"{session.run.path} has ended: {error}", stacklevel=2)
                del going[key]
            except KeyboardInterrupt as error:
                if not stopped or not error.args:
                    raise
                ended = error
                del going[key]
            else:
                if key == next(iter(going)):
                    yield info
        if stopped and not going:
            break
    if ended is None and waiting:  # the last ones have ended as the signal came
        ended = KeyboardInterrupt(stopped[0], waiting[0].run.path)
    if ended is not None:
        raise ended


class _Stepping(NamedTuple):
    """A run that is trained beside others."""

    session: Session
    steps: Iterator[StepInfo]
    stream: torch.cuda.Stream | None


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
        state = State.new(recipe, recipe.data.shape, device, options.precision)
    if data is None:
        data = load_data(recipe, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    state = state or State.new(recipe, data.shape, device, options.precision)
    state.join(share)
    return data, state
