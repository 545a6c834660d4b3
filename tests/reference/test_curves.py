"""Which values get worse with which damage, and which do not notice: docs/metrics.md's table."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ganatomy.evaluation.metrics import values
from ganatomy.evaluation.protocol import PROTOCOLS

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts/metric_curves.py"

RISES: dict[str, tuple[str, ...]] = {
    "classes": ("fd", "fd_infinity", "missing"),
    "noise": ("fd", "fd_infinity", "kid"),
    "blur": ("fd", "fd_infinity", "kid"),
    "repeats": ("exact_duplicates",),
    "mixture": ("fd", "fd_infinity", "kid"),
}
FALLS: dict[str, tuple[str, ...]] = {
    "classes": ("score", "recall", "coverage"),
    "noise": ("precision", "density", "coverage", "diversity"),
    "blur": ("coverage", "pixel_diversity"),
    "repeats": ("recall", "coverage"),
    "mixture": ("precision", "density", "score"),
}
STAYS: dict[str, dict[str, tuple[float, float]]] = {
    "classes": {"precision": (9, 0.03), "density": (9, 0.1), "diversity": (6, 0.1)},
    "noise": {"score": (8, 0.1), "missing": (16, 0), "near_duplicates": (128, 0.02)},
    "blur": {"score": (1, 0.5), "missing": (1, 0), "precision": (0.5, 0.03)},
    "repeats": {
        "precision": (10, 0.03),
        "density": (10, 0.1),
        "score": (10, 0.2),
        "diversity": (10, 0.05),
        "missing": (10, 0),
        "memorized": (10, 0.02),
        "fd": (5, 2.0),
    },
    "mixture": {"recall": (50, 0.05), "missing": (50, 0), "coverage": (20, 0.1)},
}
"""damage -> value -> (up to which level, by how much at most it moves)"""


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[float]]]:
    """What the script that writes the tables finds: damage -> value -> one for each level."""
    root = Path(os.environ.get("GANATOMY_DATA") or "../shared/data")
    if not (root / "MNIST/raw/train-images-idx3-ubyte").exists():
        pytest.skip("full MNIST is not here; point GANATOMY_DATA at the folder of MNIST/raw")
    file = tmp_path_factory.mktemp("curves") / "found.json"
    subprocess.run([sys.executable, SCRIPT, root, "--n", "2048", "--json", file], check=True)
    return {
        damage: {"level": [row["level"] for row in rows]}
        | {k: [row["values"][k]["value"] for row in rows] for k in rows[0]["values"]}
        for damage, rows in json.loads(file.read_text()).items()
    }


def steady(values: Sequence[float], room: float) -> bool:
    """Whether values rise at every step, but for so much."""
    return all(b > a - room for a, b in itertools.pairwise(values))


@pytest.mark.parametrize(("damage", "name"), [(d, n) for d, names in RISES.items() for n in names])
def test_rises_with_damage(
    damage: str, name: str, curves: dict[str, dict[str, list[float]]]
) -> None:
    values = curves[damage][name]
    assert steady(values, 0) and values[-1] > values[0]


@pytest.mark.parametrize(("damage", "name"), [(d, n) for d, names in FALLS.items() for n in names])
def test_falls_with_damage(
    damage: str, name: str, curves: dict[str, dict[str, list[float]]]
) -> None:
    values = curves[damage][name]
    # at either end of the range a value stands still, but for chance
    assert steady([-v for v in values], 0.005 * values[0])
    assert values[-1] < values[0] / 1.5


@pytest.mark.parametrize(("damage", "name"), [(d, n) for d, names in STAYS.items() for n in names])
def test_hardly_moves_with_damage(
    damage: str, name: str, curves: dict[str, dict[str, list[float]]]
) -> None:
    up_to, most = STAYS[damage][name]
    levels, values = curves[damage]["level"], curves[damage][name]
    moved = [abs(v - values[0]) for v, at in zip(values, levels, strict=True) if at <= up_to]
    assert len(moved) > 1 and max(moved) <= most


def test_the_page_tells_of_every_value_and_protocol() -> None:
    page = (SCRIPT.parents[1] / "docs/metrics.md").read_text(encoding="utf-8")
    for name in values():
        assert f"**{name}**" in page or f"`{name}`" in page, name
    for name in PROTOCOLS:
        assert f"| `{name}` |" in page, name
