"""Small recipes with everything on, and where the full datasets are, if anywhere."""

import os
from pathlib import Path

import hypothesis
import pytest

from ganatomy.recipe import Recipe

hypothesis.settings.register_profile("no deadline", deadline=None)  # CI machines are shared
hypothesis.settings.load_profile("no deadline")

MLP = Recipe(
    dataset="mnist10k",
    model="mlp",
    z_dim=8,
    g_widths=(16, 16),
    d_widths=(16,),
    g_norm="batch",
    d_norm="batch",
    g_dropout=0.2,
    d_dropout=0.3,
    real_label=(0.7, 1.0),
    fake_label=(0.0, 0.3),
    batch=16,
    steps=14,
    d_steps=2,
    g_steps=2,
    ema=0.9,
)
CONV = MLP.but(model="dcgan", g_widths=(4,), d_widths=(4,))
FULL = {"mlp": MLP, "dcgan": CONV}


@pytest.fixture(params=FULL)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """A recipe with dropout, norm, label ranges, averaging and several updates a step."""
    return FULL[request.param]


@pytest.fixture
def full_data() -> Path:
    """The folder that holds MNIST/raw; the test is skipped where there is none."""
    for root in (os.environ.get("GANATOMY_DATA"), "../shared/data"):
        if root and (Path(root) / "MNIST/raw/train-images-idx3-ubyte").exists():
            return Path(root)
    pytest.skip("full MNIST is not here; point GANATOMY_DATA at the folder of MNIST/raw")
