"""A training is warned of what its rows and grids have shown for a while, once."""

import dataclasses
import math
import warnings
from pathlib import Path

import pytest
import torch
from conftest import MLP

from ganatomy.data import load
from ganatomy.figures.images import GRID
from ganatomy.gan.losses import LOSSES
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit
from ganatomy.training.monitor import PATIENCE, Monitor, check_samples, create_monitor

pytestmark = pytest.mark.filterwarnings("error")
DIGITS = load("mnist10k", Path(), "train").values
ONE, MANY = DIGITS[:1].expand(GRID, -1, -1, -1), DIGITS[:: len(DIGITS) // GRID][:GRID]
CPU = torch.device("cpu")


@pytest.fixture
def monitor() -> Monitor:
    return create_monitor(MLP, RunOptions(), CPU)


def looks(monitor: Monitor, images: torch.Tensor, steps: range) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in steps:
            check_samples(monitor, step, images)
    return [str(w.message) for w in told]


def test_collapse_is_warned_of_once_and_not_at_once(monitor: Monitor) -> None:
    assert looks(monitor, ONE, range(0, PATIENCE)) == []  # of which step 0 does not count
    (said,) = looks(monitor, ONE, range(PATIENCE, PATIENCE + 1))
    assert said.startswith("mode collapse since step 1: 9 classes missing")
    assert looks(monitor, ONE, range(10, 20)) == []


def test_larger_images_are_measured_at_the_classifiers_size() -> None:
    larger = create_monitor(MLP.replace(dataset="mnist10k", shape=(1, 56, 56)), RunOptions(), CPU)
    images = MANY.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert looks(larger, images, range(12)) == []
    assert larger.measures[-1]["missing"] == 0
    (said,) = looks(larger, images[:1].expand(GRID, -1, -1, -1), range(20, 20 + PATIENCE))
    assert said.startswith("mode collapse since step 20")


def test_points_are_not_measured() -> None:
    toy = create_monitor(MLP.replace(dataset="ring8"), RunOptions(), CPU)
    assert toy.grid_reference is None and looks(toy, torch.zeros(9, 2), range(9)) == []


def test_healthy_grids_are_not_warned_of(monitor: Monitor) -> None:
    assert looks(monitor, MANY, range(12)) == []
    assert looks(monitor, ONE, range(12, 12 + PATIENCE - 1)) == []
    assert looks(monitor, MANY, range(20, 22)) == []  # recovered in time


def test_a_losing_generator_is_warned_of_from_the_log_alone(monitor: Monitor) -> None:
    row = {"d_loss": 1e-3, "g_loss": 9.0, "d_real": 0.999, "d_fake": 1e-3, "d_fake_after": 1e-3}
    recipe = MLP.replace(real_label=(1.0, 1.0), fake_label=(0.0, 0.0))
    blind = monitor._replace(grid_reference=None, recipe=recipe)
    blind.logs.extend({"step": step, "epoch": 0.1} | row for step in range(0, 600, 10))
    (said,) = looks(blind, MANY, range(600, 601))
    assert said.startswith("discriminator domination since step") and "--lr_d" in said


def test_a_measure_that_cannot_be_had_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    for protocol, said in (("classifier-10", "unknown protocol"), ("inception-10k", "Inception")):
        with (
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(ValueError, match=said),
        ):
            patch.setenv("TORCH_HOME", str(tmp_path / "hub"))
            fit(MLP, tmp_path / "run", RunOptions(eval_every=5, eval_protocol=protocol))
        assert not (tmp_path / "run").exists()


def test_what_ended_a_training_is_kept_for_its_diagnosis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = dataclasses.replace(LOSSES["non_saturating"], g=lambda real, fake: fake.mean() * math.nan)
    monkeypatch.setitem(LOSSES, "non_saturating", bad)
    with pytest.raises(FloatingPointError):
        fit(MLP, tmp_path / "run", RunOptions(log_every=1, device="cpu"))
    (session,) = Run.open(tmp_path / "run").sessions
    assert session["failure"].startswith("g_loss (nan) is not finite at step 1")
