"""Peak resident memory of training on MNIST, and of a large folder: building its cache, reading it.

    python benchmarks/memory.py [images]

MNIST is that of $GANATOMY_DATA or of the user's cache, or else mnist10k. Makes a folder of 64-pixel
color JPEGs, and its cache of 12 kB each, in the temporary directory. Each line is a process of its
own. Prints markdown.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from evaluate import measured
from PIL import Image

from ganatomy.data import data_root, mnist
from ganatomy.gan.machine import environment

BUILD = "from pathlib import Path; from ganatomy.data import load_images; load_images(Path({!r}))"
READ = """
import torch
from pathlib import Path
from ganatomy.data import batch_indices, load_images
data = load_images(Path({!r}))
for k in range(len(data) // 64):
    data.batch(batch_indices(len(data), 64, 0, k))
"""
TRAIN = "from ganatomy.cli.main import main; main({!r})"


def make(folder: Path, n: int) -> None:
    """Write n images, of a thousand kinds."""
    rng, kinds = np.random.default_rng(0), []
    for _ in range(1000):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((64, 64)).save(buffer, "jpeg")
        kinds.append(buffer.getvalue())
    for k in range(n):
        place = folder / f"{k // 1000:04d}"
        place.mkdir(exist_ok=True)
        (place / f"{k:07d}.jpg").write_bytes(kinds[k % 1000])


def main(n: int = 200_000) -> None:
    """Run it all and print the table."""
    root = data_root()
    digits = "mnist" if mnist.present(root) else "mnist10k"
    with tempfile.TemporaryDirectory() as name:
        home = {"XDG_CACHE_HOME": f"{name}/cache"}
        imports = measured("import torch, torchvision", home)[1]
        train = ["train", "conv-gan", "--dataset", digits, "--steps", "650", "--quiet"]
        train += ["--data_root", str(root)]
        rows = {
            "`import torch, torchvision` alone": (0.0, imports),
            f"`train conv-gan --steps 650 --dataset {digits}`": measured(
                TRAIN.format([*train, "--out", f"{name}/run"]), home
            ),
        }
        folder = Path(name) / "images"
        folder.mkdir()
        make(folder, n)
        rows[f"cache of {n:,} images of 64 x 64, built"] = measured(BUILD.format(str(folder)), home)
        rows["the same, every image read in the order of an epoch"] = measured(
            READ.format(str(folder)), home
        )
    print("## Memory\n")
    print(f"`python benchmarks/memory.py {n}`; peak resident memory of a process.\n")
    print("| what | seconds | GB |\n|---|---:|---:|")
    for label, (seconds, peak) in rows.items():
        print(f"| {label} | {seconds:.1f} | {peak:.2f} |")
    where = environment()
    print(f"\n{where['cpu']}, {where['cores']} cores; Python {where['python']}, ", end="")
    print(f"torch {where['torch']}, ganatomy {where['ganatomy']}.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
