"""Time and memory of a whole `ganatomy evaluate`: every metric, by classifier-10k.

    python benchmarks/evaluate.py

Trains conv-gan for a few steps (quality costs no time), then runs the command in processes of their
own: once with an empty cache, three times with what that left there. Prints a markdown table.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ganatomy.gan.machine import environment
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import RunOptions
from ganatomy.training.loop import fit


def main() -> None:
    """Run it all and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = RECIPES["conv-gan"].recipe.replace(dataset="mnist10k", steps=20)
        run = fit(recipe, Path(folder) / "run", RunOptions(device="cpu"))
        home = {"XDG_CACHE_HOME": str(Path(folder) / "cache")}
        torch_alone = measured("import torch, torchvision", home)[1]
        command = (
            f"from ganatomy.cli.main import main; main(['evaluate', {str(run.path)!r}, '--json'])"
        )
        cold = measured(command, home)
        warm = [measured(command, home) for _ in range(3)]
    where = environment()
    print("## A whole evaluation: every metric of 10,000 samples, by classifier-10k\n")
    print("`python benchmarks/evaluate.py`: the command from its start to its end. With an empty")
    print("cache it also extracts the features of the reference and measures the real score.\n")
    print("| cache | seconds | peak memory above `import torch, torchvision`, GB |")
    print("|---|---:|---:|")
    print(f"| empty | {cold[0]:.1f} | {cold[1] - torch_alone:.2f} |")
    seconds = statistics.median(s for s, _ in warm)
    print(f"| kept (median of 3) | {seconds:.1f} | {max(m for _, m in warm) - torch_alone:.2f} |")
    print(f"\n{where['cpu']}, {where['cores']} cores, {where['threads']} threads; ", end="")
    print(f"Python {where['python']}, torch {where['torch']}, ganatomy {where['ganatomy']}.")


def measured(code: str, home: dict[str, str]) -> tuple[float, float]:
    """Run Python code in a new process; its seconds and its peak resident memory in GB."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | home, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"the measured process failed with status {status}")
    return time.monotonic() - begun, usage.ru_maxrss / 1e6


if __name__ == "__main__":
    main()
