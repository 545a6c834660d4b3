"""Arrays are found by their names, in their splits; each that is not read is named."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_folder import refuses, shade, values, write_npz

from ganatomy.data import arrays
from ganatomy.data.folder import load_images
from ganatomy.data.inspection import inspect

PAIR = np.stack([shade(1), shade(2)])


TRAIN, VAL, TEST = (np.stack([shade(10 * i + j, 4, 6) for j in range(3)]) for i in (1, 2, 3))
IDS = np.array([7, 2, 7])

LAYOUTS: dict[str, dict[str, Any]] = {
    "Keras": {"x_train": TRAIN, "y_train": IDS, "x_test": TEST, "y_test": IDS[::-1]},
    "MedMNIST": {
        "train_images": TRAIN, "val_images": VAL, "test_images": TEST,
        "train_labels": IDS[:, None].astype(np.uint8), "val_labels": np.array([[9], [9], [9]]),
        "test_labels": IDS[::-1, None],
    },
    "validation only": {"X_train": TRAIN, "Y_train": IDS, "X_valid": TEST, "Y_valid": IDS[::-1]},
    "deep learning course": {
        "train_set_x": TRAIN, "train_set_y": IDS, "test_set_x": TEST, "test_set_y": IDS[::-1],
    },
    "names of the splits": {"train": TRAIN, "test": TEST},
    "groups": {
        "train/image": TRAIN, "train/label": IDS, "test/image": TEST, "test/label": IDS[::-1],
    },
    "camel case": {
        "trainData": TRAIN, "trainTarget": IDS, "testData": TEST, "testTarget": IDS[::-1],
    },
}  # fmt: skip


def check_layout(path: Path, layout: str) -> None:
    """The training and test images of TRAIN and TEST, with the classes of all splits."""
    both = layout == "MedMNIST"
    for split, images in (("train", TRAIN), ("test", TEST)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            samples = load_images(path, split)  # type: ignore[arg-type]
        said = [str(w.message).removeprefix(f"{path}: ") for w in caught]
        assert said == ["the test images are those of test; those of val (3) are not used"] * both
        assert torch.equal(samples.values[:, 0], torch.from_numpy(images))
        if layout == "names of the splits":
            assert samples.classes == () and not samples.labels.any()
            continue
        assert samples.classes == (("2", "7", "9") if both else ("2", "7"))
        assert [samples.classes[k] for k in samples.labels] == ["7", "2", "7"]
    assert len(load_images(path)) == (9 if both else 6)
    found = inspect(path)
    assert found.images == len(load_images(path)) and found.notes == tuple(said) and not found.bad
    assert found.used["train"] == "train" and "test" in found.used.values()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_npz(tmp_path: Path, layout: str) -> None:
    check_layout(write_npz(tmp_path / "a.npz", **LAYOUTS[layout]), layout)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64, "column", "one-hot"])
def test_types_of_labels(tmp_path: Path, kind: Any) -> None:
    named = {"column": IDS[:, None], "one-hot": np.eye(8, dtype=np.float32)[IDS]}
    y = named[kind] if isinstance(kind, str) else IDS.astype(kind)
    samples = load_images(write_npz(tmp_path / "a.npz", image=TRAIN, label=y))
    assert samples.classes == ("2", "7") and samples.labels.tolist() == [1, 0, 1]


def test_labels_that_are_ids(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=TRAIN, y=np.array([20001, 1, 10**12]))
    assert load_images(path).classes == ("1", "20001", "1000000000000")
    path = write_npz(tmp_path / "a.npz", x=TRAIN, y=np.full(3, 5))
    assert load_images(path).classes == ()  # one class is none, as of folders


def test_several_labels_an_image(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=TRAIN, y=np.array([[0, 1], [1, 1], [0, 0]]))
    with pytest.warns(UserWarning, match=r"arrays that are not read: y \(3, 2\)"):
        assert load_images(path).classes == ()


UNREAD = [
    ({"images": TRAIN, "x": VAL}, "x (3, 4, 6)"),
    ({"x_train": TRAIN, "x_test": TEST, "mean": TRAIN[0]}, "mean (4, 6)"),
    ({"x_train": TRAIN, "x_test": TEST, "masks": TRAIN}, "masks (3, 4, 6)"),
    ({"data": np.zeros((3, 24)), "faces": TRAIN, "target": IDS}, "data (3, 24)"),
    ({"x": TRAIN, "fine_labels": IDS, "superclass": IDS}, "fine_labels (3,), superclass (3,)"),
    ({"train_images": TRAIN, "test_labels": IDS}, "test_labels (3,)"),
]  # fmt: skip


@pytest.mark.parametrize(("named", "unread"), UNREAD)
def test_arrays_that_are_not_read_are_named(
    tmp_path: Path, named: dict[str, Any], unread: str
) -> None:
    path = write_npz(tmp_path / "a.npz", **named)
    with pytest.warns(UserWarning) as caught:
        assert values(load_images(path, "train")) == [10, 11, 12]
    note = f"arrays that are not read: {unread}"
    assert [str(w.message) for w in caught] == [f"{path}: {note}"]
    assert caught[0].filename == __file__ and inspect(path).notes == (note,)


def test_images_of_no_split(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=VAL, x_train=TRAIN)
    with pytest.warns(UserWarning, match="images in no split are not used: 3$"):
        assert values(load_images(path, "train")) == [10, 11, 12]
    refuses(path, "no test images: call arrays x_train and x_test", "test")


def test_splits_of_several_shapes(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x_train=TRAIN, x_test=TEST[:, :3])
    refuses(path, r"images of several shapes, \[\(1, 3, 6\), \(1, 4, 6\)\]")
    assert values(load_images(path, "test")) == [30, 31, 32]


@pytest.mark.parametrize("name", ["images", "arr_0", "x", "faces"])
@pytest.mark.parametrize("labels", ["labels", "y", "arr_1"])
def test_npz_names(tmp_path: Path, name: str, labels: str) -> None:
    path = write_npz(tmp_path / "a.npz", **{name: PAIR, labels: np.array([2, 0], np.uint8)})
    samples = load_images(path, "train")
    assert values(samples) == [1, 2] and samples.labels.tolist() == [1, 0]
    assert samples.classes == ("0", "2")
    refuses(path, "no test images", "test")


def test_npz_finds_the_images(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", ids=np.arange(2), faces=PAIR, masks=PAIR[..., 0] + 5)
    with pytest.warns(UserWarning, match=r"not read: ids \(2,\), masks \(2, 4, 6\)$"):
        assert values(load_images(path)) == [1, 2]
    path = write_npz(tmp_path / "a.npz", masks=PAIR[..., 0] + 5)
    assert values(load_images(path)) == [6, 7]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"a": PAIR, "b": PAIR}, r"which array .* a \(2, 4, 6, 3\), b \(2, 4, 6, 3\)"),
        ({"a": PAIR, "b": PAIR, "gray": PAIR[..., 0]}, "which array"),
        ({"a": np.arange(3)}, "which array"),
        ({}, "there are none"),
        ({"x": np.arange(3, dtype=np.uint8)}, r"x of shape \(3,\) is not images"),
        ({"x": PAIR[..., :2]}, r"\(2, 4, 6, 2\) is not images"),
        ({"x": PAIR[:0]}, r"\(0, 4, 6, 3\) is not images"),
        ({"x": PAIR / 2.0}, r"float64 from 0.5 to 1; .*np.round\(x \* 255.0\)"),
        ({"x": PAIR - 2.0}, r"from -1 to 0; .*np.round\(\(x \+ 1\) \* 127.5\)"),
        ({"x": PAIR * 100.0}, r"from 100 to 200; .*np.round\(x\).astype"),
        ({"x": PAIR * 200.0}, "from 200 to 400; .*scale it to that first"),
        ({"x": PAIR * np.nan}, "float64 and holds NaN or infinity; leave"),
        ({"x": PAIR > 1}, r"bool from 0 to 1; .*np.round\(x \* 255.0\)"),
        ({"x": PAIR.astype(int)}, r"int64 from 1 to 2; .*np.round\(x\)"),
        ({"x": np.full((2, 2, 2), "a")}, "<U1; save"),
        ({"x": np.full((2, 2, 2), None)}, "x is object; save"),
        ({"x": PAIR, "y": np.arange(3)}, r"y is int64 of shape \(3,\).* 2 images"),
        ({"x": PAIR, "y": np.zeros((2, 2, 1), int)}, r"y is int64 of shape \(2, 2, 1\)"),
        ({"x": PAIR, "y": np.array([0, 0.5])}, "y is float64"),
        ({"x": PAIR, "y": np.array([0, np.nan])}, "y is float64"),
        ({"x": PAIR, "y": np.array([0, np.inf])}, "y is float64"),
        ({"x": PAIR, "y": np.array([0, -1])}, "whole number from 0"),
        ({"x": PAIR, "y": np.array([0, 2**64 - 1], np.uint64)}, "whole number from 0"),
        ({"x": PAIR, "y": np.array(["a", "b"])}, "y is <U1"),
        ({"x": PAIR, "y": np.array([[1, 2], [0, 3]])}, r"y is int64 of shape \(2, 2\)"),
    ],
)
def test_npz_that_is_none(tmp_path: Path, named: dict[str, Any], reason: str) -> None:
    refuses(write_npz(tmp_path / "a.npz", **named), reason)


def test_npz_conversions_do_what_they_say(tmp_path: Path) -> None:
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    for scaled in (x / 255, x / np.float32(255), x / 127.5 - 1, x * 1.0, x.astype(int)):
        with pytest.raises(ValueError) as caught:
            load_images(write_npz(tmp_path / "a.npz", x=scaled))
        cure = str(caught.value).split("255: ", 1)[1]
        assert np.array_equal(eval(cure, {"np": np, "x": scaled}), x)


def test_npz_that_memory_has_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_npz(tmp_path / "a.npz", x=PAIR)
    monkeypatch.setattr(arrays, "memory", lambda: 271)
    refuses(path, "its arrays take 272 bytes, and memory has 271")
    monkeypatch.setattr(arrays, "memory", lambda: 272)
    assert len(load_images(path)) == 2


def test_npz_whose_header_lies(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, PAIR)
    for said in (b"(99, 4, 6, 3)", b"(9999999999999, 4, 6, 3)"):
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", file.getvalue().replace(b"(2, 4, 6, 3)", said))
        refuses(path, "cannot be read")
