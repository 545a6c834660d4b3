"""What a step draws: real samples, latent vectors, label targets and random numbers.

All of it is a function of (seed, step), drawn on the CPU, so that every device and every way of
executing a step gets the same numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ganatomy.data import Samples, batch_indices, derive_seed
from ganatomy.gan.losses import Labels
from ganatomy.recipes.recipe import Recipe


class Draws(Protocol):
    """Draws of one step, in the order in which the step asks for them."""

    def real(self) -> Tensor:
        """Return the next batch of real samples (N, ...), float32."""

    def latent(self) -> Tensor:
        """Return latent vectors (N, z_dim), float32."""

    def labels(self) -> Labels:
        """Return targets (N,) of a real and of a generated batch."""

    def uniform(self, *shape: int) -> Tensor:
        """Return random numbers of a shape, uniform in [0, 1)."""


def draw_latent(recipe: Recipe, n: int, rng: torch.Generator | None = None) -> Tensor:
    """Draw latent vectors (n, z_dim), float32, on the CPU: the same ones for every device."""
    return fill_latent(recipe, torch.empty(n, recipe.network.z_dim), rng)


def fill_latent(recipe: Recipe, out: Tensor, rng: torch.Generator | None) -> Tensor:
    """Fill a contiguous tensor with numbers of latent vectors, and return it."""
    if recipe.network.latent == "normal":
        return out.normal_(generator=rng)
    out.uniform_(generator=rng)
    if recipe.network.latent == "uniform":
        return out.mul_(2).sub_(1)
    return out.copy_((out < 0.5) * 2.0 - 1)


def fill_labels(recipe: Recipe, out: Tensor, rng: torch.Generator | None) -> Tensor:
    """Fill a tensor (2, N) with targets of a real and of a generated batch, and return it."""
    out[0].uniform_(*recipe.objective.real_label, generator=rng)
    out[1].uniform_(*recipe.objective.fake_label, generator=rng)
    return out


def step_seed(recipe: Recipe, step: int) -> int:
    """Return the seed of a step's random numbers."""
    return derive_seed(recipe.training.seed, step)


class CpuDraws:
    """Draws made when they are asked for, then moved to a device."""

    def __init__(
        self,
        recipe: Recipe,
        data: Samples,
        device: torch.device,
        rng: torch.Generator | None = None,
    ) -> None:
        self.recipe, self.data, self.device, self.rng = recipe, data, device, rng
        self.k = 0

    def begin(self, step: int) -> None:
        """Start a step; without an rng, the caller seeds PyTorch's own generator."""
        self.k = step * self.recipe.discriminator.steps
        if self.rng is not None:
            self.rng.manual_seed(step_seed(self.recipe, step))

    def indices(self) -> Tensor:
        """Return the indices (N,) of the next batch of real samples."""
        training = self.recipe.training
        self.k += 1
        return batch_indices(len(self.data), training.batch, training.seed, self.k - 1)

    def real(self) -> Tensor:
        """Return the next batch of real samples."""
        return self.data.batch(self.indices(), self.device)

    def latent(self) -> Tensor:
        """Return latent vectors."""
        return draw_latent(self.recipe, self.recipe.training.batch, self.rng).to(self.device)

    def labels(self) -> Labels:
        """Return targets from the recipe's ranges."""
        drawn = fill_labels(self.recipe, torch.empty(2, self.recipe.training.batch), self.rng)
        return Labels(*drawn.to(self.device))

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform random numbers."""
        return torch.rand(*shape, generator=self.rng).to(self.device)


class Request(NamedTuple):
    """A call of a method of Draws."""

    method: str
    shape: tuple[int, ...] = ()
    """arguments of uniform"""


class Recorder(CpuDraws):
    """Draws that record what a step asks for."""

    def __init__(self, recipe: Recipe, data: Samples, device: torch.device) -> None:
        super().__init__(recipe, data, device, torch.Generator())
        self.requests: list[Request] = []

    def real(self) -> Tensor:
        """Record, and return the next batch of real samples."""
        self.requests.append(Request("real"))
        return super().real()

    def latent(self) -> Tensor:
        """Record, and return latent vectors."""
        self.requests.append(Request("latent"))
        return super().latent()

    def labels(self) -> Labels:
        """Record, and return targets."""
        self.requests.append(Request("labels"))
        return super().labels()

    def uniform(self, *shape: int) -> Tensor:
        """Record, and return uniform random numbers."""
        self.requests.append(Request("uniform", shape))
        return super().uniform(*shape)


class MemberDraws:
    """Draws of all members, each with its own generator of random numbers."""

    def __init__(self, draws: Sequence[CpuDraws]) -> None:
        self.members = draws

    def begin(self, step: int) -> None:
        """Start a step."""
        for member in self.members:
            member.begin(step)

    def real(self) -> Tensor:
        """Return the next batches of real samples (M, N, ...)."""
        return torch.stack([member.real() for member in self.members])

    def latent(self) -> Tensor:
        """Return latent vectors (M, N, z_dim)."""
        return torch.stack([member.latent() for member in self.members])

    def labels(self) -> Labels:
        """Return targets (M, N)."""
        real, fake = zip(*(member.labels() for member in self.members), strict=True)
        return Labels(torch.stack(real), torch.stack(fake))

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform random numbers (M, *shape)."""
        return torch.stack([member.uniform(*shape) for member in self.members])
