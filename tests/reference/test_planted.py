"""Failures that were planted are named, and what is healthy is not: docs/diagnose.md's tables."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "scripts"

RUNS = [Path("runs/first-look") / name for name in ("conv-gan", "basic-gan")]

COLLAPSE, NOISE, COPIES = "mode collapse", "noise", "memorization"

IMAGES: dict[str, tuple[str | None, str | None]] = {
    "real test digits": (None, None),
    "one class": (COLLAPSE, COLLAPSE),
    "ones": (COLLAPSE, COLLAPSE),
    "two classes": (COLLAPSE, COLLAPSE),
    "five classes": (COLLAPSE, COLLAPSE),
    "nine classes": (COLLAPSE, None),  # a class of ten is missing from 64 by chance now and then
    "one image": (COLLAPSE, COLLAPSE),
    "one image of each class": (COLLAPSE, COLLAPSE),
    "one of each class, noise of 8": (COLLAPSE, None),
    "training digits": (COPIES, None),  # a grid is not searched for copies
    "a tenth training digits": (COPIES, None),
    "training digits, noise of 4": (COPIES, None),
    "training digits, noise of 8": (None, None),  # a limit, see docs/diagnose.md
    "uniform noise": (NOISE, NOISE),
    "Gaussian noise of 64": (NOISE, COLLAPSE),  # a limit as well
    "Gaussian noise of 128": (NOISE, NOISE),
}
"""generator -> what each of its 2,048 images are named, and each of its grids"""

LOGS: dict[str, set[str]] = {
    "small basic-gan": set(),
    "small conv-gan": set(),
    "D too strong": {"discriminator domination"},
    "minimax, D too strong": {"discriminator domination", "vanishing generator gradient"},
    "learning rates of 1": {
        "discriminator domination",
        "vanishing generator gradient",
        "divergence",
    },
    "learning rates of 10, deep D": {"divergence"},
}
"""training -> what its log is named"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script that writes the tables finds."""
    root = Path(os.environ.get("GANATOMY_DATA") or "../shared/data")
    if not (root / "MNIST/raw/train-images-idx3-ubyte").exists():
        pytest.skip("full MNIST is not here; point GANATOMY_DATA at the folder of MNIST/raw")
    file = tmp_path_factory.mktemp("planted") / "found.json"
    command = [sys.executable, SCRIPTS / "planted_failures.py", root, "--json", file, "--runs"]
    subprocess.run([*map(str, command), *(str(r) for r in RUNS if r.exists())], check=True)
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def test_everything_planted_is_expected(found: dict[str, Any]) -> None:
    assert [row["generator"] for row in found["generators"]] == list(IMAGES)
    assert [row["training"] for row in found["trainings"]] == list(LOGS)


@pytest.mark.parametrize("generator", IMAGES)
def test_a_failed_generator_is_named(generator: str, found: dict[str, Any]) -> None:
    (row,) = (row for row in found["generators"] if row["generator"] == generator)
    for looks, name in zip((row["2048"], row["64"]), IMAGES[generator], strict=True):
        assert looks == [[] if name is None else [name]] * len(looks)


def test_real_digits_are_never_named(found: dict[str, Any]) -> None:
    assert found["real"] == {
        "draws of 2048": 4,
        "named of 2048": 0,
        "draws of 64": 156,
        "named of 64": 0,
    }


@pytest.mark.parametrize("training", LOGS)
def test_a_failed_training_is_named(training: str, found: dict[str, Any]) -> None:
    (row,) = (row for row in found["trainings"] if row["training"] == training)
    assert {d["name"] for d in row["diagnoses"] if d["until"] is None} == LOGS[training]
    assert all(d["begins"] <= 300 for d in row["diagnoses"])


@pytest.mark.skipif(not RUNS[-1].exists(), reason="the runs of studies/first-look are not here")
def test_a_healthy_run_is_not_named_and_a_collapse_that_passed_is(found: dict[str, Any]) -> None:
    healthy, passed = found["runs"]
    assert healthy["diagnoses"] == []
    (collapse,) = passed["diagnoses"]
    assert collapse["name"] == COLLAPSE and collapse["begins"] < 1000
    assert 5000 < collapse["until"] < 15_000
