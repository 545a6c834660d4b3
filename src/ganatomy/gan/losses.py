"""Adversarial losses and gradient penalties: pure functions of logits and samples.

A loss is a pair: the discriminator's objective, of logits and label targets of a real and a
generated batch, and the generator's. To add one, write the pair and add an entry to LOSSES.
docs/losses has a page for each. Penalties also take samples (M, N, ...) of M members.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganatomy.validation import resolve


class Labels(NamedTuple):
    """Targets of the discriminator in [0, 1], of shape (N,) for each batch."""

    real: Tensor
    fake: Tensor


@dataclass(frozen=True)
class Loss:
    """The objectives that both networks minimize: scalars of logits (N,)."""

    d: Callable[[Tensor, Tensor, Labels], tuple[Tensor, Tensor]]
    """(real logits, fake logits, labels) to the terms of real and of generated samples, whose sum
    the discriminator minimizes"""
    g: Callable[[Callable[[], Tensor], Tensor], Tensor]
    """(function that returns the real logits, fake logits) to the generator's objective; real
    logits are computed only where the function is called"""
    takes_labels: bool = False
    """whether the labels have an effect"""
    probabilities: bool = False
    """whether sigmoid(logit) is the probability D(x) that a sample is real; otherwise a logit is a
    score that only compares samples"""
    about: str = ""
    """one line of description"""


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of sigmoid(logits) and targets in [0, 1], both of shape (N,).

    -t log s(l) - (1 - t) log(1 - s(l)) = softplus(l) - t l, which does not overflow.
    """
    return (softplus(logits) - target * logits).mean()


def logistic_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Cross-entropy of real and generated samples (Goodfellow et al. 2014, arXiv 1406.2661)."""
    return cross_entropy(real, labels.real), cross_entropy(fake, labels.fake)


def minimax_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """log(1 - D(G(z))), to be minimized; its gradient vanishes where D is certain."""
    return -softplus(fake).mean()


def non_saturating_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """-log D(G(z)), to be minimized; it keeps its gradient where D is certain."""
    return softplus(-fake).mean()


def least_squares_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Half the squared distance of scores to labels (Mao et al. 2017, arXiv 1611.04076)."""
    return (real - labels.real).square().mean() / 2, (fake - labels.fake).square().mean() / 2


def least_squares_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Half the squared distance of generated samples' scores to 1."""
    return (fake - 1).square().mean() / 2


def wasserstein_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Difference of mean scores of generated and real samples (Arjovsky et al. 2017).

    arXiv 1701.07875. It estimates a distance only if D is Lipschitz: use clip, gp or spectral.
    """
    return -real.mean(), fake.mean()


def raise_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Minus the mean score of generated samples."""
    return -fake.mean()


def hinge_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Hinge with a margin of 1 (Lim and Ye 2017, arXiv 1705.02894)."""
    return relu(1 - real).mean(), relu(1 + fake).mean()


def relativistic_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Cross-entropy of score differences in pairs of a real and a generated sample.

    Jolicoeur-Martineau 2019, arXiv 1807.00734, the paired form. Both terms are equal.
    """
    half = softplus(fake - real).mean() / 2
    return half, half


def relativistic_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Cross-entropy of the opposite differences."""
    return softplus(real() - fake).mean()


LOSSES: dict[str, Loss] = {
    "non_saturating": Loss(
        logistic_d,
        non_saturating_g,
        takes_labels=True,
        probabilities=True,
        about="cross-entropy; the generator maximizes log D(G(z)) (Goodfellow et al. 2014)",
    ),
    "minimax": Loss(
        logistic_d,
        minimax_g,
        takes_labels=True,
        probabilities=True,
        about="cross-entropy; the generator minimizes log(1 - D(G(z))) (Goodfellow et al. 2014)",
    ),
    "least_squares": Loss(
        least_squares_d,
        least_squares_g,
        takes_labels=True,
        about="squared distance of scores to labels (Mao et al. 2017)",
    ),
    "hinge": Loss(hinge_d, raise_g, about="scores within a margin of 1 count (Lim and Ye 2017)"),
    "wasserstein": Loss(
        wasserstein_d, raise_g, about="difference of mean scores (Arjovsky et al. 2017)"
    ),
    "relativistic": Loss(
        relativistic_d,
        relativistic_g,
        about="differences of scores in pairs (Jolicoeur-Martineau 2019)",
    ),
}


def find_loss(name: str) -> Loss:
    """Return a loss by its name in LOSSES or by an importable name, package.module:loss.

    Raises:
        ValueError: for an unknown loss.
    """
    return resolve(LOSSES, name, "loss", as_loss)


def as_loss(part: object) -> Loss:
    """Return a Loss as it is.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(part, Loss):
        raise ValueError(f"expected a ganatomy.gan.losses.Loss, got a {type(part).__name__}")
    return part


def gradient_norm_penalty(logits: Tensor, samples: Tensor) -> Tensor:
    """Half the mean squared norm of D's gradient at samples (N, ...) with logits (N,).

    R1 at real samples, R2 at generated ones (Mescheder et al. 2018, arXiv 1801.04406).
    """
    return _gradient(logits, samples).square().sum(-1).mean(-1) / 2


def gradient_unit_norm_penalty(discriminator: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Mean squared distance to 1 of the norm of D's gradient at samples (N, ...).

    WGAN-GP between real and generated samples (Gulrajani et al. 2017, arXiv 1704.00028), DRAGAN
    around real ones (Kodali et al. 2017, arXiv 1705.07215).
    """
    at = at.detach().requires_grad_()
    return (_gradient(discriminator(at), at).norm(dim=-1) - 1).square().mean(-1)


def interpolate_points(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Return points on the lines from real to generated samples, at shares (N,) in [0, 1]."""
    return torch.lerp(real, fake, share.view(*share.shape, *[1] * (real.ndim - share.ndim)))


def perturb_points(
    real: Tensor, noise: Tensor, share: Tensor, deviation: Tensor | None = None
) -> Tensor:
    """Return points on the lines from real samples to noisy ones, at shares (N,) in [0, 1].

    Noise (N, ...), uniform in [0, 1], is scaled by half the batch's standard deviation, as in
    DRAGAN's code. The deviation is given where these are some samples of a batch only.
    """
    if deviation is None:
        deviation = real.flatten(share.ndim - 1).std(-1)
    return interpolate_points(real, real + noise * spread(deviation / 2, real), share)


def spread(scalar: float | Tensor, like: Tensor) -> float | Tensor:
    """Return a number as it is, and numbers (M,) of members so that they multiply (M, ...)."""
    if isinstance(scalar, Tensor) and scalar.ndim:
        return scalar.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
    return scalar


def _gradient(logits: Tensor, samples: Tensor) -> Tensor:
    """Return the gradient of each sample's logit at the sample, as (N, values)."""
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradient.flatten(logits.ndim)
