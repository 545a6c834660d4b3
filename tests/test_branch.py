"""A run that leaves another at a checkpoint is a run like others, and says whose child it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CONV, MLP, Call

from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.branch import branch
from ganatomy.runs.folder import Run
from ganatomy.storage.checksums import DamagedError
from ganatomy.training.loop import fit

OPTIONS = RunOptions(log_every=2, save_every=5, sample_every=5, threads=1, device="cpu")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(MLP, tmp_path_factory.mktemp("runs") / "parent", OPTIONS)


def test_an_unchanged_branch_ends_as_its_parent_did(parent: Run, tmp_path: Path) -> None:
    branch(parent, 5, MLP, OPTIONS, tmp_path / "child")
    child = fit(MLP, tmp_path / "child", OPTIONS)
    for name in ("step-00000010.pt", "step-00000014.pt", "log.jsonl", "samples/step-00000014.png"):
        assert (child.path / name).read_bytes() == (parent.path / name).read_bytes()
    about = {"run": "parent", "key": MLP.key, "step": 5, "changed": {}}
    assert child.parent == about | {"data": parent.sessions[-1]["data"]}
    assert "It branched off at step 5 of `parent`" in (child.path / "README.md").read_text()


@pytest.mark.parametrize(
    "changes", [{"lr_d": 1e-3}, {"beta1": 0.5}, {"ema": 0.5}, {"loss": "hinge"}, {"seed": 7}]
)
def test_a_changed_branch_goes_another_way(
    parent: Run, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = MLP.replace(steps=14, **changes)
    if "loss" in changes:
        recipe = recipe.replace(real_label=(1, 1), fake_label=(0, 0))
    child = branch(parent, 5, recipe, OPTIONS, tmp_path / "child")
    assert [row["step"] for row in child.rows("log")] == [2, 4]
    assert [step for step, _ in child.grids()] == [0, 5]
    fit(recipe, child.path, OPTIONS)
    ends = [run.load(run.checkpoints()[-1]) for run in (parent, child)]
    differ = [not a.equal(b) for a, b in zip(*(e["ema"].values() for e in ends), strict=True)]
    assert any(differ) and child.parent["changed"].keys() >= changes.keys()


def test_bytes_of_a_branch_do_not_depend_on_kills(parent: Run, tmp_path: Path) -> None:
    recipe = MLP.replace(steps=14, lr_d=1e-3)
    for name in ("whole", "cut"):
        branch(parent, 5, recipe, OPTIONS, tmp_path / name)
    whole = fit(recipe, tmp_path / "whole", OPTIONS)
    (tmp_path / "cut" / "step-00000010.pt").write_bytes(b"half")
    with pytest.warns(UserWarning, match="is truncated"):
        cut = fit(recipe, tmp_path / "cut", OPTIONS)
    for file in whole.checkpoints():
        assert (cut.path / file.name).read_bytes() == file.read_bytes()


def test_a_branch_goes_on_without_rows_that_are_lost(parent: Run, tmp_path: Path) -> None:
    branch(parent, 10, MLP, OPTIONS, tmp_path / "hurt")
    (tmp_path / "hurt" / "log.jsonl").write_bytes(b"nonsense\n")
    with pytest.raises(DamagedError, match=r"log\.jsonl, line 1"):
        fit(MLP, tmp_path / "hurt", OPTIONS)
    branch(Run(tmp_path / "hurt"), 10, MLP, OPTIONS, tmp_path / "healed")
    healed = fit(MLP, tmp_path / "healed", OPTIONS)
    assert [row["step"] for row in healed.rows("log")] == [12, 14]


@pytest.mark.parametrize(
    ("changes", "step", "message"),
    [
        ({}, 7, r"no checkpoint 7 \(there are: 5, 10, 14\)"),
        ({"opt_d": "sgd"}, 5, "opt_d cannot change"),
        ({"g_widths": (8, 8)}, 5, "does not fit the recipe: changed g_widths"),
        ({"steps": 5}, 5, "begins at step 5; set --steps"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    parent: Run, tmp_path: Path, changes: dict[str, Any], step: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        branch(parent, step, MLP.replace(**{"steps": 14} | changes), OPTIONS, tmp_path / "child")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(parent: Run, tmp_path: Path) -> None:
    (tmp_path / "child").mkdir()
    with pytest.raises(ValueError, match="exists; name another --out"):
        branch(parent, 5, MLP, OPTIONS, tmp_path / "child")


def test_branching_from_the_command_line(tmp_path: Path, call: Call) -> None:
    run = fit(CONV.replace(steps=10), tmp_path / "run", OPTIONS).path
    code, _, said = call("resume", run, "--lr_d", "1e-3")
    assert code == 2 and "to change lr_d, branch off a checkpoint (--from STEP" in said
    code, _, said = call("resume", run, "--out", tmp_path / "other")
    assert code == 2 and "give the checkpoint's step too" in said
    code, out, said = call("resume", run, "--from", 5, "--lr_d", "1e-3", "--json", "--quiet")
    assert code == 0, said
    made = Run(Path(json.loads(out)["run"]))
    assert made.path == tmp_path / "run-from-5" and made.recipe == CONV.replace(steps=10, lr_d=1e-3)
    assert made.parent["changed"] == {"lr_d": {"from": 2e-4, "to": 1e-3}}
    assert Run(run).recipe == CONV.replace(steps=10)
    code, _, said = call("resume", made.path, "--steps", 12, "--quiet")
    assert code == 0 and made.checkpoints()[-1].name == "step-00000012.pt", said
