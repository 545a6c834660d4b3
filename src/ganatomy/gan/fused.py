"""Members: M GANs of one structure trained as one program by the step of step.py.

Their weights are stacked to (M, ...) and vmap runs all networks at once. Members may differ in the
fields that FREE lists. Each member's numbers are those of its run alone, but for rounding, and it
ends as an ordinary State. A member with NaN or infinite values does not change the others.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from ganatomy.data import Samples
from ganatomy.gan.captured import Captured, captured_or
from ganatomy.gan.draws import CpuDraws, MemberDraws
from ganatomy.gan.losses import Labels, Loss
from ganatomy.gan.members import CpuMasks, HashedMasks, Masks, Stacked
from ganatomy.gan.state import (
    Scalars,
    State,
    check_recipe,
    make_optimizer,
    optimizer_settings,
)
from ganatomy.gan.step import Logs, computing, latch, penalties_due, set_rates, take_step
from ganatomy.recipes.recipe import Precision, Recipe
from ganatomy.validation import flat

SWITCHES = frozenset({"gp", "dragan", "r1", "r2", "ema"})
"""Fields in which members may differ, but not in whether they are 0."""

FREE = SWITCHES | {"seed", "lr_g", "lr_d", "beta1", "beta2", "real_label", "fake_label"}
"""Fields in which members may differ, by public name."""


class FusionError(ValueError):
    """Members cannot be trained as one program."""


def stacks(recipe: Recipe, device: torch.device) -> bool:
    """Return whether members are trained as one program, or side by side on streams of a GPU.

    On an H200, 32 `mnist-fast` as one program took 1,158 steps/s, and 16 on streams 1,276, although
    each of these took 1.8 times as long as it has to. Side by side, bits are those of runs alone.
    """
    return device.type != "cuda" or recipe.network.model == "mlp"


def groups(recipes: Sequence[Recipe], device: torch.device | str = "cpu") -> list[list[int]]:
    """Return the indices of the recipes in groups that can be trained together.

    In a group, recipes with equal optimizer settings are next to each other. Side by side, recipes
    of any structure are trained together if they agree in their data.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for i, recipe in enumerate(recipes):
        alike = _structure(recipe) if stacks(recipe, torch.device(device)) else {"": recipe.data}
        found.setdefault(tuple(alike.values()), []).append(i)
    return [sorted(group, key=lambda i: _rates(recipes[i])) for group in found.values()]


def check_members(recipes: Sequence[Recipe]) -> None:
    """Check that recipes can be trained as one program.

    Raises:
        FusionError: naming the first field in which they must agree.
    """
    first = _structure(recipes[0])
    for recipe in recipes:
        for name, value in _structure(recipe).items():
            if value != first[name]:
                what = f"whether {name} is 0" if name in SWITCHES else name
                a, b = (flat(r)[name] for r in (recipes[0], recipe))
                raise FusionError(
                    f"members that are trained together must agree in {what}, got {a} and {b}; "
                    "train them apart"
                )


def _structure(recipe: Recipe) -> dict[str, Any]:
    """Return the fields in which members must agree; of a switch, whether it is on."""
    values = flat(recipe)
    fixed = {name: value for name, value in values.items() if name not in FREE}
    return fixed | {name: bool(values[name]) for name in SWITCHES}


def _rates(recipe: Recipe) -> tuple[float, ...]:
    training = recipe.training
    return (recipe.generator.lr, recipe.discriminator.lr, training.beta1, training.beta2)


class Members:
    """M states as one, whose networks are stacked."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        states: Sequence[State],
        masks: Masks | None = None,
    ) -> None:
        """Stack states that are at one step.

        Args:
            recipes: of the members, which may differ in FREE.
            states: of the members; they change only by write.
            masks: draws the masks of dropout layers; None means as the members' runs alone do on a
                CPU, and from the members' seeds on another device.

        Raises:
            FusionError: naming the field that the members cannot have.
        """
        check_members(recipes)
        at = sorted({state.step for state in states})
        if len(at) > 1:
            raise FusionError(f"members must be at one step, got {at}; train them apart")
        self.recipes, self.states = recipes, states
        self.loss = members_loss(check_recipe(recipes[0]))
        self.rngs = [torch.Generator() for _ in recipes]
        self.device = next(states[0].generator.parameters()).device
        if masks is None and self.device.type == "cpu":
            masks = CpuMasks(self.rngs)
        seeds = [recipe.training.seed for recipe in recipes]
        self.masks = masks or HashedMasks(seeds, self.device)
        self.state = self._stacked(self.masks)
        self._try()

    def __len__(self) -> int:
        return len(self.recipes)

    def note(self, m: int) -> State:
        """Bring the step of member m's own state up to date, and its first one that is not finite.

        Returns:
            The state, whose networks and optimizers stay as they are.
        """
        ours, theirs = self.state, self.states[m]
        if ours.nonfinite is not None and theirs.nonfinite is not None:
            theirs.nonfinite.copy_(ours.nonfinite[:, m])
        theirs.step = ours.step
        return theirs

    def write(self, m: int) -> State:
        """Bring member m's own state up to date, and return it."""
        ours, theirs = self.state, self.states[m]
        for name in ("generator", "discriminator", "ema"):
            stacked, net = getattr(ours, name), getattr(theirs, name)
            if name != "ema" or theirs.ema is not theirs.generator:
                stacked.write_member(m, net)
        for name in ("opt_g", "opt_d"):
            _write_optimizer(getattr(ours, name), m, getattr(theirs, name))
        return self.note(m)

    def _stacked(self, masks: Masks) -> State:
        """Return the members' states as one."""
        first, recipe = self.states[0], self.recipes[0]
        weight = next(first.generator.parameters())
        n = recipe.training.batch
        z, x = weight.new_zeros(n, recipe.network.z_dim), weight.new_zeros(n, *first.shape)
        try:
            g = Stacked([state.generator for state in self.states], masks, z)
            d = Stacked([state.discriminator for state in self.states], masks, x)
            ema = g
            if first.ema is not first.generator:
                ema = Stacked([state.ema for state in self.states], masks, z).requires_grad_(False)
        except RuntimeError as error:
            raise _refused("model", recipe.network.model, error) from error
        latched = None
        if first.nonfinite is not None:
            latched = torch.stack([s.nonfinite for s in self.states if s.nonfinite is not None], 1)
        return State(
            g,
            d,
            ema,
            self._optimizer("opt_g", g),
            self._optimizer("opt_d", d),
            first.shape,
            first.step,
            latched,
            self._scalars(weight),
        )

    def _scalars(self, like: Tensor) -> Scalars:
        """Return numbers that all members share, and (M,) of those in which they differ."""
        found: list[float | Tensor] = []
        for name, each in zip(
            Scalars._fields, zip(*map(Scalars.of, self.recipes), strict=True), strict=True
        ):
            dtype = torch.float64 if name == "ema" else like.dtype
            different = len(set(each)) > 1
            found.append(
                torch.tensor(each, dtype=dtype, device=like.device) if different else each[0]
            )
        return Scalars(*found)

    def _optimizer(self, name: str, net: Stacked) -> torch.optim.Optimizer:
        """Return an optimizer with a group for each run of members with equal settings."""
        parts: list[tuple[dict[str, Any], list[int]]] = []
        for m, recipe in enumerate(self.recipes):
            section = recipe.generator if name == "opt_g" else recipe.discriminator
            settings = optimizer_settings(section.optimizer, section.lr, recipe)
            if parts and parts[-1][0] == settings:
                parts[-1][1].append(m)
            else:
                parts.append((settings, [m]))
        weights = list(net.parameters())
        slices = [slice(ms[0], ms[-1] + 1) for _, ms in parts]
        found = make_optimizer(
            section.optimizer,
            [
                settings
                | {"initial_lr": settings["lr"], "members": of}
                | {"params": [weight.detach()[of] for weight in weights]}
                for (settings, _), of in zip(parts, slices, strict=True)
            ],
        )
        _read_optimizers([getattr(state, name) for state in self.states], found)

        def hand_gradients(*_: Any) -> None:
            for group in found.param_groups:
                for part, weight in zip(group["params"], weights, strict=True):
                    part.grad = None if weight.grad is None else weight.grad[group["members"]]

        found.register_step_pre_hook(hand_gradients)
        return found

    def _try(self) -> None:
        """Run networks and loss once, and leave the state as it was."""
        recipe, state = self.recipes[0], self.state
        nets = (state.generator, state.discriminator)
        before = [buffer.clone() for net in nets for buffer in net.buffers()]
        z = next(state.generator.parameters()).new_zeros(
            len(self), recipe.training.batch, recipe.network.z_dim
        )
        field, value = "model", recipe.network.model
        try:
            with torch.no_grad():
                logits = state.discriminator(state.generator(z)).flatten(1)
                field, value = "loss", recipe.objective.loss
                self.loss.d(logits, logits, Labels(logits, logits))
                self.loss.g(lambda: logits, logits)
        except RuntimeError as error:
            raise _refused(field, value, error) from error
        for buffer, kept in zip((b for net in nets for b in net.buffers()), before, strict=True):
            buffer.copy_(kept)


def steps(members: Members, data: Samples, precision: Precision = "fp32") -> Iterator[Logs]:
    """Train members from their step to the end, and yield the logs (M,) of each step.

    On CUDA the steps are captured, and logs are overwritten by the next step.

    Args:
        members: their stacked state is updated in place; write updates their own.
        data: the real samples.
        precision: of matrix products and convolutions.
    """
    taken = captured_steps if members.device.type == "cuda" else eager_steps
    return taken(members, data, precision)


def captured_steps(
    members: Members, data: Samples, precision: Precision = "fp32"
) -> Iterator[Logs]:
    """Take steps as captured.steps does; those that cannot be captured as eager_steps does."""
    state, recipes = members.state, members.recipes
    return captured_or(
        lambda found: Captured(state, recipes, members.loss, data, precision, found, members.masks),
        lambda: eager_steps(members, data, precision),
        state.step,
        recipes[0],
        recipes[0].total_steps(len(data)),
    )


def eager_steps(members: Members, data: Samples, precision: Precision = "fp32") -> Iterator[Logs]:
    """Take steps one by one, with draws made when they are asked for."""
    state, recipe, device = members.state, members.recipes[0], members.device
    pairs = zip(members.recipes, members.rngs, strict=True)
    draws = MemberDraws([CpuDraws(member, data, device, rng) for member, rng in pairs])
    total = recipe.total_steps(len(data))
    while state.step < total:
        set_rates(state, recipe, state.step / total)
        draws.begin(state.step)
        members.masks.begin(torch.full((1,), state.step, device=device))
        with computing(precision, device):
            logs = take_step(state, recipe, members.loss, draws, penalties_due(recipe, state.step))
        state.step += 1
        if state.nonfinite is not None:
            latch(state.nonfinite, torch.full((1,), state.step, device=device), logs)
        yield logs


def members_loss(loss: Loss) -> Loss:
    """Return a loss of logits (M, N) whose objectives are (M,)."""
    asked: list[Tensor] = []

    def real_logits() -> Tensor:
        asked.append(torch.zeros(2))
        return asked[0]

    loss.g(real_logits, torch.zeros(2))  # real logits are computed only for losses that use them

    def g(real: Any, fake: Tensor) -> Tensor:
        if asked:
            return vmap(lambda a, b: loss.g(lambda: a, b))(real(), fake)
        return vmap(lambda b: loss.g(real, b))(fake)

    return dataclasses.replace(loss, d=vmap(loss.d), g=g)


def _read_optimizers(lone: Sequence[torch.optim.Optimizer], into: torch.optim.Optimizer) -> None:
    """Stack what the members' optimizers keep for each weight, in its memory format."""
    for group in into.param_groups:
        for k, part in enumerate(group["params"]):
            kept = [_kept(optimizer, k) for optimizer in lone[group["members"]]]
            for name, value in kept[0].items():
                stacked = value if name == "step" else torch.stack([one[name] for one in kept])
                like = value if name == "step" else part
                into.state[part][name] = torch.empty_like(like, dtype=value.dtype).copy_(stacked)


def _write_optimizer(ours: torch.optim.Optimizer, m: int, into: torch.optim.Optimizer) -> None:
    """Copy member m's part to its own optimizer, in the memory format of its weights."""
    (group,) = (g for g in ours.param_groups if g["members"].start <= m < g["members"].stop)
    rate = group["lr"]
    into.param_groups[0]["lr"] = rate.clone() if isinstance(rate, Tensor) else rate
    for weight, part in zip(into.param_groups[0]["params"], group["params"], strict=True):
        for name, value in ours.state[part].items() if part in ours.state else ():
            like, one = (
                (value, value) if name == "step" else (weight, value[m - group["members"].start])
            )
            into.state[weight][name] = torch.empty_like(like, dtype=value.dtype).copy_(one)


def _kept(optimizer: torch.optim.Optimizer, k: int) -> dict[str, Tensor]:
    weight = optimizer.param_groups[0]["params"][k]
    return optimizer.state.get(weight, {})


def _refused(field: str, value: str, error: RuntimeError) -> FusionError:
    reason = str(error).partition("\n")[0]
    return FusionError(f"{field} {value} cannot be fused ({reason}); train its members apart")
