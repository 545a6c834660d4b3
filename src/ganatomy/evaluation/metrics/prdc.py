"""Precision, recall, density and coverage, of neighborhoods of features.

torch-fidelity computes precision and recall too, but of 10,000 x n distances at a time in float32,
in which a copy is not at distance 0. Here all four values share three passes over blocks. They
agree with torch-fidelity's except where its rounding decides.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ganatomy.evaluation.metrics.comparison import CPU, Comparison, Estimate, require, share
from ganatomy.evaluation.metrics.neighbors import blocks, radii
from ganatomy.evaluation.statistics import interval, resamples


class Hits(NamedTuple):
    """Memberships in balls. A ball reaches from its center to the k-th nearest of the same set."""

    balls: Tensor
    """int64 (n,), number of balls of real images that each generated image lies in"""
    covered: Tensor
    """bool (m,), whether the ball of each real image contains a generated image"""
    recalled: Tensor
    """bool (m,), whether each real image lies in the ball of a generated image"""


def hits(
    fake: Tensor, real: Tensor, k: int, block: int | None = None, device: torch.device = CPU
) -> Hits:
    """Count memberships in balls, to which their edges belong.

    Args:
        fake: features (n, d) of generated images.
        real: features (m, d) of real images.
        k: number of neighbors.
        block: bytes of a block of distances; None means neighbors.BLOCK.
        device: device that computes distances; the result is on the CPU.

    Raises:
        ValueError: for fewer than k + 1 of either.
    """
    require(len(fake), k + 1, "generated")
    require(len(real), k + 1, "reference")
    reach_fake, reach_real = (radii(x, k, block, device).to(device) for x in (fake, real))
    balls = torch.zeros(len(fake), dtype=torch.int64, device=device)
    covered, recalled = (torch.zeros(len(real), dtype=torch.bool, device=device) for _ in range(2))
    for part, d2 in blocks(fake, real, block, device):
        inside = d2 <= reach_real
        balls[part] = inside.count_nonzero(1)
        covered |= inside.any(0)
        recalled |= (d2 <= reach_fake[part, None]).any(0)
    return Hits(balls.cpu(), covered.cpu(), recalled.cpu())


def prdc(c: Comparison) -> dict[str, Estimate]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    arXiv 1904.06991 and 2002.09797. Intervals are over the images that a value is the mean of:
    generated ones for precision and density, real ones for recall and coverage. The balls are
    fixed, because resampling their centers would create copies at distance 0, which shrink all
    balls.
    """
    found = hits(c.fake.features, c.real.features, c.k, device=c.device)
    balls = found.balls.double().numpy() / c.k
    value = float(balls.mean())
    means = resamples(len(balls), c.resamples, c.seed) @ balls / len(balls)
    return {
        "precision": share(found.balls > 0),
        "recall": share(found.recalled),
        "density": Estimate(value, *interval(means, value, (0, len(found.covered) / c.k))),
        "coverage": share(found.covered),
    }
