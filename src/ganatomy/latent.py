"""Latent vectors, and the pictures that a generator makes of them."""

import torch
from torch import Tensor, nn

from ganatomy.data import mix

CHUNK = 256
"""Rows drawn and generated at a time; fixed, so that the i-th depends on nothing but seed and i."""


@torch.no_grad()
def generate(generator: nn.Module, n: int, z_dim: int, seed: int) -> Tensor:
    """Return n samples in [-1, 1] on the CPU, made in evaluation mode.

    The i-th sample depends on the seed and i alone: asking for more keeps the first ones.
    """
    device = next(generator.parameters()).device
    was_training = generator.training
    generator.eval()
    parts = [
        generator(_latent(z_dim, seed, chunk).to(device)).cpu() for chunk in range(-(-n // CHUNK))
    ]
    generator.train(was_training)
    return torch.cat(parts)[:n]


def _latent(z_dim: int, seed: int, chunk: int) -> Tensor:
    rng = torch.Generator().manual_seed(mix(seed, chunk))
    return torch.randn(CHUNK, z_dim, generator=rng)
