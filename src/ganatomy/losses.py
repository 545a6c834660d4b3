"""Adversarial losses: pure functions of logits.

A loss is a pair: what the discriminator minimises, given logits and label targets of the real and
the generated batch, and what the generator minimises. To add one, write the pair and add a line to
LOSSES. Sources: Goodfellow et al. 2014, "Generative Adversarial Networks", arXiv 1406.2661.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import softplus


class Labels(NamedTuple):
    """Targets in [0, 1] of the discriminator, one per sample of each batch."""

    real: Tensor
    fake: Tensor


class Loss(NamedTuple):
    """What each player minimises; every logit tensor has shape (N,), every result is a scalar."""

    d: Callable[[Tensor, Tensor, Labels], Tensor]
    """(real logits, fake logits, labels); a loss without labels ignores them"""
    g: Callable[[Callable[[], Tensor], Tensor], Tensor]
    """(real logits, fake logits); the real ones are computed only if the loss calls for them"""
    takes_labels: bool
    """whether label ranges mean anything to it"""


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of sigmoid(logits) against targets in [0, 1], both of shape (N,).

    -t log s(l) - (1 - t) log(1 - s(l)) = softplus(l) - t l, which no logit can overflow.
    """
    return (softplus(logits) - target * logits).mean()


def logistic_d(real: Tensor, fake: Tensor, labels: Labels) -> Tensor:
    """Cross-entropy of telling real from generated, summed over the two batches."""
    return cross_entropy(real, labels.real) + cross_entropy(fake, labels.fake)


def minimax_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Minimise log(1 - D(G(z))); the gradient vanishes where D is sure."""
    return -softplus(fake).mean()


def non_saturating_g(real: Callable[[], Tensor], fake: Tensor) -> Tensor:
    """Maximise log D(G(z)) instead, which keeps its gradient where D is sure."""
    return softplus(-fake).mean()


LOSSES: dict[str, Loss] = {
    "non_saturating": Loss(logistic_d, non_saturating_g, takes_labels=True),
    "minimax": Loss(logistic_d, minimax_g, takes_labels=True),
}
