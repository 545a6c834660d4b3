"""Where the time of a step goes, by kind of kernel: the baseline loop and ganatomy's.

    python benchmarks/kernels.py

Shares are of kernels' own time under PyTorch's profiler, so of a step that is slower than usual;
"outside" is what is left of the wall clock: Python, and the baseline's images. Prints markdown.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

import torch
from torch.profiler import ProfilerActivity, profile
from training import WORKLOADS, baseline, data_of

from ganatomy.gan.machine import environment, keep_memory
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.recipes.recipe import Precision, Recipe

STEPS = 8
KINDS = {
    "products": ("addmm", "aten::mm", "convolution", "bmm"),
    "norm": ("batch_norm", "native_group_norm"),
    "optimizer": ("adam", "addcdiv", "addcmul", "sqrt", "foreach"),
    "copies and casts": ("copy_", "_to_copy", "clone", "index", "stack", "cat", "fill_", "zero_"),
}
"""Kind to parts of the names of its kernels; what fits none is elementwise."""


def kind_of(name: str) -> str:
    """Return the kind that a kernel is of."""
    named = (kind for kind, parts in KINDS.items() if any(part in name.lower() for part in parts))
    return next(named, "elementwise")


def shares(stepping: Iterator[object]) -> tuple[float, dict[str, float]]:
    """Return seconds of a step under the profiler and, of them, the share of each kind."""
    for _ in range(3):
        next(stepping)
    begun = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            next(stepping)
        taken = time.perf_counter() - begun
    kinds: dict[str, float] = defaultdict(float)
    for event in found.key_averages():
        if event.key.startswith(("aten::", "mkldnn")):
            kinds[kind_of(event.key)] += event.self_cpu_time_total / 1e6 / taken
    kinds["outside"] = max(0.0, 1 - sum(kinds.values()))
    return taken / STEPS, kinds


def loops(recipe: Recipe) -> Iterator[tuple[str, Iterator[object]]]:
    """The loops that are looked into."""
    data = data_of(recipe)
    yield "baseline", baseline(recipe, data)
    ours = recipe.replace(steps=10**6)
    for precision in get_args(Precision):
        yield precision, steps(State.new(ours, data.shape), ours, data, precision)


def main() -> None:
    """Print the table."""
    keep_memory()
    columns = ["products", "norm", "elementwise", "optimizer", "copies and casts", "outside"]
    print(f"| workload | loop | ms a step | {' | '.join(columns)} |")
    print("|---|---|---:|" + "---:|" * len(columns))
    for workload in WORKLOADS:
        for name, stepping in loops(workload.recipe):
            taken, kinds = shares(stepping)
            cells = " | ".join(f"{kinds[column]:.0%}" for column in columns)
            print(f"| {workload.name} | {name} | {taken * 1e3:.1f} | {cells} |", flush=True)
    where = environment()
    print(f"\n{where['cpu']}, {torch.get_num_threads()} threads; torch {where['torch']}.")


if __name__ == "__main__":
    main()
