"""Print what a long training takes as it goes on: memory, open files, disk, bytes of a row.

    python benchmarks/long.py [STEPS]

basic-gan on mnist10k, sampled every 500 steps and measured every 5,000 (classifier-2k), as
`ganatomy train` does it, 50,000 steps unless another number is given. Linux only: it reads /proc.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from ganatomy.data import Size
from ganatomy.gan.cost import predict_cost
from ganatomy.gan.machine import environment
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import run_steps

LOOKS = 10
OPTIONS = RunOptions(
    device="cpu",
    log_every=50,
    sample_every=500,
    save_every=2500,
    eval_every=5000,
    eval_protocol="classifier-2k",
)


def resident() -> float:
    """Megabytes that this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def on_disk(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(total: int) -> None:
    """Train, and look ten times."""
    recipe = RECIPES["basic-gan"].recipe.replace(dataset="mnist10k", steps=total)
    predicted = predict_cost(recipe, Size(10_000, (1, 28, 28)), OPTIONS, measure=False).disk_bytes
    print("| step | minutes | resident, MB | open files | run folder, MB |\n|---|---|---|---|---|")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        for tick in run_steps(recipe, path, OPTIONS):
            if tick.step and tick.step % (total // LOOKS) == 0:
                minutes = (time.monotonic() - begun) / 60
                files = len(list(Path("/proc/self/fd").iterdir()))
                taken = on_disk(path) / 1e6
                print(
                    f"| {tick.step:,} | {minutes:.1f} | {resident():.0f} | {files} | {taken:.1f} |",
                    flush=True,
                )
        rows = Run(path).rows("log")
        longest = max(map(len, (path / "log.jsonl").read_bytes().splitlines()))
        print(f"\n{len(rows):,} rows, the longest of {longest} bytes; ", end="")
        print(f"disk predicted {predicted / 1e6:.1f} MB, taken {on_disk(path) / 1e6:.1f} MB\n")
    here = environment()
    print(f"{here['cpu']}, {here['cores']} cores, PyTorch {here['torch']}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
