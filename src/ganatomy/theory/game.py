"""What Goodfellow et al. 2014 (arXiv 1406.2661, section 4) prove things of, on known densities."""

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

    It stands where both densities are too small for a float (Goodfellow's Proposition 1).
    """
    return p.log_prob(x) - q.log_prob(x)


def value(p: Mixture, q: Mixture, logits: Tensor, at: Nodes) -> float:
    """Return V(D, G) = E_p log D + E_q log(1 - D) of the D with these logits (N,) at nodes."""
    return float(at.mean(p, logsigmoid(logits)) + at.mean(q, logsigmoid(-logits)))


def criterion(p: Mixture, q: Mixture) -> float:
    """Return C(G), the maximum of V over every D, from -log 4 (equal) to 0 (apart)."""
    at = nodes(p, q)
    return value(p, q, best_logit(p, q, at.x), at)


def kl(p: Mixture, q: Mixture) -> float:
    """Return KL(p || q) in nats."""
    at = nodes(p, q, legendre)
    return float(at.mean(p, p.log_prob(at.x) - q.log_prob(at.x)))


def jsd(p: Mixture, q: Mixture) -> float:
    """Return the Jensen-Shannon divergence, 0 to log 2: half the KLs to the two's equal mixture.

    It shares neither D nor the rule of quadrature with criterion.
    """
    weights = tuple(w / 2 for w in p.weights + q.weights)
    both = Mixture(p.means + q.means, p.stds + q.stds, weights)
    return (kl(p, both) + kl(q, both)) / 2


def jsd_of_one_mode(k: int) -> float:
    """Return the JSD of k equal modes, infinitely far apart, and one of them.

    D* is 1 / (k + 1) on the mode that is kept and 1 on the others.
    """
    return math.log(2) + math.log(k) / 2 - (k + 1) / (2 * k) * math.log(k + 1)


def pointwise(p: Tensor, q: Tensor, points: int = 2000) -> tuple[Tensor, Tensor]:
    """Find y in (0, 1) that maximises p log y + q log(1 - y), for positive p and q (N,), twice.

    Returns:
        The best of a grid of so many steps, and where 1,000 steps of gradient ascent on the logit
        of y end; each (N,).
    """
    y = torch.arange(1, points, dtype=torch.float64) / points
    searched = y[(p[:, None] * y.log() + q[:, None] * (-y).log1p()).argmax(1)]
    logit = torch.zeros_like(p)
    for _ in range(1000):
        logit += 4 / (p + q) * (p - (p + q) * logit.sigmoid())  # 1 over the largest curvature
    return searched, logit.sigmoid()


def marks(steps: int) -> list[int]:
    """Return 0, 1, 3, 10, 30, ... and the last step: when a training is looked at."""
    train_test_split = [m * 10**e for e, m in product(range(len(str(steps))), (1, 3))]
    return sorted({0, *(m for m in train_test_split if m < steps), steps})


def learn(p: Mixture, q: Mixture, seed: int, steps: int, batch: int = 256) -> dict[int, nn.Module]:
    """Train a discriminator on samples of p and of a generator q that stays, by the logistic loss.

    It is mlp with two hidden layers of 64, trained by Adam at 2e-3, falling linearly to 0.

    Returns:
        The discriminator, points (N, dim) to logits (N,), as it was at each of marks(steps).
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
    """Return the gradient (dim,) of a generator's loss by where q stands, D being D* and held.

    Samples are place plus noise, so it is the mean over q of the loss's slope in x. It is the
    gradient of 2 JSD(p, q) for minimax, of KL(q || p) - 2 JSD(p, q) for non_saturating.
    """
    at = nodes(p, q)
    x = at.x.clone().requires_grad_()
    return at.mean(q, _slopes(loss, best_logit(p, q, x), x))


def logit_slope(logits: Tensor, loss: str) -> Tensor:
    """Return the slope (N,) of a generator's loss on each sample in its logit (N,)."""
    logits = logits.clone().requires_grad_()
    return _slopes(loss, logits, logits)


def descend(loss: str, start: float, rate: float, steps: int) -> list[float]:
    """Move the mean of N(mean, 1) towards N(0, 1) down a loss, D being D* at every step.

    Returns:
        The means, start first (Goodfellow's Proposition 2, in one parameter).
    """
    means = [start]
    for _ in range(steps):
        slope = pull(modes(1.0, (0.0,)), modes(1.0, (means[-1],)), loss)
        means.append(means[-1] - rate * float(slope))
    return means


def _slopes(loss: str, logits: Tensor, at: Tensor) -> Tensor:
    """Differentiate the loss of each sample; a loss is the mean over the N of them."""
    return torch.autograd.grad(LOSSES[loss].g(lambda: logits, logits) * len(at), at)[0]
