"""HDF5 and parquet files load as npz files and folders do (extra formats)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_arrays import IDS, LAYOUTS, TEST, TRAIN, VAL, check_layout
from test_folder import png, refuses, values

from ganatomy.cli.data import Data
from ganatomy.data import arrays, cache, parquet
from ganatomy.data.folder import load_images
from ganatomy.data.inspection import inspect

h5py = pytest.importorskip("h5py", reason="the extra formats is not installed")
pa = pytest.importorskip("pyarrow", reason="the extra formats is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="the extra formats is not installed")


def write_h5(path: Path, named: Mapping[str, Any], **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in named.items():
            file.create_dataset(name, data=array, **options)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}], ids=["plain", "packed"])
def test_layouts_of_hdf5(tmp_path: Path, layout: str, options: dict[str, str]) -> None:
    check_layout(write_h5(tmp_path / "a.h5", LAYOUTS[layout], **options), layout)


def test_hdf5_is_read_as_npz(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.HDF5", {"images": TRAIN, "deep/er/z": IDS, "labels": IDS})
    with pytest.warns(UserWarning, match=r"arrays that are not read: deep/er/z \(3,\)$"):
        samples = load_images(path, "train")
    assert values(samples) == [10, 11, 12] and samples.classes == ("2", "7")
    refuses(path, "no test images: call arrays x_train and x_test", "test")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"images": TRAIN / 255}, "float64 from .*np.round"),
        ({"images": TRAIN, "labels": np.array([b"a", b"b", b"c"])}, "labels is |S1"),
        ({"images": np.uint8(3)}, r"images of shape \(\) is not images"),
        ({}, "there are none"),
    ],
)
def test_hdf5_that_is_none(tmp_path: Path, named: dict[str, Any], reason: str) -> None:
    refuses(write_h5(tmp_path / "a.h5", named), reason)


def test_damaged_files(tmp_path: Path) -> None:
    for path in (write_h5(tmp_path / "a.h5", {"x": TRAIN}), write_parquet(tmp_path / "a.parquet")):
        content = path.read_bytes()
        for bad in (b"", b"x" * 500, content[: len(content) // 2]):
            path.write_bytes(bad)
            refuses(path, "cannot be read, or is not what its name says: ")


def test_hdf5_of_other_files(tmp_path: Path) -> None:
    """Values in other files, which could be any on this machine, are not read."""
    (tmp_path / "secret").write_bytes(bytes(72))
    with h5py.File(path := tmp_path / "a.h5", "w") as file:
        outside = [(str(tmp_path / "secret"), 0, 72)]
        file.create_dataset("x", (3, 4, 6), "u1", external=outside)
    refuses(path, "x keeps its values in other files")
    write_h5(tmp_path / "b.h5", {"y": TRAIN})
    virtual = h5py.VirtualLayout((3, 4, 6), "u1")
    virtual[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "y", (3, 4, 6))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", virtual)
    refuses(path, "x keeps its values in other files")
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "y")
        file["loop"] = file["/"]
    refuses(path, "which array holds the images.*there are none")


def test_hdf5_that_memory_has_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10**7, 1000, 1000), "u1", chunks=(1, 10, 10))  # a few kB
    refuses(tmp_path / "a.h5", "its arrays take 10,000,000,000,100 bytes, and memory has")
    monkeypatch.setattr(arrays, "MOST_ARRAYS", 1)
    refuses(write_h5(tmp_path / "a.h5", {"x": TRAIN, "y": IDS}), "more than 1 arrays")


def write_parquet(path: Path, first: int = 0, n: int = 3, **columns: Any) -> Path:
    """Images of shades from the first on in the layout of Hugging Face; None removes a column."""
    rows = [{"bytes": png(first + i), "path": f"{i}.png"} for i in range(n)]
    columns = {"image": rows, "label": [7, 2, 7][:n]} | columns
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: pa.array(v) for name, v in columns.items() if v is not None})
    pq.write_table(table, path, row_group_size=2)
    return path


SHARDS = {
    "data/train-00000-of-00002-0a1b2c3d.parquet": 10,
    "data/train-00001-of-00002-4e5f6071.parquet": 20,
    "data/test-00000-of-00001.parquet": 30,
}


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    "rename",
    [
        {},
        {"data/": ""},
        {"data/test-": "validation/"},
        {"data/train-": "Train/", "data/test": "Test/x"},
    ],
)
def test_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rename: dict[str, str], cached: bool
) -> None:
    monkeypatch.setattr(cache, "LARGE", 1 if cached else 1000)
    for name, first in SHARDS.items():
        for old, new in rename.items():
            name = name.replace(old, new)
        write_parquet(tmp_path / "set" / name, first)
    (tmp_path / "set/README.md").write_text("x")
    train, test = (load_images(tmp_path / "set", split) for split in ("train", "test"))
    assert values(train) == [10, 11, 12, 20, 21, 22] and values(test) == [30, 31, 32]
    assert train.classes == test.classes == ("2", "7") and test.labels.tolist() == [1, 0, 1]
    assert sorted(values(load_images(tmp_path / "set"))) == sorted(values(train) + values(test))
    found = inspect(tmp_path / "set")
    assert (found.images, found.bad, found.notes) == (9, 0, ())
    assert sum(found.splits["train"].values()) == 6


def test_one_parquet_file(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test-00000-of-00001.parquet", 10)  # named itself, it is all
    samples = load_images(path, "train", shape=(1, 2, 2))
    assert samples.values[:, 0, 0, 0].tolist() == [10, 11, 12]
    refuses(path, "no test images", "test")


def test_classes_of_parquet(tmp_path: Path) -> None:
    """Names of the library datasets, in the order of the numbers; or names in the column."""
    path = write_parquet(tmp_path / "a.parquet")
    names = [f"k{9 - i}" for i in range(8)]
    about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), path)
    assert load_images(path).classes == ("k7", "k2")
    assert load_images(path).labels.tolist() == [1, 0, 1]
    assert load_images(write_parquet(path, label=["b", "a", "b"])).classes == ("a", "b")
    assert load_images(write_parquet(path, label=[10, 9, 10])).classes == ("9", "10")
    assert load_images(write_parquet(path, label=[True, False, True])).classes == ("False", "True")
    assert load_images(write_parquet(path, label=[-1, -1, -1])).classes == ()  # of hidden labels
    assert load_images(write_parquet(path, label=None)).classes == ()
    for name in ("broken", '{"info": 3}'):
        pq.write_table(table.replace_schema_metadata({"huggingface": name}), path)
        assert load_images(path).classes == ("2", "7")


def test_columns_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    files = [png(i) for i in range(3)]
    assert values(load_images(write_parquet(path, image=None, jpg=files))) == [0, 1, 2]
    write_parquet(path, caption=["a", "b", "c"], label=[0.5, 1.0, 2.0])
    with pytest.warns(UserWarning, match="columns that are not read: label, caption$"):
        assert load_images(path, "train").classes == ()
    refuses(write_parquet(path, image=None), "no column has image files as bytes; there are label")
    empty = pa.array([], pa.struct({"bytes": pa.binary()}))
    refuses(write_parquet(path, image=empty, label=None), "its parquet files have no rows")


def test_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are named and skipped as files are, and data check finds the same."""
    rows = [{"bytes": png(1)}, {"bytes": b"x"}, {"bytes": None}, None, {"bytes": png(2)}]
    path = write_parquet(tmp_path / "a.parquet", image=rows, label=[1, 1, 1, 2, 2])
    refuses(path, "a.parquet/00000001 cannot be read: cannot identify image file")
    with pytest.warns(UserWarning, match="left out 3 of 5 images"):
        assert values(load_images(path, skip_bad=True)) == [1, 2]
    assert Data(action="check", path=path)() == 1
    assert "--skip_bad: leave out 3" in " ".join(capsys.readouterr().out.split())


def test_order_of_reading(tmp_path: Path) -> None:
    """Rows can be opened in any order, over the ends of batches and row groups."""
    path = write_parquet(tmp_path / "a.parquet", n=150, label=None)
    files, _ = parquet.read_parquet(path, [path])
    names = list(files.images)
    for i in np.random.default_rng(0).permutation(150)[:40].tolist():
        assert files.images[names[i]]().read() == png(i)


def test_images_come_before_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set/meta.parquet")
    (tmp_path / "set/a.png").write_bytes(png(9))
    assert values(load_images(tmp_path / "set")) == [9]


def test_limits_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "memory", lambda: 100)
        refuses(path, "its arrays take .* bytes, and memory has 100")
    monkeypatch.setattr(parquet, "MEMBERS", 2)
    refuses(path, "more than 2 rows")


@pytest.mark.parametrize(("name", "library"), [("a.h5", "h5py"), ("a.parquet", "pyarrow")])
def test_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    (tmp_path / name).write_bytes(b"x")
    for module in (library, f"{library}.parquet"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    refuses(tmp_path / name, rf"{name} needs {library}; run: pip install 'ganatomy\[formats\]'$")


def test_the_same_numbers_from_every_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack([TRAIN, VAL, TEST], -1))
    with np.load(tmp_path / "a.npz") as file:
        write_h5(tmp_path / "a.h5", dict(file))
    a, b = (load_images(tmp_path / name).values for name in ("a.npz", "a.h5"))
    assert torch.equal(a, b)
