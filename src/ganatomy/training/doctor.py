"""What this machine has, whether it is whole, and whether it trains as it should."""

import hashlib
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ganatomy.data import digest, load
from ganatomy.data.mnist import MNIST
from ganatomy.data.published import CIFAR10, FASHION_MNIST, Published, present
from ganatomy.data.samples import Split
from ganatomy.evaluation import classifier
from ganatomy.evaluation.features import INCEPTION_SHA256, inception_file
from ganatomy.gan.cost import cost, disk, known_size, memory
from ganatomy.gan.machine import native_bf16
from ganatomy.gan.step import State, steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Precision, Recipe, RunOptions

EMBEDDED = "mnist10k"

DIGESTS = {
    EMBEDDED: ("308418c487cfdf9c8848e573b405cb7b1ace1d0e276cd5e346dd66cc27dc3aed",),
    "mnist": (
        classifier.MNIST,
        "310a79d8170296feadcc605e7c57a3c87331de95e1bb64a02bca14fe91911b61",
    ),
}
"""dataset -> digests of its training and test images, see data.digest"""

PUBLISHED: dict[str, Published] = {
    "mnist": MNIST,
    "fashion-mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
}

PROBE = Recipe.of(
    dataset=EMBEDDED,
    model="dcgan",
    z_dim=8,
    g_widths=(8,),
    d_widths=(8,),
    g_norm="batch",
    batch=16,
    steps=20,
    ema=0.9,
)
"""What the self-test trains: convolutions, batch norm and averages, on digits of the package."""

GOLDEN = {"d_loss": 1.2795111, "g_loss": 0.6615227, "g_grad": 0.2758953}
"""Logs of its last step on an Intel Xeon with AVX-512 and PyTorch 2.14.1; one thread and two differ
by up to 3e-5 there."""

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

TOLERANCE = 1e-3
"""Relative difference that rounding comes to in 20 steps; bf16, for one, makes it 5e-4."""


class Trained(NamedTuple):
    """What the self-test gave."""

    logs: dict[str, float]
    worst: float
    """largest relative difference to GOLDEN"""
    seconds: float

    @property
    def as_it_should(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.worst <= TOLERANCE


def self_test(device: torch.device) -> Trained:
    """Train 20 steps on a device and compare the losses with what they came to elsewhere."""
    data = load(EMBEDDED, Path(), "train")
    state = State.new(PROBE, data.shape, device)
    begun = time.perf_counter()
    *_, logs = steps(state, PROBE, data)
    found = {name: logs[name].item() for name in GOLDEN}
    worst = max(abs(found[name] / GOLDEN[name] - 1) for name in GOLDEN)
    return Trained(found, math.inf if math.isnan(worst) else worst, time.perf_counter() - begun)


def bf16(device: torch.device) -> str:
    """Say whether a device multiplies in bfloat16 by itself, and what that is worth.

    Instructions alone do not tell: on some processors that have them float32 is faster. So steps of
    the named recipe for it are timed, a second each.
    """
    if not native_bf16(device):
        return "emulated: use --precision fp32"
    recipe = RECIPES["mnist-fast"].recipe.replace(dataset=EMBEDDED, steps=1000)
    seconds = {}
    for precision in PRECISIONS:
        state = State.new(recipe, (1, 28, 28), device)
        timed = cost(state, recipe, measure=True, precision=precision).seconds
        seconds[precision] = statistics.median(timed)
    times = seconds["fp32"] / seconds["bf16"]
    better = "use --precision bf16" if times > 1 else "use --precision fp32"
    return f"native, {times:.2f} times as fast as fp32 for mnist-fast: {better}"


def disk_for(recipe: Recipe) -> int:
    """Bytes that a run of a recipe takes with the usual options; 0 if its data are not known."""
    size = known_size(recipe)
    if size is None:
        return 0
    state = State.new(recipe, size.shape)
    cost(state, recipe, measure=False)
    return disk(memory(state, size)["checkpoint"], recipe, size, RunOptions())


def datasets(root: Path) -> dict[str, str]:
    """Say of each dataset whether it is there and what its checksum says."""
    found = {EMBEDDED: _checked(partial(_digested, EMBEDDED, root))}
    for name, published in PUBLISHED.items():
        there = present(root, published)
        found[name] = _checked(partial(_digested, name, root)) if there else "absent"
    return found


def _digested(name: str, root: Path) -> str:
    """Compare digests where they are known; of others torchvision knows sizes or checksums."""
    splits: tuple[Split, ...] = ("train",) if name == EMBEDDED else ("train", "test")
    found = tuple(digest(load(name, root, split)) for split in splits)
    if found != DIGESTS.get(name, found):
        raise ValueError(f"its images have the digests {found}, not {DIGESTS[name]}")
    return "whole" if name in DIGESTS else "readable"


def classifiers() -> dict[str, str]:
    """Say of each classifier that comes with ganatomy whether it is the one it should be."""
    return {kind: _checked(partial(_hashed, kind)) for kind in classifier.SHIPPED}


def _hashed(kind: str) -> str:
    return f"whole, sha256 {classifier.shipped(kind).sha256[:8]}"


def inception() -> str:
    """Say whether Inception's weights are there and are those that FID is defined by."""
    file = inception_file()
    if not file.is_file():
        return "absent"
    with file.open("rb") as opened:
        whole = hashlib.file_digest(opened, "sha256").hexdigest() == INCEPTION_SHA256
    return "whole" if whole else f"damaged: remove {file}"


def _checked(look: Callable[[], str]) -> str:
    try:
        return look()
    except (ValueError, OSError) as error:
        return f"damaged: {error}"
