"""What every architecture is told and what it must give."""

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Net:
    """The settings of one network."""

    widths: tuple[int, ...]
    """hidden sizes; what each means is the architecture's to say"""
    norm: Literal["batch", "none"] = "none"
    dropout: float = 0.0


class Build(Protocol):
    """Makes a generator and a discriminator for samples of one shape.

    The generator maps (N, z_dim) to (N, *shape) in [-1, 1]; the discriminator maps (N, *shape) to
    N logits.
    """

    def __call__(
        self, shape: tuple[int, ...], z_dim: int, g: Net, d: Net
    ) -> tuple[nn.Module, nn.Module]:
        """Build both networks; raise ValueError, with a cure, for what cannot be built."""
        ...
