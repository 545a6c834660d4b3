"""What a recipe builds, layer by layer, and what a step of it costs; none of its data is needed."""

import io
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from ganatomy.data import DATASETS, Samples, Size
from ganatomy.figures.images import GRID
from ganatomy.gan.step import Logs, State, steps
from ganatomy.recipes.recipe import Precision, Recipe, RunOptions

LEAST_SECONDS, LEAST_STEPS, MOST_SECONDS = 1.0, 3, 20.0
"""How long steps are timed: so long and so many at least; none begins after the last."""


def known_size(recipe: Recipe) -> Size | None:
    """Return the size of the recipe's dataset in the recipe's shape; None if it must be loaded.

    Raises:
        ValueError: if points are to have a shape of images.
    """
    name = recipe.data.dataset
    size = DATASETS[name].size if name in DATASETS else None
    if size is None or recipe.data.shape is None:
        return size
    if len(size.shape) != 3:
        raise ValueError(f"{recipe.data.dataset} is points, whose shape is fixed; leave out shape")
    return Size(size.n, recipe.data.shape, size.mapped)


@dataclass(frozen=True)
class Layer:
    """A layer, or a block that the layers of greater depth below it belong to."""

    path: str
    """where it is in the network, such as 4.query"""
    kind: str
    settings: str
    """in short, such as 4x4 s2 p1: a kernel of 4 x 4 with stride 2 and padding 1"""
    depth: int
    """how many blocks it is in"""
    output: tuple[int, ...]
    """shape, the batch first"""
    parameters: int
    """its own, without those of layers that have a line of their own"""


@torch.no_grad()
def layers(net: nn.Module, given: Tensor) -> list[Layer]:
    """Run a network on a batch, in evaluation, and return its layers in order of execution.

    A block comes before what is in it; a module that is used twice comes once, with the shape of
    its first use. The network stays as it is.
    """
    places = {module: (path, depth) for path, module, depth in _modules(net, "", 0)}
    outputs: dict[nn.Module, tuple[int, ...]] = {}

    def begin(module: nn.Module, _: Any) -> None:
        outputs.setdefault(module, ())

    def end(module: nn.Module, _: Any, output: Tensor) -> None:
        outputs[module] = outputs[module] or tuple(output.shape)

    hooks = [module.register_forward_pre_hook(begin) for module in places]
    hooks += [module.register_forward_hook(end) for module in places]
    training = net.training
    try:
        net.eval()(given)  # batch norm cannot train on a batch of 1
    finally:
        for hook in hooks:
            hook.remove()
        net.train(training)
    return [_layer(module, *places[module], shape) for module, shape in outputs.items()]


def _modules(module: nn.Module, path: str, depth: int) -> Iterator[tuple[str, nn.Module, int]]:
    """All modules that have a line: neither mere sequences nor what makes spectral weights."""
    if not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        yield path, module, depth
        depth += 1
    for name, child in _inside(module):
        yield from _modules(child, f"{path}.{name}".lstrip("."), depth)


def _inside(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if name != "parametrizations"]


def _layer(module: nn.Module, path: str, depth: int, output: tuple[int, ...]) -> Layer:
    inner = {p for _, child in _inside(module) for p in child.parameters()}
    own = sum(p.numel() for p in module.parameters() if p not in inner)
    kind = parametrize.type_before_parametrizations(module)
    settings = [_SETTINGS[kind](module)] if kind in _SETTINGS else []
    if parametrize.is_parametrized(module):  # by nothing but models.normalise
        settings.append("spectral")
    return Layer(path, kind.__name__, ", ".join(settings), depth, output, own)


def _convolution(module: nn.Conv2d | nn.ConvTranspose2d) -> str:
    stride = f" s{module.stride[0]}" if module.stride[0] != 1 else ""
    padding = f" p{module.padding[0]}" if module.padding[0] != 0 else ""
    bias = ", no bias" if module.bias is None else ""
    return f"{'x'.join(map(str, module.kernel_size))}{stride}{padding}{bias}"


_SETTINGS: dict[type[nn.Module], Callable[[Any], str]] = {
    nn.Linear: lambda module: f"{module.in_features}→{module.out_features}",
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    nn.LeakyReLU: lambda module: f"{module.negative_slope:g}",
    nn.Dropout: lambda module: f"{module.p:g}",
}


@dataclass(frozen=True)
class Cost:
    """What steps that were really taken, on random samples, have cost."""

    d_flops: int
    """of one step up to its last update of D, fakes included"""
    g_flops: int
    """of the rest of it"""
    growth: int | None = None
    """bytes more that the first step needed, of the process or for CUDA of the device; None: not
    known, or not measured"""
    seconds: tuple[float, ...] = ()
    """of each step that was timed"""


def cost(state: State, recipe: Recipe, *, measure: bool, precision: Precision = "fp32") -> Cost:
    """Count one step's operations and, if asked to, measure its memory and time more steps.

    A multiplication with its addition is 2 FLOPs. Matrix products and convolutions are counted, of
    backward passes and gradient penalties too; what costs less by an order (activations, norms,
    optimisers) is not. The state is trained on noise and good for nothing afterwards.
    """
    device = next(state.generator.parameters()).device
    stepping = steps(state, recipe.replace(steps=10**9), _random(recipe, state.shape), precision)
    before = peak(device, forget=True)
    d_flops, g_flops = _count(state, stepping)
    growth = peak(device) - before
    if not measure:
        return Cost(d_flops, g_flops)
    return Cost(d_flops, g_flops, growth or None, tuple(_timed(stepping, device)))


def _random(recipe: Recipe, shape: tuple[int, ...]) -> Samples:
    n, rng = recipe.images_per_step, torch.Generator().manual_seed(0)
    # points too: bytes are taken as values in [-1, 1]
    values = torch.randint(0, 256, (n, *shape), generator=rng, dtype=torch.uint8)
    return Samples(values, torch.zeros(n, dtype=torch.long))


def _count(state: State, stepping: Iterator[Logs]) -> tuple[int, int]:
    """FLOPs of the next step, up to D's last update and after it."""
    updates: list[int] = []
    with FlopCounterMode(display=False) as counter:
        # only totals are wanted; following modules fails where gradients are differentiated again
        counter.mod_tracker.__exit__()
        now = counter.get_total_flops
        hook = state.opt_d.register_step_post_hook(lambda *_: updates.append(now()))
        next(stepping)
    hook.remove()
    return updates[-1], now() - updates[-1]


def _timed(stepping: Iterator[Logs], device: torch.device) -> Iterator[float]:
    spent, taken = 0.0, 0
    while spent < MOST_SECONDS and (spent < LEAST_SECONDS or taken < LEAST_STEPS):
        began = time.perf_counter()
        next(stepping)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        yield (seconds := time.perf_counter() - began)
        spent, taken = spent + seconds, taken + 1


def peak(device: torch.device, *, forget: bool = False) -> int:
    """Most bytes in use at once, of the device for CUDA, else of this process; 0: not known.

    Forgetting brings it down to what is in use now; for a process only Linux can.
    """
    if device.type == "cuda":
        if forget:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    with suppress(OSError, IndexError):  # Linux: ru_maxrss is first the parent's
        if forget:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory(state: State, size: Size) -> dict[str, int]:
    """Bytes of all that a training keeps, from a state that has taken a step; all are computed.

    Weights are parameters and buffers of G, D and, if there is one, averaged G; a pixel of data is
    one byte, a coordinate of a point four.
    """
    nets = {state.generator, state.discriminator, state.ema}
    slots = [*state.opt_g.state.values(), *state.opt_d.state.values()]
    checkpoint = io.BytesIO()
    torch.save(state.state_dict(), checkpoint)
    return {
        "weights": _bytes(t for net in nets for t in net.state_dict().values()),
        "gradients": _bytes([*state.generator.parameters(), *state.discriminator.parameters()]),
        "optimiser": _bytes(t for slot in slots for t in slot.values() if torch.is_tensor(t)),
        "data": size.n * math.prod(size.shape) * (1 if len(size.shape) == 3 else 4),
        "checkpoint": checkpoint.tell(),
    }


ROW, BOARD = 311, 431
"""Bytes of a logged row, in log.jsonl and in TensorBoard's file; measured."""

GRID_SHARE = 0.7
"""Of a sample grid's pixels, its size as PNG: 0.45 to 0.85 for digits that networks drew."""

SEAL = 400
"""Bytes of a checkpoint beside a state: its checksum, its recipe's key, its rows; measured."""


def disk(checkpoint: int, recipe: Recipe, size: Size, options: RunOptions) -> int:
    """Bytes that a run folder will have at its end; measurements come on top.

    Args:
        checkpoint: bytes of one, see memory.
        recipe: what is trained.
        size: of its data.
        options: how often what is kept.
    """
    total, epoch = recipe.total_steps(size.n), math.ceil(size.n / recipe.images_per_step)
    saves = math.ceil(total / (options.save_every or epoch))
    rows = math.ceil(total / options.log_every)
    grids = 2 + math.ceil(total / (options.sample_every or epoch))
    grid = GRID * math.prod(size.shape) * GRID_SHARE if len(size.shape) == 3 else 10_000
    kept = min(saves, options.keep or saves) * (checkpoint + SEAL)
    return round(kept + rows * (ROW + BOARD) + grids * grid)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
