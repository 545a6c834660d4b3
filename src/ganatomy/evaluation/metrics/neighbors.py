"""Distances to nearest neighbors, block by block, exact for duplicates.

A block of distances takes at most BLOCK bytes, and few exist at a time, next to float64 copies of
the features. So n images never take n x n of memory. Squared distances are those of a matrix
product in float64, |x|² + |y|² - 2xy, minus a trillionth of |x|² + |y|². So rounding, which
depends on the block and the device, neither separates an image from its own copy nor decides ties.
Only a distance within some trillionths of a radius, but not a tie, may be counted on one device and
not on another, which changes a count by one.

Features and results are on the CPU, whatever device computes the distances.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganatomy.evaluation.metrics.comparison import CPU
from ganatomy.evaluation.metrics.remember import placed, remembered

BLOCK = 2**26
"""Bytes of one block of distances."""

ROUNDING = 1e-12
"""Bound on the error of float64 products of some thousand features, relative to squared norms."""


def blocks(
    a: Tensor, b: Tensor, block: int | None = None, device: torch.device = CPU
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of a (n, d) with their squared distances to all of b (m, d), never too large.

    The mean of b is subtracted first, because products of numbers far from 0 lose digits.

    Args:
        a: features (n, d).
        b: features (m, d).
        block: bytes of a block of distances; None means BLOCK.
        device: device that computes the distances, and has them.
    """
    a, b = placed(a, device), placed(b, device)
    center = b.double().mean(0)
    a, b = a.double() - center, b.double() - center
    norms = (1 - ROUNDING) * b.square().sum(1)
    rows = max(1, (block or BLOCK) // (8 * len(b)))
    for start in range(0, len(a), rows):
        part = slice(start, min(start + rows, len(a)))
        own = (1 - ROUNDING) * a[part].square().sum(1, keepdim=True)
        yield part, torch.addmm(norms, a[part], b.T, alpha=-2).add_(own).clamp_(min=0)


@remembered
def radii(features: Tensor, k: int, block: int | None = None, device: torch.device = CPU) -> Tensor:
    """Return the squared distance (n,) of each image to its k-th nearest other, never too small.

    So a copy of that neighbor lies within it, whatever its block.
    """
    parts = (
        d2.topk(k + 1, largest=False).values[:, -1]
        for _, d2 in blocks(features, features, block, device)
    )
    found = torch.cat(list(parts)).cpu()  # the nearest is the image itself
    norms = (features.double() - features.double().mean(0)).square().sum(1)
    return found + 4 * ROUNDING * (found + norms)


def nearest(
    fake: Tensor,
    real: Tensor,
    *,
    others: bool = False,
    block: int | None = None,
    device: torch.device = CPU,
) -> tuple[Tensor, Tensor]:
    """Return the distance to the nearest real image, float64 (n,), and its index, int64 (n,).

    The distance is exactly 0 for a copy. Of several copies, the index is that of the first.

    Args:
        fake: features (n, d).
        real: features (m, d).
        others: whether both are one set, in which an image is not its own neighbor.
        block: bytes of a block of distances; None means BLOCK.
        device: device that looks for the nearest.
    """
    indices = []
    for part, d2 in blocks(fake, real, block, device):
        if others:
            d2.diagonal(part.start).fill_(torch.inf)
        indices.append(d2.argmin(1))
    index = torch.cat(indices).cpu()
    return (fake.double() - real[index].double()).norm(dim=1), index
