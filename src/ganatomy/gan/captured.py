"""Training on a GPU through CUDA graphs: the step of step.py, recorded once and replayed.

A small GAN's step starts hundreds of kernels that take microseconds each, so starting them from
Python bounds its speed. A graph starts them all at once. Its draws are made ahead on the CPU by a
thread, as functions of (seed, step), and copied to a ring on the device that the graph reads.
Captured and eager steps give equal bits on one device.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from ganatomy.data import Samples
from ganatomy.gan import launch
from ganatomy.gan import step as eager
from ganatomy.gan.draws import Draws, MemberDraws, Recorder, Request, step_seed
from ganatomy.gan.losses import Loss
from ganatomy.gan.members import Masks
from ganatomy.gan.ring import Ring, RingMaker, RowDraws
from ganatomy.gan.state import State, check_recipe
from ganatomy.gan.step import (
    Logs,
    computing,
    latch,
    penalties_due,
    seed_all,
    set_rates,
    take_step,
)
from ganatomy.models import MODELS
from ganatomy.recipes.recipe import Precision, Recipe

PATTERNS = 16
"""Graphs of one run at most: one for each pattern of lazy penalties."""

WARM_UP = 3
"""Steps of each pattern before a capture, as PyTorch's documentation has them."""

Pattern = tuple[bool, ...]
Program = Callable[[], Logs]
"""Takes one step and returns its logs."""


def steps(
    state: State, recipe: Recipe, data: Samples, precision: Precision = "fp32"
) -> Iterator[Logs]:
    """Train as step.steps does, with equal bits on the same device.

    Logs are overwritten by the next step. A step that cannot be captured, such as one of own
    networks that read values back, is taken as step.steps does, with a warning.

    Args:
        state: networks and optimizers, updated in place.
        recipe: the settings.
        data: the real samples; copied to the device if they take at most half of its free memory.
        precision: of matrix products and convolutions.

    Raises:
        ValueError: as check_recipe does.
    """
    loss = check_recipe(recipe)
    yield from captured_or(
        lambda found: Captured(state, recipe, loss, data, precision, found),
        lambda: eager.steps(state, recipe, data, precision),
        state.step,
        recipe,
        recipe.total_steps(len(data)),
    )


def captured_or(
    capture: Callable[[Sequence[Pattern]], "Captured"],
    otherwise: Callable[[], Iterator[Logs]],
    step: int,
    recipe: Recipe,
    total: int,
) -> Iterator[Logs]:
    """Take the steps that are left captured, or otherwise with a warning.

    Args:
        capture: captures steps of some patterns of penalties.
        otherwise: takes the steps if they cannot be captured.
        step: number of steps taken.
        recipe: the settings.
        total: number of all steps.
    """
    if step >= total:
        return
    found = patterns(recipe, total)
    if len(found) > PATTERNS:
        warnings.warn(
            f"this recipe has {len(found)} patterns of penalties, more than the {PATTERNS} that "
            "are captured, so that it trains more slowly; use a penalty_every that d_steps divides",
            stacklevel=3,
        )
        yield from otherwise()
        return
    try:
        captured = capture(found)
    except RuntimeError as error:
        if launch.size() > 1 and isinstance(error, torch.OutOfMemoryError):
            raise  # the other processes may have captured theirs
        reason = str(error).partition("\n")[0]
        warnings.warn(
            f"this step cannot be captured, so that it trains more slowly ({reason})", stacklevel=3
        )
        yield from otherwise()
        return
    yield from captured.run()


def best_steps(device: torch.device) -> Callable[..., Iterator[Logs]]:
    """Return the fastest way to train on a device: captured steps on CUDA, else eager ones."""
    return steps if device.type == "cuda" else eager.steps


def patterns(recipe: Recipe, total: int) -> list[Pattern]:
    """Return the distinct patterns of penalties of the steps of a training."""
    period = math.lcm(recipe.discriminator.steps, recipe.objective.penalty_every)
    count = min(total, period // recipe.discriminator.steps)
    return list(dict.fromkeys(penalties_due(recipe, step) for step in range(count)))


class Captured:
    """A state with a graph for each pattern of penalties, and the ring that these read."""

    def __init__(
        self,
        state: State,
        recipes: Recipe | Sequence[Recipe],
        loss: Loss,
        data: Samples,
        precision: Precision,
        found: Sequence[Pattern],
        masks: Masks | None = None,
    ) -> None:
        """Capture the steps of a recipe, or of members, see fused.py.

        Args:
            state: networks and optimizers; of members, stacked.
            recipes: the settings.
            loss: the recipe's loss; of members, for logits (M, N).
            data: the real samples.
            precision: of matrix products and convolutions.
            found: patterns of penalties.
            masks: draws the masks of members.
        """
        self.recipes = [recipes] if isinstance(recipes, Recipe) else recipes
        self.fused, self.recipe, self.masks = recipes is self.recipes, self.recipes[0], masks
        self.state, self.loss, self.data, self.precision = state, loss, data, precision
        self.device = next(state.generator.parameters()).device
        self.total = self.recipe.total_steps(len(data))
        self.cursor = torch.tensor([state.step], device=self.device)
        state.generator.train()
        state.discriminator.train()
        values = data.values.to(self.device) if _fits(data, self.device) else None
        # one stream for all: nodes of a warm-up that are still alive would join another's capture
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.resident = None if values is None else Samples(values, data.labels)
        self.maker = RingMaker(recipes, data, self.resident is not None, self._warm_up(found))
        gpu = self.device.type == "cuda"
        self.hosts = [self.maker.new(pin=gpu) for _ in range(2)]
        self.ring = Ring(*(torch.empty_like(part, device=self.device) for part in self.hosts[0]))
        self.copied = [torch.cuda.Event() if gpu else None for _ in self.hosts]
        pool = torch.cuda.graph_pool_handle() if gpu else None
        self.programs = {pattern: self._program(pattern, pool) for pattern in found}

    def run(self) -> Iterator[Logs]:
        """Take the steps that are left, with draws made a ring ahead."""
        rows, first = len(self.ring.floats), self.state.step
        with ThreadPoolExecutor(1) as thread:
            made = thread.submit(self._fill, 0, first)
            for turn, begin in enumerate(range(first, self.total, rows)):
                made.result()
                for ours, theirs in zip(self.ring, self.hosts[turn % 2], strict=True):
                    ours.copy_(theirs, non_blocking=True)
                if (event := self.copied[turn % 2]) is not None:
                    event.record()
                made = thread.submit(self._fill, (turn + 1) % 2, begin + rows)
                for step in range(begin, min(begin + rows, self.total)):
                    yield self._take(step)

    def _fill(self, number: int, begin: int) -> None:
        """Make the draws of the steps from begin, once the host's ring was copied to the device."""
        if (event := self.copied[number]) is not None:
            event.synchronize()
        self.maker.fill(self.hosts[number], begin, self.total)

    def _take(self, step: int) -> Logs:
        """Take one step."""
        program = self.programs[penalties_due(self.recipe, step)]
        if not isinstance(self.state.opt_g.param_groups[0]["lr"], Tensor):
            set_rates(self.state, self.recipe, step / self.total)
        devices = [self.device] if self.device.type == "cuda" else []
        if draws_on_device(self.recipe) and not self.fused:
            with torch.random.fork_rng(devices):
                seed_all(step_seed(self.recipe, step), self.device)
                logs = program()
        else:
            logs = program()
        self.state.step += 1
        return logs

    def _warm_up(self, found: Sequence[Pattern]) -> dict[Pattern, list[Request]]:
        """Take a step of each pattern, so that libraries and optimizers allocate what they need.

        Returns:
            What a step of each pattern asks for. The state is as before.
        """
        before = {id(tensor): tensor.clone() for tensor in _tensors(self.state)}
        requests = {}
        set_rates(self.state, self.recipe, self.state.step / self.total)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), _on(self.stream):
                for pattern in list(found) * WARM_UP:
                    recorders = [Recorder(r, self.data, self.device) for r in self.recipes]
                    draws = MemberDraws(recorders) if self.fused else recorders[0]
                    draws.begin(self.state.step)
                    self._take_step(draws, pattern)
                    requests[pattern] = recorders[0].requests
        finally:
            with torch.no_grad():
                for tensor in _tensors(self.state):  # those of a new optimizer were zeros
                    tensor.copy_(before.get(id(tensor), torch.zeros_like(tensor)))
            for optimizer in (self.state.opt_g, self.state.opt_d):
                optimizer.zero_grad(set_to_none=True)
        return requests

    def _take_step(self, draws: Draws, pattern: Pattern) -> Logs:
        """Take the step that the cursor has reached."""
        if self.masks is not None:
            self.masks.begin(self.cursor)
        with computing(self.precision, self.device):
            return take_step(self.state, self.recipe, self.loss, draws, pattern)

    def _program(self, pattern: Pattern, pool: Any) -> Program:
        """Return a step of one pattern: a graph, or on a CPU the function that it would capture."""
        state = self.state

        def program() -> Logs:
            draws = RowDraws(self.ring, self.cursor, self.recipe, self.resident)
            rates = draws.floats[..., -2:].unbind(-1)
            for optimizer, rate in zip((state.opt_g, state.opt_d), rates, strict=True):
                for group in optimizer.param_groups:
                    if isinstance(group["lr"], Tensor):
                        own = rate[group["members"].start] if self.fused else rate
                        group["lr"].copy_(own)
            logs = self._take_step(draws, pattern)
            self.cursor.add_(1)
            if state.nonfinite is not None:
                latch(state.nonfinite, self.cursor, logs)
            return logs

        if pool is None:
            return program
        graph = torch.cuda.CUDAGraph()
        # threads of NCCL, and those that draw for other runs, wait for events meanwhile
        with torch.cuda.graph(graph, pool, self.stream, "thread_local"):
            logs = program()

        def replay() -> Logs:
            graph.replay()
            return logs

        return replay


def _fits(data: Samples, device: torch.device) -> bool:
    """Return whether a device holds the data in at most half of its free memory."""
    if device.type != "cuda":
        return True
    return data.values.nbytes <= torch.cuda.mem_get_info(device)[0] / 2


def draws_on_device(recipe: Recipe) -> bool:
    """Return whether networks may draw random numbers themselves, on the device.

    Graphs that do read seed and offset of PyTorch's only generator from one place of its memory,
    so that they must not be replayed on several streams at once.
    """
    dropout = recipe.generator.dropout > 0 or recipe.discriminator.dropout > 0
    return dropout or recipe.network.model not in MODELS


def _tensors(state: State) -> list[Tensor]:
    """Return all tensors that a step changes."""
    nets = {id(net): net for net in (state.generator, state.discriminator, state.ema)}
    found = [t for net in nets.values() for t in (*net.parameters(), *net.buffers())]
    kept = [k for opt in (state.opt_g, state.opt_d) for k in opt.state.values()]
    found += [value for values in kept for value in values.values() if isinstance(value, Tensor)]
    return found if state.nonfinite is None else [*found, state.nonfinite]


@contextlib.contextmanager
def _on(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Run on a stream, if there is one, after what the current one has to do, and before more."""
    if stream is None:
        yield
        return
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(stream.device).wait_stream(stream)
