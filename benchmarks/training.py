"""Images per second of training, against a baseline loop on the same networks and data.

    python benchmarks/training.py [turns]

The loops take turns, each in a process of its own and for the same number of steps. Ours is what
`ganatomy train` runs, rows and TensorBoard on. The baseline is what tutorials show: a DataLoader
of PIL images, PyTorch's layers as they come, a gradient of D that G's update computes and nobody
uses, and six numbers that are read at every step. Prints markdown.
"""

import itertools
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ganatomy.data import DATASETS, Samples, Size
from ganatomy.gan.cost import predict_cost
from ganatomy.gan.machine import environment
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Precision, Recipe, RunOptions
from ganatomy.training.loop import run_steps


@dataclass(frozen=True)
class Workload:
    """A recipe and how many steps one turn of it takes."""

    name: str
    recipe: Recipe
    turn: int


DIGITS = DATASETS["mnist10k"].load(Path())
_SIXTEEN = RECIPES["capacity-z100-g16-d16"].recipe
WORKLOADS = [
    Workload("MLP, batch 100", RECIPES["basic-gan"].recipe, 200),
    Workload("DCGAN 28 px, 16 channels, batch 64", _SIXTEEN, 100),
    Workload("DCGAN 28 px, 100 channels, batch 64", RECIPES["capacity-z100-g100-d100"].recipe, 15),
    Workload("DCGAN 64 px, batch 64", RECIPES["dcgan64"].recipe, 6),
    Workload("DCGAN CIFAR size, batch 128", RECIPES["dcgan-cifar10"].recipe.replace(batch=128), 8),
]


def data_of(recipe: Recipe) -> Samples:
    """Digits at the recipe's shape; for CIFAR-10 noise, which takes as long."""
    if recipe.data.dataset == "cifar10":
        rng = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (10_000, 3, 32, 32), dtype=torch.uint8, generator=rng)
        return Samples(pixels, torch.zeros(10_000, dtype=torch.long))
    return DATASETS["mnist10k"].load(Path(), "train", recipe.data.shape)


class Images(Dataset[Tensor]):
    """A dataset as tutorials have it: decoded images that are transformed one by one."""

    def __init__(self, samples: Samples, side: int) -> None:
        gray = samples.shape[0] == 1
        arrays = samples.values.permute(0, 2, 3, 1).numpy()
        self.images = [Image.fromarray(a[:, :, 0] if gray else a) for a in arrays]
        resize = [transforms.Resize(side)] if samples.shape[1] != side else []
        normal = transforms.Normalize((0.5,) * samples.shape[0], (0.5,) * samples.shape[0])
        self.transform = transforms.Compose([*resize, transforms.ToTensor(), normal])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.images[index])


def plain(net: nn.Module) -> nn.Module:
    """The same network of PyTorch's own layers, with D's probabilities at the end."""
    layers: list[nn.Module] = []
    for layer in net.children():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kind = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.ConvTranspose2d
            sizes = layer.in_channels, layer.out_channels, layer.kernel_size[0]
            where = layer.stride[0], layer.padding[0]
            layer = kind(*sizes, *where, bias=layer.bias is not None)  # type: ignore[arg-type]
        layers.append(layer)
    logits = any(isinstance(layer, nn.Tanh) for layer in layers)
    return nn.Sequential(*layers, *([] if logits else [nn.Sigmoid()]))


def baseline(recipe: Recipe, data: Samples) -> Iterator[dict[str, float]]:
    """Train as tutorials do, for ever, yielding what they print."""
    state = State.new(recipe, recipe.data.shape or data.shape)
    g, d = plain(state.generator), plain(state.discriminator)
    g.to(memory_format=torch.contiguous_format), d.to(memory_format=torch.contiguous_format)
    betas = (recipe.training.beta1, recipe.training.beta2)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), lr=2e-4, betas=betas) for n in (g, d))
    bce, batch = nn.BCELoss(), recipe.training.batch
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    side = (recipe.data.shape or data.shape)[-1]
    raw = DIGITS if recipe.data.dataset == "mnist" else data  # resized one by one, if at all
    loader = DataLoader(Images(raw, side), batch, shuffle=True, drop_last=True)
    for real in itertools.chain.from_iterable(itertools.repeat(loader)):
        d.zero_grad()
        on_real = d(real)
        loss_real = bce(on_real, ones)
        loss_real.backward()
        fake = g(torch.randn(batch, recipe.network.z_dim))
        on_fake = d(fake.detach())
        loss_fake = bce(on_fake, zeros)
        loss_fake.backward()
        opt_d.step()
        g.zero_grad()
        if not recipe.training.same_fakes:
            fake = g(torch.randn(batch, recipe.network.z_dim))
        after = d(fake)
        loss_g = bce(after, ones)
        loss_g.backward()
        opt_g.step()
        shown = (loss_real, loss_fake, loss_g, on_real.mean(), on_fake.mean(), after.mean())
        yield dict(zip("abcdef", (value.item() for value in shown), strict=True))


def ours(
    recipe: Recipe, data: Samples, folder: Path, precision: Precision, device: str = "cpu"
) -> Iterator[object]:
    """Train as users do, in a run folder, yielding after each step."""
    if recipe.data.dataset == "cifar10":
        file = folder / "noise.npz"
        np.savez(file, images=data.values.permute(0, 2, 3, 1).numpy())
    dataset = str(file) if recipe.data.dataset == "cifar10" else "mnist10k"
    recipe = recipe.replace(dataset=dataset, steps=10**6)
    epoch = math.ceil(60_000 / recipe.training.batch)  # grids and checkpoints as on all of MNIST
    options = RunOptions(device=device, precision=precision, sample_every=epoch, save_every=epoch)
    yield from itertools.islice(run_steps(recipe, folder / "run", options), 1, None)


def bare(recipe: Recipe, data: Samples) -> Iterator[object]:
    """Our loop with nothing around it: no folder, rows, grids or checkpoints."""
    recipe = recipe.replace(steps=10**6)
    return steps(State.new(recipe, data.shape), recipe, data)


def work(pipe: Connection, number: int, loop: str) -> None:
    """Run one loop in its own process: take as many steps as asked for, answer their seconds."""
    recipe = WORKLOADS[number].recipe
    data = data_of(recipe)
    with tempfile.TemporaryDirectory() as folder:
        if loop == "baseline":
            stepping: Iterator[object] = baseline(recipe, data)
        elif loop == "bare":
            stepping = bare(recipe, data)
        else:
            stepping = ours(recipe, data, Path(folder), "bf16" if loop == "bf16" else "fp32")
        for n in iter(pipe.recv, 0):
            pipe.send(seconds(stepping, n))


def seconds(stepping: Iterator[object], n: int) -> float:
    """How long n steps take."""
    begun = time.perf_counter()
    for _ in itertools.islice(stepping, n):
        pass
    return time.perf_counter() - begun


def peak(dtype: torch.dtype) -> float:
    """The most FLOP/s that any of a few large convolutions reaches."""
    best = 0.0
    for channels, side, kernel in ((128, 32, 3), (256, 16, 3), (256, 16, 4), (512, 8, 3)):
        layer = nn.Conv2d(channels, channels, kernel, padding=1).to(dtype)
        layer.to(memory_format=torch.channels_last)
        x = torch.randn(64, channels, side, side, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            flops = 2 * layer(x).numel() * channels * kernel**2
            times = [timed(lambda: layer(x)) for _ in range(8)]  # noqa: B023
        best = max(best, flops / statistics.median(times[2:]))
    return best


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(
    number: int, rounds: int, names: Sequence[str] = ("baseline", "fp32", "bf16"), turn: int = 0
) -> dict[str, list[float]]:
    """Images per second of each turn of each loop; the first turn of each is not counted."""
    workload, context = WORKLOADS[number], multiprocessing.get_context("spawn")
    turn = turn or workload.turn
    pipes: dict[str, Connection] = {}
    for loop in names:
        pipes[loop], theirs = context.Pipe()
        context.Process(target=work, args=(theirs, number, loop), daemon=True).start()
    found: dict[str, list[float]] = {loop: [] for loop in pipes}
    for loop, pipe in list(pipes.items()) * (rounds + 1):
        pipe.send(turn)
        found[loop].append(workload.recipe.training.batch * turn / pipe.recv())
    for pipe in pipes.values():
        pipe.send(0)
    return {loop: rates[1:] for loop, rates in found.items()}


def main(rounds: int = 7) -> None:
    """Print the tables."""
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    print("## Training\n")
    print(f"`python benchmarks/training.py {rounds}`; images per second, median of {rounds} turns")
    print("(slowest to fastest), and how many times the baseline's.\n")
    print("| workload | baseline | fp32 | × | of peak | bf16 | × | of peak |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for number, workload in enumerate(WORKLOADS):
        rates = compare(number, rounds)
        recipe = workload.recipe
        size = Size(60_000, recipe.data.shape or data_of(recipe).shape)
        cost = predict_cost(recipe, size, RunOptions(device="cpu"), measure=False)
        flops = (cost.d_flops + cost.g_flops) / recipe.training.batch
        middle = {name: statistics.median(found) for name, found in rates.items()}
        cells = [workload.name, spread(rates["baseline"])]
        for name, most in peaks.items():
            ratio = middle[name] / middle["baseline"]
            cells += [spread(rates[name]), f"{ratio:.2f}", f"{middle[name] * flops / most:.0%}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nPeak of large convolutions: {peaks['fp32'] / 1e9:.0f} GFLOP/s in fp32, ", end="")
    print(f"{peaks['bf16'] / 1e9:.0f} in bf16.\n")
    overhead()
    where = environment()
    print(f"{where['cpu']}, {where['cores']} cores, {where['threads']} threads; Python ", end="")
    print(f"{where['python']}, torch {where['torch']}, ganatomy {where['ganatomy']}.")


def overhead(rounds: int = 3) -> None:
    """Print what rows, TensorBoard, grids and checkpoints cost, as often as on all of MNIST."""
    print("Rows, TensorBoard, sample grids and checkpoints at the default intervals: whole epochs")
    print(f"of 60,000 images, median of {rounds}:\n")
    print("| workload | alone | with them | costs |\n|---|---:|---:|---:|")
    for number in (0, 1):
        epoch = math.ceil(60_000 / WORKLOADS[number].recipe.training.batch)
        rates = compare(number, rounds, ("bare", "fp32"), epoch)
        alone, loaded = (statistics.median(found) for found in rates.values())
        cells = (spread(rates["bare"]), spread(rates["fp32"]), f"{alone / loaded - 1:.1%}")
        print(f"| {WORKLOADS[number].name} | {' | '.join(cells)} |", flush=True)
    print()


def spread(rates: list[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
