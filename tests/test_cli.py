"""Commands do what they say; every mistake gets one line on stderr and its exit code."""

import dataclasses
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import MLP, Call
from PIL import Image

from ganatomy import __version__
from ganatomy.cli.main import COMMANDS
from ganatomy.gan.losses import LOSSES
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit
from ganatomy.validation import to_dict


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short finished run."""
    options = RunOptions(log_every=2, save_every=5, sample_every=5, device="cpu")
    return fit(MLP, tmp_path_factory.mktemp("runs") / "tiny", options)


QUICK = [
    "--dataset=mnist10k",
    "--epochs=0.02",
    "--g_widths",
    "8",
    "--d-widths",
    "8",
    "--device=cpu",
]


def test_train_resume_sample(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, shown = call("train", "basic-gan", *QUICK, "--out", out, "--log-every", 1)
    assert code == 0 and said.splitlines()[-1] == f"{out}: complete at step 2"
    assert "D(x)" in shown  # plain lines where there is no terminal
    recipe = Run.open(out).recipe
    assert recipe == RECIPES["basic-gan"].recipe.replace(
        dataset="mnist10k", epochs=0.02, g_widths=(8,), d_widths=(8,)
    )

    code, said, _ = call("resume", out, "--steps", 4, "--json")
    result = json.loads(said)
    assert code == 0 and result["step"] == 4 and Run.open(out).recipe.training.steps == 4
    assert len(Run.open(out).rows("log")) == 4  # log_every was remembered

    code, said, _ = call("sample", out, "--n", 10, "--out", tmp_path / "x.npz", "--seed", 5)
    with np.load(tmp_path / "x.npz") as arrays:
        images = arrays["images"]
    assert images.shape == (10, 28, 28, 1) and images.dtype == np.uint8
    code, said, _ = call("sample", out, "--n", 10, "--out", tmp_path / "x.png", "--seed", 5)
    assert code == 0 and "10 samples of step 4" in said
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (4 * 30 + 2, 3 * 30 + 2)
        tile = np.asarray(image)[2:30, 2:30]
    assert np.array_equal(tile, images[0, :, :, 0])


def test_compare_ends_with_the_page(call: Call, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, said, _ = call("compare", run.path, run.path, "--out", page)
    assert code == 0 and said.splitlines()[-1] == str(page)
    assert said.count("tiny") == 4 and "D loss fluctuation" in said  # two tables of two runs
    result = json.loads(call("compare", run.path, run.path, "--out", page, "--json")[1])
    assert [row["steps"] for row in result["runs"]] == [14, 14] and page.exists()
    losses = np.array([row["g_loss"] for row in run.rows("log")][len(run.rows("log")) // 2 :])
    jumps = np.sqrt(np.mean(np.diff(losses) ** 2) / 2)
    assert result["runs"][0]["g_fluctuation"] == pytest.approx(jumps)


def test_quiet_says_only_the_result(call: Call, tmp_path: Path) -> None:
    code, said, complaint = call("train", "basic-gan", *QUICK, "--quiet", "--out", tmp_path / "q")
    assert (code, said, complaint) == (0, f"{tmp_path / 'q'}: complete at step 2\n", "")


def test_dry_run_writes_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, _ = call("train", "conv-gan", "--dataset", "mnist10k", "--dry-run", "--json")
    plan = json.loads(said)
    assert code == 0 and plan["steps"] == 100 * 100 and plan["shape"] == [1, 28, 28]
    assert plan["run"].startswith("runs/conv-gan-") and not list(tmp_path.iterdir())


def test_hyphens_and_underscores_are_alike(call: Call, tmp_path: Path) -> None:
    results = [
        call("train", "basic-gan", "--dataset=mnist10k", "--json", *flags)
        for flags in (("--dry-run", "--lr-g", 0.5), ("--dry_run", "--lr_g", 0.5))
    ]
    assert results[0] == results[1] and json.loads(results[0][1])["recipe"]["lr_g"] == 0.5


def test_a_length_given_replaces_the_recipes(call: Call) -> None:
    for flag, steps in ((("--steps", 7), 7), (("--steps=7",), 7), (("--epochs", 2), 200)):
        _, said, _ = call("train", "basic-gan", "--dataset=mnist10k", "--dry-run", "--json", *flag)
        assert json.loads(said)["steps"] == steps


def test_recipes_print_as_recipe_files(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(call("recipes", "conv-gan", "--json")[1])
    listed = call("recipes", file, "--json")[1]
    assert json.loads(listed) == to_dict(RECIPES["conv-gan"].recipe)
    assert set(json.loads(call("recipes", "--json")[1])) == set(RECIPES)
    assert all(name in call("recipes")[1] for name in RECIPES)


def test_datasets_doctor_version(call: Call) -> None:
    assert "mnist10k" in call("datasets")[1]
    health = json.loads(call("doctor", "--json")[1])
    assert health["ganatomy"] == __version__ and health["device"] and health["threads"] >= 1
    assert health["allocator"] and not health["self_test"].startswith("failed")
    assert health["bf16"].startswith(("native", "emulated"))
    assert call("--version")[1] == f"ganatomy {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call: Call, command: str) -> None:
    code, said, complaint = call(command, "--help")
    assert code == 0 and "usage" in said and not complaint
    assert command in call("--help")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_read(command: str) -> None:
    kind = COMMANDS[command]
    source = "".join(inspect.getsource(part) for part in kind.__mro__[:-1])
    unread = {f.name for f in dataclasses.fields(kind) if f"self.{f.name}" not in source}
    assert unread <= {"devices", "action"}  # read before the command is called; has one value


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "matplotlib", "jinja2")
    script = (
        "import sys; from ganatomy.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    for arguments in (["--help"], ["train", "--help"], ["train", "nothing"]):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr.splitlines()[-1] == "[]"


def test_shell_completion(call: Call) -> None:
    for shell in ("bash", "zsh"):
        code, said, _ = call("--tyro-print-completion", shell)
        assert code == 0 and "ganatomy" in said and "lr-g" in said


MISTAKES = {
    "no such command": (["trian"], "did you mean 'train'"),
    "flag before the command": (["--quiet", "train"], "unknown argument '--quiet'; a command"),
    "long flag before the command": (["--keep" * 5000], "unknown argument '--keep"),
    "no recipe": (["train"], "wants the NAME or FILE"),
    "unknown recipe": (["train", "basicgan"], "did you mean 'basic-gan'"),
    "missing recipe file": (["train", "none.json"], "cannot read the recipe"),
    "unknown flag": (["train", "basic-gan", "--lrg", "1"], "did you mean --lr_g"),
    "no number": (["train", "basic-gan", "--lr_g", "fast"], "fast"),
    "out of range": (["train", "basic-gan", "--d_dropout", "2"], "d_dropout must lie in [0, 1]"),
    "two lengths": (["train", "basic-gan", "--steps", "1", "--epochs", "1"], "got both"),
    "bad choice": (["train", "basic-gan", "--g_norm", "layer"], "layer"),
    "unknown dataset": (["train", "basic-gan", "--dataset", "mnist10"], "did you mean 'mnist10k'"),
    "unknown model": (["train", "basic-gan", "--model", "dcgna"], "did you mean 'dcgan'"),
    "unknown loss": (["train", "basic-gan", "--loss", "minmax"], "did you mean 'minimax'"),
    "unknown device": (
        ["train", "basic-gan", "--dataset", "mnist10k", "--device", "gpu"],
        "device 'gpu'",
    ),
    "widths that do not fit": (
        ["train", "conv-gan", "--dataset", "mnist10k", "--g_widths", "8", "8"],
        "one number in g_widths",
    ),
    "no run": (["resume"], "wants the run folder"),
    "unknown run": (["resume", "nowhere"], "nowhere is not a run folder"),
    "sample of nothing": (["sample", "nowhere", "--out", "x.png"], "nowhere is not a run folder"),
    "sample without out": (["sample", "RUN"], "--out"),
    "sample to a jpeg": (["sample", "RUN", "--out", "x.jpg"], ".png or .npz"),
    "no samples": (["sample", "RUN", "--n", "0", "--out", "x.png"], "n must be at least 1"),
    "negative seed": (["sample", "RUN", "--seed", "-1", "--out", "x.png"], "seed at least 0"),
    "one run": (["compare", "RUN"], "two or more"),
    "compare with nothing": (["compare", "RUN", "nowhere"], "nowhere is not a run folder"),
    "shorter than it is": (["resume", "RUN", "--steps", "3"], "is at step 14"),
    "unwritable": (
        ["train", "basic-gan", "--dataset=mnist10k", "--out=/dev/null/x"],
        "cannot write",
    ),
    "another recipe": (["train", "conv-gan", "--dataset=mnist10k", "--out=RUN"], "another recipe"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_line_and_2(
    call: Call, mistake: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[mistake]
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    code, said, complaint = call(*(a.replace("RUN", str(run.path)) for a in arguments))
    assert code == 2 and said == ""
    assert len(complaint.splitlines()) == 1 and complaint.startswith("ganatomy: ")
    assert expected in complaint and "Traceback" not in complaint
    assert not list(tmp_path.iterdir())
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before


RECIPE_FILES = {
    '{"steps": 5, "batch": "ten"}': "batch must be a whole number, got 'ten'",
    '{"steps": 5, "bath": 10}': "did you mean 'batch'",
    '{"steps": 5, "batch": 0}': "batch must lie in [1",
    '{"steps": 5,': "is not a recipe",
    f'{{"steps": 5, "lr_g": 1{"0" * 400}}}': "lr_g must be a finite number",
}


@pytest.mark.parametrize("content", RECIPE_FILES)
def test_bad_recipe_files(call: Call, content: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    code, _, complaint = call("train", tmp_path / "r.json")
    assert code == 2 and len(complaint.splitlines()) == 1 and RECIPE_FILES[content] in complaint


def test_failures_get_one_line_and_1(call: Call, tmp_path: Path) -> None:
    run = fit(MLP, tmp_path / "run", RunOptions(save_every=5, device="cpu"))
    for file in run.checkpoints():
        file.write_bytes(file.read_bytes()[:1000])
    for arguments in (("resume", run.path), ("sample", run.path, "--out", tmp_path / "x.png")):
        code, _, complaint = call(*arguments)
        assert code == 1 and len(complaint.splitlines()) == 1
        assert f"{run.path} has no intact checkpoint: step-00000014.pt is truncated" in complaint
    assert not (tmp_path / "x.png").exists()


@pytest.mark.filterwarnings("default:.*is truncated")
def test_the_newest_intact_checkpoint_is_used_and_the_damaged_one_renamed(
    call: Call, tmp_path: Path
) -> None:
    run = fit(MLP, tmp_path / "run", RunOptions(save_every=5, device="cpu"))
    newest = run.checkpoints()[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:1000])
    code, _, said = call("sample", run.path, "--n", 4, "--out", tmp_path / "x.png")
    assert code == 0 and newest.exists()
    assert said.startswith("ganatomy: warning: ") and "; step-00000010.pt is used" in said
    code, _, said = call("resume", run.path, "--quiet")
    assert code == 0 and "step-00000014.pt is truncated" in said
    assert newest.read_bytes() == whole
    assert len(newest.with_name("step-00000014.pt.broken").read_bytes()) == 1000


def test_diverged_training_gets_one_line_and_1(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = dataclasses.replace(LOSSES["non_saturating"], g=lambda real, fake: fake.mean() * math.nan)
    monkeypatch.setitem(LOSSES, "non_saturating", bad)
    code, _, complaint = call(
        "train", "basic-gan", *QUICK, "--out", tmp_path / "run", "--log_every", 1, "--quiet"
    )
    assert code == 1 and len(complaint.splitlines()) == 1
    assert (
        "g_loss (nan) is not finite at step 1, before a checkpoint; lower --lr_d or --lr_g"
        in complaint
    )
