"""Samples of a generator, and interpolations between its latent vectors."""

import copy
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ganatomy.data import derive_seed
from ganatomy.figures.images import grid, png, to_uint8
from ganatomy.gan.draws import draw_latent
from ganatomy.gan.machine import numerics
from ganatomy.gan.state import State
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run
from ganatomy.storage.files import write_atomic

CHUNK = 256
"""Samples generated at a time; constant, so that the i-th depends on the seed and on i only."""

ESTIMATION_CHUNKS = 40
"""Chunks that batch norm statistics are reestimated from: 10,240 samples."""

GeneratorMode = Literal["eval", "train", "reestimated"]
"""Batch norm and dropout as in eval mode, in train mode, or in eval mode with new statistics."""


def load_generator(
    run: Run, file: Path | None = None, weights: Literal["ema", "raw"] = "ema"
) -> tuple[int, nn.Module]:
    """Return the step and the generator of a checkpoint.

    Args:
        run: run.
        file: checkpoint; None means the newest readable one.
        weights: averaged weights, if the recipe averages them, or raw ones.

    Raises:
        ValueError: if the run has no checkpoint yet.
        DamagedError: if the checkpoint cannot be read or belongs to another run.
    """
    file = file or run.checkpoint()
    saved = run.load(file)
    with run.fitting(file):
        state = State.new(run.recipe, tuple(saved["shape"]))
        state.load_state_dict(saved)
    return state.step, state.ema if weights == "ema" else state.generator


@torch.no_grad()
def generate(
    generator: nn.Module, n: int, recipe: Recipe, seed: int, mode: GeneratorMode = "eval"
) -> Tensor:
    """Return n samples in [-1, 1] on the CPU.

    The i-th sample depends on the seed, i and the mode only, so that the first ones of a larger n
    are the same. In mode train it also depends on the other samples of its chunk of 256.

    Args:
        generator: generator of this recipe, which is not changed.
        n: number of samples.
        recipe: recipe, which says how latent vectors are drawn.
        seed: seed of the latent vectors.
        mode: batch norm and dropout.
    """
    device = next(generator.parameters()).device
    devices = [device] if device.type == "cuda" else []
    parts = []
    with torch.random.fork_rng(devices), numerics(device):
        used = _in_mode(generator, mode, recipe, seed)
        for chunk in range(-(-n // CHUNK)):
            torch.manual_seed(derive_seed(seed, chunk, 1))  # of dropout, in mode train
            parts.append(used(_latent(recipe, seed, chunk).to(device)).cpu())
    return torch.cat(parts)[:n]


def _in_mode(generator: nn.Module, mode: GeneratorMode, recipe: Recipe, seed: int) -> nn.Module:
    """Return a copy of a generator in this mode."""
    if mode != "reestimated":
        return copy.deepcopy(generator).train(mode == "train")
    used = copy.deepcopy(generator).eval()  # without dropout, as it will be used
    device = next(generator.parameters()).device
    for module in used.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # cumulative average over the chunks
            module.train()
    for chunk in range(ESTIMATION_CHUNKS):
        used(_latent(recipe, derive_seed(seed, 2), chunk).to(device))
    return used.eval()


def _latent(recipe: Recipe, seed: int, chunk: int) -> Tensor:
    return draw_latent(recipe, CHUNK, torch.Generator().manual_seed(derive_seed(seed, chunk)))


@dataclass(frozen=True, repr=False)
class Interpolation:
    """Samples between pairs of latent vectors. In a notebook it shows itself."""

    samples: Tensor
    """(pairs, k + 1, C, H, W) in [-1, 1], or (pairs, k + 1, 2) for points"""
    jump: tuple[float, ...]
    """largest step over mean step of each pair, in root mean square of pixels: 1 is even change, k
    is a single jump"""
    step: int = 0
    """training step of the generator"""
    slerp: bool = False
    """whether the path is the arc between the vectors, or straight"""
    out: Path | None = None
    """file that the image was written to"""

    @property
    def mean_jump(self) -> float:
        """Mean of jump over pairs."""
        return sum(self.jump) / len(self.jump)

    def show(self) -> Image.Image:
        """Return the image with a row for each pair.

        Raises:
            ValueError: for samples that are points.
        """
        if self.samples.ndim != 5:
            raise ValueError("samples are points; only images can be shown in rows")
        pixels = to_uint8(self.samples.flatten(0, 1))
        return Image.open(io.BytesIO(png(grid(pixels, columns=self.samples.shape[1]))))

    def save(self, path: str | Path) -> "Interpolation":
        """Write the image to a .png file and return a copy that knows the file.

        Raises:
            ValueError: for another suffix, or samples that are points.
        """
        path = check_suffix(path, ".png")
        buffer = io.BytesIO()
        self.show().save(buffer, "PNG")
        write_atomic(path, buffer.getvalue())
        return replace(self, out=path)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the samples as JSON holds it."""
        return {
            "out": None if self.out is None else str(self.out),
            "step": self.step,
            "path": "arc" if self.slerp else "straight",
            "jump": list(self.jump),
            "mean_jump": self.mean_jump,
        }

    def __repr__(self) -> str:
        k = self.samples.shape[1] - 1
        where = "" if self.out is None else f": {self.out}"
        return (
            f"{len(self.jump)} interpolations of {k} steps at step {self.step:,}{where}\n"
            f"largest step over mean step: {self.mean_jump:.2f} (1 is even change, {k} a single "
            "jump)"
        )

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.show().save(buffer, "PNG")
        return buffer.getvalue()


def check_draw(n: int, seed: int) -> None:
    """Check the number of samples and the seed of their latent vectors.

    Raises:
        ValueError: for n below 1 or a negative seed.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"n must be at least 1 and seed at least 0, got {n} and {seed}")


def check_suffix(path: str | Path, *suffixes: str) -> Path:
    """Return a path that ends in one of the suffixes.

    Raises:
        ValueError: if it does not.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        *most, last = suffixes
        ends = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"the file must end in {ends}, got {path}")
    return path


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return a + t (b - a), t in [0, 1]: points on the straight line between latent vectors."""
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return points on the arc between vectors (..., z_dim), at shares t of their angle.

    Shoemake 1985. Unlike a straight line, an arc keeps the typical length of normal vectors in many
    dimensions. Between vectors of one direction it is a straight line.
    """
    cosine = (F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(-1, keepdim=True)
    angle = cosine.clamp(-1, 1).acos()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return torch.where(angle.sin() < 1e-4, lerp(a, b, t), arc)


@torch.no_grad()
def interpolate(
    generator: nn.Module, pairs: int, k: int, recipe: Recipe, seed: int, curved: bool = False
) -> Interpolation:
    """Generate k + 1 samples from one latent vector to another, for each of several pairs.

    Args:
        generator: generator of this recipe, which is not changed.
        pairs: number of pairs of latent vectors.
        k: number of steps from one vector to the other.
        recipe: recipe, which says how latent vectors are drawn.
        seed: seed of the latent vectors.
        curved: follow the arc between the vectors instead of the straight line.
    """
    ends = torch.cat([_latent(recipe, seed, chunk) for chunk in range(-(-2 * pairs // CHUNK))])
    a, b = ends[: 2 * pairs].view(pairs, 2, 1, -1).unbind(1)
    t = torch.linspace(0, 1, k + 1).view(1, k + 1, 1)
    z = (slerp if curved else lerp)(a, b, t)
    used = copy.deepcopy(generator).eval()
    device = next(used.parameters()).device
    made = torch.stack([used(row.to(device)).cpu() for row in z])
    steps = made.diff(dim=1).flatten(2).square().mean(2).sqrt()
    # a generator of one image changes evenly: its steps are all 0
    jump = steps.amax(1) / steps.mean(1).clamp(min=1e-12)
    return Interpolation(made, tuple(jump.clamp(min=1).tolist()), slerp=curved)
