"""Every file of a run is looked at, and a replay that differs is told of."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import CONV, MLP, Call

from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit
from ganatomy.training.verify import verify

OPTIONS = RunOptions(log_every=2, save_every=5, sample_every=5, threads=1, device="cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(MLP, tmp_path_factory.mktemp("runs") / "run", OPTIONS)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_all_files_of_a_run_are_intact(run: Run) -> None:
    found = {f.file: f for f in verify(run).files}
    assert all(f.intact for f in found.values())
    assert found["log.jsonl"].about == "7 rows" and found["step-00000010.pt"].about == "step 10"
    assert {"recipe.json", "samples/step-00000005.png", "samples/real.png"} <= found.keys()


@pytest.mark.parametrize(
    "name",
    [
        "recipe.json",
        "options.json",
        "log.jsonl",
        "step-00000010.pt",
        "samples/step-00000010.png",
        "environment.json",
    ],
)
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_each_damaged_file_is_found(run: Run, name: str, how: str) -> None:
    file = run.path / name
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 0x10
    file.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    if (name, how) == ("environment.json", "flipped"):  # words that nothing is checked against
        file.write_bytes(content.replace(b"{", b"[", 1))
    checked = verify(run, replay=True)
    damaged = {f.file for f in checked.damaged}
    assert name in damaged or (name == "log.jsonl" and "step-00000010.pt" in damaged)
    assert not checked.passed and checked.replay is None


def test_what_is_not_of_a_run_is_told_of(run: Run) -> None:
    (run.path / "notes.txt").write_text("mine")
    (run.path / "step-00000014.pt").rename(run.path / "step-00000014.pt.broken")
    said = {f.file: f.about for f in verify(run).files}
    assert said["notes.txt"].startswith("not part of a run")
    assert said["step-00000014.pt.broken"].startswith("damaged, and renamed")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_replay_gives_the_same_file(run: Run, seed: int) -> None:
    before = sorted(run.path.rglob("*"))
    checked = verify(run, replay=True, seed=seed)
    came = checked.replay
    assert checked.passed and came is not None
    assert came.same and came.difference == 0 and (came.first, came.last) in ((5, 10), (10, 14))
    assert sorted(run.path.rglob("*")) == before


def test_a_replay_of_something_else_is_noticed(run: Run, tmp_path: Path) -> None:
    saved = run.load(run.checkpoints()[1])
    saved["generator"] = {k: v * 1.001 for k, v in saved["generator"].items()}
    run.save(saved, keep=0)
    for seed in range(10):
        checked = verify(run, replay=True, seed=seed)
        came = checked.replay
        assert came is not None and not came.same and not checked.passed
        if came.last == 10:
            assert 0 < came.difference < 0.1
    run.checkpoints()[0].unlink()
    run.checkpoints()[0].unlink()
    with pytest.raises(ValueError, match="fewer than two checkpoints"):
        verify(run, replay=True)


def test_verifying_from_the_command_line(tmp_path: Path, call: Call) -> None:
    run = fit(CONV.replace(steps=10), tmp_path / "run", OPTIONS)
    code, out, _ = call("verify", run.path, "--replay", "--json")
    result = json.loads(out)
    assert code == 0 and result["passed"] and result["replay"]["same"]
    plain = json.loads(call("verify", run.path, "--json")[1])
    assert plain == verify(run).to_dict()
    code, out, _ = call("verify", run.path, "--replay")
    assert code == 0 and "replayed steps 5 to 10: the same file" in out
    (run.path / "step-00000005.pt").write_bytes(b"PK")
    code, out, said = call("verify", run.path, "--replay")
    assert code == 1 and "DAMAGED" in out
    assert said == "ganatomy: step-00000005.pt is truncated, or is not a checkpoint of ganatomy\n"
