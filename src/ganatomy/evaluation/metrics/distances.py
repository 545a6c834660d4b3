"""Distances between the distributions of two sets of features: Fréchet and kernel.

With Inception features they are FID and KID. With other features they have another scale.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganatomy.evaluation.metrics.comparison import Comparison, Estimate, Moments, require
from ganatomy.evaluation.metrics.neighbors import BLOCK
from ganatomy.evaluation.metrics.remember import placed, remembered
from ganatomy.evaluation.statistics import Z, interval, reach, resamples

WIDE = 512
"""Number of features above which a Fréchet distance takes seconds."""

RESAMPLES_WIDE = 20
"""Bootstrap resamples of a Fréchet distance of more than WIDE features."""

PARTS = 4
"""Largest number of disjoint parts of the images that fd_infinity extrapolates from."""

SUBSETS, SUBSET = 100, 1000
"""Number of subsets of KID, and of images in each, as in its paper."""


def moments(features: Tensor, counts: Tensor | None = None) -> Moments:
    """Return mean and unbiased covariance of features, on the CPU.

    Args:
        features: (n, d), on the device that computes.
        counts: (n,), weight of each image, such as its number in a bootstrap resample; None means
            one each.

    Raises:
        ValueError: for fewer than 2 images.
    """
    require(len(features), 2, "feature")
    x = features.double()
    if counts is None:
        n, mean = len(x), x.mean(0)
        left = centered = x - mean
    else:
        weights = counts.to(x)
        n = int(counts.sum())
        mean = weights @ x / n
        centered = x - mean
        left = centered * weights[:, None]
    return Moments(mean.cpu(), (left.T @ centered / (n - 1)).cpu(), n)


def trace_sqrt(cov1: Tensor, cov2: Tensor) -> float:
    """Return the trace of (cov1 cov2)^½ of two covariance matrices (d, d), which may be singular.

    With cov1 = L Lᵀ, the product has the eigenvalues of the symmetric matrix Lᵀ cov2 L. The trace
    is the sum of their roots, so that no matrix root is computed.
    """
    return _trace_sqrt(_root(cov1.double()), cov2.double())


def frechet(a: Moments, b: Moments) -> float:
    """Return the Fréchet distance of two Gaussians: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    Dowson and Landau 1982. Of Inception features it is the FID of Heusel et al. 2017, arXiv
    1706.08500. Lower is better, and 0 means equal. It falls with the number of images, so only
    values of equal numbers can be compared.
    """
    return frechet_to(b)(a)


def frechet_to(b: Moments) -> Callable[[Moments], float]:
    """Return the Fréchet distance to b as a function, which factorizes b's covariance once."""
    root = _root(b.cov.double())

    def distance(a: Moments) -> float:
        if len(a.mean) != len(b.mean):
            raise ValueError(
                f"expected features of {len(b.mean)} dimensions, got {len(a.mean)}; use one "
                "feature space for both"
            )
        apart = (a.mean - b.mean).double().square().sum() + a.cov.trace() + b.cov.trace()
        return max(0.0, float(apart) - 2 * _trace_sqrt(root, a.cov.double()))

    return distance


def fd(c: Comparison) -> dict[str, Estimate]:
    """Fréchet distance to the whole reference split, with a bootstrap over generated images."""
    x, distance = placed(c.fake.features, c.device).double(), frechet_to(c.moments)
    value = distance(moments(x))
    times = c.resamples if x.shape[1] <= WIDE else min(c.resamples, RESAMPLES_WIDE)
    draws = torch.from_numpy(resamples(len(x), times, c.seed))
    estimates = [distance(moments(x, counts)) for counts in draws]
    return {"fd": Estimate(value, *interval(estimates, value, (0, math.inf)))}


def fd_infinity(c: Comparison) -> dict[str, Estimate]:
    """Fréchet distance extrapolated to infinitely many generated images.

    The distance is nearly linear in 1/n, so its values at several n give a line, whose intercept
    has no bias. Chong and Forsyth 2020, arXiv 1911.07023. The value at n/k is the mean of k
    disjoint parts, for k from 1 to PARTS, so that each uses all images. The interval combines the
    variance of the images (delta method) with that of the intercept (Student's t). With fewer
    images than features in a part the distance is not linear.
    """
    x, distance = placed(c.fake.features, c.device).double(), frechet_to(c.moments)
    n = len(x)
    require(n, 2 * PARTS, "generated")
    order = torch.from_numpy(np.random.default_rng(c.seed).permutation(n)).to(c.device)
    ks = np.arange(1, PARTS + 1)
    found = [np.mean([distance(moments(x[p])) for p in order.tensor_split(int(k))]) for k in ks]
    line = scipy.stats.linregress(ks / n, found)
    value = float(line.intercept)
    own = Z * float(_influence(x, c.moments).std()) / math.sqrt(n)
    half = math.hypot(own, reach(PARTS - 2) * float(line.intercept_stderr))
    return {"fd_infinity": Estimate(value, value - half, value + half)}


def _influence(x: Tensor, b: Moments) -> Tensor:
    """Return the effect (n,) of each image of x (n, d) on the distance to b, to first order.

    With b.cov = L Lᵀ and M = Lᵀ C L, the gradient in the covariance C of x is I - L M^-½ Lᵀ.
    """
    a, root = moments(x), _root(b.cov.double())
    values, vectors = torch.linalg.eigh(root.T @ a.cov @ root)
    kept = values > values.amax() * 1e-10
    turned = (root @ vectors[:, kept] * values[kept] ** -0.25).to(x)
    centered = x - a.mean.to(x)
    quadratic = centered.square().sum(1) - (centered @ turned).square().sum(1)
    return 2 * centered @ (a.mean - b.mean).to(x) + quadratic


def kid(c: Comparison) -> dict[str, Estimate]:
    """Squared MMD with kernel (x·y/d + 1)³, mean and deviation over SUBSETS random subsets.

    Bińkowski et al. 2018, arXiv 1801.01401. It is unbiased, so it may be below 0 for equal
    distributions. The normal interval combines the variance of the generated images (linear part of
    the U-statistic, Hoeffding 1948) with that of the subsets.
    """
    require(min(len(c.fake.features), len(c.real.features)), 2, "generated or reference")
    subsets = _subsets(c.fake.features, c.real.features, c.seed)
    value, std = float(subsets.mean()), float(subsets.std())
    fake, real = (placed(part.features, c.device) for part in (c.fake, c.real))
    own = _kernel_sums(fake, fake) - _kernel(fake, fake)  # no image with itself
    linear = 2 * (own / (len(fake) - 1) - _kernel_sums(fake, real) / len(real))
    half = Z * math.hypot(float(linear.std()) / math.sqrt(len(fake)), std / math.sqrt(SUBSETS))
    return {"kid": Estimate(value, value - half, value + half, std)}


def _subsets(fake: Tensor, real: Tensor, seed: int) -> NDArray[np.float64]:
    """Return the kernel distance (SUBSETS,) of random subsets, to the bit torch-fidelity's.

    That is float32, whose rounding may be some hundred-thousandths of a small value. So NumPy
    computes it for every device.
    """
    size, n = min(SUBSET, len(fake), len(real)), len(fake)
    x, y, rows = fake.numpy(), real.numpy(), _rows(n, len(real), size, seed, SUBSETS)
    among = _sums((x[i], None) for i, _ in rows) + _among_reals(real, n, size, seed, SUBSETS)
    across = _sums((x[i], y[j]) for i, j in rows)
    return (among / (size * (size - 1)) - 2 * across / (size * size)).astype(np.float64)


@remembered
def _among_reals(real: Tensor, n: int, size: int, seed: int, times: int) -> NDArray[Any]:
    """Return the sums (times,) of the kernel among real images, next to subsets of n others."""
    y = real.numpy()
    return _sums((y[j], None) for _, j in _rows(n, len(real), size, seed, times))


def _rows(n: int, m: int, size: int, seed: int, times: int) -> list[tuple[NDArray[Any], ...]]:
    """Return the indices of random subsets of n and of m images, as torch-fidelity draws them."""
    rng = np.random.RandomState(seed)
    return [tuple(rng.choice(k, size, replace=False) for k in (n, m)) for _ in range(times)]


def _sums(pairs: Iterator[tuple[NDArray[Any], NDArray[Any] | None]]) -> NDArray[Any]:
    """Return the sum of the kernel over all rows of each two arrays (size, d).

    None means the first array again, whose rows are not paired with themselves. NumPy has threads
    of its own for products. So as many products as PyTorch has threads are computed one after the
    other, and then their powers at the same time.
    """
    found: list[Any] = []
    count = torch.get_num_threads()
    with ThreadPoolExecutor(count) as pool:
        while some := list(itertools.islice(pairs, count)):
            products = [(np.matmul(x, (x if y is None else y).T), y is None) for x, y in some]
            found += pool.map(_sum, products, itertools.repeat(some[0][0].shape[1]))
    return np.array(found)


def _sum(product: tuple[NDArray[Any], bool], d: int) -> Any:
    """Return the sum of the kernel of products (size, size) of d features, without the diagonal.

    The diagonal counts where the second is false. The products are overwritten.
    """
    kernel, alone = product
    kernel *= 1.0 / d
    kernel += 1
    kernel **= 3
    return (kernel.sum(1) - kernel.diagonal()).sum() if alone else kernel.sum(0).sum()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return the kernel (n,) of each row of x (n, d) with that row of y."""
    return ((x.double() * y.double()).sum(1) / x.shape[1] + 1) ** 3


def _kernel_sums(x: Tensor, y: Tensor) -> Tensor:
    """Return the kernel of each x (n, d), summed over all y (m, d), in blocks of BLOCK bytes."""
    columns = y.double().T / x.shape[1]
    parts = x.double().split(max(1, BLOCK // (8 * len(y))))
    return torch.cat([(part @ columns).add_(1).pow_(3).sum(1) for part in parts])


def _root(cov: Tensor) -> Tensor:
    """Return L with L Lᵀ = cov, by Cholesky, or by eigenvectors if cov is singular."""
    lower, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return lower
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt()


def _trace_sqrt(root: Tensor, cov: Tensor) -> float:
    """Return the sum of the roots of the eigenvalues of rootᵀ cov root, none below 0."""
    return float(torch.linalg.eigvalsh(root.T @ cov @ root).clamp(min=0).sqrt().sum())
