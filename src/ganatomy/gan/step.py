"""The training loop. Everything a GAN does in one step is on this page.

Nothing random is carried from step to step: batches, noise, labels and dropout are functions of
(seed, step), so a run resumed at step k is the run that never stopped.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganatomy.data import Samples, batch_indices, derive_seed
from ganatomy.gan import losses
from ganatomy.gan.losses import LOSSES, Labels, Loss
from ganatomy.gan.schedules import SCHEDULES
from ganatomy.models import MODELS, NetworkConfig, apply_spectral_norm, initialise
from ganatomy.recipes.recipe import Optimizer, Precision, Recipe
from ganatomy.validation import lookup

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
        g_net, d_net = network_configs(recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(recipe.training.seed))
            g, d = lookup(MODELS, recipe.network.model, "model")(
                shape, recipe.network.z_dim, g_net, d_net
            )
            for net in (g, d):
                initialise(net, recipe.network.init)
            for net in {"none": (), "d": (d,), "both": (g, d)}[recipe.network.spectral]:
                apply_spectral_norm(net)
        for net in (g, d):  # channels last: the same sums in the order that CPUs and GPUs read
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = copy.deepcopy(g).requires_grad_(False) if recipe.generator.ema else g
        opt_g = _optimizer(recipe.generator.optimizer, g, recipe.generator.lr, recipe)
        opt_d = _optimizer(recipe.discriminator.optimizer, d, recipe.discriminator.lr, recipe)
        return cls(g, d, ema, opt_g, opt_d, shape)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain tensors and numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"step": self.step, "shape": list(self.shape)} | parts

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put back what state_dict gave."""
        self.step = saved["step"]
        for name, part in self._parts().items():
            kept = saved[name]
            if isinstance(part, torch.optim.Optimizer):  # rates and betas are those of the recipe
                now = part.state_dict()["param_groups"]
                kept = kept | {"param_groups": now}
            part.load_state_dict(kept)

    def _parts(self) -> dict[str, Any]:
        names = ["generator", "discriminator", "opt_g", "opt_d"]
        return {k: getattr(self, k) for k in names + ["ema"] * (self.ema is not self.generator)}


def network_configs(recipe: Recipe) -> tuple[NetworkConfig, NetworkConfig]:
    """Return what the recipe says of the generator and of the discriminator."""
    sides = recipe.network.attention
    return (
        NetworkConfig(
            widths=recipe.generator.widths,
            norm=recipe.generator.norm,
            dropout=recipe.generator.dropout,
            activation=recipe.generator.activation,
            attention=sides,
        ),
        NetworkConfig(
            widths=recipe.discriminator.widths,
            norm=recipe.discriminator.norm,
            dropout=recipe.discriminator.dropout,
            activation=recipe.discriminator.activation,
            attention=sides,
        ),
    )


def check_recipe(recipe: Recipe) -> Loss:
    """Return the recipe's loss, once its named parts are known to exist and to go together.

    Raises:
        ValueError: naming the fields that do not, and the cure.
    """
    lookup(MODELS, recipe.network.model, "model")
    objective = recipe.objective
    loss = lookup(LOSSES, objective.loss, "loss")
    softened = (objective.real_label, objective.fake_label) != ((1, 1), (0, 0))
    if softened and not loss.takes_labels:
        with_labels = ", ".join(name for name, other in LOSSES.items() if other.takes_labels)
        raise ValueError(
            f"the loss {objective.loss} ignores real_label and fake_label; leave them at 1 1 and "
            f"0 0, or use {with_labels}"
        )
    return loss


def draw_latent(recipe: Recipe, n: int, rng: torch.Generator | None = None) -> Tensor:
    """Draw latent vectors (n, z_dim) on the CPU, so that they are the same for every device."""
    size = (n, recipe.network.z_dim)
    if recipe.network.latent == "normal":
        return torch.randn(*size, generator=rng)
    uniform = torch.rand(*size, generator=rng)
    return uniform * 2 - 1 if recipe.network.latent == "uniform" else (uniform < 0.5) * 2.0 - 1


def steps(
    state: State, recipe: Recipe, data: Samples, precision: Precision = "fp32"
) -> Iterator[Logs]:
    """Train from state.step to the recipe's end, yielding the logs of each step.

    Logs are scalars: d_loss, g_loss; d_loss_real and d_loss_fake, the parts of d_loss; d_penalty,
    of steps that have any; d_real, the mean of D(x); d_fake and d_fake_after, the mean of D(G(z))
    before and after the discriminator moved (of scores, if the loss knows no probabilities);
    g_grad, the norm of G's gradient.
    """
    device = next(state.generator.parameters()).device
    loss = check_recipe(recipe)
    devices = [device] if device.type == "cuda" else []

    def noise() -> Tensor:
        return draw_latent(recipe, recipe.training.batch).to(device)

    def labels() -> Labels:
        ends = (recipe.objective.real_label, recipe.objective.fake_label)
        return Labels(*(torch.empty(recipe.training.batch).uniform_(*e).to(device) for e in ends))

    def real(k: int) -> Tensor:
        return data.batch(
            batch_indices(len(data), recipe.training.batch, recipe.training.seed, k), device
        )

    state.generator.train()
    state.discriminator.train()
    total = recipe.total_steps(len(data))
    while state.step < total:
        set_rates(state, recipe, state.step / total)
        logs: Logs = {}
        # what follows draws from a generator of this step
        with torch.random.fork_rng(devices), _computing(precision, device):
            _seed(derive_seed(recipe.training.seed, state.step), device)
            first, last = (
                state.step * recipe.discriminator.steps,
                (state.step + 1) * recipe.discriminator.steps - 1,
            )
            for k in range(first, last + 1):
                batch, z, targets = real(k), noise(), labels()
                with torch.set_grad_enabled(recipe.training.same_fakes and k == last):
                    fake = state.generator(z).to(batch.dtype)
                due = (k + 1) % recipe.objective.penalty_every == 0
                logs |= update_discriminator(state, recipe, loss, batch, fake, targets, due)
            for k in range(recipe.generator.steps):
                fresh = k > 0 or not recipe.training.same_fakes
                fake = state.generator(noise()).to(batch.dtype) if fresh else fake
                logs |= update_generator(state, loss, batch, fake)
        update_ema(state.ema, state.generator, recipe.generator.ema)
        state.step += 1
        yield logs


def update_discriminator(
    state: State,
    recipe: Recipe,
    loss: Loss,
    real: Tensor,
    fake: Tensor,
    labels: Labels,
    penalised: bool = True,
) -> Logs:
    """Take one discriminator step: real batch, generated batch, one update from both."""
    d = state.discriminator.requires_grad_(True)
    real, fake = real.detach(), fake.detach()
    real.requires_grad_(penalised and recipe.objective.r1 > 0)
    fake.requires_grad_(penalised and recipe.objective.r2 > 0)
    if _mixes(recipe) or real.requires_grad or fake.requires_grad:
        on_real, on_fake = (d(x).to(x.dtype) for x in (real, fake))
    else:  # one pass for both, which is the same
        on_real, on_fake = d(torch.cat([real, fake])).to(real.dtype).chunk(2)
    lost_real, lost_fake = loss.d(on_real, on_fake, labels)
    d_loss = lost_real + lost_fake
    due = _penalties(recipe, d, (on_real, real), (on_fake, fake)) if penalised else ()
    penalties = [recipe.objective.penalty_every * penalty for penalty in due]
    _descend(state.opt_d, sum(penalties, d_loss))
    if recipe.discriminator.clip:
        for weight in d.parameters():
            weight.data.clamp_(-recipe.discriminator.clip, recipe.discriminator.clip)
    logs = {"d_loss": d_loss, "d_loss_real": lost_real, "d_loss_fake": lost_fake}
    if penalties:
        logs["d_penalty"] = sum(penalties, torch.zeros_like(d_loss))
    logs = {name: value.detach() for name, value in logs.items()}
    return logs | {"d_real": _mean_d(loss, on_real), "d_fake": _mean_d(loss, on_fake)}


def update_generator(state: State, loss: Loss, real: Tensor, fake: Tensor) -> Logs:
    """Take one generator step, from its fakes, against a discriminator held still."""
    d = state.discriminator.requires_grad_(False)
    on_fake = d(fake).to(fake.dtype)
    g_loss = loss.g(lambda: d(real).to(real.dtype), on_fake)
    _descend(state.opt_g, g_loss)
    grads = [p.grad for p in state.generator.parameters() if p.grad is not None]
    return {
        "g_loss": g_loss.detach(),
        "d_fake_after": _mean_d(loss, on_fake),
        "g_grad": torch.nn.utils.get_total_norm(grads),
    }


def set_rates(state: State, recipe: Recipe, done: float) -> None:
    """Set both learning rates to what the schedule says at this share of the training."""
    factor = SCHEDULES[recipe.training.schedule](done)
    for optimizer, rate in (
        (state.opt_g, recipe.generator.lr),
        (state.opt_d, recipe.discriminator.lr),
    ):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


@torch.no_grad()
def update_ema(ema: nn.Module, source: nn.Module, decay: float) -> None:
    """Move averaged weights towards the source and copy its buffers; nothing if they are one."""
    if ema is source:
        return
    for average, now in zip(ema.parameters(), source.parameters(), strict=True):
        average.lerp_(now, 1 - decay)
    for kept, buffer in zip(ema.buffers(), source.buffers(), strict=True):
        kept.copy_(buffer)


def _penalties(
    recipe: Recipe, d: nn.Module, on_real: tuple[Tensor, Tensor], on_fake: tuple[Tensor, Tensor]
) -> Iterator[Tensor]:
    """The gradient penalties that the recipe has, given logits and samples of both batches."""
    (_, real), (_, fake) = on_real, on_fake

    def share() -> Tensor:  # drawn on the CPU, as all that is random
        return torch.rand(len(real)).to(real.device)

    if recipe.objective.gp:
        yield recipe.objective.gp * losses.gradient_unit_norm_penalty(
            d, losses.interpolate_points(real, fake, share())
        )
    if recipe.objective.dragan:
        noise = torch.rand(real.shape).to(real.device)
        yield recipe.objective.dragan * losses.gradient_unit_norm_penalty(
            d, losses.perturb_points(real, noise, share())
        )
    if recipe.objective.r1:
        yield recipe.objective.r1 * losses.gradient_norm_penalty(*on_real)
    if recipe.objective.r2:
        yield recipe.objective.r2 * losses.gradient_norm_penalty(*on_fake)


def _mixes(recipe: Recipe) -> bool:
    """Whether what D says of a sample depends on the other ones of its batch, or on chance."""
    return (
        recipe.discriminator.norm != "none"
        or recipe.discriminator.dropout > 0
        or recipe.network.spectral != "none"
    )


def _computing(precision: Precision, device: torch.device) -> torch.autocast:
    """In which products and convolutions are computed; what leaves a network is as what enters.

    Weights are cast once between two updates, see `_descend`: a generator's without gradients are
    gone by the time that they are wanted with them, as D has been updated between.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _seed(seed: int, device: torch.device) -> None:
    """Do as torch.manual_seed, which on a CPU walks the stack for the sake of absent devices."""
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)


def _mean_d(loss: Loss, logits: Tensor) -> Tensor:
    values = logits.detach()
    return (values.sigmoid() if loss.probabilities else values).mean()


def _optimizer(
    kind: Optimizer, net: nn.Module, rate: float, recipe: Recipe
) -> torch.optim.Optimizer:
    weights = list(net.parameters())
    if kind == "adam":
        return torch.optim.Adam(
            weights, rate, (recipe.training.beta1, recipe.training.beta2), fused=True
        )
    if kind == "rmsprop":
        return torch.optim.RMSprop(weights, rate)
    return torch.optim.SGD(weights, rate)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=[w for group in optimizer.param_groups for w in group["params"]])
    optimizer.step()
    torch.clear_autocast_cache()  # of weights that were cast before they moved
