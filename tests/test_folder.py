"""Images load the same from anywhere, and each that cannot be used is named with its reason."""

import gzip
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from ganatomy.data import Samples, Split, cache, digest, members, pixels
from ganatomy.data.folder import load_images
from ganatomy.data.inspection import inspect

Files = Mapping[str, bytes]


def encode(image: object, form: str = "PNG", mode: str = "", **options: Any) -> bytes:
    """A file of an array or an image, maybe in another mode."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def shade(value: int, *shape: int) -> NDArray[np.uint8]:
    return np.full(shape or (4, 6, 3), value, np.uint8)


def png(value: int, *shape: int) -> bytes:
    return encode(shade(value, *shape))


def write_folder(files: Files, path: Path) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    path.mkdir(exist_ok=True)
    return path


def write_zip(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path := path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(files: Files, path: Path, suffix: str = ".tar") -> Path:
    path = path.with_suffix(suffix)
    with tarfile.open(path, "w" if suffix == ".tar" else "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_tgz(files: Files, path: Path) -> Path:
    return write_tar(files, path, ".tgz")


def write_tar_gz(files: Files, path: Path) -> Path:
    return write_tar(files, path, ".tar.gz")


def write_npz(path: Path, **named: Any) -> Path:
    np.savez(path, **named)
    return path


WRITERS = [write_folder, write_zip, write_tar, write_tgz, write_tar_gz]
Write = Callable[[Files, Path], Path]


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Files], Path]:
    """Write files as a folder and as every archive in turn."""
    return lambda files: request.param(files, tmp_path / "pics")


def values(samples: Samples) -> list[int]:
    """What each one-colored image was made of."""
    assert samples.values.dtype == torch.uint8 and samples.values.is_contiguous()
    assert samples.labels.dtype == torch.int64 and len(samples.labels) == len(samples)
    return samples.values[:, 0, 0, 0].tolist()


def refuses(path: Path, pattern: str, split: Split | None = None, skip_bad: bool = False) -> None:
    """See that the answer is one line that names the path and says this."""
    with pytest.raises(ValueError, match=pattern) as caught:
        load_images(path, split, skip_bad)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


BATCHES = st.tuples(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])
).flatmap(lambda shape: arrays(np.uint8, shape))


@pytest.mark.filterwarnings("ignore:.*the brightest value")
@settings(max_examples=40)
@given(BATCHES)
def test_the_same_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, batch: NDArray[np.uint8]
) -> None:
    path = tmp_path_factory.mktemp("any")
    files = {f"{i}.png": encode(p if p.shape[2] == 3 else p[..., 0]) for i, p in enumerate(batch)}
    expected = torch.from_numpy(batch).permute(0, 3, 1, 2)
    paths = [write(files, path / "pics") for write in WRITERS]
    paths.append(write_npz(path / "last.npz", images=batch))
    if batch.shape[2] not in (1, 3):  # else which are the channels is for the last axis to say
        paths.append(write_npz(path / "first.npz", images=batch.transpose(0, 3, 1, 2)))
    if batch.shape[3] == 1:
        paths.append(write_npz(path / "gray.npz", images=batch[..., 0]))
    all_samples = [load_images(path_) for path_ in paths]
    assert all(torch.equal(samples.values, expected) for samples in all_samples)
    assert all(not samples.labels.any() and samples.classes == () for samples in all_samples)
    assert len({digest(samples) for samples in all_samples}) == 1


def test_order_is_by_name_and_hidden_files_are_left_out(write: Callable[[Files], Path]) -> None:
    path = write(
        {
            "b.png": png(2),
            "__MACOSX/a.png": b"fork",
            "a.PNG": png(1),
            "._b.png": b"fork",
            ".cache/c.png": b"x",
            "notes.txt": b"x",
            "Thumbs.db": b"x",
            "c10.png": png(3),
            "c9.png": png(4),
        }
    )
    assert values(load_images(path)) == [1, 2, 3, 4]


def test_folders_that_look_like_images(tmp_path: Path) -> None:
    folder = write_folder({"odd.png/a.png": png(1)}, tmp_path / "pics")
    assert values(load_images(folder)) == [1]
    with tarfile.open(tmp_path / "pics.tar", "w") as tar:
        tar.add(folder, ".")
    assert values(load_images(tmp_path / "pics.tar")) == [1]
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        archive.writestr("odd.png/", b"")
        archive.writestr("odd.png\\a.png", png(1))  # as some programs of Windows write it
        archive.writestr("even\\b.png", png(2))
    assert load_images(tmp_path / "pics.zip").classes == ("even", "odd.png")


def test_bad_images_are_named(write: Callable[[Files], Path]) -> None:
    path = write({"a/0.png": png(5), "a/1.png": b"not an image", "b/2.png": png(6)})
    refuses(path, "a/1.png cannot be read: cannot identify image file; repair .* skip_bad")
    with pytest.warns(UserWarning, match=r"left out 1 of 3 images, a/1.png: cannot be") as caught:
        samples = load_images(path, skip_bad=True)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert values(samples) == [5, 6] and samples.labels.tolist() == [0, 1]


def test_many_bad_images_give_one_warning(tmp_path: Path) -> None:
    bad = {f"{i}.png": b"bad" for i in range(10)}
    path = write_zip(bad | {"x.png": png(1)}, tmp_path / "pics")
    with pytest.warns(UserWarning, match="10 of 11 images, 0.png, 1.png, 2.png, …: cannot"):
        assert values(load_images(path, skip_bad=True)) == [1]
    refuses(write_zip(bad, tmp_path / "pics"), "left out 10 of 10.*nothing is left", skip_bad=True)


def test_too_much_is_refused(
    write: Callable[[Files], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write({"a.png": png(1), "b.png": png(1) + bytes(5000)})
    assert len(load_images(path)) == 2
    monkeypatch.setattr(members, "LIMIT", 4000)
    monkeypatch.setattr(pixels, "LIMIT", 4000)
    refuses(path, "b.png .*more than 4,000 bytes")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    refuses(path, "a.png .*decompression bomb")


SPLITS = {
    "train/cat/0.png": png(1),
    "train/dog/1.png": png(2),
    "train/eel/1.png": png(3),
    "test/cat/0.png": png(4),
    "test/eel/0.png": png(5),
}


HELD_BACK = ["test", "Testing", "test_set", "seg_test", "testset", "test1", "images_test"]
HELD_BACK += ["val", "valid", "Validation", "val2017", "eval", "validation-images"]


@pytest.mark.parametrize("top", ["", "wrap/"])
@pytest.mark.parametrize("held_back", HELD_BACK)
def test_splits(tmp_path: Path, top: str, held_back: str) -> None:
    files = {top + name.replace("test", held_back): content for name, content in SPLITS.items()}
    path = write_zip(files, tmp_path / "pics")
    train, test = load_images(path, "train"), load_images(path, "test")
    assert values(train) == [1, 2, 3] and train.labels.tolist() == [0, 1, 2]
    assert values(test) == [4, 5] and test.labels.tolist() == [0, 2]  # dog is 1 here too
    assert train.classes == test.classes == load_images(path).classes == ("cat", "dog", "eel")
    assert sorted(values(load_images(path))) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("training", ["Training", "training_set", "seg_train", "train2017"])
def test_names_of_the_training_split(write: Callable[[Files], Path], training: str) -> None:
    path = write({name.replace("train", training): c for name, c in SPLITS.items()})
    assert values(load_images(path, "train")) == [1, 2, 3]
    assert load_images(path, "train").classes == ("cat", "dog", "eel")


@pytest.mark.parametrize("name", ["trainer", "bullet_train", "contest", "value", "tested", "set"])
def test_names_of_classes(write: Callable[[Files], Path], name: str) -> None:
    samples = load_images(write({f"{name}/a.png": png(1), "x/b.png": png(2)}), "train")
    assert samples.classes == tuple(sorted((name, "x")))


def load_tree(tmp_path: Path, names: str, split: Split | None = None) -> str:
    """Write files of these names, and return those that are loaded with their classes."""
    listed = names.split()
    path = write_zip({f"{n}.png": png(i + 9) for i, n in enumerate(listed)}, tmp_path / "pics")
    samples = load_images(path, split)
    kinds = samples.classes or ("",)
    found = zip(values(samples), samples.labels.tolist(), strict=True)
    return " ".join(f"{listed[i - 9]}:{kinds[k]}" for i, k in found)


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        ("a b", None, "a: b:"),
        ("x/a x/b", "train", "x/a: x/b:"),
        ("y/a x/b", None, "x/b:x y/a:y"),
        ("w/y/a w/x/b", "train", "w/x/b:x w/y/a:y"),
        ("v/w/y/a v/w/x/b", "train", "v/w/x/b:x v/w/y/a:y"),
        ("train/a test/b", None, "test/b: train/a:"),  # a split is not a class
        ("train/a test/b", "test", "test/b:"),
        ("w/train/a w/test/b", "train", "w/train/a:"),
        ("images/train/a images/val/b", "train", "images/train/a:"),
        ("w/train/a v/test/b", "train", "w/train/a:"),
        ("w/train/x/a w/train/y/b v/test/y/c", "test", "v/test/y/c:y"),
        ("train/x/a train/y/b test/c", "test", "test/c:"),  # labels unknown
        ("train/x/a train/x/b", "train", "train/x/a: train/x/b:"),
        ("/train/a ./test/b", "train", "/train/a:"),
        ("train/x/i/a train/y/i/b val/i/c", "train", "train/x/i/a:x train/y/i/b:y"),
        ("train/x/i/a train/y/i/b val/i/c", "test", "val/i/c:"),  # Tiny ImageNet
        ("s_train/s_train/a test/b", None, "s_train/s_train/a:s_train test/b:test"),
        ("seg_train/seg_train/x/a seg_train/seg_train/y/b seg_test/seg_test/x/c", "train",
         "seg_train/seg_train/x/a:x seg_train/seg_train/y/b:y"),
        ("seg_train/seg_train/x/a seg_train/seg_train/y/b seg_test/seg_test/x/c", "test",
         "seg_test/seg_test/x/c:x"),
        ("train/w/x/a train/w/y/b test/x/c", "test", "test/x/c:x"),
        ("train/w/x/a train/w/y/b test/w/x/c", "test", "test/w/x/c:x"),
        ("x/train/a x/test/b y/train/c y/test/d", "train", "x/train/a:x y/train/c:y"),
        ("x/train/good/a x/test/good/b y/train/good/c", "train",
         "x/train/good/a:x y/train/good/c:y"),
    ],
)  # fmt: skip
def test_layouts(tmp_path: Path, names: str, split: Split | None, expected: str) -> None:
    assert load_tree(tmp_path, names, split) == expected


SAID = [
    ("cat/2019/a cat/2020/b dog/2019/c", "cat/2019/a:cat cat/2020/b:cat dog/2019/c:dog",
     "the class is the first folder, such as cat, not the last, such as 2019"),
    ("train/cat/1/a train/dog/2/b", "train/cat/1/a:cat train/dog/2/b:dog",
     "the class is the first folder, such as cat, not the last, such as 1"),
    ("x/deep/y/a x/z/b x/z/c/d", "x/deep/y/a:deep x/z/b:z x/z/c/d:z",
     "the class is the first folder, such as deep, not the last, such as y"),
    ("train/x/a train/y/b val/x/c test/x/d", "train/x/a:x train/y/b:y",
     r"the test images are those of test; those of val \(1\) are not used"),
    ("train/x/a train/y/b test/x/c extra/d e", "train/x/a:x train/y/b:y",
     "images in no split are not used: 2, in extra, the top"),
    ("x/train/a y/train/b x/test/c y/mask/d", "x/train/a:x y/train/b:y",
     "images in no split are not used: 1, in mask"),
    ("train2014/a train2017/b val2017/c", "train2014/a: train2017/b:",
     "read as one split, train: train2014, train2017"),
    ("car/a train/b", "car/a:car train/b:train",
     "read as classes, not as splits: train; splits are named train and test"),
    ("trainA/a trainB/b testA/c", "testA/c:testA trainA/a:trainA trainB/b:trainB",
     "read as classes, not as splits: testA, trainA, trainB; splits"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "expected", "note"), SAID)
def test_choices_are_said(tmp_path: Path, names: str, expected: str, note: str) -> None:
    """By training, by data check, and when the images come from the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "LARGE", 1)
        for _ in range(2):
            with pytest.warns(UserWarning, match=f"pics.zip: {note}") as caught:
                assert load_tree(tmp_path, names, "train") == expected
            assert len(caught) == 1 and caught[0].filename == __file__
    (said,) = inspect(tmp_path / "pics.zip").notes
    assert re.match(note, said)
    assert len(load_images(tmp_path / "pics.zip")) == len(names.split())  # without split, all


def test_splits_that_are_not_there(write: Callable[[Files], Path]) -> None:
    refuses(
        write({"x/a.png": png(1), "y/a.png": png(1)}), "no test .*folder test at its top", "test"
    )


def test_training_images_that_are_not_there(write: Callable[[Files], Path]) -> None:
    refuses(write({"test/x/a.png": png(1)}), "no train images.*folder train at its top", "train")


def test_images_outside_the_classes(tmp_path: Path) -> None:
    files = {"cover.png": png(1), "x/a.png": png(2), "y/a.png": png(3)}
    path = write_zip(files, tmp_path / "pics")
    refuses(path, "cover.png lies outside the class folders")
    with pytest.warns(UserWarning, match=r"1 of 3 images, cover.png: lies outside"):
        assert values(load_images(path, skip_bad=True)) == [2, 3]


def test_nothing_to_read(write: Callable[[Files], Path], tmp_path: Path) -> None:
    refuses(tmp_path / "none", "there is no")
    refuses(write({}), r"has no images \(.png .*without a suffix")
    (tmp_path / "other.rar").write_bytes(b"x")
    refuses(
        tmp_path / "other.rar", r"is not a folder, .zip, .tar, .tar.gz, .tgz, .npz, .h5 or .parquet"
    )


def test_corrupt_archives(tmp_path: Path) -> None:
    for suffix in (".zip", ".tar", ".tar.gz", ".tgz", ".npz"):
        path = tmp_path / f"bad{suffix}"
        for content in (b"", b"no archive" * 200):
            path.write_bytes(content)
            refuses(path, "cannot be read, or is not what its name says: ")


@pytest.mark.parametrize("write_archive", WRITERS[1:4])
def test_cut_archives(tmp_path: Path, write_archive: Write) -> None:
    """Wherever an archive was cut, an image is never lost in silence."""
    whole = write_archive({f"{i}.png": png(i) for i in range(3)}, tmp_path / "whole")
    content = whole.read_bytes()
    cut = whole.with_stem("cut")
    end = content.rstrip(b"\0")  # a tar is padded
    for place in range(0, len(end), 13):
        cut.write_bytes(content[:place])
        refuses(cut, "cannot be read|truncated|empty")


@pytest.mark.parametrize("write_archive", [write_zip, write_tgz])
def test_flipped_archives(tmp_path: Path, write_archive: Write) -> None:
    """Checksums of an archive are seen to, for Pillow forgives much and a BMP has none."""
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    path = write_archive({"a.bmp": encode(image, "BMP")}, tmp_path / "pics")
    whole, content, refused = load_images(path).values, path.read_bytes(), 0
    for place, byte in enumerate(content):
        path.write_bytes(content[:place] + bytes([byte ^ 1]) + content[place + 1 :])
        try:
            assert torch.equal(load_images(path).values, whole)
        except ValueError:
            refused += 1
    assert refused > 100


def test_paths_do_no_harm(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    files = {"/abs.png": png(1), "./b.png": png(4)}
    out = {"../up.png": png(2), "a/../../up.png": png(3)}
    for write_archive in (write_zip, write_tar, write_tgz):
        refuses(write_archive(files | out, inside / "pics"), "2 images lead out of it, first ../up")
        assert values(load_images(write_archive(files, inside / "pics"))) == [1, 4]
    left = {p.name for p in tmp_path.rglob("*")}
    assert left == {"inside", "pics.zip", "pics.tar", "pics.tgz"}


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    path = write_tar({"a.png": png(1)}, tmp_path / "pics")
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    refuses(path, "b.png .*a link")


def test_suffixes_and_files_without_one(write: Callable[[Files], Path]) -> None:
    """Every file that is an image is read, whatever its suffix or if it has none."""
    forms = {"PNG": "png", "JPEG": "jpe jpg jfif JPEG", "PPM": "ppm pgm pnm PBM", "BMP": "bmp"}
    forms |= {"GIF": "gif", "TIFF": "tif", "WEBP": "webp"}
    forms |= {"AVIF": "avif"} if "AVIF" in pixels.FORMATS else {}
    files = {f"{form}/a.{s}": encode(shade(9), form) for form in forms for s in forms[form].split()}
    files |= {f"{form}/bare": encode(shade(9), form) for form in forms}
    others = {"X/PNG": b"", "X/BM": b"BMW is a car", "X/P6": b"P6 is not a picture", "X/txt": b"x"}
    samples = load_images(write(files | others))
    assert len(samples) == len(files) and samples.classes == tuple(sorted(forms))
    assert all(abs(value - 9) <= 2 for value in values(samples))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.heic", ".heic is not supported; convert it to PNG"),
        ("b.NEF", ".nef is not supported"),
        ("b.jpg_large", "it is a PNG whose name ends in .jpg_large; rename it"),
        ("b.png.bak", "it is a PNG whose name ends in .bak"),
    ],
)
def test_what_looks_like_an_image_is_not_left_out_silently(
    write: Callable[[Files], Path], name: str, reason: str
) -> None:
    path = write({"a.png": png(1), name: png(2)})
    refuses(path, f"{name} .*{reason}")
    with pytest.warns(UserWarning, match=f"left out 1 of 2 images, {name}"):
        assert values(load_images(path, skip_bad=True)) == [1]
    found = inspect(path)
    assert found.bad == 1 and reason in found.bad_examples[name] and found.todo


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    """All that is below them is read; a circle ends, a link to nothing is told."""
    folder = write_folder({"x/a.png": png(1), "y/b.png": png(2)}, tmp_path / "pics")
    other = write_folder({"deep/c.png": png(3), "d.png": png(4)}, tmp_path / "other")
    (folder / "z").symlink_to(other)
    (other / "deep/up").symlink_to(folder)  # a circle through two folders
    (other / ".cache").symlink_to(tmp_path)
    assert values(load_images(folder)) == [1, 2, 4, 3]
    assert inspect(folder).images == 4
    (folder / "w").symlink_to(tmp_path / "not mounted")
    refuses(folder, "w cannot be read: it is a link to .*not mounted")
    assert inspect(folder).bad == 1
    (folder / "w").rename(folder / "notes.txt")
    assert len(load_images(folder)) == 4


def test_links_to_folders_in_archives_are_told(tmp_path: Path) -> None:
    tarred, zipped = (
        write({"x/a.png": png(1), "x/LICENSE": b""}, tmp_path / "pics")
        for write in (write_tar, write_zip)
    )
    for name, target in (("y", "x"), ("z", "/elsewhere"), ("COPYING", "x/LICENSE")):
        with tarfile.open(tarred, "a") as tar:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        with zipfile.ZipFile(zipped, "a") as archive:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    for path in (tarred, zipped):
        refuses(path, "y cannot be read: it is a link to x, which is not followed")
        assert list(inspect(path).bad_examples) == ["y", "z"]


@pytest.mark.parametrize("write_archive", WRITERS[1:])
def test_members_of_one_name_are_refused(tmp_path: Path, write_archive: Write) -> None:
    """Whichever is meant, none of them is dropped silently."""
    files = {"x/a.png": png(1), "./x/a.png": png(2), "/x/a.png": png(3), "b.png": png(4)}
    refuses(write_archive(files, tmp_path / "pics"), "2 images repeat an earlier one, first x/a")
    files = {"a.png": png(1), "a.txt": b"1", "./a.txt": b"2"}
    assert len(load_images(write_archive(files, tmp_path / "pics"))) == 1


def test_folders_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = write_folder({"a.png": png(1), "x/b.png": png(2)}, tmp_path / "pics"), os.scandir

    def scandir(path: Path) -> Any:
        if path.name == "x":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refuses(folder, "Permission denied")


def test_encrypted_zip(tmp_path: Path) -> None:
    path = write_zip({"a.png": png(1)}, tmp_path / "pics")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    refuses(path, "a.png .*encrypted")


def hold(size: int, name: str = "a.txt", kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a tar's member that says that it has so many bytes."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hold(-512), "ends before it begins|a file of -512 bytes"),
        (hold(0) + hold(-1024), "ends before it begins|a file of -1,024 bytes"),
        (hold(-1, "a.png"), "a file of -1 bytes"),
        (hold(2**40, kind=tarfile.GNUTYPE_LONGNAME), "a header of 1,099,511,627,776 bytes"),
        (hold(-512, kind=tarfile.XHDTYPE), "a header of -512 bytes"),
        (hold(60_000, kind=tarfile.XHDTYPE) + b"1" * 60_416, "digits"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_tars_without_end(
    tmp_path: Path, pack: Callable[[bytes], bytes], content: bytes, reason: str
) -> None:
    """What tarfile would read for ever, or whole into memory."""
    path = tmp_path / "pics.tar"
    path.write_bytes(pack(content + bytes(1024)))
    refuses(path, reason)


@pytest.mark.parametrize("name", ["a.png", "a.txt"])
def test_tars_that_expand_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write_tgz({name: bytes(2_000_000), "b.png": png(1)}, tmp_path / "pics")
    if name == "a.txt":
        assert len(load_images(path)) == 1
    monkeypatch.setattr(members, "EXPANDED", 1_000_000)
    refuses(path, "it expands to more than 1,000,000 bytes")
    files = {"b.png": png(1)}
    path = write_tgz(files, tmp_path / "pics")
    with path.open("ab") as file:
        file.write(gzip.compress(bytes(2_000_000)))  # after the end of the tar
    refuses(path, "it expands to more than 1,000,000 bytes")


def test_too_many_files(write: Callable[[Files], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write({"a.png": png(1), "b.txt": b"", "c.txt": b""})
    assert len(load_images(path)) == 1
    monkeypatch.setattr(members, "MEMBERS", 2)
    refuses(path, "more than 2 files")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_methods_that_expand_without_limit(tmp_path: Path, method: int) -> None:
    for name, content in (("a.png", png(1)), ("images.npy", bytes(9))):
        path = tmp_path / ("pics.zip" if name == "a.png" else "pics.npz")
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr(name, content)
        refuses(path, "another method than deflate")


def test_zips_that_lie_about_sizes(tmp_path: Path) -> None:
    path = write_zip({"a.bmp": encode(shade(1), "BMP")}, tmp_path / "pics")
    content, size = path.read_bytes(), len(encode(shade(1), "BMP")).to_bytes(4, "little")
    for said in (1, 10):  # more than there is does no harm: the checksum is seen to
        path.write_bytes(content.replace(size, said.to_bytes(4, "little")))
        refuses(path, "a.bmp cannot be read|is not what its name says")


def test_images_that_memory_has_no_room_for(
    write: Callable[[Files], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write({"a.png": png(1), "b.png": png(2)})
    monkeypatch.setattr("ganatomy.data.decoding.memory", lambda: 100)
    refuses(path, "2 images of 6 x 4 RGB need 1.4e-07 GB, and memory has .*--shape 3 64 64")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
def test_what_is_no_file_is_refused_not_waited_for(tmp_path: Path) -> None:
    folder = write_folder({"a.png": png(1)}, tmp_path / "pics")
    os.mkfifo(folder / "b.png")
    refuses(folder, "b.png cannot be read: it is not a regular file")
    (folder / "b.png").unlink()
    for target in ("/dev/zero", "nothing", "b.png"):  # endless, nowhere, itself
        (folder / "b.png").symlink_to(target)
        refuses(folder, "b.png cannot be read: it is not a regular file")
        (folder / "b.png").unlink()
    (folder / "up").symlink_to(folder)  # a circle
    assert len(load_images(folder)) == 1
    for suffix in (".zip", ".tar", ".npz"):
        os.mkfifo(tmp_path / f"pics{suffix}")
        refuses(tmp_path / f"pics{suffix}", "is not a folder")


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"S"])
def test_what_is_no_file_of_a_tar(tmp_path: Path, kind: bytes) -> None:
    """Hard links, devices, FIFOs, and files with holes."""
    path = tmp_path / "pics.tar"
    path.write_bytes(hold(0, "a.png", kind) + bytes(1024))
    refuses(path, "a.png .*a link or not a regular file")


NAMES = ["a\nb", "\x1b[2J", "a\u2028", "\u202eb", "\x7f", "a\rb"]


def test_names_that_a_terminal_would_obey(tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": png(i) for i, name in enumerate(NAMES)} | {"é 字/x.png": png(9)}
    for write_archive in WRITERS:
        path = write_archive(files, tmp_path / "pics")
        classes = load_images(path).classes
        assert "é 字" in classes and "a\\nb" in classes and "\\x1b[2J" in classes
        assert len(classes) == len(files) and "".join(classes).isprintable()
        refuses(write_archive({f"{NAMES[0]}.png": b"x"}, tmp_path / "bad"), r"a\\nb.png cannot be")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = write_folder({"a/a.png": png(1)}, tmp_path / "pics")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).mkdir()
    except OSError:
        pytest.skip("names are text here")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff/b.png")).write_bytes(png(2))
    assert load_images(folder).classes == ("\\udcff", "a")


@pytest.mark.slow
def test_cifar10() -> None:
    path = Path("../shared/data/cifar10-jpeg.tar.gz")
    if not path.exists():
        pytest.skip(f"{path} is not here")
    parts: dict[Split, int] = {"train": 5000, "test": 1000}
    for split, each in parts.items():
        samples = load_images(path, split)
        assert samples.shape == (3, 32, 32) and samples.labels.bincount().tolist() == [each] * 10
        assert samples.classes[:2] == ("airplane", "automobile") and len(samples.classes) == 10
        assert 119 < samples.values.double().mean() < 123  # of the lossless images 120.7
