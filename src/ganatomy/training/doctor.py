"""A check of the installation: hardware, datasets, weights, disk space and a training self-test."""

import dataclasses
import hashlib
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganatomy.data import Size, data_root, digest, load
from ganatomy.data.mnist import MNIST
from ganatomy.data.published import CIFAR10, FASHION_MNIST, Published, present
from ganatomy.data.samples import Split
from ganatomy.evaluation import classifier
from ganatomy.evaluation.features import INCEPTION_SHA256, inception_file
from ganatomy.gan.captured import best_steps
from ganatomy.gan.cost import known_size, predict_cost
from ganatomy.gan.machine import environment, keep_memory, native_bf16, numerics, pick_device
from ganatomy.gan.state import State
from ganatomy.recipes.named import RECIPES, read
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.storage.download import offline

EMBEDDED = "mnist10k"

DIGESTS = {
    EMBEDDED: ("308418c487cfdf9c8848e573b405cb7b1ace1d0e276cd5e346dd66cc27dc3aed",),
    "mnist": (
        "0d4e8b667ff048906dd254ee247470055579ba6e618eeabdf871882705ffca4d",
        "310a79d8170296feadcc605e7c57a3c87331de95e1bb64a02bca14fe91911b61",
    ),
}
"""Digests of the training and test images of a dataset, see data.digest."""

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
"""Recipe of the self-test: convolutions, batch norm and averaging, on the embedded digits."""

GOLDEN = {"d_loss": 1.2795111, "g_loss": 0.6615227, "g_grad": 0.2758953}
"""Logged values of its last step on an Intel Xeon with AVX-512 and PyTorch 2.14.1, where one thread
and two differ by up to 3e-5."""

TOLERANCE = 1e-3
"""Largest relative difference to GOLDEN that counts as rounding; bf16 comes to 5e-4."""


@dataclass(frozen=True)
class Report:
    """The state of an installation."""

    environment: dict[str, Any]
    """hardware and versions, see machine.environment"""
    device: str
    bf16: str
    """whether bfloat16 is native, and its speed relative to fp32"""
    allocator: str
    offline: bool
    """whether $GANATOMY_OFFLINE forbids downloads"""
    data_root: str
    datasets: dict[str, str]
    classifiers: dict[str, str]
    inception_weights: str
    free_disk_gb: float
    disk: str
    """whether the free disk space is enough for a run of the recipe"""
    self_test: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        values = dataclasses.asdict(self)
        return values.pop("environment") | values

    def rows(self) -> dict[str, str]:
        """Return all entries as text, by name."""
        values = self.to_dict()
        nested = {key: values.pop(key) for key in ("datasets", "classifiers")}
        inner = {f"{key}: {name}": said for key, v in nested.items() for name, said in v.items()}
        return {name: str(value) for name, value in values.items()} | inner

    @property
    def problems(self) -> dict[str, str]:
        """Entries that need attention; empty for a sound installation."""
        bad = ("damaged", "failed", "too little")
        return {name: text for name, text in self.rows().items() if text.startswith(bad)}


def doctor(recipe: str = "mnist-fast", root: str | Path | None = None) -> Report:
    """Check the installation; takes some seconds.

    Args:
        recipe: name or file of a recipe, for the disk space of a run.
        root: folder of full datasets; None means $GANATOMY_DATA or a cache folder.

    Raises:
        ValueError: for an unknown recipe.
    """
    wanted, device = read(recipe), pick_device("auto")
    root = data_root(root)
    size, free = known_size(wanted), shutil.disk_usage(Path.cwd()).free
    needed = predict_cost(wanted, size, measure=False).disk_bytes if size else 0
    return Report(
        environment=environment(),
        device=str(device),
        bf16=bf16(device),
        allocator="keeps the memory of a step" if keep_memory() else "default",
        offline=offline(),
        data_root=str(root),
        datasets=datasets(root),
        classifiers=classifiers(),
        inception_weights=inception(),
        free_disk_gb=round(free / 1e9, 1),
        disk=f"{'enough' if free > needed else 'too little'} for {recipe}, about "
        f"{needed / 1e6:,.4g} MB",
        self_test=self_test(device),
    )


def self_test(device: torch.device) -> str:
    """Train 20 steps on a device and compare the losses with GOLDEN."""
    data = load(EMBEDDED, Path(), "train")
    state = State.new(PROBE, data.shape, device)
    begun = time.perf_counter()
    with numerics(device):
        *_, logs = best_steps(device)(state, PROBE, data)
    off = [abs(logs[name].item() / value - 1) for name, value in GOLDEN.items()]
    verdict = "passed" if all(x <= TOLERANCE for x in off) else "failed"  # failed for NaN too
    seconds = time.perf_counter() - begun
    return f"{verdict}: 20 steps in {seconds:.1f} s, largest difference {max(off):.1g}"


def bf16(device: torch.device) -> str:
    """Compare the speed of bf16 and fp32 on a device that has native bf16, for some seconds.

    It is measured because fp32 is faster on some processors that have bf16 instructions.
    """
    if not native_bf16(device):
        return "emulated: use --precision fp32"
    recipe = RECIPES["mnist-fast"].recipe.replace(dataset=EMBEDDED, steps=1000)
    fp32, bf16 = (
        predict_cost(recipe, Size(10_000, (1, 28, 28)), options).step_seconds or math.nan
        for options in (RunOptions(precision="fp32"), RunOptions(precision="bf16"))
    )
    use = "use --precision bf16" if fp32 > bf16 else "use --precision fp32"
    return f"native, {fp32 / bf16:.2f} times the speed of fp32 for mnist-fast: {use}"


def datasets(root: Path) -> dict[str, str]:
    """Check each dataset: absent, intact (known digest), readable, or damaged."""
    there = {EMBEDDED: True} | {name: present(root, files) for name, files in PUBLISHED.items()}
    return {
        name: _state(_dataset, name, root) if is_there else "absent"
        for name, is_there in there.items()
    }


def _dataset(name: str, root: Path) -> str:
    """Compare digests where they are known; torchvision checks the sizes or checksums of others."""
    splits: tuple[Split, ...] = ("train",) if name == EMBEDDED else ("train", "test")
    found = tuple(digest(load(name, root, split)) for split in splits)
    if found != DIGESTS.get(name, found):
        raise ValueError(f"its images have the digests {found}, not {DIGESTS[name]}")
    return "intact" if name in DIGESTS else "readable"


def classifiers() -> dict[str, str]:
    """Check the checksum of each classifier in the package."""
    return {kind: _state(_classifier, kind) for kind in classifier.SHIPPED}


def _classifier(kind: str) -> str:
    return f"intact, sha256 {classifier.shipped(kind).sha256[:8]}"


def inception() -> str:
    """Check the Inception weights that define FID: absent, intact or damaged."""
    file = inception_file()
    if not file.is_file():
        return "absent"
    with file.open("rb") as opened:
        intact = hashlib.file_digest(opened, "sha256").hexdigest() == INCEPTION_SHA256
    return "intact" if intact else f"damaged: remove {file}"


def _state(check: Callable[..., str], *args: object) -> str:
    try:
        return check(*args)
    except (ValueError, OSError) as error:
        return f"damaged: {error}"
