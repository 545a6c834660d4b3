"""check_loss: the rules that every loss keeps, and those that it claims to keep."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ganatomy.gan.losses import LOSSES, Labels, Loss, as_loss
from ganatomy.validation import register, require


def register_loss(name: str, part: object, about: str = "") -> None:
    """Add a Loss to LOSSES, once check_loss accepts it.

    Args:
        name: name that recipes use.
        part: a Loss.
        about: one line of description; empty keeps the part's own.

    Raises:
        ValueError: if the name is taken, or as check_loss does.
    """
    loss = as_loss(part)
    register(LOSSES, name, replace(loss, about=about or loss.about), "loss", check_loss)


def check_loss(part: object) -> None:
    """Check a loss: form, gradients, directions, and its claims about labels and probabilities.

    Args:
        part: a Loss.

    Raises:
        ValueError: for the first rule that is broken.
    """
    loss = as_loss(part)
    for kind in (torch.float32, torch.float64):
        _check_values(loss, torch.linspace(-100, 90, 6, dtype=kind))
    _check_directions(loss)
    _check_claims(loss)


def _values(loss: Loss, real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, ...]:
    return (*loss.d(real, fake, labels), loss.g(lambda: real, fake))


def _hard(n: int, kind: torch.dtype = torch.float32) -> Labels:
    return Labels(torch.ones(n, dtype=kind), torch.zeros(n, dtype=kind))


def _slopes(
    objective: Callable[[Tensor, Tensor], Tensor], real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of an objective by real and by generated logits."""
    given = tuple(logits.clone().requires_grad_() for logits in (real, fake))
    a, b = torch.autograd.grad(objective(*given), given, materialize_grads=True)
    return a, b


def _check_values(loss: Loss, logits: Tensor) -> None:
    """Check the form of the objectives, and that they are finite, at logits of every size."""
    real, fake, labels = logits.clone(), logits.flip(0), _hard(len(logits), logits.dtype)
    found = _values(loss, real, fake, labels)
    form = [(tuple(value.shape), value.dtype) for value in found]
    require(
        form == [((), logits.dtype)] * 3,
        f"expected three scalars of {logits.dtype}, two from d and one from g, got {form}",
    )
    require(torch.equal(real, logits), "it changes the logits that it is given")
    slopes = [
        *_slopes(lambda a, b: sum(loss.d(a, b, labels), torch.zeros(())), real, fake),
        *_slopes(lambda a, b: loss.g(lambda: a, b), real, fake),
    ]
    finite = all(bool(value.isfinite().all()) for value in (*found, *slopes))
    require(finite, "a value or gradient is not finite at logits of -100 to 100")
    doubled = Labels(*(label.repeat(2) for label in labels))
    for one, two in zip(found, _values(loss, real.repeat(2), fake.repeat(2), doubled), strict=True):
        require(torch.allclose(one, two), "it depends on the batch size: take means, not sums")


def _check_directions(loss: Loss) -> None:
    """Check that a higher logit means a sample that looks more real."""
    logits = torch.linspace(0.1, 0.9, 5)
    real, fake = _slopes(lambda a, b: sum(loss.d(a, b, _hard(5)), torch.zeros(())), logits, logits)
    require(bool((real < 0).all()), "d does not raise the logits of real samples")
    require(bool((fake > 0).all()), "d does not lower the logits of generated samples")
    _, fake = _slopes(lambda a, b: loss.g(lambda: a, b), logits, -logits)
    require(bool((fake < 0).all()), "g does not raise the logits of generated samples")


def _check_claims(loss: Loss) -> None:
    logits, hard = torch.linspace(0.1, 0.9, 5), _hard(5)
    soft = Labels(torch.full((5,), 0.8), torch.full((5,), 0.3))
    effect = loss.d(logits, -logits, hard) != loss.d(logits, -logits, soft)
    has = "have an" if effect else "have no"
    require(
        effect == loss.takes_labels, f"takes_labels is {loss.takes_labels}, but labels {has} effect"
    )
    if loss.probabilities:  # where four samples of five are real, D(x) = 0.8 is best
        at = torch.full((5,), math.log(4))
        on_real, _ = _slopes(lambda a, b: loss.d(a, b, hard)[0], at, at)
        _, on_fake = _slopes(lambda a, b: loss.d(a, b, hard)[1], at, at)
        best = bool((0.8 * on_real + 0.2 * on_fake).abs().max() < 1e-6)
        require(best, "probabilities is True, but sigmoid(logit) is not D(x)")
