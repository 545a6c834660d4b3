"""Layers and counts are those of the reports' tables; costs are those of closed forms."""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MLP
from PIL import Image
from torch import nn

from ganatomy.cli.summary import Summary, duration, quantity
from ganatomy.data import DATASETS, Size, toy
from ganatomy.data.mnist import MNIST
from ganatomy.data.published import CIFAR10, FASHION_MNIST
from ganatomy.gan import cost as cost_module
from ganatomy.gan.cost import Allocations, dataset_size, known_size, predict_cost
from ganatomy.gan.losses import LOSSES
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.gan.summary import Layer, layers, summarize
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run

Line = tuple[str, tuple[int, ...], int]

SIZES = {name: dataset.size for name, dataset in DATASETS.items() if dataset.size}

TABLE_I: list[Line] = [
    ("Linear", (1, 256), 25_856),
    ("LeakyReLU", (1, 256), 0),
    ("Linear", (1, 512), 131_584),
    ("LeakyReLU", (1, 512), 0),
    ("Linear", (1, 1024), 525_312),
    ("LeakyReLU", (1, 1024), 0),
    ("Linear", (1, 784), 803_600),
    ("Tanh", (1, 784), 0),
    ("Unflatten", (1, 1, 28, 28), 0),
]
"""Of report R1, generator; its last line shapes the image, there in the table's head."""

TABLE_II: list[Line] = [
    ("Flatten", (1, 784), 0),
    ("Linear", (1, 1024), 803_840),
    ("LeakyReLU", (1, 1024), 0),
    ("Dropout", (1, 1024), 0),
    ("Linear", (1, 512), 524_800),
    ("LeakyReLU", (1, 512), 0),
    ("Dropout", (1, 512), 0),
    ("Linear", (1, 256), 131_328),
    ("LeakyReLU", (1, 256), 0),
    ("Dropout", (1, 256), 0),
    ("Linear", (1, 1), 257),
    ("Flatten", (1,), 0),
]
"""Discriminator; the table's Sigmoid is in the loss here."""

SMALL = Recipe.of(
    dataset="ring8", z_dim=7, g_widths=(11, 5), d_widths=(13, 3), batch=6, steps=3, seed=4
)
G_WEIGHTS, D_WEIGHTS = (7 * 11, 11 * 5, 5 * 2), (2 * 13, 13 * 3, 3)


Layers = tuple[Layer, ...]


def nets(recipe: Recipe, shape: tuple[int, ...]) -> tuple[Layers, Layers, State]:
    state = State.new(recipe, shape)
    z, x = torch.zeros(1, recipe.network.z_dim), torch.zeros(1, *shape)
    return layers(state.generator, z), layers(state.discriminator, x), state


def named(name: str, **changes: Any) -> tuple[Layers, Layers, State]:
    recipe = RECIPES[name].recipe.replace(**changes)
    size = known_size(recipe)
    assert size is not None
    return nets(recipe, size.shape)


def plain(found: Layers) -> list[Line]:
    return [(layer.kind, layer.output, layer.parameters) for layer in found]


def run(capsys: pytest.CaptureFixture[str], recipe: Recipe, **fields: Any) -> str:
    command = Summary(name="it", recipe=recipe, device="cpu", **fields)
    assert command() == 0
    return capsys.readouterr().out


def test_tables_of_the_report() -> None:
    g, d, _ = named("original-gan")
    assert plain(g) == TABLE_I and plain(d) == TABLE_II
    assert sum(layer.parameters for layer in g) == 1_486_352
    assert g[0].settings == "100→256" and d[2].settings == "0.2" and d[3].settings == "0.3"
    assert {layer.depth for layer in g + d} == {0}


@pytest.mark.parametrize("spectral", ["none", "both"])
@pytest.mark.parametrize("name", ["conv-gan", "enhanced-gan", "sagan-cifar10", "basic-gan"])
def test_lines_add_up(name: str, spectral: str) -> None:
    g, d, state = named(name, spectral=spectral)
    for lines, net in ((g, state.generator), (d, state.discriminator)):
        assert sum(layer.parameters for layer in lines) == sum(p.numel() for p in net.parameters())
        marked = {layer.kind for layer in lines if "spectral" in layer.settings}
        wanted = {"Linear", "Conv2d", "ConvTranspose2d"} & {layer.kind for layer in lines}
        assert marked == (wanted if spectral == "both" else set())
        assert not any("arametriz" in layer.kind + layer.path for layer in lines)
        assert not any("Spectral" in layer.kind for layer in lines)


def test_dcgan_doubles_from_4_to_64() -> None:
    g, d, _ = named("dcgan64")
    up = [layer for layer in g if layer.kind == "ConvTranspose2d"]
    assert [layer.output for layer in up] == [
        (1, 512, 4, 4),
        (1, 256, 8, 8),
        (1, 128, 16, 16),
        (1, 64, 32, 32),
        (1, 1, 64, 64),
    ]
    assert [layer.settings for layer in up] == [
        "4x4, no bias",
        *["4x4 s2 p1, no bias"] * 3,
        "4x4 s2 p1",
    ]
    down = [layer.output[1:] for layer in d if layer.kind == "Conv2d"]
    assert down == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (1, 1, 1)]


def test_blocks_hold_their_layers() -> None:
    g, d, state = named("sagan-cifar10")
    for lines, net in ((g, state.generator), (d, state.discriminator)):
        at = next(i for i, layer in enumerate(lines) if layer.kind == "SelfAttention")
        attention, inner, after = lines[at], lines[at + 1 : at + 5], lines[at + 5]
        assert attention.parameters == 1 and attention.output[2:] == (16, 16)  # the gate
        assert [layer.path.split(".")[-1] for layer in inner] == ["query", "key", "value", "out"]
        assert attention.depth == 0 and {layer.depth for layer in inner} == {1}
        assert after.depth == 0
        blocks = Counter(type(module).__name__ for module in net.modules())
        shown = Counter(layer.kind for layer in lines)
        for kind in ("UpBlock", "DownBlock", "SelfAttention", "BatchNorm2d", "ReLU"):
            assert shown[kind] == blocks[kind]
    first = next(i for i, layer in enumerate(g) if layer.kind == "UpBlock")
    assert [layer.kind for layer in g[first : first + 4]] == [
        "UpBlock",
        "BatchNorm2d",
        "ReLU",
        "Conv2d",
    ]
    assert g[first].output[2:] == (8, 8) and g[first + 1].output[2:] == (4, 4)


class Twice(nn.Module):
    """Uses a layer twice, with two shapes, and has a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.shared = nn.Linear(4, 2), nn.ReLU()
        self.shift = nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.shared(self.last(self.shared(x + self.shift))))


def test_walk_leaves_the_network_as_it_is() -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), Twice())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = layers(net, torch.ones(1, 4))
    assert [(layer.path, layer.kind, layer.depth) for layer in found] == [
        ("0", "BatchNorm1d", 0),
        ("1", "Twice", 0),
        ("1.last", "Linear", 1),
        ("1.shared", "ReLU", 1),  # once, with the shape of its first use
    ]
    assert [(layer.output, layer.parameters) for layer in found] == [
        ((1, 4), 8),
        ((1, 2), 4),
        ((1, 2), 10),
        ((1, 4), 0),
    ]
    assert all(module.training for module in net.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    with pytest.raises(RuntimeError):
        layers(net, torch.ones(1, 5))
    assert net.training and not any(m._forward_pre_hooks for m in net.modules())


def flops(recipe: Recipe) -> tuple[int, int]:
    counted = predict_cost(recipe, Size(100, (2,)), measure=False)
    assert counted.growth is counted.step_seconds is counted.run_seconds is None
    assert counted.timed == 0
    return counted.d_flops, counted.g_flops


def closed_form(d_steps: int, g_steps: int, same_fakes: bool) -> tuple[int, int]:
    """Multiplications of an update times 2: forward passes, gradients of weights and of inputs."""
    g, d, n = sum(G_WEIGHTS), sum(D_WEIGHTS), 2 * 6
    # D sees two batches; its first layer needs no gradient of its input
    d_update = g + 2 * (d + d + (d - D_WEIGHTS[0]))
    # D passes gradients on to G, and G's first layer has none to pass on
    g_update = d + d + g + (g - G_WEIGHTS[0])
    return n * d_steps * d_update, n * (g_steps * (g_update + g) - g * same_fakes)


@pytest.mark.parametrize("steps", [(1, 1), (3, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("same_fakes", [False, True])
def test_flops_of_linear_networks(steps: tuple[int, int], same_fakes: bool) -> None:
    recipe = SMALL.replace(d_steps=steps[0], g_steps=steps[1], same_fakes=same_fakes)
    assert flops(recipe) == closed_form(*steps, same_fakes)


def test_flops_of_a_second_derivative() -> None:
    """R1's gradient is a pass back to the input; its own, one back through that pass."""
    d_flops, g_flops = flops(SMALL)
    with_r1, same = flops(SMALL.replace(r1=1.0))
    d, first, last = sum(D_WEIGHTS), D_WEIGHTS[0], D_WEIGHTS[-1]
    least = d + d + (d - last)
    # PyTorch may also give the batch itself a gradient, which nothing uses
    assert same == g_flops and with_r1 - d_flops in (12 * least, 12 * (least + first))


@pytest.mark.parametrize(
    "changes", [{}, {"gp": 10.0, "d_norm": "none"}, {"spectral": "both", "d_norm": "none"}]
)
def test_flops_grow_with_the_batch(changes: dict[str, Any]) -> None:
    recipe = RECIPES["conv-gan"].recipe.replace(g_widths=(4,), d_widths=(4,), **changes)
    one, two = (
        predict_cost(r, Size(100, (1, 28, 28)), measure=False)
        for r in (recipe.replace(batch=3), recipe.replace(batch=6))
    )
    assert (two.d_flops, two.g_flops) == (2 * one.d_flops, 2 * one.g_flops)
    assert one.d_flops > one.g_flops > 0


@pytest.mark.parametrize("name", ["mnist10k", "ring8", "grid25", "moons"])
def test_sizes_are_those_of_the_data(name: str) -> None:
    samples = DATASETS[name].load(Path())
    assert SIZES[name] == Size(len(samples), samples.shape)
    cost = predict_cost(SMALL, SIZES[name], measure=False)
    assert cost.data == samples.values.nbytes


def test_sizes_are_those_published() -> None:
    for name, known in (("mnist", MNIST), ("fashion-mnist", FASHION_MNIST), ("cifar10", CIFAR10)):
        assert SIZES[name].n == known.counts["train"]
        assert math.prod(SIZES[name].shape) == math.prod(known.layout)
    assert {SIZES[name].n for name in ("ring8", "grid25", "moons")} == {toy.POINTS}


def test_shape_of_the_recipe_comes_first() -> None:
    recipe = RECIPES["enhanced-gan-celeba"].recipe
    assert known_size(recipe.replace(shape=None)) == Size(162_770, (3, 64, 64), mapped=True)
    assert known_size(recipe.replace(shape=(1, 32, 32))) == Size(162_770, (1, 32, 32), mapped=True)
    assert known_size(recipe.replace(dataset="my-images")) is None
    with pytest.raises(ValueError, match="shape"):
        dataset_size(SMALL.replace(shape=(1, 8, 8)), RunOptions())


@pytest.mark.parametrize(("ema", "kind", "slots"), [(0.0, "adam", 2), (0.9, "rmsprop", 1)])
def test_memory(tmp_path: Path, ema: float, kind: Any, slots: int) -> None:
    recipe = MLP.replace(ema=ema, opt_g=kind, opt_d=kind, g_widths=(300,), d_widths=(200,))
    used = predict_cost(recipe, Size(60_000, (1, 28, 28)), measure=False)
    state = State.new(recipe, (1, 28, 28))
    next(steps(state, recipe, DATASETS["mnist10k"].load(Path())))
    nets = (state.generator, state.discriminator)
    count = sum(p.numel() for net in nets for p in net.parameters())
    tensors = sum(len(list(net.parameters())) for net in nets)
    held = [net.state_dict() for net in (*nets, *([state.ema] if ema else []))]
    assert used.g_parameters + used.d_parameters == count
    assert used.gradients == 4 * count
    assert used.optimizers == 4 * slots * count + 4 * tensors  # a step counter for each
    assert used.weights == sum(t.nbytes for weights in held for t in weights.values())
    assert used.data == 60_000 * 784
    written = Run.create(tmp_path / "run", recipe)
    written.save(state.state_dict(), keep=1)
    on_disk = written.checkpoints()[0].stat().st_size
    assert used.weights + used.optimizers == pytest.approx(on_disk, rel=0.02)


GROWTH = """
import torch
from test_cost import SMALL, SIZES, predict_cost
torch.ones(40_000_000)  # an earlier peak
cost = predict_cost(SMALL.replace(g_widths=(2000, 2000)), SIZES["ring8"])
print(cost.growth, cost.gradients + cost.optimizers)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_measures_memory() -> None:
    paths = [str(Path(__file__).parent), *sys.path]  # a new process: this one reuses freed memory
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    large = torch.ones(300_000_000)  # of the parent, which is not the child's
    told = subprocess.run(
        [sys.executable, "-c", GROWTH], env=here, capture_output=True, text=True, check=True
    )
    del large
    growth, needed = map(int, told.stdout.split())
    assert growth > 0.8 * needed


def test_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_module, "LEAST_SECONDS", 0.0)
    recipe, size = SMALL.replace(g_widths=(2000, 2000)), SIZES["ring8"]
    cost = predict_cost(recipe, size)
    assert cost.timed == 3 and cost.step_seconds is not None and cost.step_seconds > 0
    assert cost.run_seconds == 3 * cost.step_seconds
    monkeypatch.setattr(cost_module, "MOST_SECONDS", 1e-9)
    assert predict_cost(recipe, size).timed == 1
    monkeypatch.setattr(cost_module, "MOST_SECONDS", 20.0)
    monkeypatch.setattr(cost_module, "LEAST_SECONDS", 0.3)
    cost = predict_cost(SMALL, size)
    assert cost.step_seconds is not None and cost.timed * cost.step_seconds >= 0.1


def test_counts_the_memory_of_a_step() -> None:
    older = torch.ones(1000)
    with Allocations() as allocated:
        a = older + 1
        b = a.view(10, 100) * 2
        del a
        c = b.add_(1).t()
        d = torch.empty(500)
        del older, b, c, d
        torch.empty(1500)
    assert allocated.most == 2 * 4000 and allocated.now == 0
    size = SIZES["ring8"]
    small, large = (predict_cost(SMALL.replace(batch=n), size, measure=False) for n in (100, 200))
    assert small.gradients < small.working < large.working < 2 * small.working + 100
    assert small.member == small.weights + small.optimizers + small.working
    lazy = SMALL.replace(d_norm="none", r1=1.0, penalty_every=5, d_steps=2)
    every = lazy.replace(penalty_every=1)
    assert predict_cost(lazy, size, measure=False).working == pytest.approx(
        predict_cost(every, size, measure=False).working, rel=0.05
    )
    assert small.members is None


@pytest.mark.gpu
def test_measures_on_a_gpu() -> None:
    recipe, size = SMALL.replace(g_widths=(2000, 2000)), SIZES["ring8"]
    cost = predict_cost(recipe, size, RunOptions(device="cuda"))
    assert cost.growth is not None and cost.growth >= cost.gradients + cost.optimizers
    on_cpu = predict_cost(recipe, size, RunOptions(device="cpu"), measure=False)
    assert cost.members is not None and cost.members > 0
    assert cost.working == pytest.approx(on_cpu.working, rel=0.5)
    assert (cost.d_flops, cost.g_flops) == (on_cpu.d_flops, on_cpu.g_flops)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = RECIPES["original-gan"].recipe.replace(batch=8, d_steps=2)
    result = json.loads(run(capsys, recipe, no_measure=True, json=True))
    found = summarize(recipe, RunOptions(device="cpu"), name="it", measure=False)
    assert result == json.loads(json.dumps(found.to_dict()))
    assert result["recipe"]["key"] == recipe.key and result["recipe"]["batch"] == 8
    assert result["data"] == {"n": 60_000, "shape": [1, 28, 28], "mapped": False}
    assert result["generator"][0] == {
        "path": "0",
        "kind": "Linear",
        "settings": "100→256",
        "depth": 0,
        "output": [1, 256],
        "parameters": 25_856,
    }
    cost = result["cost"]
    assert (cost["g_parameters"], cost["d_parameters"]) == (1_486_352, 1_460_225)
    assert (cost["steps"], cost["images_per_step"]) == (750_000, 16)
    assert cost["step_seconds"] is cost["growth"] is None


def test_time_of_a_whole_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = SMALL.replace(dataset="mnist10k", batch=10, d_steps=2, epochs=9)
    monkeypatch.setattr(cost_module, "_count", lambda *_: (2000, 1000))
    monkeypatch.setattr(cost_module, "_timed", lambda *_: iter([0.2, 9.0, 0.1]))
    peaks = iter([1_000_000, 6_000_000] * 2)
    monkeypatch.setattr(cost_module, "peak", lambda *_, **__: next(peaks))
    cost = json.loads(run(capsys, recipe, json=True))["cost"]
    assert (cost["steps"], cost["timed"]) == (4500, 3)
    assert (cost["step_seconds"], cost["run_seconds"]) == (0.2, 900)
    said = run(capsys, recipe)
    for text in ("200 ms", "100 img/s", "1 min 40 s", "15 min 0 s", "2.00 kFLOP", "150 FLOP"):
        assert text in said
    assert "5.00 MB" in said and "median of 3 steps" in said and "measured on cpu" in said


@pytest.mark.parametrize("name", ["original-gan", "dcgan64", "sagan-cifar10"])
def test_shown_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    recipe = RECIPES[name].recipe.replace(batch=2)
    g, d, state = named(name)
    said = run(capsys, recipe, no_measure=True).splitlines()
    assert max(map(len, said)) <= 80
    at = 2
    for title, lines, net in (
        ("generator", g, state.generator),
        ("discriminator", d, state.discriminator),
    ):
        shown = [line.split() for line in said[at : at + len(lines) + 3]]  # none is folded
        assert [line[0] for line in shown] == [
            title,
            "input",
            *[layer.kind for layer in lines],
            "total",
        ]
        assert shown[-1][1] == f"{sum(p.numel() for p in net.parameters()):,}"
        at += len(shown) + 1
    assert any(line.startswith("the layers of a block") for line in said) == (
        name == "sagan-cifar10"
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_says_what_d_gives(capsys: pytest.CaptureFixture[str], loss: str) -> None:
    said = run(
        capsys, MLP.replace(loss=loss, real_label=(1, 1), fake_label=(0, 0)), no_measure=True
    )
    assert ("D(x), a probability, is their sigmoid" in said) == LOSSES[loss].probabilities
    assert (f"the loss {loss} has no probability" in said) != LOSSES[loss].probabilities
    assert "Sigmoid" not in said and "not measured" in said


@pytest.mark.parametrize(("n", "mapped"), [(4, False), (5, True)])
def test_many_images_are_mapped(
    capsys: pytest.CaptureFixture[str],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
    mapped: bool,
) -> None:
    monkeypatch.setattr("ganatomy.data.cache.LARGE", 5)
    (tmp_path / "some").mkdir()
    for i in range(n):
        Image.new("L", (6, 6), i).save(tmp_path / f"some/{i}.png")
    said = run(capsys, MLP.replace(dataset=str(tmp_path / "some")), no_measure=True)
    assert ("read from a file as needed" in said) == mapped
    assert any(cache.rglob("values.npy")) == mapped


def test_images_of_a_path_are_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for i in range(5):
        Image.fromarray(np.full((9, 12, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    for shape, made in ((None, [3, 9, 12]), ((1, 28, 28), [1, 28, 28])):
        recipe = MLP.replace(dataset=str(tmp_path), shape=shape)
        result = json.loads(run(capsys, recipe, no_measure=True, json=True))
        assert result["data"] == {"n": 5, "shape": made, "mapped": False}
        assert result["cost"]["data"] == 5 * math.prod(made)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "dcgan"}, "dcgan takes one number in g_widths"),
        ({"model": "dcgan", "shape": (1, 30, 30)}, "dcgan makes square images"),
        ({"attention": (8,)}, "mlp does not take attention"),
        ({"loss": "hing"}, "unknown loss 'hing'"),
        ({"dataset": "mnits"}, "unknown dataset 'mnits'"),
    ],
)
def test_a_recipe_that_cannot_be_built(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Summary(name="it", recipe=RECIPES["basic-gan"].recipe.replace(**changes), device="cpu")()
    with pytest.raises(ValueError, match="threads must lie in"):
        Summary(name="it", threads=0)()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12.3 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (4980, "1 h 23 min"),
        (86_399, "1 d 0 h"),
        (1e8, "1,157 d 10 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_700, "1.00 MB"),
        (13e9, "13.0 GB"),
        (145.2e12, "145 TB"),
        (2.5, "2.5 B"),
    ],
)
def test_quantity(count: float, text: str) -> None:
    assert quantity(count, "B") == text
