"""Losses and penalties against closed forms, PyTorch's own and critics whose gradient is known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ganatomy.gan.check import check_loss
from ganatomy.gan.losses import (
    LOSSES,
    Labels,
    cross_entropy,
    gradient_norm_penalty,
    gradient_unit_norm_penalty,
    interpolate_points,
    perturb_points,
)

ZERO = torch.zeros(5)
HARD = Labels(torch.ones(5), torch.zeros(5))


def never() -> Tensor:
    raise AssertionError("this loss has no business with real logits")


def nll(p: float) -> float:
    return -math.log(p)


def s(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


LOG2 = math.log(2)
VALUES = {
    "minimax": ((LOG2, LOG2), -LOG2),
    "non_saturating": ((LOG2, LOG2), LOG2),
    "least_squares": ((1 / 2, 0), 1 / 2),
    "hinge": ((1, 1), 0),
    "wasserstein": ((0, 0), 0),
    "relativistic": ((LOG2 / 2, LOG2 / 2), LOG2),
}
"""Of a discriminator that says 0 of everything: what it loses on real and on fake, and G's loss."""


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_conforms(name: str) -> None:
    check_loss(LOSSES[name])


@pytest.mark.parametrize("name", VALUES)
def test_undecided_discriminator(name: str) -> None:
    d, g = VALUES[name]
    assert [part.item() for part in LOSSES[name].d(ZERO, ZERO, HARD)] == pytest.approx(d)
    assert LOSSES[name].g(lambda: ZERO, ZERO).item() == pytest.approx(g)


BY_HAND = {
    "minimax": (
        (0.9 * nll(s(2)) + 0.1 * nll(s(-2)) + 0.7 * nll(s(-1)) + 0.3 * nll(s(1))) / 2,
        (0.2 * nll(s(0.5)) + 0.8 * nll(s(-0.5)) + nll(s(3))) / 2,
        -(nll(s(-0.5)) + nll(s(3))) / 2,
    ),
    "non_saturating": (
        (0.9 * nll(s(2)) + 0.1 * nll(s(-2)) + 0.7 * nll(s(-1)) + 0.3 * nll(s(1))) / 2,
        (0.2 * nll(s(0.5)) + 0.8 * nll(s(-0.5)) + nll(s(3))) / 2,
        (nll(s(0.5)) + nll(s(-3))) / 2,
    ),
    "least_squares": ((1.1**2 + 1.7**2) / 4, (0.3**2 + 3**2) / 4, (0.5**2 + 4**2) / 4),
    "hinge": ((0 + 2) / 2, (1.5 + 0) / 2, 2.5 / 2),
    "wasserstein": (-0.5, -2.5 / 2, 2.5 / 2),
    "relativistic": (
        (nll(s(2 - 0.5)) + nll(s(-1 + 3))) / 4,
        (nll(s(2 - 0.5)) + nll(s(-1 + 3))) / 4,
        (nll(s(0.5 - 2)) + nll(s(-3 + 1))) / 2,
    ),
}
"""Real logits 2 and -1 with labels 0.9 and 0.7, fake ones 0.5 and -3 with labels 0.2 and 0."""


@pytest.mark.parametrize("name", BY_HAND)
def test_values_worked_out_by_hand(name: str) -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    labels = Labels(torch.tensor([0.9, 0.7]), torch.tensor([0.2, 0.0]))
    found = (*LOSSES[name].d(real, fake, labels), LOSSES[name].g(lambda: real, fake))
    assert [value.item() for value in found] == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize("name", VALUES)
def test_only_a_loss_that_compares_asks_for_real_logits(name: str) -> None:
    asked: list[int] = []

    def real() -> Tensor:
        asked.append(1)
        return ZERO

    LOSSES[name].g(real, ZERO)
    assert len(asked) == (name == "relativistic")


logits = st.lists(st.floats(-30, 30), min_size=4, max_size=4)


def doubles(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", ["non_saturating", "minimax", "least_squares"])
def test_soft_labels_move_the_best_logit(name: str) -> None:
    # with target t the best D says t: as a probability, logit(0.9) = log 9, or as a score
    best = math.log(9) if LOSSES[name].probabilities else 0.9
    real, fake = (torch.full((2,), x, requires_grad=True) for x in (best, -best))
    labels = Labels(torch.full((2,), 0.9), torch.full((2,), 0.1 if best > 1 else -0.9))
    for lost, logit in zip(LOSSES[name].d(real, fake, labels), (real, fake), strict=True):
        (slope,) = torch.autograd.grad(lost, logit)
        assert slope.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_minimax_saturates_where_non_saturating_does_not() -> None:
    sure = torch.full((1,), -12.0, requires_grad=True)  # D is sure that these are generated
    names = ("non_saturating", "minimax")
    slopes = [torch.autograd.grad(LOSSES[n].g(never, sure), sure)[0].item() for n in names]
    assert slopes == [pytest.approx(-1, abs=1e-4), pytest.approx(0, abs=1e-4)]


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_cross_entropy_is_pytorchs(pairs: list[tuple[float, float]]) -> None:
    logits, targets = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    expected = binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(cross_entropy(logits, targets), expected)


def test_cross_entropy_takes_any_logit() -> None:
    extreme = torch.tensor([-1e30, 1e30])
    assert cross_entropy(extreme, torch.tensor([0.0, 1.0])).item() == 0


def test_hinge_stops_at_its_margins() -> None:
    real = torch.tensor([1.0, 4.0, 0.9], requires_grad=True)
    fake = torch.tensor([-1.0, -4.0, -0.9], requires_grad=True)
    on_real, on_fake = LOSSES["hinge"].d(real, fake, HARD)
    assert [on_real.item(), on_fake.item()] == pytest.approx([0.1 / 3, 0.1 / 3])
    slopes = torch.autograd.grad(on_real + on_fake, (real, fake))
    for slope, sign in zip(slopes, (-1, 1), strict=True):
        assert slope.tolist() == pytest.approx([0, 0, sign / 3])


@given(logits, logits, st.floats(-5, 5))
def test_wasserstein_is_linear(first: list[float], second: list[float], by: float) -> None:
    a, b = doubles(first), doubles(second)
    d, g = LOSSES["wasserstein"].d, LOSSES["wasserstein"].g
    for found, one, other in zip(
        d(a + by * b, b + by * a, HARD), d(a, b, HARD), d(b, a, HARD), strict=True
    ):
        torch.testing.assert_close(found, one + by * other)
    torch.testing.assert_close(g(never, a + by * b), g(never, a) + by * g(never, b))
    on_real, on_fake = d(a, a, HARD)
    assert on_real == -on_fake  # there is no gap between what is alike


@given(logits, logits, st.floats(-30, 30))
def test_relativistic_knows_differences_alone(
    real: list[float], fake: list[float], by: float
) -> None:
    a, b = doubles(real), doubles(fake)
    (on_real, on_fake), g = LOSSES["relativistic"].d(a, b, HARD), LOSSES["relativistic"].g
    one = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(on_real + on_fake, cross_entropy(a - b, one))
    torch.testing.assert_close(g(lambda: a, b), cross_entropy(b - a, one))
    shifted = LOSSES["relativistic"].d(a + by, b + by, HARD)
    torch.testing.assert_close(shifted, (on_real, on_fake), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(g(lambda: a + by, b + by), g(lambda: a, b), rtol=1e-9, atol=1e-9)


class Quadratic(nn.Module):
    """Half the squared norm, whose gradient at a sample is the sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).square().sum(1) / 2


def linear(weight: Tensor) -> nn.Module:
    """The critic <weight, x> + 1, whose gradient is the weight everywhere."""
    layer = nn.Linear(weight.numel(), 1)
    with torch.no_grad():
        layer.weight.copy_(weight.view(1, -1))
        layer.bias.fill_(1.0)
    return nn.Sequential(nn.Flatten(), layer, nn.Flatten(0))


def at_zero(critic: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return gradient_norm_penalty(critic(x), x)


@given(arrays(np.float32, 12, elements=st.floats(-2, 2, width=32)))
def test_penalties_of_a_linear_critic(given_weight: NDArray[Any]) -> None:
    weight, x = torch.from_numpy(given_weight), torch.randn(5, 3, 2, 2)
    norm = weight.norm().item()
    assert gradient_unit_norm_penalty(linear(weight), x).item() == pytest.approx(
        (norm - 1) ** 2, abs=1e-5
    )
    assert at_zero(linear(weight), x).item() == pytest.approx(norm**2 / 2, abs=1e-5)


@given(arrays(np.float32, (4, 3, 2, 2), elements=st.floats(-2, 2, width=32)))
def test_norms_are_over_all_of_each_sample(samples: NDArray[Any]) -> None:
    norms = np.sqrt((samples.astype(float) ** 2).sum((1, 2, 3)))
    x = torch.from_numpy(samples)
    expected = pytest.approx(((norms - 1) ** 2).mean(), abs=1e-4)
    assert gradient_unit_norm_penalty(Quadratic(), x).item() == expected
    assert at_zero(Quadratic(), x).item() == pytest.approx((norms**2).mean() / 2, abs=1e-4)


@pytest.mark.parametrize("size", [0.2, 3.0])
def test_penalties_reach_the_critics_weights(size: float) -> None:
    weight = nn.functional.normalize(torch.arange(1.0, 13.0), dim=0) * size
    x = torch.randn(5, 3, 2, 2)
    for penalty, to_norm in ((gradient_unit_norm_penalty, 2 * (size - 1)), (at_zero, size)):
        critic = linear(weight)
        penalty(critic, x).backward()
        grad = next(critic.parameters()).grad
        assert grad is not None
        torch.testing.assert_close(grad[0], weight / size * to_norm)
    critic = linear(weight)
    descent = torch.optim.SGD(critic.parameters(), 0.1)
    for _ in range(40):
        descent.zero_grad()
        gradient_unit_norm_penalty(critic, x).backward()
        descent.step()
    assert next(critic.parameters()).norm().item() == pytest.approx(1, abs=1e-3)


def test_points_between_are_each_at_their_own_share() -> None:
    real, fake = torch.randn(2, 4, 3, 2, 2)
    assert torch.equal(interpolate_points(real, fake, torch.zeros(4)), real)
    assert torch.equal(interpolate_points(real, fake, torch.ones(4)), fake)
    share = torch.tensor([0.0, 0.25, 0.5, 1.0])
    made = interpolate_points(torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2), share)
    assert torch.equal(made, share.view(4, 1, 1, 1).expand(4, 3, 2, 2))
    assert interpolate_points(torch.zeros(4, 2), torch.ones(4, 2), share).tolist() == [
        [s, s] for s in share
    ]


@given(st.integers(0, 1000))
def test_points_around_lie_within_half_a_deviation(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    real = torch.randn(6, 2, 3, 3, generator=rng) * 3 + 1
    noise, share = torch.rand(real.shape, generator=rng), torch.rand(6, generator=rng)
    away = perturb_points(real, noise, share) - real
    half = real.std() / 2
    assert away.min() >= 0 and (away <= half + 1e-5).all()
    torch.testing.assert_close(away, noise * half * share.view(6, 1, 1, 1), rtol=1e-3, atol=1e-4)
    assert torch.equal(perturb_points(real, noise, share * 0), real)
    torch.testing.assert_close(perturb_points(real, noise * 0 + 1, share * 0 + 1), real + half)
