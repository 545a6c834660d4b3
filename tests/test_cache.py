"""The cache holds exactly the decoded images, written atomically, by their content alone."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import PIL
import pytest
import torch
from test_celeba import write_celeba
from test_folder import Write, png, write_folder, write_tar, write_tgz, write_zip

from ganatomy.data import Samples, decoding, digest, load, members
from ganatomy.data import cache as caches
from ganatomy.data.folder import load_images

FILES = {f"{kind}/{i}.png": png(10 * i + (kind == "b")) for kind in "ab" for i in range(5)}


@pytest.fixture(autouse=True)
def root(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty cache, which takes what has ten images."""
    monkeypatch.setattr(caches, "LARGE", 10)
    return cache / "ganatomy/images"


def kept(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if not path.name.endswith(".lock"))


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoding, "decode", fail)


def same(one: Samples, other: Samples) -> None:
    assert torch.equal(one.values, other.values) and torch.equal(one.labels, other.labels)
    assert one.classes == other.classes and one.labels.dtype == other.labels.dtype == torch.int64


@pytest.mark.parametrize("write", [write_folder, write_zip, write_tar, write_tgz])
@pytest.mark.parametrize("shape", [None, (3, 8, 8)])
def test_decoded_once(
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    shape: tuple[int, ...] | None,
) -> None:
    path = write(FILES, tmp_path / "pics")
    monkeypatch.setattr(caches, "LARGE", 11)
    expected = load_images(path, shape=shape)
    assert not root.exists()
    monkeypatch.setattr(caches, "LARGE", 10)
    same(load_images(path, shape=shape), expected)
    assert len(kept(root)) == 1
    no_decoding(monkeypatch)
    again = load_images(path, shape=shape)
    same(again, expected)
    assert again.values.is_contiguous() and digest(again) == digest(expected)
    path = path.rename(path.with_stem("moved"))  # found by content, not by place
    same(load_images(path, shape=shape), expected)


def test_values_may_be_written_to(tmp_path: Path, root: Path) -> None:
    """Nobody should; but torch warns of those that cannot be, and the file stays as it is."""
    path = write_zip(FILES, tmp_path / "pics")
    load_images(path).values.fill_(7)
    assert load_images(path).values[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 1, 11, 21, 31, 41]


def resident(of: str) -> float:
    """MB of this process that are files' pages, mapped (RssFile), or its own (RssAnon)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(of))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its memory")
def test_what_was_read_does_not_stay_resident(tmp_path: Path, root: Path) -> None:
    plain = {f"{i}.png": png(i) for i in range(10)}
    load_images(write_folder(plain, tmp_path / "pics"), shape=(3, 1024, 2048))
    data = load_images(tmp_path / "pics", shape=(3, 1024, 2048))
    assert data.mapped is not None and data.values.nbytes > 60e6
    before = resident("RssFile")
    first = data.batch(torch.arange(5))
    digest(data)
    assert resident("RssFile") < before + 10
    assert torch.equal(data.batch(torch.arange(5)), first)  # what is let go of can be read again
    data.values.sum()  # this does stay
    assert resident("RssFile") > before + 50


def test_about(tmp_path: Path, root: Path) -> None:
    path = write_folder(FILES, tmp_path / "pics")
    load_images(path, shape=(1, 5, 7))
    about = json.loads((kept(root)[0] / "about.json").read_text())
    assert len(about.pop("sha256")) == 2 and about.pop("crc")
    assert about == {
        "source": str(path),
        "count": 10,
        "shape": [1, 5, 7],
        "classes": ["a", "b"],
        "left_out": {},
        "notes": [],
    }
    assert np.load(kept(root)[0] / "values.npy").shape == (10, 1, 5, 7)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_another_content_or_policy_is_another_key(tmp_path: Path, root: Path, write: Write) -> None:
    def keys() -> int:
        return len(kept(root))

    path = write(FILES, tmp_path / "pics")
    first = load_images(path)
    assert load_images(path, shape=(3, 8, 8)).shape == (3, 8, 8) and keys() == 2
    assert load_images(path, shape=(1, 8, 8)).shape == (1, 8, 8) and keys() == 3
    same(load_images(path, skip_bad=True), first)
    assert keys() == 4
    write(FILES | {"a/0.png": png(99)}, tmp_path / "pics")  # other bytes
    assert load_images(path).values[0, 0, 0, 0] == 99 and keys() == 5
    write(FILES | {"a/5.png": png(50)}, tmp_path / "pics")  # one more
    assert len(load_images(path)) == 11 and keys() == 6
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    renamed = {name.replace("b/", "c/"): content for name, content in FILES.items()}
    assert load_images(write(renamed, tmp_path / "pics")).classes == ("a", "c") and keys() == 7
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    moved = {name.replace("a/4", "b/!"): content for name, content in FILES.items()}
    made = load_images(write(moved, tmp_path / "pics"))  # the same bytes in the same order
    assert torch.equal(made.values, first.values) and made.labels.sum() == 6 and keys() == 8


def test_splits_are_apart(tmp_path: Path, root: Path) -> None:
    files = {f"{part}/{n}": c for part in ("train", "test") for n, c in FILES.items()}
    files["test/a/0.png"] = png(200)
    path = write_tgz(files, tmp_path / "pics")
    for _ in range(2):
        train, test, everything = (load_images(path, s) for s in ("train", "test", None))
        assert train.values[0, 0, 0, 0] == 0 and test.values[0, 0, 0, 0] == 200
        assert len(everything) == 20 and len(kept(root)) == 3


def test_another_pillow_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(FILES, tmp_path / "pics")
    known = caches.archive_key(path, None)
    assert known == caches.archive_key(path, None) != caches.archive_key(path, "train")
    monkeypatch.setattr(PIL, "__version__", "1.0")
    assert caches.archive_key(path, None) != known


def test_what_is_left_out_is_told_each_time(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_folder(FILES | {"a/1.png": b"bad", "b/9.png": b""}, tmp_path / "pics")
    with pytest.raises(ValueError, match=r"a/1.png cannot be read"):
        load_images(path)
    assert kept(root) == []
    told = r"pics: left out 2 of 11 images, a/1.png, b/9.png: cannot be read"
    with pytest.warns(UserWarning, match=told):
        first = load_images(path, skip_bad=True)
    assert len(first) == 9 and first.labels.tolist() == [0] * 4 + [1] * 5
    no_decoding(monkeypatch)
    with pytest.warns(UserWarning, match=told) as caught:
        same(load_images(path, skip_bad=True), first)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["values.npy", "labels.npy", "about.json"])
@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "longer", "other", "flipped"])
def test_damaged_caches_are_made_again(tmp_path: Path, root: Path, name: str, harm: str) -> None:
    path = write_zip(FILES, tmp_path / "pics")
    expected = load_images(path).values.clone()
    file = kept(root)[0] / name
    content = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        other = b'{"count": 3}' if name == "about.json" else content.replace(b"(10,", b"(9,")
        harmed = {"cut": content[:-3], "empty": b"", "longer": content + b"}", "other": other}
        harmed["flipped"] = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        file.write_bytes(harmed[harm])
    assert torch.equal(load_images(path).values, expected)
    assert len(kept(root)) == 1
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("about.json", b"[" * 99_999),
        ("about.json", b"[]"),
        ("values.npy", "npz"),
        ("labels.npy", "npz"),
        ("labels.npy", np.arange(10) - 1),
        ("labels.npy", np.full(10, 2)),
        ("labels.npy", np.zeros(10)),
        ("labels.npy", np.zeros((10, 2), np.int64)),
    ],
)
def test_caches_that_others_have_written(
    tmp_path: Path, root: Path, name: str, content: object
) -> None:
    path = write_zip(FILES, tmp_path / "pics")
    expected = load_images(path)
    file = kept(root)[0] / name
    file.unlink()  # it is mapped
    with file.open("wb") as written:
        if isinstance(content, str):
            np.savez(written, np.zeros(10))
        elif isinstance(content, bytes):
            written.write(content)
        else:
            np.save(written, np.asarray(content))
    found = load_images(path)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.labels, expected.labels)


def interrupted(after: int, error: BaseException) -> Callable[..., Iterator[object]]:
    whole = decoding.usable

    def usable(*arguments: object) -> Iterator[object]:
        for i, row in enumerate(whole(*arguments)):  # type: ignore[arg-type]
            if i == after:
                raise error
            yield row

    return usable


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), ValueError("bad")])
def test_interrupted(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = write_tgz(FILES, tmp_path / "pics")
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(caches, "usable", interrupted(5, error))
        load_images(path)
    assert kept(root) == []
    assert len(load_images(path)) == 10


class Room(NamedTuple):
    """What disk_usage says."""

    free: int


def test_no_space_to_begin_with(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tgz(FILES, tmp_path / "pics")
    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(shutil, "disk_usage", lambda _: Room(10 * 3 * 500 * 500 - 1))
        load_images(path, shape=(3, 500, 500))
    said = f"no space left in {root}: needs about 0.0075 GB; free some or set XDG_CACHE_HOME"
    assert said in str(caught.value)
    assert kept(root) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Room(10 * 3 * 500 * 500))
    assert len(load_images(path, shape=(3, 500, 500))) == 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_no_space_on_the_way(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = write_folder(FILES, tmp_path / "pics")

    def full(_: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    what = "cannot write .Permission denied." if number == errno.EACCES else "no space left in"
    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"{what}.*XDG_CACHE_HOME"):
        patch.setattr(os, "fsync", full)
        load_images(path)
    assert kept(root) == []
    assert len(load_images(path)) == 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_device(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written, not mapped: there a full disk would be a signal that ends the process."""
    path, header = write_folder(FILES, tmp_path / "pics"), caches._write_values
    monkeypatch.setattr(caches, "_write_values", lambda _, *rest: header(Path("/dev/full"), *rest))
    with pytest.raises(OSError, match=r"no space left in .*needs about"):
        load_images(path)
    assert kept(root) == []


def test_a_cache_that_is_a_file(tmp_path: Path, root: Path) -> None:
    path = write_folder(FILES, tmp_path / "pics")
    root.parent.mkdir(parents=True)
    root.write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot write .*set XDG_CACHE_HOME"):
        load_images(path)


SLOW = """
import sys, time
from pathlib import Path
from ganatomy.data import cache, decoding, load_images
whole, cache.LARGE = decoding.decode, 10
def slowly(*arguments):
    time.sleep(float(sys.argv[2]))
    return whole(*arguments)
decoding.decode = slowly
print(len(load_images(Path(sys.argv[1]))))
"""


def start(path: Path, pause: float) -> subprocess.Popen[str]:
    """Build in another process, with a pause before each image."""
    arguments = [sys.executable, "-c", SLOW, str(path), str(pause)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def wait_for(found: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed(tmp_path: Path, root: Path) -> None:
    """Nothing half-written is used, and the next build of anything removes it."""
    path = write_folder(FILES, tmp_path / "pics")
    other = write_folder(FILES | {"b/0.png": png(77)}, tmp_path / "other")
    process = start(path, 0.3)
    wait_for(lambda: list(root.glob(".*.tmp/values.npy")))
    load_images(other)  # which leaves a living one alone
    assert len(list(root.glob(".*.tmp"))) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(root.glob(".*.tmp"))) == 1
    assert len(load_images(other, shape=(3, 4, 4))) == 10
    assert list(root.glob(".*.tmp")) == [] and len(kept(root)) == 2
    assert len(load_images(path)) == 10 and len(kept(root)) == 3


def test_killed_and_built_again(tmp_path: Path, root: Path) -> None:
    path = write_folder(FILES, tmp_path / "pics")
    process = start(path, 0.3)
    wait_for(lambda: list(root.glob(".*.tmp/values.npy")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert load_images(path).values[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 1, 11, 21, 31, 41]
    assert len(kept(root)) == 1 and kept(root)[0].suffix == ""


def test_two_processes_build_one(tmp_path: Path, root: Path) -> None:
    path = write_folder(FILES, tmp_path / "pics")
    process = start(path, 0.1)
    wait_for(lambda: list(root.glob(".*.tmp/values.npy")))
    made = load_images(path)  # waits
    assert process.communicate()[0] == "10\n" and process.returncode == 0
    assert len(made) == 10 and len(kept(root)) == 1


def test_celeba(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{i:06}.jpg {0 if i <= 10 else 2}" for i in range(1, 13)]
    faces = write_celeba(tmp_path, lines, 12)
    first, test = load("celeba", tmp_path, "train"), load("celeba", tmp_path, "test")
    assert first.values.shape == (10, 3, 64, 64) and len(test) == 2 and len(kept(root)) == 1
    load("celeba", tmp_path, "train", shape=(3, 32, 32))
    assert len(kept(root)) == 2
    with monkeypatch.context() as patch:
        no_decoding(patch)
        same(load("celeba", tmp_path, "train"), first)
    (faces / "000001.jpg").write_bytes((faces / "000012.jpg").read_bytes())
    changed = load("celeba", tmp_path, "train").values
    assert torch.equal(changed[0], test.values[1]) and torch.equal(changed[1:], first.values[1:])


def test_a_bar_in_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rich
    from rich.console import Console

    path = write_folder(FILES, tmp_path / "pics[1]")
    monkeypatch.setattr(decoding, "BAR", 5)
    monkeypatch.setattr(rich, "_console", Console(force_terminal=True, width=200))
    assert len(load_images(path)) == 10
    assert f"decoding {path}" in capsys.readouterr().out
    monkeypatch.setattr(rich, "_console", Console(force_terminal=False, width=200))
    assert len(load_images(path, shape=(1, 2, 2))) == 10
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("held", [10, 2**28])
def test_a_compressed_tar_need_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(members, "IN_MEMORY", held)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    same(
        load_images(write_tgz(FILES, tmp_path / "a")), load_images(write_tar(FILES, tmp_path / "b"))
    )
    assert list((tmp_path / "spool").iterdir()) == []


def test_no_space_for_a_compressed_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tgz(FILES, tmp_path / "pics")

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", full)
    with pytest.raises(OSError, match=r"no space left in .*; free some or set TMPDIR"):
        load_images(path)
