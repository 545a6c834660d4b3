"""The training loop. Everything a GAN does in one step is on this page.

Nothing random is carried from step to step: batches, noise, labels and dropout are functions of
(seed, step), so a run resumed at step k is the run that never stopped.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganatomy.data import Samples, batch_indices, mix
from ganatomy.fields import lookup
from ganatomy.losses import LOSSES, Labels
from ganatomy.models import MODELS, Net
from ganatomy.recipe import Recipe

Logs = dict[str, Tensor]


@dataclass
class State:
    """All that a run remembers between steps."""

    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module
    """averaged generator; the generator itself if the recipe does not average"""
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    shape: tuple[int, ...]
    """of one sample"""
    step: int = 0

    @classmethod
    def new(
        cls, recipe: Recipe, shape: tuple[int, ...], device: torch.device | str = "cpu"
    ) -> "State":
        """Build networks and optimisers for samples of this shape from the recipe's seed."""
        g_net = Net(widths=recipe.g_widths, norm=recipe.g_norm, dropout=recipe.g_dropout)
        d_net = Net(widths=recipe.d_widths, norm=recipe.d_norm, dropout=recipe.d_dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(recipe.seed))
            g, d = lookup(MODELS, recipe.model, "model")(shape, recipe.z_dim, g_net, d_net)
        for net in (g, d):  # channels last: the same sums in the order that CPUs and GPUs read
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = copy.deepcopy(g).requires_grad_(False) if recipe.ema else g
        betas = (recipe.beta1, recipe.beta2)
        opt_g = torch.optim.Adam(g.parameters(), recipe.lr_g, betas, fused=True)
        opt_d = torch.optim.Adam(d.parameters(), recipe.lr_d, betas, fused=True)
        return cls(g, d, ema, opt_g, opt_d, shape)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain tensors and numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"step": self.step, "shape": list(self.shape)} | parts

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put back what state_dict gave."""
        self.step = saved["step"]
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])

    def _parts(self) -> dict[str, Any]:
        names = ["generator", "discriminator", "opt_g", "opt_d"]
        return {k: getattr(self, k) for k in names + ["ema"] * (self.ema is not self.generator)}


def steps(state: State, recipe: Recipe, data: Samples) -> Iterator[Logs]:
    """Train from state.step to the recipe's end, yielding the logs of each step.

    Logs are scalars: d_loss, g_loss; d_real, the mean of D(x); d_fake and d_fake_after, the mean
    of D(G(z)) before and after the discriminator moved; g_grad, the norm of G's gradient.
    """
    device = next(state.generator.parameters()).device
    loss = lookup(LOSSES, recipe.loss, "loss")
    devices = [device] if device.type == "cuda" else []

    def noise() -> Tensor:  # drawn on the CPU, so that it is the same on every device
        return torch.randn(recipe.batch, recipe.z_dim).to(device)

    def labels() -> Labels:
        ends = (recipe.real_label, recipe.fake_label)
        return Labels(*(torch.empty(recipe.batch).uniform_(*e).to(device) for e in ends))

    def real(k: int) -> Tensor:
        return data.take(batch_indices(len(data), recipe.batch, recipe.seed, k), device)

    state.generator.train()
    state.discriminator.train()
    total = recipe.total_steps(len(data))
    while state.step < total:
        logs: Logs = {}
        with torch.random.fork_rng(devices):  # what follows draws from a generator of this step
            torch.manual_seed(mix(recipe.seed, state.step))
            first = state.step * recipe.d_steps
            for k in range(first, first + recipe.d_steps):
                batch = real(k)
                logs |= update_discriminator(state, loss.d, batch, noise(), labels())
            for _ in range(recipe.g_steps):
                logs |= update_generator(state, loss.g, batch, noise())
        update_ema(state.ema, state.generator, recipe.ema)
        state.step += 1
        yield logs


def update_discriminator(
    state: State,
    loss: Callable[[Tensor, Tensor, Labels], Tensor],
    real: Tensor,
    z: Tensor,
    labels: Labels,
) -> Logs:
    """Take one discriminator step: real batch, generated batch, one update from both."""
    d = state.discriminator.requires_grad_(True)
    with torch.no_grad():
        fake = state.generator(z)
    on_real, on_fake = d(real), d(fake)
    d_loss = loss(on_real, on_fake, labels)
    _descend(state.opt_d, d_loss)
    return {"d_loss": d_loss.detach(), "d_real": _mean_d(on_real), "d_fake": _mean_d(on_fake)}


def update_generator(
    state: State, loss: Callable[[Callable[[], Tensor], Tensor], Tensor], real: Tensor, z: Tensor
) -> Logs:
    """Take one generator step against a discriminator held still."""
    d = state.discriminator.requires_grad_(False)
    on_fake = d(state.generator(z))
    g_loss = loss(lambda: d(real), on_fake)
    _descend(state.opt_g, g_loss)
    grads = [p.grad for p in state.generator.parameters() if p.grad is not None]
    return {
        "g_loss": g_loss.detach(),
        "d_fake_after": _mean_d(on_fake),
        "g_grad": torch.nn.utils.get_total_norm(grads),
    }


@torch.no_grad()
def update_ema(ema: nn.Module, source: nn.Module, decay: float) -> None:
    """Move averaged weights towards the source and copy its buffers; nothing if they are one."""
    if ema is source:
        return
    for average, now in zip(ema.parameters(), source.parameters(), strict=True):
        average.lerp_(now, 1 - decay)
    for kept, buffer in zip(ema.buffers(), source.buffers(), strict=True):
        kept.copy_(buffer)


def _mean_d(logits: Tensor) -> Tensor:
    return logits.detach().sigmoid().mean()


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
