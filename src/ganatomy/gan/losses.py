"""Adversarial losses and gradient penalties: pure functions of logits and samples.

A loss is a pair: what the discriminator minimises, given logits and label targets of the real and
the generated batch, and what the generator minimises. To add one, write the pair and add a line to
LOSSES. docs/losses has a page for each.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


class Labels(NamedTuple):
    """Targets in [0, 1] of the discriminator, one per sample of each batch."""

    real: Tensor
    fake: Tensor


class Loss(NamedTuple):
    """What each player minimises; every logit tensor has shape (N,), every result is a scalar."""

    d: Callable[[Tensor, Tensor, Labels], tuple[Tensor, Tensor]]
    """(real logits, fake logits, labels) to what is lost on real and on generated samples, of which
    D minimises the sum; a loss without labels ignores them"""
    g: Callable[[Callable[[], Tensor], Tensor], Tensor]
    """(real logits, fake logits); the real ones are computed only if the loss calls for them"""
    takes_labels: bool
    """whether label ranges mean anything to it"""
    probabilities: bool
    """whether the sigmoid of a logit is the probability of being real, D(x); else a logit is a
    score that only compares"""


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of sigmoid(logits) against targets in [0, 1], both of shape (N,).

    -t log s(l) - (1 - t) log(1 - s(l)) = softplus(l) - t l, which no logit can overflow.
    """
    return (softplus(logits) - target * logits).mean()


def logistic_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Cross-entropy of telling real from generated (Goodfellow et al. 2014, arXiv 1406.2661)."""
    return cross_entropy(real, labels.real), cross_entropy(fake, labels.fake)


def minimax_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Minimise log(1 - D(G(z))); the gradient vanishes where D is sure."""
    return -softplus(fake).mean()


def non_saturating_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Maximise log D(G(z)) instead, which keeps its gradient where D is sure."""
    return softplus(-fake).mean()


def least_squares_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Half the squared distance of outputs to labels (Mao et al. 2017, arXiv 1611.04076)."""
    return (real - labels.real).square().mean() / 2, (fake - labels.fake).square().mean() / 2


def least_squares_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Half the squared distance of D's output on generated samples to 1."""
    return (fake - 1).square().mean() / 2


def wasserstein_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Minus the critic's gap between real and generated (Arjovsky et al. 2017, arXiv 1701.07875).

    It estimates a distance only if D is kept Lipschitz: by clip, gp or spectral.
    """
    return -real.mean(), fake.mean()


def raise_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Raise D's score of generated samples, whatever it is."""
    return -fake.mean()


def hinge_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Only samples within a margin of 1 count (Lim and Ye 2017, arXiv 1705.02894)."""
    return relu(1 - real).mean(), relu(1 + fake).mean()


def relativistic_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Is each real sample more real than its generated partner (Jolicoeur-Martineau 2019)?

    arXiv 1807.00734, in the paired form. Both halves are of the same pairs, so are equal.
    """
    half = softplus(fake - real).mean() / 2
    return half, half


def relativistic_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Make each generated sample more real than its real partner."""
    return softplus(real() - fake).mean()


LOSSES: dict[str, Loss] = {
    "non_saturating": Loss(logistic_d, non_saturating_g, takes_labels=True, probabilities=True),
    "minimax": Loss(logistic_d, minimax_g, takes_labels=True, probabilities=True),
    "least_squares": Loss(least_squares_d, least_squares_g, takes_labels=True, probabilities=False),
    "hinge": Loss(hinge_d, raise_g, takes_labels=False, probabilities=False),
    "wasserstein": Loss(wasserstein_d, raise_g, takes_labels=False, probabilities=False),
    "relativistic": Loss(relativistic_d, relativistic_g, takes_labels=False, probabilities=False),
}


def gradient_norm_penalty(logits: Tensor, samples: Tensor) -> Tensor:
    """Half the mean squared norm of D's gradient at samples (N, ...) that gave logits (N,).

    R1 at real samples, R2 at generated ones (Mescheder et al. 2018, arXiv 1801.04406).
    """
    return _gradient(logits, samples).square().sum(1).mean() / 2


def gradient_unit_norm_penalty(discriminator: nn.Module, at: Tensor) -> Tensor:
    """Mean squared distance of D's gradient norm to 1 at samples (N, ...).

    The norm is over all of a sample. WGAN-GP between real and generated ones (Gulrajani et al.
    2017, arXiv 1704.00028), DRAGAN around real ones (Kodali et al. 2017, arXiv 1705.07215).
    """
    at = at.detach().requires_grad_()
    return (_gradient(discriminator(at), at).norm(dim=1) - 1).square().mean()


def interpolate_points(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """WGAN-GP's points: each on the line from a real to a generated sample, at its share (N,)."""
    return torch.lerp(real, fake, share.view(-1, *[1] * (real.ndim - 1)))


def perturb_points(real: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """DRAGAN's points: a share (N,) of the way from a real sample to one with noise on it.

    Noise (N, ...) is uniform in [0, 1] and scaled by half the batch's deviation, as its authors do.
    """
    return interpolate_points(real, real + noise * (real.std() / 2), share)


def _gradient(logits: Tensor, samples: Tensor) -> Tensor:
    """The gradient of each sample's logit at it, as (N, values)."""
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradient.flatten(1)
