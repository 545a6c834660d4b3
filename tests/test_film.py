"""A film has a frame for each checkpoint, of the same latent vectors; a folder a PNG a sample."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import MLP, Call
from PIL import Image

from ganatomy.api.run import Run
from ganatomy.api.train import load
from ganatomy.figures.images import grid, to_uint8
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs import film
from ganatomy.runs.sampling import generate, load_generator
from ganatomy.training.loop import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all of its checkpoints."""
    options = RunOptions(save_every=4, keep=0, device="cpu")
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return load(fit(MLP.replace(steps=12, ema=0.5), path, options).path)


def test_frames_are_the_samples_of_each_checkpoint(run: Run, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "film.gif"
    given = ("sample", run.path, "--n", 5, "--out", out, "--over_checkpoints")
    code, said, _ = call(*given, "--seed", 3)
    assert code == 0 and said.strip() == f"5 samples of 3 steps, 4 to 12: {out}"
    with Image.open(out) as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0 and gif.info["duration"] == 500  # type: ignore[attr-defined]
        for i, file in enumerate(run.checkpoints()):
            gif.seek(i)
            samples = generate(load_generator(run, file)[1], 5, run.recipe, 3)
            expected = grid(to_uint8(samples), 3)[0].numpy()
            assert np.array_equal(np.asarray(gif.convert("L")), expected)
    last = grid(to_uint8(run.sample(5, seed=3)), 3)[0].numpy()
    assert np.array_equal(last, expected)  # averaged weights, as sample has
    result = json.loads(call(*given, "--json")[1])
    assert result == {"out": str(out), "n": 5, "steps": [4, 8, 12], "seed": 0}


def test_a_damaged_checkpoint_is_left_out(run: Run, tmp_path: Path) -> None:
    copy = load(shutil.copytree(run.path, tmp_path / "copy"))
    copy.checkpoints()[1].write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"left out of the film: .*step-00000008.pt"):
        assert copy.save_film(tmp_path / "a.gif", 2).steps == (4, 12)
    copy.checkpoints()[0].unlink()
    copy.checkpoints()[0].unlink()
    with pytest.raises(ValueError, match=r"two checkpoints or more, and .* has 1; .*--keep 0"):
        copy.save_film(tmp_path / "b.gif", 2)
    assert not (tmp_path / "b.gif").exists()


def test_a_film_needs_its_suffix_and_flag(run: Run, tmp_path: Path, call: Call) -> None:
    code, _, said = call("sample", run.path, "--out", tmp_path / "a.gif")
    assert code == 2 and "add --over_checkpoints" in said
    code, _, said = call("sample", run.path, "--out", tmp_path / "a.png", "--over_checkpoints")
    assert code == 2 and "must end in .gif or .mp4" in said
    with pytest.raises(ValueError, match="n must be at least 1"):
        run.save_film(tmp_path / "a.gif", 0)
    assert not list(tmp_path.iterdir())


def test_without_ffmpeg(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match=r"ffmpeg, which is not installed; write a .gif"):
        run.save_film(tmp_path / "a.mp4", 4)


def test_ffmpeg_gets_the_frames(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in place of ffmpeg, which is not on every machine."""
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor out; do :; done\necho "$@" > "$out"; cat >> "$out"\n')
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    run.save_film(tmp_path / "a.mp4", 4)
    arguments, _, pixels = (tmp_path / "a.mp4").read_bytes().partition(b"\n")
    assert b"-s 62x62 -r 2.000 -i -" in arguments and len(pixels) == 3 * 62 * 62 * 3
    program.write_text('#!/bin/sh\ncat > /dev/null; echo "Unknown encoder" >&2; exit 1\n')
    with pytest.raises(ValueError, match=r"ffmpeg failed \(Unknown encoder\); write a .gif"):
        run.save_film(tmp_path / "b.mp4", 4)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_an_mp4_can_be_played(run: Run, tmp_path: Path) -> None:
    run.save_film(tmp_path / "a.mp4", 3)
    command = ["ffmpeg", "-i", str(tmp_path / "a.mp4"), "-f", "rawvideo", "-"]
    assert subprocess.run(command, capture_output=True, check=True).stdout


def test_films_of_many_frames_are_as_long(tmp_path: Path) -> None:
    images = [Image.new("L", (3, 2), i) for i in range(60)]
    with Image.open(film.save_film(tmp_path / "a.gif", images)) as gif:
        assert gif.n_frames == 60 and gif.info["duration"] == 100  # type: ignore[attr-defined]


def test_a_folder_of_samples(run: Run, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "fakes"
    code, said, _ = call("sample", run.path, "--n", 11, "--out", f"{out}/", "--seed", 2)
    assert code == 0 and said.strip() == f"11 samples of step 12: {out}"
    names = sorted(p.name for p in out.iterdir())
    assert names == [f"{i:02}.png" for i in range(11)]
    for sample, name in zip(to_uint8(run.sample(11, seed=2)), names, strict=True):
        with Image.open(out / name) as image:
            assert image.mode == "L" and np.array_equal(np.asarray(image), sample[0].numpy())
    code, _, said = call("sample", run.path, "--out", out)
    assert code == 2 and "fakes is not an empty folder; remove it" in said
    assert len(list(out.iterdir())) == 11
    (tmp_path / "v1.5").mkdir()
    assert run.save_samples(tmp_path / "v1.5", 1).out == tmp_path / "v1.5"
    assert [p.name for p in (tmp_path / "v1.5").iterdir()] == ["0.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fakes", "v1.5"]


def test_a_folder_is_whole_or_absent(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        run.save_samples(tmp_path / "fakes", 5)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    (tmp_path / ".fakes.tmp").mkdir()  # of a killed process
    (tmp_path / ".fakes.tmp" / "9.png").write_bytes(b"x")
    run.save_samples(tmp_path / "fakes", 5)
    assert [p.name for p in tmp_path.iterdir()] == ["fakes"]
    assert len(list((tmp_path / "fakes").iterdir())) == 5
