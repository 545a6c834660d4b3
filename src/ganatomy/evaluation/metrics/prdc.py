"""Precision, recall, density and coverage: four answers of one neighborhood of features.

torch-fidelity has precision and recall too, but holds at least 10,000 x n distances at a time, in
float32, in which a copy is not at distance 0; here all four share three passes over blocks, and
agree with it wherever its rounding does not decide.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ganatomy.evaluation.metrics.comparison import Comparison, Estimate, require, share
from ganatomy.evaluation.metrics.neighbors import blocks, radii
from ganatomy.evaluation.statistics import interval, resamples


class Hits(NamedTuple):
    """What falls into whose balls; a ball reaches to its center's k-th nearest of its own set."""

    balls: Tensor
    """(n,) in how many real balls each fake lies"""
    covered: Tensor
    """(m,) whether each real's ball holds a fake"""
    recalled: Tensor
    """(m,) whether each real lies in a fake's ball"""


def hits(fake: Tensor, real: Tensor, k: int, block: int | None = None) -> Hits:
    """Count memberships of fakes (n, d) and reals (m, d); edges belong to balls.

    Memory: see ganatomy.evaluation.metrics.neighbors; block is the bytes of its blocks.

    Raises:
        ValueError: for fewer than k + 1 of either.
    """
    require(len(fake), k + 1, "generated")
    require(len(real), k + 1, "reference")
    reach_fake, reach_real = radii(fake, k, block), radii(real, k, block)
    balls = torch.zeros(len(fake), dtype=torch.int64)
    covered, recalled = (torch.zeros(len(real), dtype=torch.bool) for _ in range(2))
    for part, d2 in blocks(fake, real, block):
        inside = d2 <= reach_real
        balls[part] = inside.count_nonzero(1)
        covered |= inside.any(0)
        recalled |= (d2 <= reach_fake[part, None]).any(0)
    return Hits(balls, covered, recalled)


def prdc(c: Comparison) -> dict[str, Estimate]:
    """Share of fakes among reals and the reverse; how many reals' balls hold a fake, and how many.

    Precision and recall: Kynkäänniemi et al. 2019, arXiv 1904.06991. Density and coverage: Naeem et
    al. 2020, arXiv 2002.09797. Intervals are over the images that are averaged, fakes for
    precision and density, reals for recall and coverage, with the balls held still: resampling
    the centers too would put copies at distance 0 and shrink every ball.
    """
    found = hits(c.fake.features, c.real.features, c.k)
    balls = found.balls.double().numpy() / c.k
    value = float(balls.mean())
    means = resamples(len(balls), c.resamples, c.seed) @ balls / len(balls)
    return {
        "precision": share(found.balls > 0),
        "recall": share(found.recalled),
        "density": Estimate(value, *interval(means, value, (0, len(found.covered) / c.k))),
        "coverage": share(found.covered),
    }
