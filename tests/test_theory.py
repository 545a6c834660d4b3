"""The theory's quantities against closed forms, each other, and a discriminator that learns."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
import tyro
from conftest import Reader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.functional import hessian

from ganatomy.cli.theory import Theory
from ganatomy.theory import findings, game
from ganatomy.theory.densities import Mixture, legendre, modes, nodes, ring, trapezoid

LOG2, LOG4 = math.log(2), math.log(4)


def normal(mean: float, std: float = 1.0) -> Mixture:
    return modes(std, (mean,))


@st.composite
def mixtures(draw: st.DrawFn, dim: int, narrowest: float) -> Mixture:
    n = draw(st.integers(1, 3))
    place = st.tuples(*[st.floats(-4, 4)] * dim)
    raw = draw(st.lists(st.floats(0.1, 1), min_size=n, max_size=n))
    return Mixture(
        tuple(draw(st.lists(place, min_size=n, max_size=n))),
        tuple(draw(st.lists(st.floats(narrowest, 2), min_size=n, max_size=n))),
        tuple(w / sum(raw) for w in raw),
    )


@pytest.mark.parametrize(
    ("means", "stds", "weights", "cure"),
    [
        (((0.0,),), (1.0, 1.0), (1.0,), "a mean, a std and a weight for each"),
        ((), (), (), "a mean, a std and a weight for each"),
        (((0.0,), (0.0, 1.0)), (1.0, 1.0), (0.5, 0.5), "one coordinate, or all two"),
        (((0.0,),), (0.0,), (1.0,), "must be positive"),
        (((0.0,), (1.0,)), (1.0, 1.0), (0.5, 0.4), "sum to 1"),
    ],
)
def test_what_is_no_mixture_is_refused(means, stds, weights, cure) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=cure):
        Mixture(means, stds, weights)


def test_densities_that_cannot_be_covered_are_refused() -> None:
    with pytest.raises(ValueError, match="the same dimension, got 1 and 2"):
        nodes(normal(0), ring(8, 2, 0.3))
    with pytest.raises(ValueError, match="stds of similar size"):
        nodes(modes(0.001, (0.0, 0.0)), modes(5.0, (0.0, 0.0)))


@pytest.mark.parametrize("density", [normal(1, 2), ring(5, 2.0, 0.3)])
def test_log_prob_is_of_what_is_sampled(density: Mixture) -> None:
    x = density.sample(20_000, torch.Generator().manual_seed(0))
    parts = [
        w * torch.distributions.Normal(torch.tensor(m, dtype=x.dtype), s).log_prob(x).sum(1).exp()
        for m, s, w in zip(density.means, density.stds, density.weights, strict=True)
    ]
    assert torch.allclose(density.log_prob(x).exp(), torch.stack(parts).sum(0))
    at = nodes(density, density)
    for power in (1, 2):  # sampled moments are the integrated ones
        assert torch.allclose(x.pow(power).mean(0), at.mean(density, at.x**power), atol=0.12)


@pytest.mark.parametrize("rule", [trapezoid, legendre])
def test_quadrature_knows_moments(rule) -> None:  # type: ignore[no-untyped-def]
    at = nodes(normal(1.5, 0.7), normal(-1), rule)
    moments = [float(at.mean(normal(1.5, 0.7), at.x[:, 0] ** k)) for k in range(5)]
    m, v = 1.5**2, 0.7**2
    expected = [1, 1.5, m + v, 1.5 * (m + 3 * v), m * m + 6 * m * v + 3 * v * v]
    assert moments == pytest.approx(expected, abs=1e-12)


@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(0.3, 2), st.floats(0.3, 2))
@settings(max_examples=25)
def test_kl_of_gaussians(a: float, b: float, s: float, t: float) -> None:
    expected = math.log(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5
    assert game.kl(normal(a, s), normal(b, t)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("dim", "narrowest", "examples"), [(1, 0.2, 20), (2, 1.0, 4)])
def test_criterion_is_jsd(dim: int, narrowest: float, examples: int) -> None:
    drawn = mixtures(dim, narrowest)
    settings(max_examples=examples)(given(drawn, drawn)(identity_holds))()


def identity_holds(p: Mixture, q: Mixture) -> None:
    divergence = game.jsd(p, q)
    assert abs(game.criterion(p, q) + LOG4 - 2 * divergence) < 1e-8
    assert -1e-12 < divergence < LOG2 + 1e-12
    assert divergence == pytest.approx(game.jsd(q, p), abs=1e-9)


@pytest.mark.parametrize("p", [normal(0), ring(8, 2.0, 0.3)])
def test_equality_is_the_minimum(p: Mixture) -> None:
    assert game.criterion(p, p) == pytest.approx(-LOG4, abs=1e-9)
    assert game.jsd(p, p) == pytest.approx(0, abs=1e-12)
    assert (game.best_logit(p, p, nodes(p, p).x).sigmoid() == 0.5).all()


def test_apart_is_the_maximum() -> None:
    p, q = normal(0), normal(60)
    assert game.jsd(p, q) == pytest.approx(LOG2, abs=1e-12)
    assert game.criterion(p, q) == pytest.approx(0, abs=1e-12)


def test_best_discriminator_stands_where_densities_underflow() -> None:
    x = torch.tensor([[-50.0], [1.0], [52.0]], dtype=torch.float64)  # both are 0 as floats
    p, q = normal(0), normal(2)
    assert (p.log_prob(x).exp()[[0, 2]] == 0).all()
    assert game.best_logit(p, q, x).tolist() == pytest.approx([102, 0, -102])


def test_one_mode_of_k() -> None:
    assert game.jsd_of_one_mode(1) == pytest.approx(0)
    p, q = findings.COLLAPSED
    x = torch.tensor([[-4.0], [4.0]], dtype=torch.float64)
    assert game.best_logit(p, q, x).sigmoid().tolist() == pytest.approx([1, 1 / 3])
    assert game.criterion(p, q) == pytest.approx(1.5 * math.log(4 / 3) - LOG4, abs=1e-12)


def test_findings_have_no_residuals() -> None:
    rows = findings.identities()
    for row in rows:
        assert abs(row.residual) < 1e-12
        assert abs(row.closed_residual or 0) < 1e-12
    assert sum(row.closed_residual is not None for row in rows) == 5
    equal = [row for row in rows if row.pair.endswith("itself")]
    assert len(equal) == 2 and all(row.d_from_half == 0 for row in equal)


def test_best_answer_at_a_point() -> None:
    found = findings.maximizers()
    assert found.search_residual <= 1 / 2000 and found.ascent_residual < 1e-12
    a, b = (torch.tensor([v], dtype=torch.float64) for v in (0.3, 0.6))
    searched, climbed = game.pointwise(a, b, points=3000)
    assert searched.item() == climbed.item() == pytest.approx(1 / 3)


def test_no_discriminator_is_better_than_the_best() -> None:
    p, q = findings.LEARNED["1-D"]
    at = nodes(p, q)
    best = game.best_logit(p, q, at.x)
    for bend in (torch.sin(at.x[:, 0]), torch.full_like(best, 0.1), -best):
        assert game.value(p, q, best + bend, at) < game.value(p, q, best, at) - 1e-4
    assert game.value(p, q, best, at) == game.criterion(p, q)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [0, 1]), (30, [0, 1, 3, 10, 30]), (120, [0, 1, 3, 10, 30, 100, 120])],
)
def test_marks(steps: int, expected: list[int]) -> None:
    assert game.marks(steps) == expected


@pytest.fixture(scope="module")
def trained() -> findings.Trained:
    """Two short trainings of each pair."""
    return findings.train(seeds=2, steps=300)


def test_trained_discriminator_approaches_the_best(trained: findings.Trained) -> None:
    rows = {(row.pair, row.step): row for row in findings.learning(trained)}
    for pair, error, short in (("1-D", 0.06, 0.06), ("2-D", 0.12, 0.12)):
        first, last = rows[pair, 0], rows[pair, 300]
        assert first.error.low > 0.2 and last.error.high < error
        assert first.short.low > 0.3 and last.short.high < short
    for row in rows.values():
        for key in ("error", "short"):
            spread = getattr(row, key)
            assert 0 < spread.low < spread.mean < spread.high, row


def test_best_discriminator_is_not_apart_from_itself() -> None:
    p, q = findings.LEARNED["2-D"]

    class Best(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return game.best_logit(p, q, x)

    assert findings.apart(Best(), p, q) == (0, 0)


def test_training_depends_on_its_seed_alone(trained: findings.Trained) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = game.learn(*findings.LEARNED["1-D"], seed=0, steps=300)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]
    first, second = trained["1-D"]
    assert torch.equal(again[300](x), first[300](x))
    assert not torch.equal(second[0](x), first[0](x))


def test_each_seed_and_step_has_samples_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, sample = [], Mixture.sample

    def note(density: Mixture, n: int, rng: torch.Generator) -> Tensor:
        drawn.append(rng.initial_seed())
        return sample(density, n, rng)

    monkeypatch.setattr(Mixture, "sample", note)
    for seed in (0, 1):
        game.learn(normal(0), normal(1), seed, steps=2)
    assert len(drawn) == 8 and len({*drawn}) == 4  # p and q draw one after the other


def test_gradients_are_those_of_divergences() -> None:
    for row in findings.gradients():
        assert abs(row.minimax_residual) < 1e-10
        assert abs(row.non_saturating_residual) < 2e-9  # softplus is linear beyond 20
        d_mean = row.minimax + row.non_saturating  # d E D* + d E (1 - D*)
        assert d_mean == pytest.approx(row.distance, abs=1e-8)


def test_minimax_vanishes_where_the_other_does_not() -> None:
    rows = {row.distance: row for row in findings.gradients()}
    assert rows[8.0].minimax < 1e-3 * rows[8.0].non_saturating
    assert rows[1.0].minimax > 0.5 * rows[1.0].non_saturating
    assert rows[8.0].non_saturating == pytest.approx(8, abs=1e-3)


def test_pull_has_the_direction_of_the_data() -> None:
    gradient = game.pull(modes(1.0, (0.0, 0.0)), modes(1.0, (1.2, -1.6)), "minimax")
    alone = game.pull(normal(0), normal(2), "minimax")
    assert gradient.tolist() == pytest.approx([0.6 * alone.item(), -0.8 * alone.item()])


@pytest.mark.parametrize(("loss", "sign"), [("minimax", 1), ("non_saturating", -1)])
def test_slope_in_the_logit(loss: str, sign: int) -> None:
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    assert torch.allclose(game.logit_slope(logits, loss), -(sign * logits).sigmoid())


def test_descent_ends_at_the_data() -> None:
    minimax, other = findings.descents()
    for row in (minimax, other):
        assert row.means[0] == findings.START
        assert abs(row.mean) < 1e-6 and abs(row.c_residual) < 1e-12
        assert all(a >= b for a, b in zip(row.means, row.means[1:], strict=False))
    assert (minimax.near_step or 0) > 5 * (other.near_step or math.inf)


def test_curvature_at_the_data_is_half_of_fishers() -> None:
    def c(mean: Tensor) -> Tensor:
        at = nodes(normal(0), normal(0))
        q = normal(0).log_prob(at.x - mean)
        logit = normal(0).log_prob(at.x) - q
        inside = torch.nn.functional.logsigmoid
        p = normal(0).log_prob(at.x).exp()
        return (at.w * (p * inside(logit) + q.exp() * inside(-logit))).sum()

    curved = hessian(c, torch.zeros((), dtype=torch.float64))
    step = game.pull(normal(0), normal(1e-3), "minimax").item() / 1e-3
    assert float(curved) == pytest.approx(0.5, abs=1e-9) and step == pytest.approx(0.5, abs=1e-5)


def test_command_answers_and_writes_a_page_that_is_whole_and_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    given = ["--out", str(out), "--seeds", "1", "--steps", "1", "--json"]
    assert tyro.cli(Theory, args=given, config=(tyro.conf.FlagCreatePairsOff,))() == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["pair"] for row in found["identities"]] == list(findings.PAIRS)
    assert {row["step"] for row in found["learning"]} == {0, 1} and found["environment"]["torch"]

    page = out.read_text(encoding="utf-8")
    read = Reader(page)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("svg") >= 11 and tags.count("table") == 5 and "script" not in tags
    links = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "xlink:href")]
    assert all(link and link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\((?!['\"]?#)|<link", page)
    assert "nan" not in read.text.split() and "None" not in read.text
    assert all(name in read.text for name in findings.PAIRS) and len(page) < 2_000_000


@pytest.mark.parametrize(
    ("bad", "cure"),
    [
        ({"out": Path("page.pdf")}, "--out must end in .html, got page.pdf"),
        ({"seeds": 0}, "seeds and steps must be at least 1, got 0 2000"),
        ({"steps": 0}, "seeds and steps must be at least 1, got 3 0"),
    ],
)
def test_bad_arguments_are_one_line(bad: dict[str, object], cure: str) -> None:
    with pytest.raises(ValueError, match=re.escape(cure)):
        Theory(**bad)()  # type: ignore[arg-type]
