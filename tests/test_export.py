"""Exported generators make the samples of those in the run; files that are none are refused."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONV, MLP, Call, shape_of
from safetensors import safe_open
from safetensors.torch import load, load_file, save_file
from torch import nn

from ganatomy import __version__
from ganatomy.evaluation.classifier import SHIPPED
from ganatomy.gan.state import State
from ganatomy.models.attention import SelfAttention
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs import export, sampling
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit
from ganatomy.validation import flat, to_dict

OPTIONS = RunOptions(log_every=7, save_every=7, sample_every=14, device="cpu")
SAGAN = Recipe.of(
    dataset="mnist10k",
    model="sagan",
    z_dim=8,
    latent="uniform",
    g_widths=(8,),
    d_widths=(8,),
    g_norm="batch",
    spectral="both",
    attention=(14,),
    loss="hinge",
    batch=4,
    steps=3,
)
MODELS = {"mlp": MLP, "dcgan": CONV, "sagan": SAGAN}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("runs")
    return {name: fit(recipe, root / name, OPTIONS) for name, recipe in MODELS.items()}


def stirred(recipe: Recipe) -> nn.Module:
    """A generator in which nothing is as new: norms have statistics, attention is let in."""
    net = State.new(recipe, shape_of(recipe)).generator.train()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad(), torch.random.fork_rng():
        net(torch.randn(8, recipe.network.z_dim, generator=rng))
        for module in net.modules():
            if isinstance(module, SelfAttention):
                module.gate.fill_(1.0)
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.bias.normal_(generator=rng)
    return net


def stored(net: nn.Module, recipe: Recipe, path: Path) -> Path:
    path.write_bytes(export.to_safetensors(net, export.about(net, recipe, 3)))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("name", MODELS)
def test_samples_of_a_file_are_those_of_the_run(
    runs: dict[str, Run], name: str, weights: Any, tmp_path: Path, call: Call
) -> None:
    run, out = runs[name], tmp_path / "G.safetensors"
    code, said, complaint = call("export", run.path, "--out", out, "--weights", weights)
    assert (code, complaint) == (0, "") and [p.name for p in tmp_path.iterdir()] == [out.name]
    recipe, net = export.read(out)
    assert recipe == MODELS[name]
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    step, generator = sampling.load_generator(run, weights=weights)
    made = sampling.generate(net, 20, recipe, seed=5)
    assert torch.equal(made, sampling.generate(generator, 20, recipe, seed=5))
    kind = "averaged" if weights == "ema" and recipe.generator.ema else "raw"
    count = sum(p.numel() for p in net.parameters())
    assert said == (
        f"{out}: generator of step {step}, {kind} weights, {count:,} parameters, "
        "8 numbers to 1 x 28 x 28 in [-1, 1]\n"
    )


def test_averaged_and_raw_weights_are_told_apart(runs: dict[str, Run]) -> None:
    recipe = MLP
    parts = [sampling.load_generator(runs["mlp"], weights=w) for w in ("ema", "raw")]
    averaged, raw = (load(export.to_safetensors(net, {})) for _, net in parts)
    assert not torch.equal(averaged["0.weight"], raw["0.weight"])
    net = parts[0][1]
    assert export.about(net, recipe, 1)["weights"] == "ema"
    assert export.about(net, recipe, 1, "raw")["weights"] == "raw"
    assert export.about(net, recipe.replace(steps=1, ema=0.0), 1)["weights"] == "raw"


@pytest.mark.parametrize("name", RECIPES)
def test_every_named_recipe_is_exported_and_read(name: str, tmp_path: Path) -> None:
    full = RECIPES[name].recipe
    small = {w: (8,) * len(flat(full)[w]) for w in ("g_widths", "d_widths")}
    recipe = full.replace(steps=2, z_dim=min(full.network.z_dim, 20), **small)
    net = stirred(recipe)
    before = torch.get_rng_state()
    same, again = export.read(stored(net, recipe, tmp_path / "G.safetensors"))
    assert same == recipe and torch.equal(torch.get_rng_state(), before)
    made = sampling.generate(again, 9, recipe, 0)
    assert torch.equal(made, sampling.generate(net, 9, recipe, 0)) and made.std() > 0


def test_points_are_exported_too(tmp_path: Path) -> None:
    recipe = MLP.replace(steps=1, dataset="ring8")
    net = State.new(recipe, (2,)).generator
    _, again = export.read(stored(net, recipe, tmp_path / "G.safetensors"))
    assert torch.equal(sampling.generate(again, 9, recipe, 0), sampling.generate(net, 9, recipe, 0))


def test_metadata_say_all_that_is_needed(runs: dict[str, Run], tmp_path: Path, call: Call) -> None:
    run, out = runs["mlp"], tmp_path / "G.safetensors"
    given = ("--out", out, "--checkpoint", 7, "--weights", "raw", "--json")
    code, said, _ = call("export", run.path, *given)
    assert code == 0 and json.loads(said) == {
        "out": str(out),
        "key": MLP.key,
        "step": 7,
        "weights": "raw",
        "z_dim": 8,
        "opset": None,
        "max_difference": None,
        "shape": [1, 28, 28],
        "parameters": 8 * 16 + 16 * 16 + 16 * 784 + 16 + 16 + 784 + 4 * 16,
    }
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop("recipe")) == to_dict(MLP)
    assert metadata == {
        "format": "ganatomy generator",
        "ganatomy": __version__,
        "key": MLP.key,
        "step": "7",
        "shape": "[1, 28, 28]",
        "weights": "raw",
        "range": "[-1, 1]",
    }
    files = run.checkpoints()
    assert [f.name for f in files] == ["step-00000007.pt", "step-00000014.pt"]
    early = sampling.load_generator(run, files[0], "raw")[1].state_dict()
    assert all(torch.equal(t, early[name]) for name, t in load_file(out).items())


def test_weights_are_those_of_plain_layers_and_the_generator_stays_as_it_is() -> None:
    net = stirred(SAGAN)
    twin = copy.deepcopy(net)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    content = export.to_safetensors(net, {"of": "nothing"})
    names = load(content)
    assert "0.weight" in names and not any("parametrizations" in name for name in names)
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert net.training and before.keys() == net.state_dict().keys()
    twin(torch.zeros(2, SAGAN.network.z_dim))  # copies of a layer share its class
    assert torch.linalg.matrix_norm(names["0.weight"], 2).item() == pytest.approx(1, abs=0.3)


def test_equal_generators_give_equal_bytes() -> None:
    metadata = export.about(stirred(MLP), MLP, 3)
    contents = {export.to_safetensors(stirred(MLP), metadata) for _ in range(8)}
    assert len(contents) == 1
    for length in range(8):  # tensors begin at a multiple of 8 bytes, as the format has it
        content = export.to_safetensors(nn.Linear(2, 2), {"a": "b" * length})
        assert int.from_bytes(content[:8], "little") % 8 == 0 and len(load(content)) == 2


def rewritten(path: Path, **changes: Any) -> None:
    """Change a file's metadata; a change to None takes the entry away."""
    with safe_open(path, "pt") as file:
        metadata = {k: v for k, v in (file.metadata() | changes).items() if v is not None}
    save_file(load_file(path), path, metadata)


JUDGE = SHIPPED["conv"][0]
NONE: dict[str, Any] = {
    "empty": (lambda p: p.write_bytes(b""), "header"),
    "text": (lambda p: p.write_text("no tensors at all"), "header"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-9]), "incomplete metadata"),
    "bare": (lambda p: save_file({"a": torch.zeros(3)}, p), "not written by: ganatomy export RUN"),
    "a classifier": (
        lambda p: p.write_bytes(
            (Path(export.__file__).parents[1] / "evaluation/classifiers" / JUDGE).read_bytes()
        ),
        "not written by: ganatomy export RUN",
    ),
    "other format": (lambda p: rewritten(p, format="pt"), "not written by: ganatomy export RUN"),
    "no recipe": (lambda p: rewritten(p, recipe=None), "recipe"),
    "no fields": (lambda p: rewritten(p, recipe="[1]"), "no table of fields"),
    "unknown field": (lambda p: rewritten(p, recipe='{"color": 1}'), "unknown field 'color'"),
    "unknown model": (lambda p: rewritten(p, recipe=other(model="vae")), "unknown model 'vae'"),
    "other widths": (lambda p: rewritten(p, recipe=other(g_widths=(16, 17))), "size mismatch"),
    "other layers": (lambda p: rewritten(p, recipe=other(g_norm="none")), "Unexpected key"),
    "no shape": (lambda p: rewritten(p, shape="7"), "not iterable"),
}


def other(**changes: Any) -> str:
    return json.dumps(to_dict(MLP) | changes)


@pytest.mark.parametrize("change, reason", NONE.values(), ids=NONE)
def test_other_files_are_refused_in_one_line(change: Any, reason: str, tmp_path: Path) -> None:
    path = stored(stirred(MLP), MLP, tmp_path / "G.safetensors")
    export.read(path)
    change(path)
    with pytest.raises(ValueError) as caught:
        export.read(path)
    complaint = str(caught.value)
    assert complaint.startswith(f"{path} is not a readable generator: ")
    assert reason in complaint and "\n" not in complaint and len(complaint) < len(str(path)) + 220


def test_a_file_that_was_halved_elsewhere_is_read(tmp_path: Path) -> None:
    net = stirred(MLP)
    path = stored(net, MLP, tmp_path / "G.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    train_test_split = {
        k: t.half() if t.is_floating_point() else t for k, t in load_file(path).items()
    }
    save_file(train_test_split, path, metadata)
    made = sampling.generate(export.read(path)[1], 9, MLP, 0)
    torch.testing.assert_close(made, sampling.generate(net, 9, MLP, 0), atol=1e-2, rtol=0)


MISTAKES = {
    "no suffix": (["RUN", "--out", "OUT/G"], "must end in .safetensors or .onnx, got"),
    "other suffix": (["RUN", "--out", "OUT/G.pt"], "must end in .safetensors or .onnx, got"),
    "no such folder": (["RUN", "--out", "OUT/new/G.onnx"], "new; create it first"),
    "no such step": (["RUN", "--out", "OUT/G.onnx", "--checkpoint", "8"], "no checkpoint 8"),
    "several steps": (
        ["RUN", "--out", "OUT/G.safetensors", "--checkpoint", "all"],
        "--checkpoint must be last or a step, got all",
    ),
    "other weights": (["RUN", "--out", "OUT/G.onnx", "--weights", "mean"], "mean"),
    "no run": (["OUT", "--out", "OUT/G.onnx"], "not a run folder"),
    "no checkpoint": (["NEW", "--out", "OUT/G.safetensors"], "no checkpoint yet; train it first"),
    "no out": (["RUN"], "--out"),
}


@pytest.mark.parametrize("words, reason", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_get_one_line_and_write_nothing(
    runs: dict[str, Run], words: list[str], reason: str, tmp_path: Path, call: Call
) -> None:
    new = Run.create(tmp_path / "new run", MLP)
    places = {"RUN": str(runs["mlp"].path), "NEW": str(new.path), "OUT": str(tmp_path)}
    before = contents(tmp_path)
    for short, long in places.items():
        words = [word.replace(short, long) for word in words]
    code, said, complaint = call("export", *words)
    assert (code, said) == (2, "") and complaint.count("\n") == 1 and reason in complaint
    assert contents(tmp_path) == before and not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_without_the_extra_the_cure_is_named(
    runs: dict[str, Run], name: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    code, said, complaint = call("export", runs["mlp"].path, "--out", tmp_path / "G.onnx")
    assert (code, said) == (2, "") and not list(tmp_path.iterdir())
    assert complaint.endswith("; run: pip install 'ganatomy[export]'\n")
    assert complaint.count("\n") == 1


@pytest.fixture(scope="module")
def onnx_files() -> dict[str, bytes]:
    """Each model, stirred, as ONNX; made once, as the exporter takes seconds."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    files = {}
    for name, recipe in MODELS.items():
        net = stirred(recipe)
        files[name] = export.to_onnx(net, recipe, export.about(net, recipe, 3))
    return files


@pytest.mark.parametrize("name", MODELS)
def test_onnx_makes_the_same_samples_for_any_batch(
    onnx_files: dict[str, bytes], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    recipe, net = MODELS[name], stirred(MODELS[name])
    session = onnxruntime.InferenceSession(onnx_files[name], providers=["CPUExecutionProvider"])
    z = sampling._latent(recipe, 5, 0)
    made = sampling.generate(net, len(z), recipe, seed=5)
    assert made.std() > 0.01
    for n in (1, 2, len(z)):
        (other,) = session.run(["samples"], {"z": z[:n].numpy()})
        torch.testing.assert_close(torch.from_numpy(other), made[:n], atol=1e-5, rtol=0)
    most = export.difference(onnx_files[name], net, recipe)
    assert most is not None and 0 < most < 1e-5
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", MODELS)
def test_onnx_says_what_it_is_and_nothing_of_this_machine(
    onnx_files: dict[str, bytes], name: str
) -> None:
    import onnx

    content, recipe = onnx_files[name], MODELS[name]
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == export.about(stirred(recipe), recipe, 3)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", export.OPSET)]
    sides = [
        (v.name, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*model.graph.input, *model.graph.output)
    ]
    assert sides == [("z", ["N", 8]), ("samples", ["N", 1, 28, 28])]
    for path in (Path(torch.__file__).parent, Path(export.__file__).parents[1]):
        assert str(path).encode() not in content
    assert b"stack_trace" not in content and b".py" not in content


def test_onnx_of_other_weights_is_refused(onnx_files: dict[str, bytes]) -> None:
    net = stirred(MLP)
    assert isinstance(net[0], nn.Linear)  # type: ignore[index]
    for value in (0.5, float("nan")):
        with torch.no_grad():
            net[0].bias.fill_(value)  # type: ignore[index]
        with pytest.raises(RuntimeError, match=r"would differ from PyTorch's by (0\.|nan)"):
            export.difference(onnx_files["mlp"], net, MLP)


def test_onnx_from_the_command_line(runs: dict[str, Run], tmp_path: Path, call: Call) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    run, out = runs["mlp"], tmp_path / "G.onnx"
    code, said, complaint = call("export", run.path, "--out", out)
    assert (code, complaint) == (0, "") and [p.name for p in tmp_path.iterdir()] == [out.name]
    first, second = said.splitlines()
    assert first.startswith(f"{out}: generator of step 14, averaged weights, ")
    assert second.startswith("opset 18, input z, output samples; within ")
    assert second.endswith("e-08 of PyTorch on 16 latent vectors") or "e-07" in second
    _, generator = sampling.load_generator(run)
    assert export.difference(out.read_bytes(), generator, MLP) is not None


@pytest.fixture
def made_before(onnx_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter's part is taken by a file of other weights."""
    monkeypatch.setattr(export, "to_onnx", lambda *_: onnx_files["mlp"])


@pytest.mark.usefixtures("made_before")
def test_what_differs_is_not_written(runs: dict[str, Run], tmp_path: Path, call: Call) -> None:
    code, said, complaint = call("export", runs["mlp"].path, "--out", tmp_path / "G.onnx")
    assert (code, said) == (1, "") and complaint.count("\n") == 1
    assert "would differ" in complaint and not list(tmp_path.iterdir())


@pytest.mark.usefixtures("made_before")
def test_without_onnxruntime_nothing_is_compared(
    runs: dict[str, Run], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = ("export", runs["mlp"].path, "--out", tmp_path / "G.onnx")
    code, said, _ = call(*words)
    assert code == 0 and "not compared with PyTorch, as onnxruntime is not installed" in said
    result = json.loads(call(*words, "--json")[1])
    assert result["opset"] == 18 and result["max_difference"] is None
