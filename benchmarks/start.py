"""Time of `--help`, of the first training step, and of generating and evaluating 10,000 images.

    python benchmarks/start.py [repeats]

Each is a process of its own, from its start to its end. Prints markdown.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from evaluate import measured

from ganatomy.gan.machine import environment
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import RunOptions
from ganatomy.training.loop import fit

CALL = "from ganatomy.cli.main import main; main({!r})"


def main(repeats: int = 5) -> None:
    """Run it all and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = RECIPES["conv-gan"].recipe.replace(dataset="mnist10k", steps=20)
        run = str(fit(recipe, folder / "run", RunOptions(device="cpu")).path)
        one_step = ["train", "basic-gan", "--dataset", "mnist10k", "--steps", "1", "--quiet"]
        commands = {
            "`--help`": lambda k: ["--help"],
            "`train basic-gan --steps 1`": lambda k: [*one_step, "--out", f"{name}/{k}"],
            "`sample`, 10,000": lambda k: [
                *("sample", run, "--n", "10000", "--out", f"{name}/{k}.npz")
            ],
            "`evaluate --metrics fd`, 10,000": lambda k: [
                *("evaluate", run, "--metrics", "fd", "--json")
            ],
        }
        home = {"XDG_CACHE_HOME": str(folder / "cache")}
        print("## Commands, from start to end\n")
        print(f"`python benchmarks/start.py {repeats}`; conv-gan, whose features of the reference")
        print("are cached by the first call.\n")
        print("| command | seconds, median | all |\n|---|---:|---|")
        for label, command in commands.items():
            seconds = [measured(CALL.format(command(k)), home)[0] for k in range(repeats)]
            listed = ", ".join(f"{s:.2f}" for s in seconds)
            print(f"| {label} | {statistics.median(seconds):.2f} | {listed} |", flush=True)
    where = environment()
    print(f"\n{where['cpu']}, {where['cores']} cores, {where['threads']} threads; ", end="")
    print(f"Python {where['python']}, torch {where['torch']}, ganatomy {where['ganatomy']}.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
