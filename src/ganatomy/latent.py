"""Latent vectors, and the pictures that a generator makes of them."""

import torch
from torch import Tensor, nn

from ganatomy.data import mix
from ganatomy.runs import Run
from ganatomy.train import State

CHUNK = 256
"""Rows drawn and generated at a time; fixed, so that the i-th depends on nothing but seed and i."""


def load_generator(run: Run) -> tuple[int, nn.Module]:
    """Return the step of a run's newest checkpoint and its (averaged) generator.

    Raises:
        ValueError: if the run has no checkpoint yet.
        DamagedError: if its newest one cannot be read or is not of this run.
    """
    saved = run.load()
    if saved is None:
        raise ValueError(f"{run.path} has no checkpoint yet; train it first")
    with run.fitting():
        state = State.new(run.recipe, tuple(saved["shape"]))
        state.load_state_dict(saved)
    return state.step, state.ema


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
