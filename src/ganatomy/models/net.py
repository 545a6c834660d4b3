"""What every architecture is told and what it must give, and the parts that they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""To add one, add a line here and its name to Recipe's Activation."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The settings of one network."""

    widths: tuple[int, ...]
    """hidden sizes; what each means is the architecture's to say"""
    norm: Literal["batch", "batch_all", "none"] = "none"
    dropout: float = 0.0
    activation: str | None = None
    """name in ACTIVATIONS; None means the architecture's own"""
    attention: tuple[int, ...] = ()
    """sides of the feature maps that self-attention follows"""

    def active(self, own: str) -> nn.Module:
        """Return a new activation: the one asked for, or the architecture's own."""
        return ACTIVATIONS[self.activation or own]()


class Build(Protocol):
    """Makes a generator and a discriminator for samples of one shape.

    The generator maps (N, z_dim) to (N, *shape) in [-1, 1]; the discriminator maps (N, *shape) to
    N logits.
    """

    def __call__(
        self, shape: tuple[int, ...], z_dim: int, g: NetworkConfig, d: NetworkConfig
    ) -> tuple[nn.Module, nn.Module]:
        """Build both networks; raise ValueError, with a cure, for what cannot be built."""
        ...


def one_width(model: str, nets: Sequence[tuple[str, NetworkConfig]]) -> None:
    """See that each named network has one width.

    Raises:
        ValueError: naming the field that has not.
    """
    for name, net in nets:
        if len(net.widths) != 1:
            raise ValueError(
                f"{model} takes one number in {name}, of channels, got {len(net.widths)}"
            )


def check_attention(model: str, net: NetworkConfig, sides: Sequence[int]) -> None:
    """See that attention is asked for where the network has feature maps.

    Raises:
        ValueError: naming the sides that there are.
    """
    absent = [side for side in net.attention if side not in sides]
    if absent:
        there = ", ".join(map(str, sides))
        raise ValueError(
            f"attention {absent[0]}: {model} has no feature maps of that side for such images; "
            f"it has {there}"
        )


def apply_spectral_norm(net: nn.Module) -> None:
    """Divide the weights of every layer by their spectral norm (Miyato et al. 2018, 1802.05957).

    PyTorch's own parametrisation, one power iteration at each use in training, in full precision.
    """
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            found = spectral_norm(module).get_submodule("parametrizations.weight")
            assert isinstance(found, nn.ModuleList)
            found[0] = _Full(found[0])


class _Full(nn.Module):
    """A parametrisation that is computed in full precision where autocast is on too."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            normed: Tensor = self.inner(weight)
        return normed


def initialise(net: nn.Module, kind: Literal["pytorch", "dcgan", "xavier"]) -> None:
    """Draw the weights of every layer anew, or leave them as PyTorch drew them.

    DCGAN's (Radford et al. 2016): normal ones of deviation 0.02, of batch norm about 1; Glorot and
    Bengio's (2010): uniform ones, as in SAGAN. Biases are 0 in both.
    """
    for module in net.modules() if kind != "pytorch" else ():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if kind == "dcgan":
                nn.init.normal_(module.weight, 0.0, 0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and kind == "dcgan":
            nn.init.normal_(module.weight, 1.0, 0.02)
