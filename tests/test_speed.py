"""What a step may cost, counted and not timed: FLOPs, and kernels that are launched."""

from collections import Counter
from typing import Any

import pytest
import torch
from conftest import shape_of
from torch.utils._python_dispatch import TorchDispatchMode

from ganatomy.data import Samples, Size
from ganatomy.gan.cost import predict_cost
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe

BATCH = 4

LIMITS = {
    "basic-gan": (45_326_336, 106),
    "enhanced-gan": (53_067_776, 300),
    "dcgan64": (149_553_152, 180),
    "sagan-cifar10": (149_357_056, 1926),
    "wgan-gp-cifar10": (193_134_592, 722),
    "mnist-fast": (25_432_064, 1112),
}
"""Recipe to FLOPs of its first step and kernels of as many steps as a lazy penalty waits, at this
batch: what they are now. Less is welcome."""


class Kernels(TorchDispatchMode):
    """Counts what is computed; what only looks at a tensor in another way is not."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if not func.is_view and not name.startswith(("aten.empty", "profiler.")):
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def small(name: str) -> tuple[Recipe, tuple[int, ...]]:
    """A recipe of few channels, for a quick step, and the shape of its images."""
    full = RECIPES[name].recipe
    recipe = full.replace(steps=10, batch=BATCH)
    if full.network.model != "mlp":
        recipe = recipe.replace(g_widths=(8,), d_widths=(8,))
    return recipe, shape_of(recipe)


def counted(recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, Counter[str]]:
    """FLOPs of the first step, and kernels of some later ones."""
    cost = predict_cost(recipe, Size(100, shape), measure=False)
    n = recipe.images_per_step
    data = Samples(torch.zeros(n, *shape, dtype=torch.uint8), torch.zeros(n, dtype=torch.long))
    stepping = steps(State.new(recipe, shape), recipe, data)
    next(stepping)  # the first one sets up the optimizers
    with Kernels() as kernels:
        for _ in range(recipe.objective.penalty_every):
            next(stepping)
    return cost.d_flops + cost.g_flops, kernels.seen


@pytest.mark.parametrize("name", LIMITS)
def test_a_step_does_no_more_than_it_did(name: str) -> None:
    flops, kernels = counted(*small(name))
    assert flops <= LIMITS[name][0]
    assert kernels.total() <= LIMITS[name][1], kernels.most_common()
