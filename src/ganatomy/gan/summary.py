"""Summaries of recipes: networks layer by layer, and the cost of training."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganatomy.data import Size
from ganatomy.gan.cost import Cost, dataset_size, predict_cost
from ganatomy.gan.machine import pick_device
from ganatomy.gan.state import State, check_recipe
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.validation import to_dict


@dataclass(frozen=True)
class Layer:
    """A layer, or a block that contains the deeper layers after it."""

    path: str
    """place in the network, such as 4.query"""
    kind: str
    """class name"""
    settings: str
    """in short, such as 4x4 s2 p1: kernel 4 x 4, stride 2, padding 1"""
    depth: int
    """number of blocks around it"""
    output: tuple[int, ...]
    """shape, batch first"""
    parameters: int
    """its own, without those of layers listed separately"""


@dataclass(frozen=True)
class Summary:
    """A recipe's networks and its cost on one machine."""

    name: str
    recipe: Recipe
    data: Size
    device: str
    threads: int
    """CPU threads"""
    generator: tuple[Layer, ...]
    """layers in the order of their definition; input (1, z_dim)"""
    discriminator: tuple[Layer, ...]
    """input (1, *data.shape)"""
    d_x: str
    """meaning of the discriminator's output"""
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON holds it."""
        recipe = {"name": self.name, "key": self.recipe.key} | to_dict(self.recipe)
        return dataclasses.asdict(self) | {"recipe": recipe}


def summarize(
    recipe: Recipe, options: RunOptions | None = None, *, name: str = "", measure: bool = True
) -> Summary:
    """Build a recipe's networks, list their layers and predict the cost of training them.

    The arguments and errors are those of predict_cost and dataset_size.
    """
    options = options or RunOptions()
    loss, device = check_recipe(recipe), pick_device(options.device)
    size = dataset_size(recipe, options)
    cost = predict_cost(recipe, size, options, measure=measure)
    state = State.new(recipe, size.shape)
    return Summary(
        name=name,
        recipe=recipe,
        data=size,
        device=str(device),
        threads=torch.get_num_threads(),
        generator=layers(state.generator, torch.zeros(1, recipe.network.z_dim)),
        discriminator=layers(state.discriminator, torch.zeros(1, *size.shape)),
        d_x="D gives logits; D(x), a probability, is their sigmoid, which is not a layer"
        if loss.probabilities
        else f"D gives scores to compare; the loss {recipe.objective.loss} has no probability D(x)",
        cost=cost,
    )


@torch.no_grad()
def layers(net: nn.Module, batch: Tensor) -> tuple[Layer, ...]:
    """Run a network on a batch in evaluation mode and return its layers, as they are defined.

    A block comes before its layers. A module that is used twice comes once, with the shape of its
    first output. The network is left unchanged.
    """
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        shapes.setdefault(module, tuple(output.shape))

    hooks = [module.register_forward_hook(note) for module in net.modules()]
    training = net.training
    try:
        net.eval()(batch)  # batch norm cannot train on a batch of 1
    finally:
        for hook in hooks:
            hook.remove()
        net.train(training)
    return tuple(_layers(net, shapes, "", 0))


def _layers(
    module: nn.Module, shapes: dict[nn.Module, tuple[int, ...]], path: str, depth: int
) -> Iterator[Layer]:
    """Yield a module, unless it is only a container, and then the modules in it."""
    children = [
        (name, child) for name, child in module.named_children() if name != "parametrizations"
    ]
    if module in shapes and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        inner = {p for _, child in children for p in child.parameters()}
        own = sum(p.numel() for p in module.parameters() if p not in inner)
        kind = parametrize.type_before_parametrizations(module)
        settings = [_SETTINGS[kind](module)] if kind in _SETTINGS else []
        if parametrize.is_parametrized(module):  # by models.apply_spectral_norm only
            settings.append("spectral")
        yield Layer(path, kind.__name__, ", ".join(settings), depth, shapes.pop(module), own)
        depth += 1
    for name, child in children:
        yield from _layers(child, shapes, f"{path}.{name}".lstrip("."), depth)


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
