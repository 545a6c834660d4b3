"""Distances to nearest neighbors, block by block, exact for duplicates.

A block of distances takes at most BLOCK bytes, and a few of them live at once; beside them stand
float64 copies of the features, so n images never cost n x n of memory. Squared distances come
of a matrix product in float64, |x|² + |y|² - 2xy, less a trillionth of |x|² + |y|²: so rounding,
which depends on the block, cannot put an image at a distance from its own copy, nor decide ties.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**26
"""Bytes of one block of distances."""

ROUNDING = 1e-12
"""Of float64 products over a few thousand features, relative to the squared norms, with room."""


def blocks(a: Tensor, b: Tensor, block: int | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of a (n, d) with their squared distances to all of b (m, d), never above the true.

    Features are moved by the mean of b first: products of numbers far from 0 lose digits.
    """
    center = b.double().mean(0)
    a, b = a.double() - center, b.double() - center
    norms = (1 - ROUNDING) * b.square().sum(1)
    rows = max(1, (block or BLOCK) // (8 * len(b)))
    for start in range(0, len(a), rows):
        part = slice(start, min(start + rows, len(a)))
        own = (1 - ROUNDING) * a[part].square().sum(1, keepdim=True)
        yield part, torch.addmm(norms, a[part], b.T, alpha=-2).add_(own).clamp_(min=0)


def radii(features: Tensor, k: int, block: int | None = None) -> Tensor:
    """Return the squared distance (n,) of each image's k-th nearest other, never below the true.

    So a copy of that neighbor, in whatever block, lies within.
    """
    parts = (
        d2.topk(k + 1, largest=False).values[:, -1] for _, d2 in blocks(features, features, block)
    )
    found = torch.cat(list(parts))  # the nearest is the image itself
    norms = (features.double() - features.double().mean(0)).square().sum(1)
    return found + 4 * ROUNDING * (found + norms)


def nearest(
    fake: Tensor, real: Tensor, *, others: bool = False, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return for each fake (n, d) its distance (n,) float64 to the nearest real (m, d), and which.

    Exactly 0 for a copy; of several copies, the first. With others, fake and real are one set, in
    which an image is no neighbor of its own.
    """
    indices = []
    for part, d2 in blocks(fake, real, block):
        if others:
            d2.diagonal(part.start).fill_(torch.inf)
        indices.append(d2.argmin(1))
    index = torch.cat(indices)
    return (fake.double() - real[index].double()).norm(dim=1), index
