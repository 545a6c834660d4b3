"""The training loop: everything that a GAN does in one step.

No random state is carried from step to step. Batches, noise, labels and dropout are functions of
(seed, step), so a run that resumes at step k equals the run that never stopped.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from ganatomy.data import Samples
from ganatomy.gan import losses
from ganatomy.gan.draws import CpuDraws, Draws, step_seed
from ganatomy.gan.losses import Labels, Loss, spread
from ganatomy.gan.schedules import SCHEDULES
from ganatomy.gan.share import Share
from ganatomy.gan.state import CHECKED, Scalars, State, check_recipe
from ganatomy.models import find_model
from ganatomy.models.net import squeeze_logits
from ganatomy.recipes.recipe import Precision, Recipe

Logs = dict[str, Tensor]
"""Scalars; (M,) of M members that are trained together, see fused.py."""


def steps(
    state: State, recipe: Recipe, data: Samples, precision: Precision = "fp32"
) -> Iterator[Logs]:
    """Train from state.step to the recipe's end and yield the logs of each step.

    Logs are scalars: d_loss and g_loss; d_loss_real and d_loss_fake, the terms of d_loss;
    d_penalty, in steps that have penalties; d_real, the mean of D(x); d_fake and d_fake_after, the
    mean of D(G(z)) before and after the discriminator's update (means of scores for a loss without
    probabilities); g_grad, the norm of the generator's gradient.

    Args:
        state: networks and optimizers, updated in place.
        recipe: the settings.
        data: the real samples.
        precision: of matrix products and convolutions.

    Raises:
        ValueError: as check_recipe does.
    """
    device = next(state.generator.parameters()).device
    loss = check_recipe(recipe)
    devices = [device] if device.type == "cuda" else []
    draws = CpuDraws(recipe, data, device)
    state.generator.train()
    state.discriminator.train()
    total = recipe.total_steps(len(data))
    while state.step < total:
        set_rates(state, recipe, state.step / total)
        # everything in a step draws random numbers that belong to this step
        with torch.random.fork_rng(devices), computing(precision, device):
            seed_all(step_seed(recipe, state.step), device)
            draws.begin(state.step)
            logs = take_step(state, recipe, loss, draws, penalties_due(recipe, state.step))
        state.step += 1
        if state.nonfinite is not None:
            latch(state.nonfinite, torch.full((1,), state.step, device=device), logs)
        yield logs


def penalties_due(recipe: Recipe, step: int) -> tuple[bool, ...]:
    """Return for each discriminator update of a step whether it has gradient penalties."""
    n, every = recipe.discriminator.steps, recipe.objective.penalty_every
    return tuple((k + 1) % every == 0 for k in range(step * n, (step + 1) * n))


def take_step(
    state: State, recipe: Recipe, loss: Loss, draws: Draws, due: tuple[bool, ...]
) -> Logs:
    """Take one step: all updates of both networks, then the average of the generator.

    Args:
        state: networks and optimizers, updated in place, except for the number of the step.
        recipe: the settings.
        loss: the recipe's loss.
        draws: real samples and random numbers of this step.
        due: for each discriminator update, whether it has gradient penalties.

    Returns:
        Logs as in steps.
    """
    logs: Logs = {}
    draws = state.share.draws(draws)
    for k, penalized in enumerate(due, 1):
        real, z, targets = draws.real(), draws.latent(), draws.labels()
        with torch.set_grad_enabled(recipe.training.same_fakes and k == len(due)):
            fake = state.generator(z).to(real.dtype)
        logs |= update_discriminator(
            state, recipe, loss, real, fake, targets, draws if penalized else None
        )
    for k in range(recipe.generator.steps):
        fresh = k > 0 or not recipe.training.same_fakes
        fake = state.generator(draws.latent()).to(real.dtype) if fresh else fake
        logs |= update_generator(state, recipe, loss, real, fake)
    update_ema(state.ema, state.generator, scalars(state, recipe).ema)
    return logs


def update_discriminator(
    state: State,
    recipe: Recipe,
    loss: Loss,
    real: Tensor,
    fake: Tensor,
    labels: Labels,
    draws: Draws | None,
) -> Logs:
    """Take one discriminator step: one update from a real and a generated batch.

    Args:
        state: networks and optimizers, updated in place.
        recipe: the settings.
        loss: the recipe's loss.
        real: real samples (N, ...), of this process if there are several.
        fake: generated samples (N, ...), likewise.
        labels: targets of both batches.
        draws: random numbers of gradient penalties; None if no penalty is due.

    Returns:
        Logs as in steps: d_loss, its terms, d_penalty, d_real, d_fake.
    """
    d = state.discriminator.requires_grad_(True)
    real, fake = real.detach(), fake.detach()
    real.requires_grad_(draws is not None and recipe.objective.r1 > 0)
    fake.requires_grad_(draws is not None and recipe.objective.r2 > 0)
    if _mixes(recipe) or real.requires_grad or fake.requires_grad:
        on_real, on_fake = (discriminate(state, recipe, x) for x in (real, fake))
    else:  # one pass over both gives the same logits
        axis = _axis(state, real)
        both = discriminate(state, recipe, torch.cat([real, fake], axis))
        on_real, on_fake = both.chunk(2, axis)
    on_real, on_fake = state.share.gather(on_real), state.share.gather(on_fake)
    lost_real, lost_fake = loss.d(on_real, on_fake, labels)
    d_loss = lost_real + lost_fake
    due = _penalties(state, recipe, (on_real, real), (on_fake, fake), draws) if draws else ()
    penalties = [recipe.objective.penalty_every * state.share.mean(penalty) for penalty in due]
    _descend(d, state.opt_d, sum(penalties, d_loss), state.share)
    if recipe.discriminator.clip:
        for weight in d.parameters():
            weight.data.clamp_(-recipe.discriminator.clip, recipe.discriminator.clip)
    logs = {"d_loss": d_loss, "d_loss_real": lost_real, "d_loss_fake": lost_fake}
    if penalties:
        logs["d_penalty"] = sum(penalties, torch.zeros_like(d_loss))
    logs = {name: value.detach() for name, value in logs.items()}
    return logs | {"d_real": _mean_d(loss, on_real), "d_fake": _mean_d(loss, on_fake)}


def update_generator(state: State, recipe: Recipe, loss: Loss, real: Tensor, fake: Tensor) -> Logs:
    """Take one generator step against a fixed discriminator.

    Args:
        state: networks and optimizers, updated in place.
        recipe: the settings.
        loss: the recipe's loss.
        real: real samples (N, ...), which few losses use.
        fake: samples (N, ...) that carry the generator's graph.

    Returns:
        Logs as in steps: g_loss, d_fake_after, g_grad.
    """
    state.discriminator.requires_grad_(False)
    whole = state.share.gather
    on_fake = whole(discriminate(state, recipe, fake))
    g_loss = loss.g(lambda: whole(discriminate(state, recipe, real)), on_fake)
    _descend(state.generator, state.opt_g, g_loss, state.share)
    grads = [p.grad for p in state.generator.parameters() if p.grad is not None]
    return {
        "g_loss": g_loss.detach(),
        "d_fake_after": _mean_d(loss, on_fake),
        "g_grad": _total_norm(grads, _axis(state, real)),
    }


def discriminate(state: State, recipe: Recipe, samples: Tensor) -> Tensor:
    """Return the discriminator's logits (N,) of real or generated samples (N, ...).

    All samples that the discriminator sees in training pass here, so an augmentation belongs here.

    Raises:
        ValueError: if the logits have another shape than (N,) or (N, 1).
    """
    n = samples.shape[: _axis(state, samples) + 1]
    return squeeze_logits(state.discriminator(samples), n).to(samples.dtype)


def set_rates(state: State, recipe: Recipe, done: float) -> None:
    """Set both learning rates as the schedule has them at a share of the training, in [0, 1)."""
    factor = SCHEDULES[recipe.training.schedule].factor(done)
    for optimizer, own in (
        (state.opt_g, recipe.generator.lr),
        (state.opt_d, recipe.discriminator.lr),
    ):
        for group in optimizer.param_groups:
            rate = group.get("initial_lr", own) * factor  # members have rates of their own
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def latch(latched: Tensor, step: Tensor, logs: Logs) -> None:
    """Record the first step with a value that is not finite, without waiting for the device.

    Args:
        latched: State.nonfinite, updated in place.
        step: number of the step (1,), on the same device.
        logs: logs of the step.
    """
    values = torch.stack([logs[name] for name in CHECKED]).double()
    first = (latched[0] < 0) & ~values.isfinite().all(0)
    found = torch.cat([step.double().expand_as(values[:1]), values])
    latched.copy_(torch.where(first, found, latched))


@torch.no_grad()
def update_ema(ema: nn.Module, source: nn.Module, decay: float | Tensor) -> None:
    """Move averaged weights towards the source and copy its buffers; nothing if both are one."""
    if ema is source:
        return
    for average, now in zip(ema.parameters(), source.parameters(), strict=True):
        average.lerp_(now, spread(1 - decay, now))
    for kept, buffer in zip(ema.buffers(), source.buffers(), strict=True):
        kept.copy_(buffer)


def scalars(state: State, recipe: Recipe) -> Scalars:
    """Return the numbers of the recipe, or those of members that are trained together."""
    return state.scalars or Scalars.of(recipe)


def _axis(state: State, samples: Tensor) -> int:
    """Return the axis of samples: 0, or 1 after that of members that are trained together."""
    return samples.ndim - 1 - len(state.shape)


def _total_norm(grads: list[Tensor], axis: int) -> Tensor:
    """Return the norm over all gradients, of each member if there is an axis of members."""
    if axis == 0:
        return torch.nn.utils.get_total_norm(grads)
    return torch.stack([grad.reshape(len(grad), -1).norm(dim=1) for grad in grads]).norm(dim=0)


def _penalties(
    state: State,
    recipe: Recipe,
    on_real: tuple[Tensor, Tensor],
    on_fake: tuple[Tensor, Tensor],
    draws: Draws,
) -> Iterator[Tensor]:
    """Yield the recipe's weighted gradient penalties, given logits and samples of both batches."""
    (_, real), (_, fake) = on_real, on_fake
    scored, weights = partial(discriminate, state, recipe), scalars(state, recipe)
    n, *sample = real.shape[_axis(state, real) :]
    if recipe.objective.gp:
        yield weights.gp * losses.gradient_unit_norm_penalty(
            scored, losses.interpolate_points(real, fake, draws.uniform(n))
        )
    if recipe.objective.dragan:
        noise, deviation = draws.uniform(n, *sample), state.share.deviation(real)
        at = losses.perturb_points(real, noise, draws.uniform(n), deviation)
        yield weights.dragan * losses.gradient_unit_norm_penalty(scored, at)
    if recipe.objective.r1:
        yield weights.r1 * losses.gradient_norm_penalty(*on_real)
    if recipe.objective.r2:
        yield weights.r2 * losses.gradient_norm_penalty(*on_fake)


def _mixes(recipe: Recipe) -> bool:
    """Whether a sample's logit may depend on the other samples of its batch, or on chance."""
    return (
        recipe.discriminator.norm != "none"
        or recipe.discriminator.dropout > 0
        or recipe.network.spectral != "none"
        or "one_pass" not in find_model(recipe.network.model).supports
    )


def computing(precision: Precision, device: torch.device) -> torch.autocast:
    """Autocast of products and convolutions; outputs are cast back to the inputs' type.

    Weights are cast once between two updates, see `_descend`. A generator's weights that were cast
    without gradients are never reused with gradients, because D is updated in between.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def seed_all(seed: int, device: torch.device) -> None:
    """Do the same as torch.manual_seed, which on a CPU inspects the stack for absent devices."""
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)


def _mean_d(loss: Loss, logits: Tensor) -> Tensor:
    values = logits.detach()
    return (values.sigmoid() if loss.probabilities else values).mean(-1)


def _descend(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, share: Share) -> None:
    net.zero_grad(set_to_none=True)
    weights = list(net.parameters())
    loss.backward(torch.ones_like(loss), inputs=weights)  # members add up
    share.add_gradients(weights)
    optimizer.step()
    torch.clear_autocast_cache()  # of weights that were cast before the update
