"""Samples depend on the seed and their place alone."""

import copy

import torch
from torch import nn

from ganatomy import latent, pictures
from ganatomy.latent import generate


def test_more_samples_keep_the_first_ones() -> None:
    generator = nn.Sequential(nn.Linear(7, 5), nn.Tanh())
    many = generate(generator, latent.CHUNK + 40, 7, seed=3)
    assert len(many) == latent.CHUNK + 40
    assert torch.equal(generate(generator, 5, 7, seed=3), many[:5])
    assert not torch.equal(generate(generator, 5, 7, seed=4), many[:5])
    assert len({tuple(row.tolist()) for row in many}) == len(many)


def test_latents_are_standard_normal() -> None:
    z = generate(nn.Linear(64, 1), 1, 64, 0)
    assert z.shape == (1, 1)
    drawn = torch.cat([latent._latent(64, 0, chunk) for chunk in range(8)])
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02


def test_made_in_evaluation_mode_which_is_put_back() -> None:
    norm = nn.BatchNorm1d(5)
    generator = nn.Sequential(nn.Linear(7, 5), norm, nn.Dropout(0.5)).train()
    before = copy.deepcopy(norm.state_dict())
    assert torch.equal(generate(generator, 4, 7, 0), generate(generator, 4, 7, 0))
    assert generator.training
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())


def test_pixels_are_rounded_and_clipped() -> None:
    samples = torch.tensor([-2.0, -1.0, -0.996, 0.0, 1.0, 1.5])
    assert pictures.to_uint8(samples).tolist() == [0, 0, 1, 128, 255, 255]


def test_pixels_survive_the_way_there_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(pictures.to_uint8(pixels.float().div(127.5).sub(1)), pixels)


def test_grid_lays_out_row_by_row() -> None:
    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 4, 4) * 40
    laid = pictures.grid(pixels, columns=3, gap=2)
    assert laid.shape == (1, 2 * 6 + 2, 3 * 6 + 2)
    assert laid[0, 4, [4, 10, 16]].tolist() == [0, 40, 80] and laid[0, 10, 4] == 120
