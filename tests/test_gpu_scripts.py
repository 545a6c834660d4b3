"""The scripts for a bare machine with a GPU, tried without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts are for bash")


def call(script: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script of scripts/."""
    command = ["bash", str(ROOT / "scripts" / script), *words]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True)


def test_the_plan_comes_first_and_adds_up(tmp_path: Path) -> None:
    words = ["--minutes", "9", "--study", "r3-modes", "--study", "r3-capacity", "--plan"]
    found = call("gpu.sh", *words, OUT=str(tmp_path / "out"))
    assert found.returncode == 0
    lines = found.stdout.splitlines()
    assert lines[0] == "plan, at most 9 minutes:"
    seconds = [int(line.partition(" s  ")[0].split()[-1]) for line in lines[1:]]
    assert len(seconds) == 6 and 530 <= sum(seconds) <= 540
    assert not any((tmp_path / "out").iterdir())


def test_stages_that_are_skipped_leave_their_time_to_the_studies(tmp_path: Path) -> None:
    words = ["--minutes", "9", "--all", "--skip", "tests", "--skip", "bench", "--plan"]
    found = call("gpu.sh", *words, OUT=str(tmp_path / "out"))
    *_, machine, studies = found.stdout.splitlines()
    assert "ganatomy doctor" in machine and "tests" not in found.stdout
    assert studies.split()[1] == "480" and studies.endswith("study --all --budget 420s")


def test_archives_come_in_as_parts_and_go_out_as_parts(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "scripts").mkdir(parents=True)
    (copy / "scripts" / "gpu.sh").write_text((ROOT / "scripts" / "gpu.sh").read_text())
    (copy / ".gpu").mkdir()
    for part, text in (("00", "a" * 9_000_000), ("01", "b" * 9_000_000)):
        (copy / ".gpu" / f"runs.tar.gz.{part}").write_text(text)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    command = ["bash", str(copy / "scripts/gpu.sh"), "--all"]
    env = os.environ | {"OUT": str(tmp_path / "out"), "PYTHON": str(python)}
    assert subprocess.run(command, env=env, capture_output=True).returncode == 0
    parts = [tmp_path / "out" / f"runs.tar.gz.0{k}" for k in range(2)]
    assert [len(part.read_bytes()) for part in parts] == [15_000_000, 3_000_000]
    assert not (tmp_path / "out" / "runs.tar.gz").exists()


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--minutes", "x"], ["--fast"]])
def test_wrong_words(words: list[str]) -> None:
    found = call("gpu.sh", *words)
    assert found.returncode == 2 and len(found.stderr.splitlines()) == 1


def test_each_stage_survives_the_failure_of_the_one_before(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    broken.chmod(0o755)
    found = call("gpu.sh", "--study", "r3-modes", OUT=str(tmp_path / "out"), PYTHON=str(broken))
    assert found.returncode == 1
    summary = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in summary] == [
        *("install", "machine", "tests", "benchmark", "study r3-modes")
    ]
    assert all("exit 3" in line for line in summary[1:])
    assert (tmp_path / "out" / "tests.txt").read_text() == "broken\n"


def test_packing_says_what_is_missing(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "python3").write_text("#!/bin/sh\nexit 1\n")
    (bin_ / "python3").chmod(0o755)
    copy = tmp_path / "copy" / "scripts"
    copy.mkdir(parents=True)
    (copy / "pack_gpu.sh").write_text((ROOT / "scripts" / "pack_gpu.sh").read_text())
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"12345")
    path = f"{bin_}:{os.environ['PATH']}"
    command = ["bash", str(copy / "pack_gpu.sh"), str(tmp_path / "data")]
    found = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert found.returncode == 0
    assert "left out: no wheel of tyro for Python 3.12" in found.stderr
    assert "train-images-idx3-ubyte" in found.stderr and "cifar10-jpeg.tar.gz" in found.stderr
    packed = sorted(p.name for p in (tmp_path / "copy" / ".gpu").rglob("*") if p.is_file())
    assert packed == ["t10k-labels-idx1-ubyte.gz"]
    assert ".gpu holds 1 files of 0 MiB" in found.stdout


def test_packing_refuses_too_much(tmp_path: Path) -> None:
    copy = tmp_path / "scripts"
    copy.mkdir()
    text = (ROOT / "scripts" / "pack_gpu.sh").read_text()
    (copy / "pack_gpu.sh").write_text(text.replace("60 * 1024", "0 * 1024"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar10-jpeg.tar.gz").write_bytes(b"x")
    command = ["bash", str(copy / "pack_gpu.sh"), str(tmp_path / "data"), "--python", "0.0"]
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    found = subprocess.run(command, env=env, capture_output=True, text=True)
    assert found.returncode == 1 and "more than 0 MiB" in found.stderr
