"""Ways to execute a step on a GPU, compared by the time of its graph: what to choose, and why.

    python benchmarks/gpu_variants.py [--device cuda] [--seconds 0.5] [--only WORD ...] [--kernels]

Ways: channels last or NCHW; cuDNN's own search for algorithms; convolutions as products of
matrices (all, or those whose kernel covers the image or that have few channels); float32, TF32 and
bfloat16; many runs as one program, or each with a graph of its own on a stream of its own. Prints a
line for each: microseconds, and steps per second of all runs together. --kernels lists those that
take the most time.
"""

import argparse
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training import data_of

from ganatomy.gan import fused, members
from ganatomy.gan.captured import Captured, patterns
from ganatomy.gan.machine import numerics
from ganatomy.gan.state import State, check_recipe
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Precision

ENDLESS = 10**6
FEW = 4
"""Channels of a thin convolution at most."""

FORMATS = {"channels last": torch.channels_last, "nchw": torch.contiguous_format}
RECIPES_OF = {
    "mlp": RECIPES["basic-gan"].recipe,
    "original": RECIPES["original-gan"].recipe,
    "enhanced": RECIPES["enhanced-gan"].recipe,
    "mnist-fast": RECIPES["mnist-fast"].recipe,
    "dcgan28-16": RECIPES["capacity-z100-g16-d16"].recipe,
    "dcgan64": RECIPES["dcgan64"].recipe,
    "cifar": RECIPES["dcgan-cifar10"].recipe.replace(batch=128),
}
EXACT: tuple[Precision, ...] = ("fp32", "tf32")
CONVOLUTIONS = ("mnist-fast", "dcgan28-16")
LONE: list[tuple[str, Precision]] = [
    ("mnist-fast", "fp32"), ("mnist-fast", "tf32"), ("dcgan28-16", "fp32"), ("enhanced", "fp32"),
    ("dcgan64", "bf16"), ("cifar", "bf16"), ("mlp", "tf32"), ("original", "fp32"),
]  # fmt: skip
WAYS = [
    ("channels last", "none"), ("nchw", "none"), ("channels last", "thin"), ("nchw", "thin"),
    ("nchw", "all"),
]  # fmt: skip
"""Memory formats, and the convolutions that are products"""
MANY = {"mnist-fast": 32, "mlp": 40, "dcgan28-16": 24, "original": 10}
RECIPES_OF = {k: r.replace(epochs=None, steps=ENDLESS) for k, r in RECIPES_OF.items()}


class Unfold(torch.autograd.Function):
    """Patches of images (N, C, H, W) as columns (N, C * kernel, places), in one copy.

    PyTorch's own kernel of it is started once for each image: 1,024 times in a step of mnist-fast,
    three quarters of its time on an H200.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, kernel: int, padding: int, stride: int) -> Tensor:
        """Return the columns."""
        padded = F.pad(x, (padding,) * 4)
        patches = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
        return patches.permute(0, 1, 4, 5, 2, 3).flatten(1, 3).flatten(2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what backward needs."""
        x, *ctx.how = inputs
        ctx.sides = x.shape[2:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Return the gradient, which is the transpose of the gradient given."""
        return Fold.apply(grad, ctx.sides, *ctx.how), None, None, None


class Fold(torch.autograd.Function):
    """The transpose of Unfold: sums of columns at their places in images of the given sides."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        columns: Tensor, sides: tuple[int, int], kernel: int, padding: int, stride: int
    ) -> Tensor:
        """Return the images."""
        return F.fold(columns, sides, kernel, padding=padding, stride=stride)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what backward needs."""
        _, _, *ctx.how = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Return the gradient, which is the transpose of the gradient given."""
        return Unfold.apply(grad, *ctx.how), None, None, None, None


class AsProduct(nn.Module):
    """A convolution as one product of matrices."""

    def __init__(self, old: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight, self.bias = old.weight, old.bias
        self.up = isinstance(old, nn.ConvTranspose2d)
        self.how = old.kernel_size[0], int(old.padding[0]), old.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution (N, C, H, W)."""
        found = self._up(x) if self.up else self._down(x)
        return found if self.bias is None else found + self.bias[:, None, None]

    def _down(self, x: Tensor) -> Tensor:
        kernel, padding, stride = self.how
        sides = [(side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:]]
        columns = Unfold.apply(x, *self.how).transpose(0, 1)
        return (
            (self.weight.flatten(1) @ columns.flatten(1)).view(-1, len(x), *sides).transpose(0, 1)
        )

    def _up(self, x: Tensor) -> Tensor:
        kernel, padding, stride = self.how
        sides = tuple((side - 1) * stride - 2 * padding + kernel for side in x.shape[2:])
        columns = self.weight.flatten(1).T @ x.transpose(0, 1).flatten(1)
        columns = columns.view(len(columns), len(x), -1).transpose(0, 1)
        made: Tensor = Fold.apply(columns, sides, *self.how)
        return made


def as_products(net: nn.Module, which: str) -> nn.Module:
    """Replace convolutions in place: all, or those that are thin or cover the image."""
    for part in list(net.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                thin = min(child.in_channels, child.out_channels) <= FEW or child.stride == (1, 1)
                if which == "all" or (which == "thin" and thin):
                    setattr(part, name, AsProduct(child))
    return net


def lone(
    name: str, device: torch.device, precision: Precision, form: str, products: str, seed: int = 0
) -> Captured:
    """Return the captured step of a run."""
    recipe = RECIPES_OF[name].replace(seed=seed)
    data = data_of(recipe)
    state = State.new(recipe, recipe.data.shape or data.shape, device)
    for net in (state.generator, state.discriminator, state.ema):
        net.to(memory_format=FORMATS[form])
        as_products(net, products)
    found = patterns(recipe, ENDLESS)
    return ready(Captured(state, recipe, check_recipe(recipe), data, precision, found))


def many(name: str, n: int, device: torch.device, precision: Precision, products: str) -> Captured:
    """Return the captured step of members."""
    recipes = [RECIPES_OF[name].replace(seed=seed) for seed in range(n)]
    data = data_of(recipes[0])
    shape = recipes[0].data.shape or data.shape
    old = members.skeleton
    members.skeleton = lambda net: as_products(old(net), products)
    try:
        made = fused.Members(recipes, [State.new(recipe, shape, device) for recipe in recipes])
        found = patterns(recipes[0], ENDLESS)
        return ready(Captured(made.state, recipes, made.loss, data, precision, found, made.masks))
    finally:
        members.skeleton = old


def ready(step: Captured) -> Captured:
    """Fill the ring, so that the step can be taken again and again."""
    step.maker.fill(step.hosts[0], 0, ENDLESS)
    for ours, theirs in zip(step.ring, step.hosts[0], strict=True):
        ours.copy_(theirs)
    return step


def seconds(take: Callable[[], object], device: torch.device, most: float) -> float:
    """Return the time of a call, from as many as fit."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    take(), take()
    synchronize()
    begun, taken = time.perf_counter(), 0
    while taken < 3 or time.perf_counter() - begun < most:
        take(), take()
        synchronize()
        taken += 2
    return (time.perf_counter() - begun) / taken


Step = Captured | Callable[[], object]


def first(step: Captured) -> Callable[[], object]:
    """Return the program of the most frequent pattern of penalties."""
    return step.programs[next(iter(step.programs))]


def on_streams(steps: Sequence[Captured], device: torch.device) -> Callable[[], None]:
    """Return a function that takes one step of each run, each on its own stream."""
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in steps]

    def take() -> None:
        for stream, step in zip(streams, steps, strict=True):
            with torch.cuda.stream(stream):
                first(step)()

    return take


def kernels(take: Callable[[], object]) -> str:
    """Return the kernels that take the most time of a call."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        take()
        torch.cuda.synchronize()
    times, counts = Counter[str](), Counter[str]()
    for event in found.events() or ():
        if "cuda" in str(event.device_type).lower():
            times[event.name[:90]] += event.device_time
            counts[event.name[:90]] += 1
    total = f"    {counts.total()} kernels, {times.total():.0f} us"
    rows = [f"    {counts[name]:4d} x {us:8.0f} us  {name}" for name, us in times.most_common(9)]
    return "\n".join([total, *rows])


def variants(device: torch.device) -> Iterator[tuple[str, int, Callable[[], Step]]]:
    """Yield name, number of runs, and a function that prepares the step."""
    for name, precision in LONE:
        for form, products in WAYS:
            one = functools.partial(lone, name, device, precision, form, products)
            yield f"{name} {precision}, {form}, products: {products}", 1, one
            if products == "none":
                yield f"{name} {precision}, {form}, cuDNN's search", 1, searched(one)
    for name, n in MANY.items():
        for precision in EXACT:
            for products in ("none", "thin", "all") if name in CONVOLUTIONS else ("none",):
                program = functools.partial(many, name, n, device, precision, products)
                yield f"{name} {precision}, one program of {n}, products: {products}", n, program
            for products in ("none", "all") if name in CONVOLUTIONS else ("none",):
                runs = functools.partial(streamed, name, min(n, 16), device, precision, products)
                yield f"{name} {precision}, {min(n, 16)} streams, {products}", min(n, 16), runs


def searched(make: Callable[[], Captured]) -> Callable[[], Captured]:
    """Let cuDNN measure algorithms while a step is captured."""

    def made() -> Captured:
        torch.backends.cudnn.benchmark = True
        try:
            return make()
        finally:
            torch.backends.cudnn.benchmark = False

    return made


def streamed(
    name: str, n: int, device: torch.device, precision: Precision, products: str
) -> Callable[[], object]:
    """Return a function that takes a step of n runs on n streams."""
    make = functools.partial(lone, name, device, precision, "nchw", products)
    return on_streams([make(seed) for seed in range(n)], device)


def main() -> None:
    """Print the time of each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", nargs="*", default=[], help="words that a name must contain")
    parser.add_argument("--kernels", action="store_true")
    args = parser.parse_args()
    device = torch.device(args.device)
    for name, n, make in variants(device):
        if not all(word in name for word in args.only):
            continue
        precision: Precision = "tf32" if "tf32" in name and device.type == "cuda" else "fp32"
        try:
            with numerics(device, precision):
                made = make()
                take = first(made) if isinstance(made, Captured) else made
                each = seconds(take, device, args.seconds)
                print(f"{name}: {each * 1e6:,.0f} us, {n / each:,.0f} steps/s", flush=True)
                if args.kernels and device.type == "cuda":
                    print(kernels(take), flush=True)
        except (RuntimeError, ValueError) as error:  # the others go on
            print(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}", flush=True)


if __name__ == "__main__":
    main()
