"""The run folder survives what happens to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CONV, MLP

from ganatomy.machine import environment
from ganatomy.recipe import Options
from ganatomy.runs import DamagedError, Run


def test_another_recipe_is_refused_by_its_fields(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", MLP)
    assert Run.create(tmp_path / "run", MLP).recipe == MLP
    with pytest.raises(
        ValueError, match=r"lr_g: 0\.0002 there, 0\.5 asked; seed: 0 there, 7 asked"
    ):
        Run.create(tmp_path / "run", MLP.but(lr_g=0.5, seed=7))
    with pytest.raises(ValueError, match=r"steps: 14 there, 99 asked.*ganatomy resume"):
        Run.create(tmp_path / "run", MLP.but(steps=99))
    Run.create(tmp_path / "run", MLP.but(steps=99), longer=True)
    with pytest.raises(ValueError, match="another recipe"):
        Run.create(tmp_path / "run", CONV, longer=True)


def test_a_run_with_a_schedule_cannot_be_made_longer(tmp_path: Path) -> None:
    falling = MLP.but(schedule="linear", steps=14)
    Run.create(tmp_path, falling)
    Run.check(tmp_path, falling, longer=True)
    with pytest.raises(ValueError, match=r"schedule linear.*another --out"):
        Run.check(tmp_path, falling.but(steps=20), longer=True)


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="no run folder"):
        Run.create(tmp_path, MLP)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write to"):
        Run.create(tmp_path / "file" / "run", MLP)


def test_missing_run_suggests_the_nearest(tmp_path: Path) -> None:
    Run.create(tmp_path / "basic", MLP)
    with pytest.raises(ValueError, match="did you mean 'basic'"):
        Run.open(tmp_path / "basci")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.write("note", b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run.write("note", b"new")
    assert (run.path / "note").read_bytes() == b"old"
    assert not list(run.path.rglob("*.tmp"))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    script = (
        "import sys; from pathlib import Path; from ganatomy.runs import Run\n"
        "with Run(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="trained by another process"), run.lock():
            pass
        other.kill()
    with run.lock():  # it went with its holder
        pass


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    (run.path / ".step-00000001.pt.tmp").write_bytes(b"half")
    with run.lock():
        assert not list(run.path.rglob("*.tmp"))


def test_newest_checkpoint_is_loaded_and_old_ones_go(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    assert run.load() is None
    for step in (1, 2, 30, 4):
        run.save({"step": step}, keep=0)
    assert run.load() == {"step": 30} and len(run.checkpoints()) == 4
    run.save({"step": 31}, keep=2)
    assert [p.name for p in run.checkpoints()] == ["step-00000030.pt", "step-00000031.pt"]


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, left: int) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.save({"step": 1}, keep=0)
    run.save({"step": 2}, keep=0)
    newest = run.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:left])
    with pytest.raises(
        DamagedError, match=r"step-00000002\.pt is damaged.*go on from step-00000001"
    ):
        run.load()
    newest.unlink()
    assert run.load() == {"step": 1}


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",)

    run = Run.create(tmp_path / "run", MLP)
    (run.path / "step-00000001.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DamagedError):
        run.load()
    assert not (tmp_path / "ran").exists()


def test_rewind_forgets_what_came_later(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    for step in range(5):
        run.append("log", {"step": step})
        run.append("metrics", {"step": step})
        run.write(f"samples/step-{step:08d}.png", b"")
    with (run.path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "d_lo')  # killed here
    assert [row["step"] for row in run.rows("log")] == [0, 1, 2, 3, 4]
    run.rewind(2, 1, 3)
    assert (run.path / "log.jsonl").read_text() == '{"step": 0}\n{"step": 1}\n{"step": 2}\n'
    assert [row["step"] for row in run.rows("metrics")] == [0, 1]
    assert [step for step, _ in run.grids()] == [0, 1, 2, 3]


def test_a_row_that_was_cut_short_is_not_joined_to_the_next(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.append("log", {"step": 1})
    with (run.path / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "d_')
    run.rewind(1, 1, 1)
    run.append("log", {"step": 2})
    assert run.rows("log") == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"steps": "many"}', "null"])
@pytest.mark.parametrize("name", ["recipe", "options"])
def test_damaged_settings_are_named(tmp_path: Path, name: str, content: str) -> None:
    run = Run.create(tmp_path / "run", MLP)
    (run.path / f"{name}.json").write_text(content)
    with pytest.raises(DamagedError, match=rf"{name}\.json is damaged"):
        getattr(run, name)


def test_damaged_sessions_are_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.write("environment.json", b"[{")
    with pytest.raises(DamagedError, match=r"environment\.json is damaged"):
        run.sessions  # noqa: B018  (reading it is the test)


def test_a_run_killed_before_it_began_has_default_options(tmp_path: Path) -> None:
    assert Run.create(tmp_path / "run", MLP).options == Options()


def test_environment_is_json_and_names_no_person() -> None:
    text = json.dumps(environment())
    assert str(Path.home()) not in text and "torch" in text


def test_settings_are_recorded(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.write_settings(MLP.but(steps=99), Options(log_every=7))
    assert run.recipe.steps == 99 and run.options.log_every == 7
