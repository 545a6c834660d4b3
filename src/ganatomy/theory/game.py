"""The quantities of Goodfellow et al. 2014 (arXiv 1406.2661, section 4), for known densities."""

import copy
import math
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ganatomy.data.samples import derive_seed
from ganatomy.gan.losses import LOSSES, Labels
from ganatomy.models import MODELS, NetworkConfig
from ganatomy.theory.densities import Mixture, Nodes, double, legendre, modes, nodes


def best_logit(p: Mixture, q: Mixture, x: Tensor) -> Tensor:
    """Return the logit (N,) of D*(x) = p(x) / (p(x) + q(x)) at points (N, dim): log p - log q.

    It is finite even if both densities underflow (Proposition 1).
    """
    return p.log_prob(x) - q.log_prob(x)


def value(p: Mixture, q: Mixture, logits: Tensor, at: Nodes) -> float:
    """Return V(D, G) = E_p log D + E_q log(1 - D) for the logits (N,) of D at nodes."""
    return float(at.mean(p, logsigmoid(logits)) + at.mean(q, logsigmoid(-logits)))


def criterion(p: Mixture, q: Mixture) -> float:
    """Return C(G), the maximum of V over all D: -log 4 for equal, 0 for disjoint densities."""
    at = nodes(p, q)
    return value(p, q, best_logit(p, q, at.x), at)


def kl(p: Mixture, q: Mixture) -> float:
    """Return KL(p || q) in nats."""
    at = nodes(p, q, legendre)
    return float(at.mean(p, p.log_prob(at.x) - q.log_prob(at.x)))


def jsd(p: Mixture, q: Mixture) -> float:
    """Return the Jensen-Shannon divergence in nats, 0 to log 2: mean KL to the equal mixture.

    It shares neither D nor the quadrature rule with criterion.
    """
    weights = tuple(w / 2 for w in p.weights + q.weights)
    both = Mixture(p.means + q.means, p.stds + q.stds, weights)
    return (kl(p, both) + kl(q, both)) / 2


def jsd_of_one_mode(k: int) -> float:
    """Return the JSD between k equal modes, infinitely far apart, and one of them.

    D* is 1 / (k + 1) on this mode and 1 on the others.
    """
    return math.log(2) + math.log(k) / 2 - (k + 1) / (2 * k) * math.log(k + 1)


def pointwise(p: Tensor, q: Tensor, points: int = 2000) -> tuple[Tensor, Tensor]:
    """Maximize p log y + q log(1 - y) over y in (0, 1) in two ways, for positive p and q (N,).

    Returns:
        The best y on a grid with this many steps, and the y after 1,000 steps of gradient ascent
        on its logit; each (N,).
    """
    y = torch.arange(1, points, dtype=torch.float64) / points
    searched = y[(p[:, None] * y.log() + q[:, None] * (-y).log1p()).argmax(1)]
    logit = torch.zeros_like(p)
    for _ in range(1000):
        logit += 4 / (p + q) * (p - (p + q) * logit.sigmoid())  # 1 over the largest curvature
    return searched, logit.sigmoid()


def marks(steps: int) -> list[int]:
    """Return the steps at which a discriminator is kept: 0, 1, 3, 10, 30, ... and the last."""
    known = [m * 10**e for e, m in product(range(len(str(steps))), (1, 3))]
    return sorted({0, *(m for m in known if m < steps), steps})


def learn(p: Mixture, q: Mixture, seed: int, steps: int, batch: int = 256) -> dict[int, nn.Module]:
    """Train a discriminator on samples of p and of a fixed generator q with the logistic loss.

    It is an mlp with two hidden layers of 64 units, trained by Adam; the learning rate falls
    linearly from 2e-3 to 0.

    Returns:
        The discriminator, from points (N, dim) to logits (N,), at each of marks(steps).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed))
        _, net = MODELS["mlp"].build(
            (p.dim,), 1, NetworkConfig(widths=(1,)), NetworkConfig(widths=(64, 64))
        )
    net.double()
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    slower = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, steps)
    labels = Labels(*double([[1.0] * batch, [0.0] * batch]))
    kept = {0: copy.deepcopy(net)}
    for step in range(1, steps + 1):
        rng = torch.Generator().manual_seed(derive_seed(seed, step))
        real, fake = net(torch.cat([p.sample(batch, rng), q.sample(batch, rng)])).chunk(2)
        on_real, on_fake = LOSSES["minimax"].d(real, fake, labels)
        adam.zero_grad()
        (on_real + on_fake).backward()
        adam.step()
        slower.step()
        if step in marks(steps):
            kept[step] = copy.deepcopy(net)
    return kept


def pull(p: Mixture, q: Mixture, loss: str) -> Tensor:
    """Return the gradient (dim,) of a generator's loss in the position of q, with D fixed at D*.

    A sample is the position plus noise, so this is the mean over q of the loss's slope in x. It
    is the gradient of 2 JSD(p, q) for minimax, of KL(q || p) - 2 JSD(p, q) for non_saturating
    (Arjovsky and Bottou 2017, theorem 2.5).
    """
    at = nodes(p, q)
    x = at.x.clone().requires_grad_()
    return at.mean(q, _slopes(loss, best_logit(p, q, x), x))


def logit_slope(logits: Tensor, loss: str) -> Tensor:
    """Return the slope (N,) of a generator's loss for each sample in its logit (N,)."""
    logits = logits.clone().requires_grad_()
    return _slopes(loss, logits, logits)


def descend(loss: str, start: float, rate: float, steps: int) -> list[float]:
    """Move the mean of N(mean, 1) to N(0, 1) by gradient descent, D being D* at every step.

    Returns:
        The mean at every step, the start first (Proposition 2, in one parameter).
    """
    means = [start]
    for _ in range(steps):
        slope = pull(modes(1.0, (0.0,)), modes(1.0, (means[-1],)), loss)
        means.append(means[-1] - rate * float(slope))
    return means


def _slopes(loss: str, logits: Tensor, at: Tensor) -> Tensor:
    """Differentiate the loss of each sample; a loss is the mean over the N of them."""
    return torch.autograd.grad(LOSSES[loss].g(lambda: logits, logits) * len(at), at)[0]
