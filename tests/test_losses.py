"""Losses against closed forms and PyTorch's own cross-entropy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ganatomy.losses import LOSSES, Labels, cross_entropy

ZERO = torch.zeros(5)
HARD = Labels(torch.ones(5), torch.zeros(5))


def never() -> Tensor:
    raise AssertionError("this loss has no business with real logits")


@pytest.mark.parametrize(
    ("name", "d", "g"),
    [
        ("minimax", 2 * math.log(2), -math.log(2)),
        ("non_saturating", 2 * math.log(2), math.log(2)),
    ],
)
def test_undecided_discriminator(name: str, d: float, g: float) -> None:
    assert LOSSES[name].d(ZERO, ZERO, HARD).item() == pytest.approx(d)
    assert LOSSES[name].g(never, ZERO).item() == pytest.approx(g)


@pytest.mark.parametrize("name", LOSSES)
def test_players_pull_apart(name: str) -> None:
    logits = torch.linspace(-3, 3, 5)
    real, fake = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    down_real, down_fake = torch.autograd.grad(LOSSES[name].d(real, fake, HARD), (real, fake))
    (down_g,) = torch.autograd.grad(LOSSES[name].g(lambda: real, fake), fake)
    assert (down_real < 0).all() and (down_fake > 0).all() and (down_g < 0).all()


def test_minimax_saturates_where_non_saturating_does_not() -> None:
    sure = torch.full((1,), -12.0, requires_grad=True)  # D is sure that these are generated
    slopes = [torch.autograd.grad(LOSSES[n].g(never, sure), sure)[0].item() for n in LOSSES]
    assert dict(zip(LOSSES, slopes, strict=True)) == {
        "non_saturating": pytest.approx(-1, abs=1e-4),
        "minimax": pytest.approx(0, abs=1e-4),
    }


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


def test_soft_labels_move_the_best_logit() -> None:
    # with target t the best D says t: logit(0.9) = log 9
    logit = torch.full((1,), math.log(9), requires_grad=True)
    (slope,) = torch.autograd.grad(cross_entropy(logit, torch.tensor([0.9])), logit)
    assert slope.item() == pytest.approx(0, abs=1e-6)
