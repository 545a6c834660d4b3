"""The run folder survives what happens to it."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from conftest import CONV, MLP
from PIL import Image

from ganatomy.data import load, load_images
from ganatomy.data.dataset import data_root
from ganatomy.data.inspection import inspect
from ganatomy.gan.machine import environment
from ganatomy.recipes.named import read
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.branch import branch
from ganatomy.runs.export import export
from ganatomy.runs.export import read as read_generator
from ganatomy.runs.folder import Run
from ganatomy.storage.checksums import FORMAT, DamagedError, add_checksum
from ganatomy.storage.files import write_atomic
from ganatomy.training.loop import fit


def test_another_recipe_is_refused_by_its_fields(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", MLP)
    assert Run.create(tmp_path / "run", MLP).recipe == MLP
    with pytest.raises(
        ValueError, match=r"lr_g: 0\.0002 there, 0\.5 asked; seed: 0 there, 7 asked"
    ):
        Run.create(tmp_path / "run", MLP.replace(lr_g=0.5, seed=7))
    with pytest.raises(ValueError, match=r"steps: 14 there, 99 asked.*ganatomy resume"):
        Run.create(tmp_path / "run", MLP.replace(steps=99))
    Run.create(tmp_path / "run", MLP.replace(steps=99), longer=True)
    with pytest.raises(ValueError, match="another recipe"):
        Run.create(tmp_path / "run", CONV, longer=True)


def test_a_run_with_a_schedule_cannot_be_made_longer(tmp_path: Path) -> None:
    falling = MLP.replace(schedule="linear", steps=14)
    Run.create(tmp_path, falling)
    Run.check(tmp_path, falling, longer=True)
    with pytest.raises(ValueError, match=r"schedule linear.*another --out"):
        Run.check(tmp_path, falling.replace(steps=20), longer=True)


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not a run folder"):
        Run.create(tmp_path, MLP)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write to"):
        Run.create(tmp_path / "file" / "run", MLP)


def test_paths_may_be_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = RunOptions(threads=1, device="cpu", save_every=7, data_root=Path("data"))
    run = fit(MLP, "run", options)
    assert run == Run.open("run") == Run("run") == Run.create("run", MLP)  # type: ignore[arg-type]
    assert run.path == Path("run")
    Run.check("other", MLP)
    assert branch(run, 7, MLP.replace(lr_g=1e-3), options, "branch").path == Path("branch")
    made = export(run, "G.safetensors")
    assert made.out == Path("G.safetensors") and read_generator("G.safetensors")[0] == MLP
    for folder in ("images", Path("images")):
        Path("images").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 200).save("images/0.png")
        assert len(load_images(folder)) == len(load(folder, "data", None)) == 1
        assert inspect(folder, quiet=True).images
    assert data_root("data") == Path("data") and len(load("mnist10k", "data", "train")) == 10_000
    write_atomic("note", b"text")
    assert Path("note").read_bytes() == b"text"


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
        "import sys; from pathlib import Path; from ganatomy.runs.folder import Run\n"
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


def test_newest_checkpoint_is_found_and_old_ones_go(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    assert run.newest_checkpoint() is None
    for step in (1, 2, 30, 4):
        run.save({"step": step}, keep=0)
    newest = run.newest_checkpoint()
    assert newest is not None and run.load(newest)["step"] == 30 and len(run.checkpoints()) == 4
    run.save({"step": 31}, keep=2)
    assert [p.name for p in run.checkpoints()] == ["step-00000030.pt", "step-00000031.pt"]


def test_the_best_checkpoint_is_kept(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    for step, fd in ((1, 9.0), (2, 3.0), (3, 5.0), (4, 4.0)):
        run.append("metrics", {"step": step, "values": {"fd": {"value": fd}}})
        run.save({"step": step}, keep=1, best=True)
    assert [p.name for p in run.checkpoints()] == ["step-00000002.pt", "step-00000004.pt"]
    run.save({"step": 5}, keep=1)
    assert [p.name for p in run.checkpoints()] == ["step-00000005.pt"]


def test_what_a_new_checkpoint_replaces_stays_if_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.save({"step": 1}, keep=1)

    def half(run: Run, name: str, content: bytes) -> None:
        (run.path / name).write_bytes(content[: len(content) // 2])

    monkeypatch.setattr(Run, "write", half)
    with pytest.raises(DamagedError):
        run.save({"step": 2}, keep=1)
    with pytest.warns(
        UserWarning, match=r"step-00000002\.pt is truncated.*step-00000001\.pt is used"
    ):
        assert run.newest_checkpoint() == run.path / "step-00000001.pt"


def two_saved(folder: Path) -> Run:
    run = Run.create(folder, MLP)
    for step in (1, 2):
        run.append("log", {"step": step})
        run.save({"step": step}, keep=0)
    return run


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_truncated_checkpoint_is_passed_over(tmp_path: Path, left: int) -> None:
    run = two_saved(tmp_path / "run")
    before, newest = run.checkpoints()
    newest.write_bytes(newest.read_bytes()[:left])
    with pytest.raises(DamagedError, match=r"step-00000002\.pt is truncated"):
        run.load(newest)
    with pytest.warns(
        UserWarning, match=r"step-00000002\.pt is truncated.*step-00000001\.pt is used"
    ):
        assert run.newest_checkpoint() == before
    before.write_bytes(b"")
    with pytest.raises(DamagedError, match=r"no intact checkpoint.*remove them to train from the"):
        run.newest_checkpoint()


def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    run = two_saved(tmp_path / "run")
    newest = run.checkpoints()[-1]
    whole = newest.read_bytes()
    for place in range(0, 8 * len(whole), 37):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        newest.write_bytes(flipped)
        with pytest.raises(DamagedError):
            run.load(newest)


def test_damage_that_zips_checksums_miss_is_noticed(tmp_path: Path) -> None:
    """One bit of the directory marks a weight as a folder: torch.load then reads other numbers."""
    run = Run.create(tmp_path / "run", MLP)
    weights = torch.arange(1000.0)
    run.save({"step": 1, "weights": weights}, keep=0)
    (file,) = run.checkpoints()
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("data/0")]
        place = content.index(name.encode(), archive.start_dir) - 46
    content[place + 38] ^= 0x10
    file.write_bytes(content)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
    assert not torch.load(file, weights_only=True)["weights"].equal(weights)
    with pytest.raises(DamagedError, match="checksum does not match"):
        run.load(file)


def test_a_checkpoint_is_still_what_torch_and_zip_read(tmp_path: Path) -> None:
    newest = two_saved(tmp_path / "run").checkpoints()[-1]
    assert torch.load(newest, weights_only=True)["step"] == 2
    with zipfile.ZipFile(newest) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"ganatomy checkpoint %d sha256 " % FORMAT)


def test_a_checkpoint_of_a_later_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = two_saved(tmp_path / "run")
    newest = run.checkpoints()[-1]
    plain = io.BytesIO()
    torch.save({"step": 2}, plain)
    monkeypatch.setattr("ganatomy.storage.checksums.FORMAT", FORMAT + 1)
    newest.write_bytes(add_checksum(plain.getvalue()))
    monkeypatch.undo()
    with pytest.raises(DamagedError, match=rf"format {FORMAT + 1}, which needs a newer ganatomy"):
        run.load(newest)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run, other = two_saved(tmp_path / "run"), Run.create(tmp_path / "other", MLP.replace(lr_d=0.1))
    other.save({"step": 2}, keep=0)
    file = run.checkpoints()[-1]
    file.write_bytes(other.checkpoints()[-1].read_bytes())
    with pytest.raises(DamagedError, match="belongs to another run"):
        run.load(file)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, sealed: bool) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",)

    run = two_saved(tmp_path / "run")
    file = run.checkpoints()[-1]
    content = io.BytesIO()
    torch.save({"step": 2, "run": {"recipe": MLP.replace(steps=1).key}, "evil": Evil()}, content)
    file.write_bytes(add_checksum(content.getvalue()) if sealed else pickle.dumps(Evil()))
    with pytest.raises(DamagedError):
        run.load(file)
    assert not (tmp_path / "ran").exists()
    torch.load(io.BytesIO(content.getvalue()), weights_only=False)
    assert (tmp_path / "ran").exists()  # so it would have


def test_rewind_forgets_what_came_later(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    for step in range(5):
        run.append("log", {"step": step})
        run.append("metrics", {"step": step})
        run.write(f"samples/step-{step:08d}.png", b"")
        run.write(f"step-{step:08d}.pt", b"")
    with (run.path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "d_lo')  # killed here
    assert [row["step"] for row in run.rows("log")] == [0, 1, 2, 3, 4]
    run.rewind({"step": 1}, 2, 3)
    assert [row["step"] for row in run.rows("log")] == [0, 1, 2]
    assert [row["step"] for row in run.rows("metrics")] == [0, 1]
    assert [step for step, _ in run.grids()] == [0, 1, 2, 3]
    assert [file.name for file in run.checkpoints()] == ["step-00000000.pt", "step-00000001.pt"]
    assert len(list(run.path.glob("step-*.pt.broken"))) == 3


def test_a_row_that_was_cut_short_is_not_joined_to_the_next(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.append("log", {"step": 1})
    with (run.path / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "d_')
    run.rewind({"step": 1}, 1, 1)
    run.append("log", {"step": 2})
    assert run.rows("log") == [{"step": 1}, {"step": 2}]


def test_rows_that_a_checkpoint_was_saved_with_are_missed(tmp_path: Path) -> None:
    run = two_saved(tmp_path / "run")
    saved = run.load(run.checkpoints()[-1])
    run.rewind(saved, 2, 2)
    (run.path / "log.jsonl").write_bytes(b"")
    with pytest.raises(
        DamagedError, match=r"log\.jsonl has 0 of the 1 rows.*step 2 .*resume .* --from 2 --out NEW"
    ):
        run.rewind(saved, 2, 2)


def test_every_changed_bit_of_a_row_is_noticed(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    for step in (1, 2, 3):
        run.append("log", {"step": step, "d_loss": step / 3})
    file = run.path / "log.jsonl"
    whole = file.read_bytes()
    assert [json.loads(text)["step"] for text in whole.splitlines()] == [1, 2, 3]
    for place in range(8 * (len(whole) - 1)):  # the last newline: the row counts as truncated
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedError, match=r"log\.jsonl, line \d: is damaged"):
            run.rows("log")


@pytest.mark.parametrize("text", [b'{"step": 1', b'{"step": ' + 99_999 * b"[", b"{a"])
def test_a_row_with_a_checksum_of_its_own_is_still_json(tmp_path: Path, text: bytes) -> None:
    run = Run.create(tmp_path / "run", MLP)
    (run.path / "log.jsonl").write_bytes(text + b', "crc": "%08x"}\n' % zlib.crc32(text))
    if text == b'{"step": 1':
        assert run.rows("log") == [{"step": 1}]
        return
    with pytest.raises(DamagedError, match="line 1: is not JSON"):
        run.rows("log")


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.0002", "0.0003"), ('"steps": 14', '"steps": 15'), ('"key": "', '"key": "0')],
)
def test_settings_that_were_changed_are_noticed(tmp_path: Path, old: str, new: str) -> None:
    file = Run.create(tmp_path / "run", MLP).path / "recipe.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(DamagedError, match=r"recipe\.json is damaged: its values have the key"):
        Run(tmp_path / "run").recipe  # noqa: B018  (reading it is the test)
    with pytest.raises(ValueError, match="some were changed"):
        read(str(file))


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"steps": "many"}', "null"])
@pytest.mark.parametrize("name", ["recipe", "options"])
def test_damaged_settings_are_named(tmp_path: Path, name: str, content: str) -> None:
    run = Run.create(tmp_path / "run", MLP)
    (run.path / f"{name}.json").write_text(content)
    with pytest.raises(DamagedError, match=rf"{name}\.json is damaged"):
        getattr(run, name)


@pytest.mark.parametrize("content", [b"[{", b"5"])
def test_damaged_sessions_are_named(tmp_path: Path, content: bytes) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.write("environment.json", content)
    with pytest.raises(DamagedError, match=r"environment\.json is damaged"):
        run.sessions  # noqa: B018  (reading it is the test)


def test_a_run_killed_before_it_began_has_default_options(tmp_path: Path) -> None:
    assert Run.create(tmp_path / "run", MLP).options == RunOptions()


def test_environment_is_json_and_names_no_person() -> None:
    text = json.dumps(environment())
    assert str(Path.home()) not in text and "torch" in text


def test_settings_are_recorded(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    run.write_settings(MLP.replace(steps=99), RunOptions(log_every=7))
    assert run.recipe.training.steps == 99 and run.options.log_every == 7
