"""Members of a fused run against their runs alone."""

import collections
import contextlib
import copy
import dataclasses
import itertools
import math
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MLP, shape_of
from torch import Tensor, nn

import ganatomy as gan
from ganatomy.data import DATASETS, Samples
from ganatomy.gan import captured, fused, ring
from ganatomy.gan.draws import CpuDraws
from ganatomy.gan.losses import LOSSES, Labels
from ganatomy.gan.machine import numerics
from ganatomy.gan.members import Dropped, HashedMasks
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training import loop
from ganatomy.training.loop import run_members

DIGITS = DATASETS["mnist10k"].load(Path())
PLAIN = MLP.replace(
    g_dropout=0.0, d_dropout=0.0, d_norm="none", d_steps=1, g_steps=1, ema=0.0, batch=8, steps=8
)
NAMES = [n for n, r in RECIPES.items() if r.recipe.data.shape in (None, (1, 28, 28))]
HARD: dict[str, Any] = {"real_label": (1.0, 1.0), "fake_label": (0.0, 0.0)}
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "batch norm": {"d_norm": "batch"},
    "dropout": {"g_dropout": 0.2, "d_dropout": 0.3},
    "dropout of everything": {"d_dropout": 1.0},
    "two updates of D": {"d_steps": 2},
    "two updates of G": {"g_steps": 2, "same_fakes": True},
    "real logits for G": {"loss": "relativistic"} | HARD,
    "averages": {"ema": 0.9},
    "rates that fall": {"schedule": "linear"},
    "uniform": {"latent": "uniform"},
    "spectral norm": {"spectral": "both"},
    "spectral norm, dropout": {"spectral": "both", "d_dropout": 0.3, "gp": 1.0},
    "clipping, rmsprop and sgd": {"clip": 0.01, "opt_d": "rmsprop", "opt_g": "sgd"},
    "gp": {"gp": 1.0, "d_steps": 3},
    "dragan": {"dragan": 1.0},
    "lazy r1": {"r1": 1.0, "penalty_every": 3},
    "r1 and r2": {"r1": 1.0, "r2": 0.5},
    "points": {"dataset": "ring8", "r1": 1.0},
}
DCGAN: dict[str, Any] = {"model": "dcgan", "g_widths": (2,), "d_widths": (2,), "steps": 3}
CONV: dict[str, dict[str, Any]] = {
    "dcgan": {"d_norm": "batch"},
    "dcgan, dropout": {"d_dropout": 0.3, "gp": 1.0, "g_dropout": 0.1},
    "dcgan, spectral norm": {"spectral": "both", "d_dropout": 0.3},
    "dcgan, attention": {"attention": (14,), "r1": 1.0},
    "sagan": {"model": "sagan", "attention": (14,), "spectral": "both", "loss": "hinge"} | HARD,
}


def members(recipe: Recipe, m: int = 3) -> list[Recipe]:
    """Recipes of other seeds and, as far as there are any, other scalars."""
    found = []
    for i in range(m):
        x, y = (1.0, 0.5, 1.7)[i % 3], (1.0, 0.9, 0.99)[i % 3]
        own = recipe.objective
        fields: dict[str, Any] = {
            "lr_g": recipe.generator.lr * x,
            "lr_d": recipe.discriminator.lr / x,
        }
        fields |= {"gp": own.gp * x, "dragan": own.dragan * x, "r1": own.r1 * x, "r2": own.r2 * x}
        fields |= {"beta1": recipe.training.beta1 * y, "beta2": recipe.training.beta2 * y}
        fields |= {"ema": recipe.generator.ema * y, "seed": recipe.training.seed + i}
        if LOSSES[own.loss].takes_labels:
            fields["real_label"] = ((1.0, 1.0), (0.8, 1.0), (0.9, 0.9))[i % 3]
        found.append(recipe.replace(steps=recipe.training.steps, **fields))
    return found


def tensors(state: State) -> dict[str, Tensor]:
    """All that a checkpoint holds of a state, by name."""
    found: dict[str, Tensor] = {}
    for name, part in state.state_dict().items():
        if name.startswith("opt"):
            for k, kept in part["state"].items():
                found |= {f"{name}.{k}.{of}": value.clone() for of, value in kept.items()}
        elif name not in ("step", "shape"):
            found |= {f"{name}.{of}": value.clone() for of, value in part.items()}
    return found


def noise(state: State) -> frozenset[str]:
    """Names of what rounding alone decides, and of what follows from it.

    Batch norm takes a bias before it away again, so that Adam scales a gradient that is rounding.
    """
    found: set[str] = set()
    for name, opt in (("generator", state.opt_g), ("discriminator", state.opt_d)):
        weights = dict(getattr(state, name).named_parameters())
        kept = [opt.state[weight].get("exp_avg", weight) for weight in weights.values()]
        sizes = [moment.abs().max() for moment in kept]
        for k, of in enumerate(weights):
            if sizes[k] < 1e-6 * max(sizes):
                found |= {f"opt_{name[0]}.{k}.exp_avg", f"opt_{name[0]}.{k}.exp_avg_sq"}
                found |= {f"{name}.{of}", f"ema.{of}" if name == "generator" else ""}
    known = tensors(state).keys()
    found |= {of for of in known if of.endswith("running_mean")} if found else set()
    return frozenset(found & known)


def apart(
    a: dict[str, Tensor], b: dict[str, Tensor], without: frozenset[str] = frozenset()
) -> float:
    """Largest difference, relative to the largest value of its tensor."""
    assert a.keys() == b.keys() >= without
    far = {k: (a[k] - b[k]).abs().max() / a[k].abs().max().clamp_min(1e-30) for k in a}
    return max(float(value) for k, value in far.items() if k not in without)


def new(recipe: Recipe, data: Samples, dtype: torch.dtype) -> State:
    state = State.new(recipe, data.shape)
    for net in (state.generator, state.discriminator, state.ema):
        net.to(dtype)
    return state


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let draws be what they are, in float64."""
    for name in ("real", "latent", "uniform"):
        drawn = getattr(CpuDraws, name)
        monkeypatch.setattr(CpuDraws, name, lambda *a, drawn=drawn: drawn(*a).double())
    labels = CpuDraws.labels
    monkeypatch.setattr(
        CpuDraws, "labels", lambda draws: Labels(*(part.double() for part in labels(draws)))
    )


def distance(recipes: list[Recipe], data: Samples, n: int, dtype: torch.dtype) -> float:
    """How far members and their logs are from their runs alone after n steps."""
    group = fused.Members(recipes, [new(recipe, data, dtype) for recipe in recipes])
    logs = list(itertools.islice(fused.steps(group, data), n))
    worst = 0.0
    for m, recipe in enumerate(recipes):
        lone = new(recipe, data, dtype)
        seen = list(itertools.islice(steps(lone, recipe, data), n))
        pairs = [({k: v[m] for k, v in a.items()}, b) for a, b in zip(logs, seen, strict=True)]
        worst = max(
            [
                worst,
                apart(tensors(lone), tensors(group.write(m)), noise(lone)),
                *(apart(b, a) for a, b in pairs),
            ]
        )
        assert group.write(m).step == lone.step == n
        rates = [s.opt_g.param_groups[0]["lr"] for s in (lone, group.write(m))]
        assert rates[0] == rates[1]
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_their_runs_alone(kind: str, doubles: None) -> None:
    recipe = PLAIN.replace(steps=8, **KINDS[kind])
    data = DATASETS[recipe.data.dataset].load(Path())
    assert distance(members(recipe), data, 8, torch.float64) < 1e-8


@pytest.mark.parametrize("kind", CONV)
def test_members_with_convolutions(kind: str, doubles: None) -> None:
    recipe = PLAIN.replace(**DCGAN | CONV[kind])
    assert distance(members(recipe), DIGITS, 3, torch.float64) < 1e-8


def images(recipe: Recipe) -> Samples:
    """Noise of the shape of a recipe's samples."""
    rng = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (300, *shape_of(recipe)), dtype=torch.uint8, generator=rng)
    return Samples(values, torch.zeros(300, dtype=torch.int64))


def small(recipe: Recipe) -> Recipe:
    """The same recipe with narrow networks and small batches."""
    depth = {net: len(getattr(recipe, net).widths) for net in ("generator", "discriminator")}
    width = 16 if recipe.network.model == "mlp" else 4
    widths = {f"{net[0]}_widths": (width,) * depth[net] for net in depth}
    return recipe.replace(**widths, batch=6, steps=6)


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_as_members(name: str, doubles: None) -> None:
    recipe = small(RECIPES[name].recipe)
    # biases before batch norm have gradients of rounding alone, seen at 7e-7 in sagan-cifar10
    most = 1e-6 if name == "sagan-cifar10" else 1e-8
    assert distance(members(recipe), images(recipe), 6, torch.float64) < most


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_whole_named_recipes_as_members(name: str, doubles: None) -> None:
    recipe = RECIPES[name].recipe.replace(steps=20)
    assert distance(members(recipe), images(recipe), 20, torch.float64) < 1e-8


def both(recipe: Recipe, n: int, device: str = "cpu", tensors_as_rates: bool = False) -> None:
    """Check that n eager and n captured steps of members agree to the bit."""
    recipes = members(recipe)
    data = DATASETS[recipe.data.dataset].load(Path())
    found = []
    for run in (fused.eager_steps, fused.captured_steps):
        masks = HashedMasks([r.training.seed for r in recipes], torch.device(device))
        states = [State.new(r, data.shape, device) for r in recipes]
        group = fused.Members(recipes, states, masks)
        for optimizer in (group.state.opt_g, group.state.opt_d) if tensors_as_rates else ():
            for part in optimizer.param_groups:
                part["lr"] = torch.tensor(part["lr"])
        with numerics(torch.device(device)):
            taken = itertools.islice(run(group, data), n)
            logs = [{k: v.tolist() for k, v in each.items()} for each in taken]
        assert group.state.step == n
        found.append((logs, [tensors(group.write(m)) for m in range(len(recipes))]))
    (logs, ours), (others, theirs) = found
    assert logs == others
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", KINDS)
def test_captured_members_are_eager_members(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "AHEAD", 3)
    both(PLAIN.replace(**{"steps": 8} | KINDS[kind]), 8)


@pytest.mark.parametrize("kind", ["dcgan, dropout", "sagan"])
def test_captured_members_with_convolutions(kind: str) -> None:
    both(PLAIN.replace(**DCGAN | CONV[kind]), 3)


def test_captured_members_with_data_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "_fits", lambda data, device: False)
    monkeypatch.setattr(ring, "BYTES", 5 * 3 * 8 * 28 * 28)
    both(PLAIN.replace(steps=7, d_steps=2), 7)


def test_captured_members_read_their_rates_from_the_ring() -> None:
    both(PLAIN.replace(steps=8, schedule="linear"), 8, tensors_as_rates=True)


def test_captured_members_latch_each_their_first_step() -> None:
    recipes = members(PLAIN.replace(steps=8))
    states = [State.new(recipe, DIGITS.shape) for recipe in recipes]
    for state in states:
        state.nonfinite = torch.full((4,), -1.0, dtype=torch.float64)
    group = fused.Members(recipes, states)
    for _ in fused.captured_steps(group, DIGITS):
        bad = {3: 1, 5: 2}.get(group.state.step)
        for weight in group.state.discriminator.parameters() if bad else ():
            weight.data[bad] = math.nan
    latched = [group.write(m).nonfinite for m in range(3)]
    assert [float(found[0]) for found in latched if found is not None] == [-1, 4, 6]


def test_members_that_cannot_be_captured_are_trained_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: captured.Captured, *_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(captured.Captured, "_program", refuse)
    with pytest.warns(UserWarning, match="cannot be captured.*stream is capturing"):
        both(PLAIN.replace(steps=3), 3)


def test_hashed_masks_look_random_and_depend_on_seed_step_and_pass() -> None:
    layer = Dropped(0.3, torch.zeros(40, 5, 10, 10))
    masks = HashedMasks([0, 1, 2**63 - 1], torch.device("cpu"))
    drawn = []
    for step in range(3):
        masks.begin(torch.tensor([step]))
        drawn += [masks(layer), masks(layer)]
    again = HashedMasks([1], torch.device("cpu"))  # alone, or with others
    again.begin(torch.tensor([2]))
    again(layer)
    assert torch.equal(again(layer)[0], drawn[-1][1])
    kept = torch.stack(drawn).ne(0).double().flatten(2).flatten(0, 1)  # (18, 20,000)
    assert kept.mean(1).sub(0.7).abs().max() < 0.02
    assert kept.corrcoef().fill_diagonal_(0).abs().max() < 0.04
    for lag in (1, 10, 100, 500):  # neighbors, rows, channels, samples
        pairs = torch.stack([kept[:, lag:].flatten(), kept[:, :-lag].flatten()])
        assert pairs.corrcoef()[0, 1].abs() < 0.01
    assert drawn[0].max() == pytest.approx(1 / 0.7)
    assert HashedMasks([0], torch.device("cpu"))(Dropped(1.0, torch.zeros(9))).sum() == 0


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_named_recipes_as_members(name: str) -> None:
    recipe = RECIPES[name].recipe.replace(steps=200, dataset="mnist10k")
    sides = (14,) * len(recipe.network.attention)
    both(recipe.replace(steps=200, attention=sides), 200, "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_of_all_kinds_as_members(kind: str) -> None:
    both(PLAIN.replace(**{"steps": 200} | KINDS[kind]), 200, "cuda")


@pytest.mark.gpu
def test_members_on_cuda_follow_the_cpu(tmp_path: Path, board: None) -> None:
    recipes = members(PLAIN.replace(steps=8, r1=1.0, ema=0.9))
    runs = {
        device: gan.train_many(recipes, tmp_path / device, **FAST | {"device": device})
        for device in ("cpu", "cuda")
    }
    for a, b in zip(runs["cpu"], runs["cuda"], strict=True):
        assert b.sessions[0]["fused"] == 3
        for one, other in zip(rows(a), rows(b), strict=True):
            assert one == pytest.approx(other, rel=1e-3)


def test_groups_agree_in_their_structure() -> None:
    seeds = [PLAIN.replace(steps=8, seed=seed) for seed in range(3)]
    others = [
        PLAIN.replace(steps=8, lr_g=1e-3),
        PLAIN.replace(steps=9),
        PLAIN.replace(steps=8, r1=1.0),
        PLAIN.replace(steps=8, r1=2.0),
        PLAIN.replace(steps=8, ema=0.9),
    ]
    assert fused.groups([*seeds, *others, seeds[1]]) == [[0, 1, 2, 8, 3], [4], [5, 6], [7]]
    assert fused.groups([]) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("g_widths", (32,), "must agree in g_widths, got .16, 16. and .32,.; train them apart"),
        ("batch", 9, "must agree in batch, got 8 and 9"),
        ("loss", "hinge", "must agree in loss, got non_saturating and hinge"),
        ("clip", 0.1, "must agree in clip, got 0.0 and 0.1"),
        ("r1", 0.5, "must agree in whether r1 is 0, got 0.0 and 0.5"),
        ("ema", 0.5, "must agree in whether ema is 0, got 0.0 and 0.5"),
        ("steps", 9, "must agree in steps, got 8 and 9"),
    ],
)
def test_structures_that_differ_are_refused(field: str, value: Any, message: str) -> None:
    plain = PLAIN.replace(**HARD, steps=8)
    recipes = [plain, plain.replace(**{"steps": 8, field: value})]
    with pytest.raises(fused.FusionError, match=message):
        fused.Members(recipes, [State.new(recipe, DIGITS.shape) for recipe in recipes])


def test_states_at_different_steps_are_refused() -> None:
    states = [State.new(PLAIN, DIGITS.shape) for _ in range(2)]
    states[1].step = 3
    with pytest.raises(fused.FusionError, match=r"at one step, got \[0, 3\]; train them apart"):
        fused.Members([PLAIN, PLAIN.replace(steps=8, seed=1)], states)


class Asks(nn.Module):
    """A discriminator that reads a value back."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.inner, self.drop = kind, nn.Linear(784, 1), nn.Dropout(0.5)
        self.other = nn.Dropout1d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.kind == "value" and x.mean() > 5:
            return self.inner(x + 1)
        if self.kind == "own dropout":
            x = self.other(x[:, None])[:, 0]
        if self.kind == "dropout twice":
            x = self.drop(self.drop(x))
        return self.inner(x)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("value", "data-dependent"),
        ("own dropout", "random operation"),
        ("dropout twice", "drop is used twice in a pass"),
    ],
)
def test_networks_that_vmap_cannot_run_are_refused(kind: str, reason: str) -> None:
    states = [State.new(PLAIN, DIGITS.shape) for _ in range(2)]
    for state in states:
        state.discriminator = Asks(kind)
    with pytest.raises(fused.FusionError, match=rf"^model mlp cannot be fused .*{reason}.*apart$"):
        fused.Members([PLAIN, PLAIN.replace(steps=8, seed=1)], states)


def test_losses_that_vmap_cannot_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = LOSSES["non_saturating"]

    def asks(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        return good.d(real, fake, labels) if real.mean() > 5 else good.d(fake, real, labels)

    monkeypatch.setitem(LOSSES, "non_saturating", dataclasses.replace(good, d=asks))
    recipes = [PLAIN, PLAIN.replace(steps=8, seed=1)]
    with pytest.raises(fused.FusionError, match=r"^loss non_saturating cannot be fused"):
        fused.Members(recipes, [State.new(recipe, DIGITS.shape) for recipe in recipes])


def test_making_members_changes_nothing() -> None:
    recipe = PLAIN.replace(steps=8, spectral="both", d_norm="batch")
    states = [State.new(recipe.replace(steps=8, seed=seed), DIGITS.shape) for seed in range(2)]
    before = [tensors(state) for state in states]
    torch.manual_seed(3)
    group = fused.Members([recipe, recipe.replace(steps=8, seed=1)], states)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))
    for m in range(2):
        now = tensors(group.write(m))
        assert all(torch.equal(now[k], before[m][k]) for k in now)


def test_a_member_that_is_not_finite_does_not_touch_the_others() -> None:
    recipes = [
        PLAIN.replace(steps=8, seed=seed, d_norm="batch", ema=0.9, clip=0.1) for seed in range(3)
    ]
    found = []
    for poison in (False, True):
        group = fused.Members(recipes, [State.new(recipe, DIGITS.shape) for recipe in recipes])
        running = fused.steps(group, DIGITS)
        for _ in itertools.islice(running, 3):
            pass
        for weight in group.state.generator.parameters() if poison else ():
            weight.data[1] = math.nan
        *_, last = running
        assert last["g_loss"].isfinite().tolist() == [True, not poison, True]
        found.append([tensors(group.write(m)) for m in (0, 2)])
    for clean, other in zip(*found, strict=True):
        assert all(torch.equal(clean[k], other[k]) for k in clean)


@pytest.mark.parametrize("kind", [{}, DCGAN | {"g_widths": (4,), "d_widths": (4,)}])
def test_runs_are_fused_then_alone_then_fused(kind: dict[str, Any], doubles: None) -> None:
    recipe = PLAIN.replace(**kind | {"steps": 6, "d_dropout": 0.3, "ema": 0.9, "d_norm": "batch"})
    recipes = members(recipe)
    lone, states = ([new(r, DIGITS, torch.float64) for r in recipes] for _ in range(2))
    for state, one in zip(lone, recipes, strict=True):
        collections.deque(steps(state, one, DIGITS), maxlen=0)
    group = fused.Members(recipes, states)
    collections.deque(itertools.islice(fused.steps(group, DIGITS), 2), maxlen=0)
    for m, one in enumerate(recipes):  # through a checkpoint
        saved = copy.deepcopy(group.write(m).state_dict())
        states[m] = new(one, DIGITS, torch.float64)
        states[m].load_state_dict(saved)
        collections.deque(itertools.islice(steps(states[m], one, DIGITS), 1), maxlen=0)
        # and without one
        collections.deque(itertools.islice(steps(group.states[m], one, DIGITS), 1), maxlen=0)
        assert apart(tensors(states[m]), tensors(group.states[m])) == 0
    again = fused.Members(recipes, states)
    collections.deque(fused.steps(again, DIGITS), maxlen=0)
    for m, state in enumerate(lone):
        assert apart(tensors(state), tensors(again.write(m)), noise(state)) < 1e-8


def test_moments_of_any_memory_format_are_read_as_those_of_the_weights() -> None:
    recipe = PLAIN.replace(**DCGAN | {"steps": 6})
    found = []
    for scatter in (False, True):
        recipes = members(recipe)
        states = [State.new(one, DIGITS.shape) for one in recipes]
        for state, one in zip(states, recipes, strict=True):
            collections.deque(itertools.islice(steps(state, one, DIGITS), 2), maxlen=0)
            for kept in state.opt_d.state.values() if scatter else ():
                kept |= {name: value.contiguous() for name, value in kept.items()}
        group = fused.Members(recipes, states)
        collections.deque(itertools.islice(fused.steps(group, DIGITS), 2), maxlen=0)
        found.append([tensors(group.write(m)) for m in range(3)])
    for a, b in zip(*found, strict=True):
        assert apart(a, b) == 0


@pytest.mark.parametrize("kind", ["mlp", "spectral norm, dropout"])
def test_members_in_bf16_follow_their_runs(kind: str) -> None:
    recipes = members(PLAIN.replace(**{"steps": 4} | KINDS[kind]))
    group = fused.Members(recipes, [State.new(recipe, DIGITS.shape) for recipe in recipes])
    logs = list(fused.steps(group, DIGITS, "bf16"))
    for m, recipe in enumerate(recipes):
        seen = list(steps(State.new(recipe, DIGITS.shape), recipe, DIGITS, "bf16"))
        for a, b in zip(logs, seen, strict=True):
            assert {k: float(v[m]) for k, v in a.items()} == pytest.approx(
                {k: float(v) for k, v in b.items()}, rel=2e-2
            )
    full = list(
        fused.steps(fused.Members(recipes, [State.new(r, DIGITS.shape) for r in recipes]), DIGITS)
    )
    assert not torch.equal(full[0]["d_loss"], logs[0]["d_loss"])  # they are other roundings


FAST: dict[str, Any] = {
    "log_every": 2, "save_every": 4, "sample_every": 4, "threads": 1, "device": "cpu",
    "progress": False,
}  # fmt: skip


def rows(run: gan.Run) -> list[dict[str, float]]:
    return [dict(row) for row in run.rows("log")]


def test_fused_runs_have_folders_of_their_own(tmp_path: Path, board: None) -> None:
    recipes = [PLAIN.replace(steps=8, seed=s, lr_g=1e-3 * (s + 1), r1=1.0) for s in range(3)]
    recipes.insert(1, PLAIN.replace(steps=6))
    together = gan.train_many(recipes, tmp_path / "fused", fused=True, **FAST)
    alone = gan.train_many(recipes, tmp_path / "alone", **FAST)
    for recipe, a, b in zip(recipes, together, alone, strict=True):
        assert a.recipe == b.recipe == recipe and a.path.name == b.path.name
        names = [sorted(f.name for f in run.path.rglob("*") if f.is_file()) for run in (a, b)]
        assert names[0] == names[1] and f"step-{recipe.training.steps:08d}.pt" in names[0]
        for one, other in zip(rows(a), rows(b), strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
    assert [run.sessions[0]["fused"] for run in together] == [3, 1, 3, 3]
    assert [run.sessions[0]["fused"] for run in alone] == [1] * 4
    with pytest.warns(UserWarning, match="fused changed since this run was last trained"):
        longer = gan.resume(together[0], steps=10, **FAST | {"log_every": 1})
    assert [row["step"] for row in rows(longer)][-2:] == [9, 10]


def test_fused_runs_go_on_where_they_were(tmp_path: Path, board: None) -> None:
    recipes = [PLAIN.replace(steps=8, seed=seed) for seed in range(4)]
    whole = gan.train_many(recipes, tmp_path / "whole", fused=True, **FAST)
    folders = [tmp_path / "cut" / run.path.name for run in whole]
    options = RunOptions(**{k: v for k, v in FAST.items() if k != "progress"})
    with contextlib.closing(run_members(recipes, folders, options)) as running:
        for info in running:
            if info.step == 5:
                break
    shutil.rmtree(folders[3])  # a run of the group begins again, so that three go on together
    with pytest.warns(UserWarning, match="fused changed since this run was last trained"):
        cut = gan.train_many(recipes, tmp_path / "cut", fused=True, **FAST)
    for a, b in zip(whole, cut, strict=True):
        for one, other in zip(rows(a), rows(b), strict=True):
            assert one == pytest.approx(other, rel=1e-3)


def test_a_run_that_fails_ends_alone(tmp_path: Path, board: None) -> None:
    recipes = [
        PLAIN.replace(steps=8, seed=s, opt_g="sgd", opt_d="sgd", lr_g=1e-3) for s in range(3)
    ]
    recipes[1] = recipes[1].replace(steps=8, lr_d=10.0, real_label=(0, 0), gp=1e6)
    recipes = [r.replace(steps=8, gp=r.objective.gp or 1.0) for r in recipes]
    with pytest.warns(UserWarning, match="has ended: .* is not finite at step"):
        alone = gan.train_many(recipes, tmp_path / "alone", **FAST)
    with pytest.warns(UserWarning, match="has ended: .* is not finite at step"):
        together = gan.train_many(recipes, tmp_path / "fused", fused=True, **FAST)
    for runs in (alone, together):
        failures = [run.sessions[-1].get("failure") for run in runs]
        assert failures[0] is failures[2] is None and "is not finite" in str(failures[1])
        assert [run.checkpoints()[-1].name for run in runs[::2]] == ["step-00000008.pt"] * 2
    assert len(rows(alone[1])) == len(rows(together[1]))


def test_a_stop_saves_every_run(tmp_path: Path, board: None) -> None:
    recipes = [PLAIN.replace(steps=8, seed=seed) for seed in range(3)]
    folders = [tmp_path / str(seed) for seed in range(3)]
    options = RunOptions(**{k: v for k, v in FAST.items() if k != "progress"})
    with pytest.raises(KeyboardInterrupt):
        for info in run_members(recipes, folders, options):
            if info.step == 2:
                os.kill(os.getpid(), signal.SIGINT)
    assert [Run(folder).checkpoints()[-1].name for folder in folders] == ["step-00000003.pt"] * 3


UNEQUAL = [
    PLAIN.replace(steps=4),
    PLAIN.replace(steps=7, d_widths=(8,), schedule="linear"),
    PLAIN.replace(**DCGAN | {"steps": 5, "seed": 2, "g_dropout": 0.2}),
]


def side_by_side(
    recipes: list[Recipe], folder: Path, device: str = "cpu", at_once: int = 2, **options: Any
) -> Iterator[int]:
    """Train runs side by side, some at a time, yielding steps of the first that goes on."""
    folders = [folder / str(i) for i in range(len(recipes))]
    how = RunOptions(**{k: v for k, v in FAST.items() if k != "progress"} | {"device": device})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "stacks", lambda *_: False)
        patch.setattr(loop, "AT_ONCE", at_once)
        for info in run_members(recipes, folders, dataclasses.replace(how, **options)):
            yield info.step


def same_as_alone(recipes: list[Recipe], folder: Path, device: str = "cpu") -> None:
    """Check that runs side by side equal runs alone to the bit."""
    for i, recipe in enumerate(recipes):
        alone = gan.train(recipe, folder / f"{i} alone", **FAST | {"device": device})
        beside = Run(folder / str(i))
        assert (beside.path / "log.jsonl").read_bytes() == (alone.path / "log.jsonl").read_bytes()
        ours, theirs = (run.load(run.checkpoint()) for run in (beside, alone))
        for name in ("generator", "discriminator"):
            assert all(torch.equal(ours[name][k], theirs[name][k]) for k in theirs[name])
        assert beside.sessions[0]["fused"] == 1


def test_runs_side_by_side_are_those_alone(tmp_path: Path, board: None) -> None:
    assert max(side_by_side(UNEQUAL, tmp_path)) == 7
    same_as_alone(UNEQUAL, tmp_path)


def test_a_stop_saves_runs_side_by_side(tmp_path: Path, board: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        for step in side_by_side(UNEQUAL, tmp_path):
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)
    assert sorted(f.parent.name for f in tmp_path.glob("*/step-*.pt")) == ["0", "1"]
    list(side_by_side(UNEQUAL, tmp_path))
    same_as_alone(UNEQUAL, tmp_path)


def test_a_stop_as_runs_end_does_not_pass_for_the_end_of_those_that_wait(
    tmp_path: Path, board: None
) -> None:
    recipes = [PLAIN.replace(steps=4, seed=seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        for step in side_by_side(recipes, tmp_path):
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)
    assert [Run(tmp_path / f"{i}").checkpoints() != [] for i in range(3)] == [True, True, False]


def test_a_run_that_fails_ends_alone_beside_others(tmp_path: Path, board: None) -> None:
    bad = PLAIN.replace(
        steps=8, opt_g="sgd", opt_d="sgd", lr_g=1e-3, lr_d=10.0, real_label=(0, 0), gp=1e6
    )
    with pytest.warns(UserWarning, match=r"0 has ended: .* is not finite at step"):
        list(side_by_side([bad, *UNEQUAL], tmp_path))
    assert "is not finite" in Run(tmp_path / "0").sessions[-1]["failure"]
    assert [Run(tmp_path / f"{i}").checkpoint().name for i in (1, 2, 3)] == [
        f"step-0000000{n}.pt" for n in (4, 7, 5)
    ]


@pytest.mark.gpu
def test_runs_side_by_side_on_cuda_are_those_alone(tmp_path: Path, board: None) -> None:
    longer = [recipe.replace(steps=n) for recipe, n in zip(UNEQUAL, (150, 200, 90), strict=True)]
    longer.append(longer[2].replace(steps=90, seed=5))  # both drop out
    list(side_by_side(longer, tmp_path, "cuda", 4, save_every=50))
    same_as_alone(longer, tmp_path, "cuda")


def test_equal_recipes_and_what_cannot_be_fused(tmp_path: Path, board: None) -> None:
    with pytest.raises(ValueError, match=r"two recipes have the run folder .*; leave one"):
        gan.train_many([PLAIN, PLAIN], tmp_path, **FAST)
    own: dict[str, Any] = {"networks": asking, "batch": 8, "steps": 2}
    recipes = [PLAIN.replace(steps=2, seed=seed) for seed in range(2)]
    with pytest.raises(ValueError, match=r"cannot be fused .*; train its members apart"):
        gan.train_many(recipes, tmp_path / "a", fused=True, **own, **FAST)
    with pytest.MonkeyPatch.context() as patch:  # as on a GPU, where fusing is not asked for
        patch.setattr("ganatomy.api.train.pick_device", lambda name: torch.device("cuda"))
        with pytest.warns(UserWarning, match="train its members apart, which is done now"):
            runs = gan.train_many(recipes, tmp_path / "b", **own, **FAST)
    assert [run.checkpoints()[-1].name for run in runs] == ["step-00000002.pt"] * 2


def asking(shape: tuple[int, ...], z_dim: int) -> tuple[nn.Module, nn.Module]:
    """Networks that cannot be fused."""
    generator = nn.Sequential(nn.Linear(z_dim, math.prod(shape)), nn.Unflatten(1, shape))
    return generator, Asks("value")


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave TensorBoard out, which is slow."""
    monkeypatch.setattr(
        "ganatomy.training.session._board", lambda *_: contextlib.nullcontext(_Board())
    )


class _Board:
    def add_scalar(self, *_: Any) -> None: ...
