"""Fréchet distance as torchmetrics has it, density and coverage over scikit-learn's neighbors."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganatomy.evaluation.metrics import METRICS, Comparison, Extracted, frechet, moments

pytestmark = pytest.mark.slow


def clouds(n: int, m: int, d: int) -> tuple[Tensor, Tensor]:
    """Correlated features of two unlike sets, off the origin."""
    rng = torch.Generator().manual_seed(d)
    derive_seed = torch.randn(d, d, generator=rng) / d**0.5
    real = torch.randn(m, d, generator=rng) @ derive_seed + 0.5
    return 1.1 * torch.randn(n, d, generator=rng) @ derive_seed + 0.6, real


class AsFeatures(nn.Module):
    """Says that images (n, 3, h, w), flattened and cut to d, are their features."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, : self.d]


@pytest.mark.parametrize("d", [48, 768])
def test_frechet_is_torchmetrics(d: int) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    side = int((d // 3) ** 0.5)
    fake, real = (x.double() for x in clouds(2000, 1500, d))
    theirs = FrechetInceptionDistance(
        feature=AsFeatures(d), normalize=True, input_img_size=(3, side, side)
    ).set_dtype(torch.float64)
    for x, is_real in ((fake, False), (real, True)):
        for batch in x.split(500):
            theirs.update(batch.reshape(-1, 3, side, side), real=is_real)
    assert frechet(moments(fake), moments(real)) == pytest.approx(float(theirs.compute()), rel=1e-4)


@pytest.mark.parametrize(("n", "m", "d", "k"), [(3000, 2500, 64, 5), (1500, 2000, 512, 3)])
def test_density_and_coverage_over_scikit_learns_neighbors(n: int, m: int, d: int, k: int) -> None:
    from sklearn.neighbors import NearestNeighbors

    fake, real = clouds(n, m, d)
    fake[:300] = real[:300]  # ties
    x, y = fake.double().numpy(), real.double().numpy()
    reals = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(y)
    reach = reals.kneighbors()[0][:, -1]  # with no argument an image is not its own neighbor
    closest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(x).kneighbors(y)[0][:, 0]
    room = 1 + 1e-9
    inside = sum(int((np.linalg.norm(row - y, axis=1) <= reach * room).sum()) for row in x)
    comparison = Comparison(fake=Extracted(fake), real=Extracted(real), moments=moments(real), k=k)
    found = METRICS["prdc"].measure(comparison)
    assert found["density"].value == pytest.approx(inside / (k * n), rel=1e-9)
    assert found["coverage"].value == pytest.approx(float((closest <= reach * room).mean()))
    assert 0 < found["coverage"].value < 1
