"""Time the trace of a Fréchet distance against scipy's matrix square root, on the same matrices.

python benchmarks/frechet.py [dimensions] [repeats]
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch

from ganatomy.evaluation.metrics import moments, trace_sqrt
from ganatomy.gan.machine import environment


def correlated(n: int, d: int, seed: int) -> torch.Tensor:
    """Features (n, d) whose covariance has eigenvalues that fall off as those of networks do."""
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(d, d, generator=rng)).Q
    scales = torch.arange(1, d + 1) ** -0.75
    return (torch.randn(n, d, generator=rng) * scales) @ turn


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Return what a function returns and the seconds it takes."""
    start = time.perf_counter()
    value = function()
    return value, time.perf_counter() - start


def main(d: int = 2048, repeats: int = 3, n: int = 10_000) -> None:
    """Print a table: interleaved, so that a busy machine slows both."""
    cov1, cov2 = (moments(correlated(n, d, seed)).cov for seed in (0, 1))
    methods: dict[str, Callable[[], float]] = {
        "ganatomy.evaluation.metrics.trace_sqrt": lambda: trace_sqrt(cov1, cov2),
        "numpy.trace(scipy.linalg.sqrtm(·))": lambda: float(
            np.trace(scipy.linalg.sqrtm((cov1 @ cov2).numpy())).real
        ),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for name, method in list(methods.items()) * repeats:
        found[name].append(timed(method))
    medians = [statistics.median(seconds for _, seconds in runs) for runs in found.values()]
    values = [runs[0][0] for runs in found.values()]
    machine = environment()
    print("## Trace of the root of a product of covariances\n")
    print(f"`python benchmarks/frechet.py {d} {repeats}`: {d} dimensions, {n:,} correlated")
    print(f"features each; median of {repeats}, interleaved.\n")
    print("| method | seconds | fastest to slowest | trace |\n|---|---:|---:|---:|")
    for (name, runs), median, value in zip(found.items(), medians, values, strict=True):
        spread = sorted(seconds for _, seconds in runs)
        print(f"| `{name}` | {median:.2f} | {spread[0]:.2f}–{spread[-1]:.2f} | {value:.10g} |")
    difference = abs(values[0] - values[1]) / abs(values[1])
    print(f"\nRatio {medians[1] / medians[0]:.1f}; relative difference {difference:.1e}.\n")
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} of them used; Python")
    print(
        f"{machine['python']}, torch {machine['torch']}, scipy {scipy.__version__}, "
        f"ganatomy {machine['ganatomy']}."
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
