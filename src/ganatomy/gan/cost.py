"""Predicted cost of training a recipe: parameters, FLOPs, time, memory and disk space."""

import dataclasses
import math
import statistics
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ganatomy.data import DATASETS, Samples, Size, data_root, load
from ganatomy.figures.images import GRID
from ganatomy.gan.captured import best_steps
from ganatomy.gan.machine import numerics, pick_device
from ganatomy.gan.state import State
from ganatomy.gan.step import Logs, steps
from ganatomy.recipes.recipe import Recipe, RunOptions, data_source

LEAST_SECONDS, LEAST_STEPS, MOST_SECONDS = 1.0, 3, 20.0
"""Timing goes on for at least this time and this many steps; no step begins after the last."""

FREE_SHARE = 0.8
"""Part of a device's free memory that a group may take; the rest is for libraries and rings."""

ROW, POINTS_GRID, PNG_SHARE = 750, 10_000, 0.7
"""Bytes on disk of a logged row and of a plot of points, and of a PNG per pixel value: typical."""


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a run: counted, computed from sizes, or measured on random samples.

    FLOPs are those of matrix products and convolutions, a multiplication with its addition being 2.
    Backward passes and gradient penalties are included; activations, norms and optimizers, which
    cost much less, are not.
    """

    g_parameters: int
    d_parameters: int
    d_flops: int
    """of all discriminator updates of a step, with the fakes that they need"""
    g_flops: int
    """of the rest of a step"""
    steps: int
    """of the whole run"""
    images_per_step: int
    """real samples"""
    timed: int
    """number of timed steps"""
    step_seconds: float | None
    """median of the timed steps"""
    run_seconds: float | None
    """of all steps, without sample grids, checkpoints and evaluations"""
    weights: int
    """bytes of memory: parameters and buffers of G, D and the averaged G"""
    gradients: int
    """bytes of memory"""
    optimizers: int
    """bytes of memory"""
    working: int
    """most bytes that a step with penalties has allocated at once, activations and gradients
    included; workspaces of libraries are not"""
    data: int
    """bytes of the dataset: 1 for a pixel value, 4 for a coordinate of a point"""
    members: int | None
    """of a group that the free memory of the CUDA device holds, see fused.py; None on others"""
    growth: int | None
    """bytes by which the process (CUDA: the device) grew in its first step; None if unknown"""
    disk_bytes: int
    """approximate bytes of the finished run folder, without evaluations, to two digits"""

    @property
    def member(self) -> int:
        """Bytes of memory of one member of a group, without data."""
        return self.weights + self.optimizers + self.working

    def to_dict(self) -> dict[str, Any]:
        """Return the cost as JSON holds it."""
        return dataclasses.asdict(self)


def predict_cost(
    recipe: Recipe, size: Size, options: RunOptions | None = None, *, measure: bool = True
) -> Cost:
    """Take one training step on random samples to count its operations, and time some more.

    Args:
        recipe: the settings.
        size: of the dataset; its samples are not needed.
        options: device, threads, precision, and intervals of rows, grids and checkpoints.
        measure: whether to measure memory and time steps, for 1 to 20 seconds.

    Raises:
        ValueError: for a recipe that cannot be built, or an absent device.
    """
    options = options or RunOptions()
    device = pick_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    state = State.new(recipe, size.shape, device, options.precision)
    data = _random(recipe, size.shape)
    arguments = (state, recipe.replace(steps=10**9), data, options.precision)
    with numerics(device, options.precision, options.fast):
        stepping = steps(*arguments)
        before = peak(device, reset=True)
        d_flops, g_flops = _count(state, stepping)
        growth = peak(device) - before if measure else 0
        state.step = _with_penalties(recipe)
        with Allocations() as allocated:
            next(stepping)
        if device.type == "cuda":
            stepping = best_steps(device)(*arguments)
        seconds = [*_timed(stepping, device)] if measure else []
    step = statistics.median(seconds) if seconds else None
    total, nets = recipe.total_steps(size.n), (state.generator, state.discriminator)
    weights = _bytes(t for net in {*nets, state.ema} for t in net.state_dict().values())
    slots = [*state.opt_g.state.values(), *state.opt_d.state.values()]  # none before a step
    optimizers = _bytes(t for slot in slots for t in slot.values() if torch.is_tensor(t))
    cost = Cost(
        g_parameters=sum(p.numel() for p in state.generator.parameters()),
        d_parameters=sum(p.numel() for p in state.discriminator.parameters()),
        d_flops=d_flops,
        g_flops=g_flops,
        steps=total,
        images_per_step=recipe.images_per_step,
        timed=len(seconds),
        step_seconds=step,
        run_seconds=step * total if step else None,
        weights=weights,
        gradients=_bytes(p for net in nets for p in net.parameters()),
        optimizers=optimizers,
        working=allocated.most,
        members=None,
        data=size.n * math.prod(size.shape) * (1 if len(size.shape) == 3 else 4),
        growth=growth or None,
        disk_bytes=_disk(weights + optimizers, recipe, size, options),
    )
    if device.type != "cuda":
        return cost
    free = torch.cuda.mem_get_info(device)[0] - cost.data
    return dataclasses.replace(cost, members=max(0, int(FREE_SHARE * free) // cost.member))


def step_seconds(recipe: Recipe, size: Size, options: RunOptions) -> float:
    """Return the median seconds of a step as training takes it, on random samples.

    Raises:
        ValueError: as predict_cost does.
    """
    device = pick_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    state = State.new(recipe, size.shape, device, options.precision)
    data = _random(recipe, size.shape)
    with numerics(device, options.precision, options.fast):
        stepping = best_steps(device)(state, recipe.replace(steps=10**9), data, options.precision)
        next(stepping)  # captures, or warms up
        return statistics.median(_timed(stepping, device))


def known_size(recipe: Recipe) -> Size | None:
    """Return the size of the recipe's dataset in the recipe's shape; None if it must be loaded."""
    name, shape = recipe.data.dataset, recipe.data.shape
    size = DATASETS[name].size if name in DATASETS else None
    if size is None or shape is None:
        return size
    return Size(size.n, shape, size.mapped) if len(size.shape) == 3 else None


def dataset_size(recipe: Recipe, options: RunOptions) -> Size:
    """Return the size of the recipe's dataset, which is loaded only if its size is not known.

    Raises:
        ValueError: as data.load does.
    """
    if (known := known_size(recipe)) is not None:
        return known
    root, data = data_root(options.data_root), recipe.data
    name = data_source(recipe, options)
    samples = load(name, root, "train", options.skip_bad, data.shape, data.convert)
    return Size(len(samples), samples.shape, samples.mapped is not None)


class Allocations(TorchDispatchMode):
    """Counts the bytes of new tensors that are in use at once, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._note(tensor.untyped_storage(), 0)  # an older tensor
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._note(tensor.untyped_storage(), tensor.untyped_storage().nbytes())
        return result

    def _note(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = size
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def _tensors(nest: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(nest) if isinstance(leaf, Tensor))


def _with_penalties(recipe: Recipe) -> int:
    """Return the first step with a gradient penalty."""
    return (recipe.objective.penalty_every - 1) // recipe.discriminator.steps


def peak(device: torch.device, *, reset: bool = False) -> int:
    """Return the peak of bytes in use, of a CUDA device or else of this process.

    With reset it starts again from the bytes in use now. 0 for a process where the system is not
    Linux.
    """
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, IndexError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return 0


def _random(recipe: Recipe, shape: tuple[int, ...]) -> Samples:
    n, rng = recipe.images_per_step, torch.Generator().manual_seed(0)
    # for points too: bytes are read as values in [-1, 1]
    values = torch.randint(0, 256, (n, *shape), generator=rng, dtype=torch.uint8)
    return Samples(values, torch.zeros(n, dtype=torch.long))


def _count(state: State, stepping: Iterator[Logs]) -> tuple[int, int]:
    """Return the FLOPs of the next step, up to D's last update and after it."""
    updates: list[int] = []
    with FlopCounterMode(display=False) as counter:
        # only totals are needed; tracking modules fails where gradients are differentiated again
        counter.mod_tracker.__exit__()
        now = counter.get_total_flops
        hook = state.opt_d.register_step_post_hook(lambda *_: updates.append(now()))
        next(stepping)
    hook.remove()
    return updates[-1], now() - updates[-1]


def _timed(stepping: Iterator[Logs], device: torch.device) -> Iterator[float]:
    """Take steps and yield the seconds of each."""
    spent, taken = 0.0, 0
    while spent < MOST_SECONDS and (spent < LEAST_SECONDS or taken < LEAST_STEPS):
        began = time.perf_counter()
        next(stepping)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        yield (seconds := time.perf_counter() - began)
        spent, taken = spent + seconds, taken + 1


def _disk(checkpoint: int, recipe: Recipe, size: Size, options: RunOptions) -> int:
    """Return the approximate bytes of a finished run folder, rounded to two digits."""
    total, epoch = recipe.total_steps(size.n), math.ceil(size.n / recipe.images_per_step)
    saves = math.ceil(total / (options.save_every or epoch))
    grids = 2 + math.ceil(total / (options.sample_every or epoch))
    grid = PNG_SHARE * GRID * math.prod(size.shape) if len(size.shape) == 3 else POINTS_GRID
    rows = total / options.log_every * ROW
    return round(
        float(f"{min(saves, options.keep or saves) * checkpoint + rows + grids * grid:.2g}")
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
