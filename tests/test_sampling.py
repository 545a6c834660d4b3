"""Samples depend on the seed and their place alone."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import nn

from ganatomy.evaluation.checkpoints import MODES
from ganatomy.figures import images
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs import sampling
from ganatomy.runs.sampling import generate

SEVEN, SIX, THREE, ONE = (Recipe.of(steps=1, z_dim=z_dim) for z_dim in (7, 6, 3, 1))


def test_more_samples_keep_the_first_ones() -> None:
    generator = nn.Sequential(nn.Linear(7, 5), nn.Tanh())
    many = generate(generator, sampling.CHUNK + 40, SEVEN, seed=3)
    assert len(many) == sampling.CHUNK + 40
    assert torch.equal(generate(generator, 5, SEVEN, seed=3), many[:5])
    assert not torch.equal(generate(generator, 5, SEVEN, seed=4), many[:5])
    assert len({tuple(row.tolist()) for row in many}) == len(many)


def drawn(prior: Any) -> torch.Tensor:
    """Some 100,000 latent values: what a generator that changes nothing makes of them."""
    same = nn.Linear(64, 64, bias=False)
    nn.init.eye_(same.weight)
    return generate(same, 1600, Recipe.of(steps=1, z_dim=64, latent=prior), 0)


def test_normal_latents() -> None:
    z = drawn("normal")
    assert z.shape == (1600, 64)
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02 and abs(z.pow(4).mean() - 3) < 0.1
    assert torch.equal(z[:256], sampling._latent(Recipe.of(steps=1, z_dim=64), 0, 0))


def test_uniform_latents() -> None:
    z = drawn("uniform")
    assert z.min() >= -1 and z.max() <= 1 and abs(z.mean()) < 0.02
    share = [((z >= k / 4) & (z < (k + 1) / 4)).float().mean().item() for k in range(-4, 4)]
    assert share == pytest.approx([1 / 8] * 8, abs=0.005)


def test_binary_latents() -> None:
    z = drawn("binary")
    assert set(z.unique().tolist()) == {-1, 1} and abs(z.mean()) < 0.02
    assert len({tuple(row) for row in z.tolist()}) == len(z)


def test_made_in_evaluation_mode_which_is_put_back() -> None:
    norm = nn.BatchNorm1d(5)
    generator = nn.Sequential(nn.Linear(7, 5), norm, nn.Dropout(0.5)).train()
    before = copy.deepcopy(norm.state_dict())
    assert torch.equal(generate(generator, 4, SEVEN, 0), generate(generator, 4, SEVEN, 0))
    assert generator.training
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())


def test_pixels_are_rounded_and_clipped() -> None:
    samples = torch.tensor([-2.0, -1.0, -0.996, 0.0, 1.0, 1.5])
    assert images.to_uint8(samples).tolist() == [0, 0, 1, 128, 255, 255]


def test_pixels_survive_the_way_there_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(images.to_uint8(pixels.float().div(127.5).sub(1)), pixels)


def test_grid_lays_out_row_by_row() -> None:
    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 4, 4) * 40
    laid = images.grid(pixels, columns=3, gap=2)
    assert laid.shape == (1, 2 * 6 + 2, 3 * 6 + 2)
    assert laid[0, 4, [4, 10, 16]].tolist() == [0, 40, 80] and laid[0, 10, 4] == 120


def test_each_mode_is_what_it_says() -> None:
    """A norm whose statistics are those of no batch: a z of 1 dimension, doubled, then normed."""
    norm = nn.BatchNorm1d(1, affine=False)
    linear = nn.Linear(1, 1, bias=False)
    nn.init.constant_(linear.weight, 2.0)
    generator = nn.Sequential(linear, norm)
    made = {mode: generate(generator, 512, ONE, 0, mode) for mode in MODES}
    z = torch.cat([sampling._latent(ONE, 0, chunk) for chunk in range(2)])
    torch.testing.assert_close(made["eval"], 2 * z, rtol=1e-4, atol=1e-4)  # as new: variance 1
    for chunk in (slice(0, 256), slice(256, 512)):
        batch = made["train"][chunk]
        assert abs(batch.mean()) < 1e-5 and abs(batch.std() - 1) < 0.01
    torch.testing.assert_close(made["reestimated"], z, rtol=0.05, atol=0.05)
    assert norm.running_var is not None and norm.running_var.item() == 1  # it stayed as it was


def test_dropout_drops_in_train_mode_only_and_the_same_each_time() -> None:
    generator = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5))
    train = [generate(generator, 9, THREE, 0, "train") for _ in range(2)]
    assert torch.equal(*train) and (train[0] == 0).float().mean() > 0.3
    for mode in ("eval", "reestimated"):
        assert (generate(generator, 9, THREE, 0, mode) != 0).all()


vectors = arrays(np.float64, (4, 6), elements=st.floats(-3, 3))


@given(vectors, vectors, st.floats(0, 1))
def test_ways_go_from_end_to_end(first: NDArray[Any], second: NDArray[Any], at: float) -> None:
    a, b, t = torch.from_numpy(first), torch.from_numpy(second), torch.tensor(at).double()
    for way in (sampling.lerp, sampling.slerp):
        torch.testing.assert_close(way(a, b, t * 0), a, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(way(a, b, t * 0 + 1), b, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(way(a, b, t), way(b, a, 1 - t), atol=1e-6, rtol=1e-6)
    middle = sampling.lerp(a, b, t * 0 + 0.5)
    torch.testing.assert_close(middle, (a + b) / 2)


def test_arcs_keep_length_and_share_the_angle() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    for t in (0.25, 0.5, 0.9):
        angle = torch.tensor(t * torch.pi / 2)
        expected = 2 * torch.stack([angle.cos(), angle.sin()])
        torch.testing.assert_close(sampling.slerp(a, b, torch.tensor(t)), expected)


def test_a_walk_has_its_ends_and_tells_jumps_from_even_change() -> None:
    even = nn.Sequential(nn.Linear(6, 9), nn.Unflatten(1, (1, 3, 3)))
    way = sampling.interpolate(even, 3, 8, SIX, seed=0)
    assert way.samples.shape == (3, 9, 1, 3, 3)
    assert way.jump == pytest.approx([1, 1, 1], abs=1e-4)  # straight, and the generator is linear
    ends = even(sampling._latent(SIX, 0, 0)[:6]).view(3, 2, 1, 3, 3)
    torch.testing.assert_close(way.samples[:, [0, -1]], ends)
    assert sampling.interpolate(even, 3, 8, SIX, seed=0, curved=True).jump != pytest.approx(
        [1, 1, 1]
    )
    sudden = nn.Sequential(nn.Linear(6, 1, bias=False), Step(), nn.Unflatten(1, (1, 1, 1)))
    jumps = sampling.interpolate(sudden, 40, 8, SIX, seed=0).jump
    assert {round(j, 3) for j in jumps} == {1, 8}  # it crosses the step once, or stays


class Step(nn.Module):
    """All or nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sign()
