"""Distance in float32 between a run, the same run as a member, and the run moved by one ulp.

    python benchmarks/distance.py [--device cpu] [--steps 300] [--members 2] [--only NAME ...]

Rounding alone drives two runs apart: the middle column is what fused execution may add, the last
what any change of the last bit adds. Both are relative L2 distances of the generator's weights from
those of the run alone, after 1, 10, 100, ... steps. Prints markdown.
"""

import argparse
import itertools

import torch
from torch import Tensor
from training import data_of

from ganatomy.data import Samples
from ganatomy.gan import captured, fused
from ganatomy.gan.machine import numerics
from ganatomy.gan.state import State
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe

NAMES = ("basic-gan", "original-gan", "mnist-fast", "capacity-z16-g16-d16")


def weights(state: State) -> Tensor:
    """Return all weights of the generator, on the CPU."""
    return torch.cat([w.detach().flatten().cpu() for w in state.generator.parameters()])


def lone(recipe: Recipe, data: Samples, device: str, at: list[int], ulp: bool) -> list[Tensor]:
    """Return the weights of a run after some numbers of steps."""
    state = State.new(recipe, data.shape, device)
    if ulp:
        weight = next(state.generator.parameters()).data
        first = weight[(0,) * weight.ndim]
        first.copy_(torch.nextafter(first, first + 1))
    taken = captured.best_steps(torch.device(device))(state, recipe, data)
    return [weights(state) for _ in taken if state.step in at]


def member(recipe: Recipe, data: Samples, device: str, at: list[int], n: int) -> list[Tensor]:
    """Return the same of the first of n members."""
    recipes = [recipe.replace(seed=recipe.training.seed + k) for k in range(n)]
    members = fused.Members(recipes, [State.new(r, data.shape, device) for r in recipes])
    taken = fused.steps(members, data)
    return [weights(members.write(0)) for _ in taken if members.state.step in at]


def main() -> None:
    """Print a row for each recipe and number of steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    args = parser.parse_args()
    powers = itertools.takewhile(lambda n: n < args.steps, (10**k for k in range(9)))
    at = [*powers, args.steps]
    print("| recipe | steps | as a member | moved by one ulp |\n|---|---:|---:|---:|")
    for name in args.only:
        recipe = RECIPES[name].recipe.replace(dataset="mnist10k", epochs=None, steps=args.steps)
        data = data_of(recipe)
        with numerics(torch.device(args.device)):
            alone = lone(recipe, data, args.device, at, ulp=False)
            moved = lone(recipe, data, args.device, at, ulp=True)
            fused_run = member(recipe, data, args.device, at, args.members)
        for step, *three in zip(at, alone, fused_run, moved, strict=True):
            base, *others = three
            far = [f"{(other - base).norm() / base.norm():.1e}" for other in others]
            print(f"| `{name}` | {step:,} | {' | '.join(far)} |", flush=True)


if __name__ == "__main__":
    main()
