"""The embedded digits are what they say, and batches depend on their position alone."""

import hashlib
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganatomy.data import (
    DATASETS,
    Samples,
    Split,
    batch_indices,
    check_dataset,
    data_root,
    derive_seed,
    digest,
    load,
    mnist,
    published,
)

DIGITS = mnist.mnist10k(Path())
SPLITS: tuple[Split, ...] = ("train", "test")


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_conforms_or_says_where_it_looked(name: str, tmp_path: Path) -> None:
    try:
        check_dataset(DATASETS[name], tmp_path)
    except ValueError as error:
        assert str(tmp_path) in str(error) and "\n" not in str(error)


def test_embedded_digits() -> None:
    assert DIGITS.values.dtype == torch.uint8 and DIGITS.shape == (1, 28, 28)
    assert DIGITS.labels.bincount().tolist() == [1000] * 10
    assert DIGITS.classes == tuple("0123456789")
    assert DIGITS.values.min() == 0 and DIGITS.values.max() == 255
    assert 32 < DIGITS.values.double().mean() < 35  # all of MNIST's is 33.3
    file = Path(mnist.__file__).parent / "mnist10k.npz"
    assert file.stat().st_size < 2_000_000


def test_embedded_digits_follow_their_rule(full_data: Path) -> None:
    script = Path(__file__).parent.parent / "scripts/make_mnist10k.py"
    spec = importlib.util.spec_from_file_location("make_mnist10k", script)
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    full = mnist.mnist(full_data)
    assert len(full) == 60_000
    chosen = maker.choose(full.labels.numpy())
    assert torch.equal(full.values[chosen], DIGITS.values)
    assert torch.equal(full.labels[chosen], DIGITS.labels)


def test_splits_of_mnist(full_data: Path) -> None:
    train, test = (load("mnist", full_data, split) for split in SPLITS)
    assert (len(train), len(test)) == (60_000, 10_000) and train.shape == test.shape == (1, 28, 28)
    assert test.classes == train.classes == DIGITS.classes
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4] and len(test.labels) == 10_000
    assert digest(load("mnist10k", full_data, "test")) == digest(test) != digest(train)
    assert digest(load("mnist", full_data, None)) == digest(train)


def test_mnist_of_the_wrong_size(tmp_path: Path) -> None:
    """The training files under the names of the test ones are not taken for them."""
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in mnist.FILES:
        dims = (3, 28, 28) if "images" in name else (3,)
        header = bytes((0, 0, 8, len(dims))) + np.array(dims, ">i4").tobytes()
        (raw / name).write_bytes(header + bytes(int(np.prod(dims))))
    for split in SPLITS:
        with pytest.raises(ValueError, match=r"damaged MNIST.*wrong sizes, \(3, 28, 28\)"):
            mnist.mnist(tmp_path, split)


def test_load_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(load("mnist10k", tmp_path, None).values, DIGITS.values)
    np.savez(tmp_path / "mine.npz", images=DIGITS.values[:5, 0].numpy(), y=DIGITS.labels[:5])
    mine = load(str(tmp_path / "mine.npz"), Path("nowhere"), "train")
    assert torch.equal(mine.values, DIGITS.values[:5])
    assert [int(mine.classes[label]) for label in mine.labels] == DIGITS.labels[:5].tolist()
    monkeypatch.chdir(tmp_path)
    Path("mnist10k").mkdir()
    assert len(load("mnist10k", tmp_path, "train")) == 10_000
    with pytest.raises(ValueError, match="mnist10k has no images"):
        load("./mnist10k", tmp_path, "train")
    Path("mnist10k/bad.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match="nothing is left"):
        load("./mnist10k", tmp_path, "train", skip_bad=True)


@pytest.mark.parametrize("name", ["minst", "", "pics/none.zip"])
def test_load_of_the_unknown(name: str) -> None:
    nearest = "did you mean 'mnist'" if name == "minst" else "there are: mnist, mnist10k"
    with pytest.raises(ValueError, match=f"unknown dataset .*{nearest}.*npz, HDF5 or parquet"):
        load(name, Path(), "train")


def test_digest_is_of_shape_and_pixels() -> None:
    values = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    labels = torch.zeros(2, dtype=torch.int64)
    known = digest(Samples(values, labels))
    assert known == hashlib.sha256(b"(2, 3, 2, 2)" + bytes(range(24))).hexdigest()
    assert digest(Samples(values, labels + 1, ("a", "b"))) == known
    strided = values.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert digest(Samples(strided, labels)) == known
    others = [values.view(2, 3, 4, 1), values + 1, values.flip(0), values[:1]]
    assert known not in [digest(Samples(other, labels)) for other in others]


def test_normalized_on_the_fly() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    taken = Samples(values, torch.zeros(256)).batch(torch.arange(256))
    assert taken.dtype == torch.float32 and taken[0] == -1 and taken[255] == 1
    assert torch.equal(taken.flatten(), torch.arange(256) / 127.5 - 1)


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 5), st.integers(0, 2**40))
def test_an_epoch_sees_each_sample_once(n: int, batch: int, epochs: int, seed: int) -> None:
    needed = -(-(epochs + 1) * n // batch)
    stream = torch.cat([batch_indices(n, batch, seed, k) for k in range(needed)])
    assert len(stream) == needed * batch
    for epoch in stream[: (epochs + 1) * n].view(epochs + 1, n):
        assert torch.equal(epoch.sort().values, torch.arange(n))


def test_batches_depend_on_seed_and_position_alone() -> None:
    assert torch.equal(batch_indices(100, 10, 3, 25), batch_indices(100, 10, 3, 25))
    others = [batch_indices(100, 10, 3, 24), batch_indices(100, 10, 4, 25)]
    assert not any(torch.equal(batch_indices(100, 10, 3, 25), other) for other in others)
    epochs = [torch.cat([batch_indices(100, 10, 3, 10 * e + k) for k in range(10)]) for e in (0, 1)]
    assert not torch.equal(*epochs)


def test_mixed_seeds_are_apart() -> None:
    seeds = {derive_seed(a, b) for a in range(100) for b in range(100)}
    assert len(seeds) == 10_000 and all(0 <= s < 2**64 for s in seeds)


def test_absent_mnist_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANATOMY_OFFLINE", "1")
    where = r"no MNIST in .*raw.*train-images-idx3-ubyte.*--data-root or \$GANATOMY_DATA"
    with pytest.raises(ValueError, match=where + ".*mnist10k"):
        mnist.mnist(tmp_path)
    with pytest.raises(ValueError, match=where + "[^,]*$"):  # mnist10k would be no cure
        mnist.mnist(tmp_path, "test")
    with pytest.raises(ValueError, match=r"no test images of its own .*--dataset mnist,"):
        mnist.mnist10k(tmp_path, "test")


def test_damaged_mnist_is_not_used(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in mnist.FILES:
        (raw / name).write_bytes(np.arange(100, dtype=np.uint8).tobytes())
    for split in SPLITS:
        with pytest.raises(ValueError, match="damaged MNIST"):
            mnist.mnist(tmp_path, split)


def write_idx(raw: Path, part: str, count: int) -> None:
    """Images and labels that say which they are, as MNIST's files do."""
    raw.mkdir(parents=True, exist_ok=True)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for kind, array in (("labels-idx1", labels), ("images-idx3", np.tile(labels, (28, 28, 1)).T)):
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
        (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


def test_fashion_mnist(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST/raw"
    write_idx(raw, "train", 5)
    write_idx(raw, "t10k", 10_000)
    test = load("fashion-mnist", tmp_path, "test")
    assert test.values.shape == (10_000, 1, 28, 28) and len(test.classes) == 10
    assert torch.equal(test.values[:, 0, 3, 4].long(), test.labels)
    with pytest.raises(ValueError, match=r"damaged FashionMNIST.*wrong sizes, \(5, 28, 28\)"):
        load("fashion-mnist", tmp_path, "train")


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.arange(10_000 * 3072, dtype=np.int64).astype(np.uint8).reshape(10_000, 3072)
    batch = {"data": rows, "labels": [i % 10 for i in range(10_000)]}
    contents = {name: pickle.dumps({}) for name in published.CIFAR10.files}
    contents["test_batch"] = pickle.dumps(batch)
    contents["batches.meta"] = pickle.dumps({"label_names": list(published.CIFAR10.classes)})
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged CIFAR10.*corrupted"):
        load("cifar10", tmp_path, "test")
    sums = [[name, hashlib.md5(contents[name]).hexdigest()] for name in published.CIFAR10.files]
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", sums[:5])
    monkeypatch.setattr(kind, "test_list", sums[5:6])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": sums[6][1]})
    test = load("cifar10", tmp_path, "test")
    assert test.values.shape == (10_000, 3, 32, 32) and test.values.is_contiguous()
    assert np.array_equal(test.values.flatten(1).numpy(), rows)
    assert test.labels.dtype == torch.int64 and test.labels.tolist() == batch["labels"]
    assert test.classes[:2] == ("airplane", "automobile") and len(test.classes) == 10
    (folder / "test_batch").write_bytes(contents["test_batch"][:-1])
    with pytest.raises(ValueError, match="damaged CIFAR10"):
        load("cifar10", tmp_path, "test")


@pytest.mark.parametrize(
    ("name", "kind", "folder"),
    [
        ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw"),
        ("cifar10", "CIFAR10", "cifar-10-batches-py"),
    ],
)
def test_absent_and_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, folder: str
) -> None:
    monkeypatch.setenv("GANATOMY_OFFLINE", "1")
    for split in SPLITS:
        with pytest.raises(ValueError, match=f"no {kind} in .*{folder}.*point --data-root") as line:
            load(name, tmp_path, split)
        assert "\n" not in str(line.value)


def test_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANATOMY_DATA", "named")
    assert data_root(Path("given")) == Path("given") and data_root() == Path("named")
    monkeypatch.delenv("GANATOMY_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert data_root() == Path("cache/ganatomy")
