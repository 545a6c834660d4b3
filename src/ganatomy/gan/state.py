"""The state of a training: networks and optimizers, built from a recipe that fits together."""

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from ganatomy.data import derive_seed
from ganatomy.gan.losses import LOSSES, Loss, find_loss
from ganatomy.gan.share import Share
from ganatomy.models import MODELS, NetworkConfig, apply_spectral_norm, find_model, initialize
from ganatomy.models.net import Networks, Support, check_networks
from ganatomy.recipes.recipe import Optimizer, Precision, Recipe
from ganatomy.validation import flat, leaves

CHECKED = ("d_loss", "g_loss", "g_grad")
"""Logged values that must be finite: the losses cover all other logs, the gradient the weights."""


class Scalars(NamedTuple):
    """Numbers of a recipe that enter a step's arithmetic; tensors (M,) for M members."""

    gp: float | Tensor
    dragan: float | Tensor
    r1: float | Tensor
    r2: float | Tensor
    ema: float | Tensor

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return the numbers of a recipe."""
        own = recipe.objective
        return cls(own.gp, own.dragan, own.r1, own.r2, recipe.generator.ema)


@dataclass
class State:
    """Everything that a run keeps between steps."""

    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module
    """averaged generator; the generator itself where the recipe does not average"""
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    shape: tuple[int, ...]
    """of one sample"""
    step: int = 0
    nonfinite: Tensor | None = None
    """on a GPU, the first step with a value that is not finite and the values that CHECKED names,
    float64 (4,), all -1 as long as there is none; None on a CPU, where each step is checked"""
    scalars: Scalars | None = None
    """of members that are trained together, see fused.py; None takes the recipe's"""
    share: Share = field(default_factory=Share)
    """of each batch, see share.py"""

    @classmethod
    def new(
        cls,
        recipe: Recipe,
        shape: tuple[int, ...],
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
    ) -> "State":
        """Build networks and optimizers from the recipe's seed.

        Args:
            recipe: the settings.
            shape: of one sample: (C, H, W) of images, (2,) of points.
            device: where the networks are.
            precision: in which they will be trained; it decides the memory format.

        Raises:
            ValueError: as build_networks does.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(recipe.training.seed))
            g, d = build_networks(recipe, shape)
            check_networks(g, d, shape, recipe.network.z_dim)
            for net in (g, d):
                initialize(net, recipe.network.init)
            for net in {"none": (), "d": (d,), "both": (g, d)}[recipe.network.spectral]:
                apply_spectral_norm(net)
        # the order that CPUs and tensor cores read in; cuDNN's float32 kernels read the other one
        last = torch.device(device).type != "cuda" or precision == "bf16"
        layout = torch.channels_last if last else torch.contiguous_format
        for net in (g, d):
            net.to(device, memory_format=layout)  # type: ignore[call-overload]
        ema = copy.deepcopy(g).requires_grad_(False) if recipe.generator.ema else g
        opt_g, opt_d = (
            make_optimizer(
                section.optimizer,
                [
                    {"params": list(net.parameters())}
                    | optimizer_settings(section.optimizer, section.lr, recipe)
                ],
            )
            for section, net in ((recipe.generator, g), (recipe.discriminator, d))
        )
        latch = None
        if torch.device(device).type == "cuda":
            latch = torch.full((1 + len(CHECKED),), -1, dtype=torch.float64, device=device)
        return cls(g, d, ema, opt_g, opt_d, shape, nonfinite=latch)

    def join(self, share: Share) -> None:
        """Take a share of each batch from now on; saved states do not depend on it."""
        self.share = share
        for net in (self.generator, self.discriminator):
            share.adapt(net)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain tensors and numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        for part in (parts["opt_g"], parts["opt_d"]):  # rates are tensors on a GPU
            part["param_groups"] = [g | {"lr": float(g["lr"])} for g in part["param_groups"]]
        return {"step": self.step, "shape": list(self.shape)} | parts

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore the output of state_dict; learning rates and betas stay those of the recipe.

        Tensors are copied, because an optimizer would keep those of the dictionary.
        """
        self.step = saved["step"]
        for name, part in self._parts().items():
            kept = saved[name]
            if isinstance(part, torch.optim.Optimizer):
                now = part.state_dict()["param_groups"]
                kept = kept | {"param_groups": now}
            part.load_state_dict(kept)
            if isinstance(part, torch.optim.Optimizer):
                _own_state(part)

    def _parts(self) -> dict[str, Any]:
        names = ["generator", "discriminator", "opt_g", "opt_d"]
        return {k: getattr(self, k) for k in names + ["ema"] * (self.ema is not self.generator)}


def _own_state(optimizer: torch.optim.Optimizer) -> None:
    """Copy an optimizer's tensors, each in the memory format of its weight.

    PyTorch's fused Adam reads a weight and its moments in the order of memory.
    """
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            like = weight if value.shape == weight.shape and name != "step" else value
            kept[name] = torch.empty_like(like, dtype=value.dtype).copy_(value)


def network_configs(recipe: Recipe) -> tuple[NetworkConfig, NetworkConfig]:
    """Return the recipe's settings of the generator and of the discriminator."""
    g, d = (
        NetworkConfig(
            widths=section.widths,
            norm=section.norm,
            dropout=section.dropout,
            activation=section.activation,
            attention=recipe.network.attention,
        )
        for section in (recipe.generator, recipe.discriminator)
    )
    return g, d


def build_networks(recipe: Recipe, shape: tuple[int, ...]) -> Networks:
    """Build the recipe's networks for samples of one shape, with PyTorch's initial weights.

    Raises:
        ValueError: for settings that the model does not take or cannot build.
    """
    _check_model(recipe)
    model = find_model(recipe.network.model)
    return model.build(shape, recipe.network.z_dim, *network_configs(recipe))


def check_recipe(recipe: Recipe) -> Loss:
    """Check that the recipe's model and loss exist and take its settings; return the loss.

    Raises:
        ValueError: naming the fields that do not go together, and the fix.
    """
    _check_model(recipe)
    objective = recipe.objective
    loss = find_loss(objective.loss)
    softened = (objective.real_label, objective.fake_label) != ((1, 1), (0, 0))
    if softened and not loss.takes_labels:
        with_labels = ", ".join(name for name, other in LOSSES.items() if other.takes_labels)
        raise ValueError(
            f"the loss {objective.loss} ignores real_label and fake_label; leave them at 1 1 and "
            f"0 0, or use {with_labels}"
        )
    return loss


_SUPPORT: dict[Support, tuple[str, ...]] = {
    "norm": ("g_norm", "d_norm"),
    "dropout": ("g_dropout", "d_dropout"),
    "activation": ("g_activation", "d_activation"),
    "attention": ("attention",),
}
"""Recipe fields that only some models take, by the support that these claim."""


def unsupported(recipe: Recipe) -> dict[str, Any]:
    """Return the fields that the recipe sets but its model does not take, with their defaults.

    recipe.replace(**unsupported(recipe)) is a recipe that the model takes.

    Raises:
        ValueError: for an unknown model.
    """
    supports, values = find_model(recipe.network.model).supports, flat(recipe)
    defaults = {name: leaf.default for name, leaf in leaves(Recipe).items()}
    fields = [name for part, names in _SUPPORT.items() if part not in supports for name in names]
    return {name: defaults[name] for name in fields if values[name] != defaults[name]}


def _check_model(recipe: Recipe) -> None:
    fields = unsupported(recipe)
    if not fields:
        return
    taken = [part for part, names in _SUPPORT.items() if fields.keys() & {*names}]
    others = [name for name, model in MODELS.items() if model.supports.issuperset(taken)]
    fix = ", ".join(f"{name} {value}" for name, value in fields.items())
    raise ValueError(
        f"the model {recipe.network.model} does not take {', '.join(fields)}; set {fix}, or use "
        f"{', '.join(others)}"
    )


def optimizer_settings(kind: Optimizer, rate: float, recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a recipe's optimizer with this learning rate."""
    betas = (recipe.training.beta1, recipe.training.beta2)
    return {"lr": rate} | ({"betas": betas} if kind == "adam" else {})


def make_optimizer(kind: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Make an optimizer of groups of parameters with their settings."""
    device = groups[0]["params"][0].device
    gpu = device.type == "cuda"
    for group in groups if gpu else ():  # a step can be captured there, so rates are tensors
        group["lr"] = torch.tensor(group["lr"], device=device)
    if kind == "adam":
        return torch.optim.Adam(groups, fused=True, capturable=gpu)
    if kind == "rmsprop":
        return torch.optim.RMSprop(groups, capturable=gpu)
    return torch.optim.SGD(groups, fused=gpu or None)
