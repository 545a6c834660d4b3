"""data check finds what training would stumble over, and says what to do in one screen."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from test_folder import WRITERS, Files, encode, png, write_folder, write_npz, write_zip
from test_pixels import BAD, GOOD

from ganatomy.api.evaluate import _load
from ganatomy.cli.data import Data
from ganatomy.data import as_dataset
from ganatomy.data.convert import FLAG
from ganatomy.data.folder import load_images
from ganatomy.data.inspection import inspect, suggested
from ganatomy.evaluation.settings import EvaluationSettings

SPLITS = {
    f"{part}/{kind}/{i}.png": png(40 * j + 20 * k + i)
    for j, part in enumerate(("train", "test"))
    for k, kind in enumerate(("cat", "dog"))
    for i in range(3)
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Files], Path]:
    return lambda files: request.param(files, tmp_path / "pics")


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """The exit code and findings, which must agree with what is shown to a person."""
    code = Data(action="check", path=path, json=True)()
    found = json.loads(capsys.readouterr().out)
    assert Data(action="check", path=path)() == code == bool(found["todo"])
    shown = capsys.readouterr().out
    assert all(line in shown for line in found["todo"])
    assert ("all can be used as they are" in shown) == (code == 0)
    return code, found


def test_all_is_well(write: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = write(SPLITS | {"notes.txt": b"x", "a.TXT": b"", ".DS_Store": b"", "readme": b""})
    code, found = check(path, capsys)
    assert code == 0 and found["images"] == 12 and found["bad"] == found["copies"] == 0
    assert found["splits"] == {"train": {"cat": 3, "dog": 3}, "test": {"cat": 3, "dog": 3}}
    assert found["used"] == {"train": "train", "test": "test"}
    assert (found["formats"], found["modes"], found["sizes"]) == (
        {"PNG": 12},
        {"RGB": 12},
        {"6 x 4": 12},
    )
    assert found["others"] == {".txt": 2, "hidden": 1, "no suffix": 1}


def test_nothing_is_changed(tmp_path: Path, cache: Path) -> None:
    path = write_folder(SPLITS, tmp_path / "pics")
    before = {file: file.stat() for file in path.rglob("*")}
    inspect(path)
    inspect(write_zip(SPLITS, tmp_path / "pics"))
    assert {file: file.stat() for file in path.rglob("*")} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pics", "pics.zip"]


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Whatever images refuses is found, and the cure that is named works."""
    files = {"a/0.png": png(5), "a/1.png": BAD[what][0], "b/2.png": png(6)}
    path = write_folder(files, tmp_path / "pics")
    code, found = check(path, capsys)
    assert code == 1 and len(found["todo"]) == 1
    if what in ("size", "mode"):
        wanted = "3 4 6" if what == "mode" else None
        assert found["todo"][0].startswith(f"--shape {wanted or '3 16 16'}: ")
        made = load_images(path, shape=(3, 4, 6))
    else:
        assert found["bad"] == 1 and list(found["bad_examples"]) == ["a/1.png"]
        how = FLAG if FLAG in found["bad_examples"]["a/1.png"] else "--skip_bad: leave out 1 "
        assert found["todo"][0].startswith(how)
        with pytest.warns(UserWarning, match="left out 1 of 3"):
            made = load_images(path, skip_bad=True)
    assert len(made) == 3 - found["bad"]


def test_modes_in_words(tmp_path: Path) -> None:
    named = ("16-bit gray", "16-bit RGB", "float", "CMYK", "transparent", "transparent palette")
    files = {f"{i}.png": BAD[what][0] for i, what in enumerate(named)} | {"x.png": GOOD}
    files |= {"g.png": png(1, 4, 6), "e.png": b""}
    found = inspect(write_folder(files, tmp_path / "pics"))
    assert found.modes == {
        "gray": 1, "RGB": 1, "RGBA": 1, "CMYK": 1, "palette": 1, "float": 1,
        "16-bit gray": 1, "16-bit RGB": 1, "unknown": 1,
    }  # fmt: skip
    assert found.formats == {"PNG": 6, "JPEG": 1, "TIFF": 1, "unknown": 1}
    assert found.sizes == {"6 x 4": 8, "unknown": 1} and found.bad == 7


def test_copies_and_leaks(
    write: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """By pixels, not bytes: the same image in another format is a copy too."""
    again = encode(np.full((4, 6, 3), 1, np.uint8), "BMP")
    files = SPLITS | {"train/dog/x.bmp": again, "train/dog/y.bmp": again}
    code, found = check(write(files), capsys)
    assert code == 0 and found["copies"] == 2 and found["leaks"] == 0
    assert found["copy_pairs"] == [["train/cat/1.png", f"train/dog/{n}.bmp"] for n in "xy"]
    files |= {f"test/dog/{i}.bmp": again for i in range(5)}
    code, found = check(write(files), capsys)
    assert code == 1 and found["leaks"] == 5 and found["copies"] == 7
    pairs = [["train/cat/1.png", f"test/dog/{i}.bmp"] for i in range(3)]
    assert found["leak_pairs"] == pairs
    assert "remove 5 test images" in found["todo"][0]


def test_no_leak_without_training_images(tmp_path: Path) -> None:
    path = write_folder({f"test/{i}.png": png(1) for i in range(3)}, tmp_path / "pics")
    found = inspect(path)
    assert (found.used, found.copies, found.leaks) == ({"test": "test"}, 2, 0)


def test_splits_that_are_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unused = {"val/cat/0.png": png(1), "extra/odd/0.png": png(2, 9, 9), "x.png": b"bad"}
    code, found = check(write_folder(SPLITS | unused, tmp_path / "pics"), capsys)
    uses = {"train": "train", "test": "test", "val": "nothing", "": "nothing"}
    assert found["used"] == uses and list(found["bad_examples"]) == ["x.png"]
    assert code == 0 and found["leaks"] == 0 and found["distinct_sizes"] == 3
    outside = write_folder(SPLITS | {"train/x.png": png(3)}, tmp_path / "outside")
    code, found = check(outside, capsys)
    assert found["bad_examples"] == {"train/x.png": "lies outside the class folders"} and code == 1


def test_many_of_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {f"{i:03}.png": png(i, 4, i + 1) for i in range(30)}
    bad = {f"bad{i:03}.png": b"x" for i in range(12)}
    _, found = check(write_folder(sizes | bad, tmp_path / "pics"), capsys)
    assert len(found["sizes"]) == 10 and found["distinct_sizes"] == 31
    assert found["bad"] == 12 and len(found["bad_examples"]) == 10
    Data(action="check", path=tmp_path / "pics")()
    shown = capsys.readouterr().out
    assert "and 2 more" in shown and all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("seen", "brightest"),
    [
        ([0, 1], "1 of 255;"),
        ([0], "0 of 255;"),
        ([0, 1, 255], "1 of 255 except"),
        ([255, 1], "1 of 255 except"),
        ([0, 255], None),
        ([0, 2], None),
        ([0, 1, 254], None),
        ([1], None),
    ],
)
def test_floats_that_were_cast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seen: list[int], brightest: str | None
) -> None:
    """From files as from arrays, in training as in the check."""
    images = np.resize(np.array(seen, np.uint8), (3, 5, 7))
    files = {f"{i}.png": encode(image) for i, image in enumerate(images)}
    paths = write_folder(files, tmp_path / "pics"), write_npz(tmp_path / "a.npz", images=images)
    for path in paths:
        code, found = check(path, capsys)
        if brightest is None:
            assert code == 0 and len(load_images(path)) == 3
            continue
        assert code == 1 and f"the brightest value is {brightest}" in found["todo"][0]
        with pytest.warns(UserWarning, match=f"the brightest value is {brightest}"):
            load_images(path)
    if brightest is not None:
        with pytest.warns(UserWarning, match=f"the brightest value is {brightest}"):
            as_dataset(images)
        with pytest.warns(UserWarning, match=f"the brightest value is {brightest}"):
            _load(images, EvaluationSettings())


def test_none_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(write_zip({"a.png": b"bad"}, tmp_path / "pics"), capsys)
    assert code == 1 and found["todo"] == ["no image can be used; repair them"]


def test_npz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.full((4, 5, 6), 7, np.uint8)
    path = write_npz(tmp_path / "a.npz", images=images, labels=np.array([0, 1, 1, 1]))
    code, found = check(path, capsys)
    assert code == 0 and found["splits"] == {"": {"0": 1, "1": 3}} and found["copies"] == 3
    assert (found["formats"], found["modes"], found["sizes"]) == (
        {"array": 4},
        {"gray": 4},
        {"6 x 5": 4},
    )


@pytest.mark.parametrize("name", ["none", "a.rar", "empty", "bad.zip", "bad.npz"])
def test_what_is_no_path_of_images(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for bad in ("a.rar", "bad.zip", "bad.npz"):
        (tmp_path / bad).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no images|there is no|is not a folder|cannot be read"):
        Data(action="check", path=tmp_path / name)()


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({(1, 9, 7): 1, (3, 9, 7): 5}, (3, 9, 7)),
        ({(1, 200, 300): 5, (1, 90, 300): 1}, (1, 128, 128)),
        ({(3, 64, 64): 5, (1, 10, 10): 1}, (3, 64, 64)),
        ({(3, 63, 64): 5, (1, 200, 200): 4}, (3, 32, 32)),
        ({(1, 2, 2): 1, (1, 3, 3): 1}, (1, 16, 16)),
    ],
)
def test_suggested(shapes: dict[tuple[int, ...], int], expected: tuple[int, ...]) -> None:
    assert suggested(shapes) == expected


def test_arguments() -> None:
    parsed = tyro.cli(Data, args=["check", "some/dir", "--json"])
    assert parsed == Data(action="check", path=Path("some/dir"), json=True)
