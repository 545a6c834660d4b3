"""Densities in the plane have the moments, modes and distances that their definitions give."""

from pathlib import Path

import pytest
import torch

from ganatomy.data import Samples, digest, load, toy
from ganatomy.data.toy import DENSITIES, HIGH_QUALITY, nearest_mode

MODES = {"ring8": 8, "grid25": 25, "moons": 2}
SPREAD = {"ring8": 0.9**2 / 2, "grid25": 2 * 0.45**2}
"""Variance of each coordinate of the centers: r² / 2 on a circle; (4 + 1 + 0 + 1 + 4) / 5 steps."""


@pytest.fixture(params=MODES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def samples(name: str) -> Samples:
    return load(name, Path("nowhere"), None)


def test_points(name: str, samples: Samples) -> None:
    n = MODES[name]
    assert samples.values.dtype == torch.float32 and samples.values.shape == (100_000, 2)
    assert samples.values.abs().max() <= 1 and samples.shape == (2,)
    assert samples.labels.bincount().tolist() == [100_000 // n] * n
    assert len(set(samples.classes)) == n


def test_points_are_taken_as_they_are(samples: Samples) -> None:
    places = torch.tensor([5, 0, 99_999])
    taken = samples.batch(places)
    assert taken.dtype == torch.float32 and torch.equal(taken, samples.values[places])


def test_draws(name: str, samples: Samples) -> None:
    again, test = (load(name, Path(), split) for split in ("train", "test"))
    assert digest(again) == digest(samples) != digest(test)
    assert test.classes == samples.classes and torch.equal(test.labels, samples.labels)


def test_moments(name: str, samples: Samples) -> None:
    """All are symmetric about 0, to within five deviations of a mean of 100,000."""
    points = samples.values.double()
    covariance = points.T.cov()
    assert (points.mean(dim=0).abs() < 5 * (covariance.diag() / 100_000).sqrt()).all()
    if name != "moons":
        variance = SPREAD[name] + DENSITIES[name].std ** 2
        assert torch.allclose(covariance, variance * torch.eye(2).double(), atol=1e-3)


def test_moments_of_a_moon() -> None:
    """Half a circle of radius 1 has mean height 2 / π, and variances 1 / 2 and 1 / 2 - 4 / π²."""
    samples = load("moons", Path(), "train")
    upper = samples.values[samples.labels == 0].double() / 0.55
    mean = torch.tensor([-0.5, 2 / torch.pi - 0.25]).double()
    variance = torch.tensor([0.5, 0.5 - 4 / torch.pi**2]).double() + 0.05**2
    assert torch.allclose(upper.mean(dim=0), mean, atol=0.015)
    assert torch.allclose(upper.var(dim=0), variance, atol=0.01)


def test_noise_is_what_is_said(name: str, samples: Samples) -> None:
    """Around a center r² / σ² is χ² of two; an arc's noise is χ² of one, ends aside."""
    mode, distance = nearest_mode(samples.values, name)
    kept = mode == samples.labels
    assert kept.double().mean() > 0.999
    within = (distance <= HIGH_QUALITY).double().mean()
    expected = 0.9973 if name == "moons" else 1 - torch.tensor(-4.5).exp()
    assert within == pytest.approx(float(expected), abs=1e-3)
    mean_square = 1 if name == "moons" else 2
    assert distance.square().mean() == pytest.approx(mean_square, abs=0.03)


def test_nearest_mode_in_closed_form() -> None:
    std = DENSITIES["ring8"].std
    mode, distance = nearest_mode(
        torch.tensor([[0.9 + std, 0.0], [0.0, 0.9], [0.0, -1.0]]), "ring8"
    )
    assert mode.tolist() == [0, 2, 6]
    assert distance.tolist() == pytest.approx([1, 0, 0.1 / std], abs=1e-4)
    mode, distance = nearest_mode(torch.tensor([[-0.9, -0.9], [0.45, 0.9], [0, 0.1]]), "grid25")
    assert mode.tolist() == [0, 23, 12]
    assert distance.tolist() == pytest.approx([0, 0, 0.1 / 0.01125], abs=1e-4)
    # above the top of the upper moon; at its right end, and below it; the same for the lower moon
    ends = torch.tensor([[-0.5, 0.85], [0.5, -0.25], [0.5, -0.35], [0.5, -0.85], [-0.5, 0.25]])
    mode, distance = nearest_mode(ends * 0.55, "moons")
    assert mode.tolist() == [0, 0, 0, 1, 1]
    assert distance.tolist() == pytest.approx([2, 0, 2, 2, 0], abs=1e-4)


def test_modes_covered_are_counted(name: str, samples: Samples) -> None:
    some = samples.values[samples.labels != 0][:1000]
    mode, distance = nearest_mode(some, name)
    covered = mode[distance <= HIGH_QUALITY].unique()
    assert covered.tolist() == list(range(1, MODES[name]))


def test_what_cannot_be() -> None:
    assert load("moons", Path(), "train", shape=(2,)).shape == (2,)
    with pytest.raises(ValueError, match=r"ring8 is points.*leave out --shape 3 64 64"):
        toy.load("ring8", Path(), shape=(3, 64, 64))
    with pytest.raises(ValueError, match=r"unknown density 'ring'.*did you mean 'ring8'"):
        nearest_mode(torch.zeros(1, 2), "ring")
    with pytest.raises(ValueError, match=r"points of moons are \(N, 2\), got \(2,\)"):
        nearest_mode(torch.zeros(2), "moons")
