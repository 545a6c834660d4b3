"""What the readers are given: whole files, files changed or put together, and noise."""

import gzip
import io
import json
import math
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from PIL import Image
from safetensors.torch import save
from targets import KEPT, RECIPE, about

from ganatomy.cli.main import COMMANDS
from ganatomy.data.pixels import FORMATS
from ganatomy.evaluation import classifier
from ganatomy.recipes.recipe import RunOptions
from ganatomy.storage.checksums import encode_row
from ganatomy.studies.files import grid, to_toml
from ganatomy.validation import keyed, to_dict

Bytes = SearchStrategy[bytes]

STUDY = grid("s", "basic-gan", ("r1=1,3",), ("fd falls", "recall rises"), 3, 9)
EDGES = [struct.pack(f, n) for f in ("<H", ">H", "<I", ">I") for n in (0, 1, 2**15, 2**16 - 1)] + [
    struct.pack(f, n) for f in ("<I", ">I") for n in (2**31 - 1, 2**31, 2**32 - 1)
]
NAMES = ["a.png", "x/a.png", "y/b.png", "train/x/a.png", "test/x/a.png", "../a.png", "/a.png"]
NAMES += [
    "a\nb/a.png",
    "\x1b[2J/b.png",
    "x/a.PNG",
    ".a.png",
    "a.txt",
    "x/",
    "é/\u202e.png",
    "a" * 300,
    "x/bare",
    "x/b.heic",
]


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def packed(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def taped(members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for i, (name, content) in enumerate(members.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if i == 3:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@cache
def drawn() -> list[bytes]:
    """Images of every format and many modes."""
    rng, found = np.random.default_rng(0), []
    gray = Image.fromarray(rng.integers(0, 256, (5, 7), np.uint8))
    colors = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    for form in FORMATS:
        for image, mode in ((gray, "L"), (colors, "RGB"), (gray, "1"), (colors, "P")):
            options: dict[str, Any] = {"transparency": 3} if mode == "P" and form == "PNG" else {}
            if mode in ("1", "P") and form in ("JPEG", "WEBP", "AVIF", "PPM"):
                mode, options = "RGB", {"progressive": True, "lossless": True}
            file = io.BytesIO()
            image.convert(mode).save(file, form, **options)
            found.append(file.getvalue())
    deep = Image.fromarray(rng.integers(0, 2**16, (5, 7), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    converted = [
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("LA", "PNG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
    ]
    for mode, form in (*converted, ("I;16", "PNG"), ("I;16", "TIFF")):
        file = io.BytesIO()
        image = deep if mode == "I;16" else colors.convert(mode)
        image.save(file, form, exif=exif.tobytes())
        found.append(file.getvalue())
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"):
        file = io.BytesIO()
        image = gray.convert("1") if compression == "group4" else colors
        image.save(file, "TIFF", compression=compression)
        found.append(file.getvalue())
    return found


@cache
def named() -> dict[str, bytes]:
    names = [name for name in NAMES if not name.startswith(("/", ".."))]
    return {name: drawn()[i % 4] for i, name in enumerate(names)}


@cache
def small_classifier(kind: str) -> bytes:
    """A classifier's file, of images of 2 x 2 and weights of nothing."""
    net = classifier.KINDS[kind].build((1, 2, 2), 2)
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    for split in ("train", "test"):
        tensors |= {f"{split}.mean": torch.zeros(64), f"{split}.cov": torch.zeros(64, 64)}
    tensors["held_out"] = torch.zeros(3, 64).half()
    whole = classifier.shipped(kind).about | {"shape": [1, 2, 2], "classes": ["a", "b"]}
    return save(tensors, {"ganatomy": json.dumps(whole)})


@cache
def saved() -> bytes:
    file = io.BytesIO()
    state = {"step": 1, "run": {"recipe": RECIPE.replace(steps=1).key, "rows": [0, 0]}}
    torch.save(state | {"nets": {"w": torch.ones(3, 2), "n": torch.tensor(3)}, "t": (1, 2.0)}, file)
    return file.getvalue()


KEPT |= {
    "labels.npy": npy(np.array([0, 1, 0])),
    "values.npy": npy(np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)),
}
KEPT["about.json"] = encode_row(about())

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**400, -(10**400), 1e-400, 1e308, math.inf, math.nan]),
    st.floats(),
    st.text(max_size=9),
    st.sampled_from(
        ["\ud800", "a\nb", "\0", "../x", "/x", "basic-gan", "adam", "batch", "1", "x" * 999]
    ),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner)
)


@st.composite
def altered(draw: DrawFn, whole: Any) -> Any:
    """A nest as JSON knows it, with some of its values replaced, removed or added to."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    if isinstance(whole, dict) and whole:
        chosen = draw(st.lists(st.sampled_from(list(whole)), max_size=3))
        changed = {k: draw(altered(v)) if k in chosen else v for k, v in whole.items()}
        if draw(st.integers(0, 9)) == 0:
            changed.pop(draw(st.sampled_from(list(whole))))
            changed[draw(st.text(max_size=9))] = draw(VALUES)
        return changed
    if isinstance(whole, list) and whole:
        return [draw(altered(v)) for v in whole]
    return draw(VALUES | st.just(whole))


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def as_toml(values: Any) -> bytes:
    if not isinstance(values, dict):
        return toml(values).encode()
    shown = {k: v for k, v in values.items() if v is not None}
    return "\n".join(f"{json.dumps(k)} = {toml(v)}" for k, v in shown.items()).encode()


def as_json(values: Any) -> bytes:
    return json.dumps(values).encode()


def as_rows(values: Any) -> bytes:
    """With right checksums, of lines that need not be rows."""
    text = json.dumps(values)[:-1].encode()
    return text + b', "crc": "%08x"}\n' % zlib.crc32(text)


@st.composite
def changed(draw: DrawFn, seeds: list[bytes], words: list[bytes]) -> bytes:
    """A whole file with pieces of it replaced, taken out or put in."""
    content = bytearray(draw(st.sampled_from(seeds)))
    pieces = st.binary(max_size=8) | st.sampled_from(words or [b""]) | st.sampled_from(EDGES)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.sampled_from([0, 1, 1, 2, 4, 16, 512, len(content)]))
        content[start:end] = draw(pieces) * draw(st.sampled_from([1, 1, 1, 1, 2, 5000]))
    return bytes(content)


def mended_png(content: bytes) -> bytes:
    """A PNG with right checksums, as far as it is one."""
    made, place = bytearray(content), 8
    while len(content) >= place + 12 and content.startswith(b"\x89PNG"):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        made[end : end + 4] = struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(made)


def mended_tar(content: bytes) -> bytes:
    """A tar with right checksums in all that may be headers."""
    made = bytearray(content)
    for place in range(0, len(made) - 511, 512):
        if made[place + 257 : place + 262] == b"ustar":
            made[place + 148 : place + 156] = b" " * 8
            made[place + 148 : place + 156] = b"%06o\0 " % sum(made[place : place + 512])
    return bytes(made)


def mended_zip(content: bytes) -> bytes:
    """A zip that says of its first member that its checksum is right, whatever that now is."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {i.filename: archive.open(i).read(2**20) for i in archive.infolist()}
        return packed(members)
    except Exception:  # it is one no more
        return content


IMAGES = st.one_of(
    changed(drawn(), [b"IHDR", b"tRNS", b"acTL", b"PLTE", b"\xff\xda", b"II*\0", b"VP8X"]),
    changed([d for d in drawn() if d.startswith(b"\x89PNG")], [b"tRNS", b"PLTE"]).map(mended_png),
)
MEMBERS = st.dictionaries(
    st.sampled_from(NAMES) | st.text(min_size=1, max_size=9).filter(lambda t: t[0] != "\0"),
    st.sampled_from(drawn()[:4]) | IMAGES,
    max_size=5,
)
ARRAYS = st.builds(
    lambda shape, kind: np.zeros(shape, kind),
    st.lists(st.integers(0, 4), max_size=5),
    st.sampled_from(["u1", "u1", "i8", "f4", "f8", "?", "U3", "S0", "V0", "M8[s]", "c8", "O"]),
)
ARRAY_NAMES = st.sampled_from(
    [
        "images",
        "arr_0",
        "x",
        "labels",
        "y",
        "arr_1",
        "other",
        "a/b",
        "x_train",
        "y_train",
        "test_images",
        "val/x",
    ]
)
NPY_WORDS = [b"'descr': '|O'", b"(99999999999, 1, 2, 2)", b"True", b"\x93NUMPY\2\0", b"|V0", b"<U9"]
TAR_WORDS = [b"\xff" * 12, b"\x80" + bytes(10) + b"\1", b"77777777777", b"L", b"x", b"S", b"1"]
ZIP_WORDS = [b"PK\1\2", b"PK\5\6", b"PK\6\6", b"\x0c\0", b"\x0e\0", b"../"]
HDF5_WORDS = [b"TREE", b"SNOD", b"HEAP", b"\x89HDF\r\n\x1a\n", b"\xff" * 8, b"images\0"]
PARQUET_WORDS = [b"PAR1", b"\x15\x04", b"\x19\x2c", b"\xff" * 5, b"bytes", b"huggingface"]
JSON_WORDS = [b"[" * 9, b'{"":', b"1e999", b"NaN", b"\\ud800", b"\xff", b"null", b"9" * 999, b'"']
TOML_WORDS = [*JSON_WORDS, b"[[claims]]", b"inf", b"0xff", b"1979-05-27", b"'''", b"a.b.c = 1\n"]

WORDS = [*COMMANDS, "study", "new", "basic-gan", "conv-gan", "fit", "check", "x.json", "run"]
WORDS += [
    f"--{name}" for name in (*to_dict(RECIPE), *to_dict(RunOptions()), "out", "n", "json", "help")
]
WORDS += [
    "1",
    "-1",
    "1e999",
    "nan",
    "None",
    "true",
    "",
    "-",
    "--",
    "--lr-g=1",
    "\udcff",
    "x" * 300,
    "é",
]
LINES = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=7)


def as_words(words: list[str]) -> bytes:
    return b"\0".join(map(os.fsencode, words))


CLAIMS = [{k: v for k, v in to_dict(c).items() if v is not None} for c in STUDY.claims]
STUDY_VALUES = json.loads(json.dumps(vars(STUDY) | {"claims": CLAIMS}))


class Input(NamedTuple):
    """What one target is given."""

    seeds: list[bytes]
    """which it takes"""
    words: list[bytes]
    """that mean something there"""
    made: Bytes | None = None
    """put together as files of its kind are"""


def given_as(text: Callable[[Any], bytes], words: list[bytes], *whole: Any) -> Input:
    """Input of a file of text, as JSON knows its values."""
    made = st.sampled_from(whole).flatmap(altered).map(text)
    return Input([text(w) for w in whole], words, made)


@st.composite
def arrays(draw: DrawFn) -> bytes:
    """An npz of small arrays, maybe with one changed below the zip's checksums."""
    members = draw(st.dictionaries(ARRAY_NAMES.map("{}.npy".format), ARRAYS.map(npy), max_size=3))
    for name in list(members)[: draw(st.integers(0, 1))]:
        members[name] = draw(changed([members[name]], NPY_WORDS))
    return packed(members, draw(st.sampled_from([0, 8, 8, 12, 14])))


def npz(**named: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


def hdf5(named: Mapping[str, Any], compression: str | None) -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        for name, array in named.items():
            made.create_dataset(name, data=array, compression=compression)
    return file.getvalue()


def a_table(image: str, label: str) -> bytes:
    """A parquet file of Hugging Face's layout."""
    import pyarrow
    import pyarrow.parquet

    images = [{"bytes": content, "path": "a.png"} for content in (drawn()[1], drawn()[1])]
    file = io.BytesIO()
    table = pyarrow.table({image: images, label: [0, 1]})
    pyarrow.parquet.write_table(table, file, row_group_size=1)
    return file.getvalue()


TAPES = [taped(named(), form) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)]
WHOLE = {"x/a.png": drawn()[1], "y/b.png": drawn()[1], "notes.txt": b"x"}
ZIPS = [packed(WHOLE), packed(WHOLE, zipfile.ZIP_STORED)]
TARS = [taped(WHOLE, form) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)]
TAPED = changed([*TAPES, *TARS], TAR_WORDS).map(mended_tar) | MEMBERS.map(taped)
CLASSIFIERS = [small_classifier("conv"), small_classifier("mlp-hinge")]
CHECKPOINT = changed([saved()], [b"]", b"}", b"(", b"R", b"Q", b"h\0", b"torch"]).map(mended_zip)
ROWS = [encode_row({"step": n, "d_loss": 0.5}) for n in (1, 2)]
SESSIONS = [{"started": "now", "from_step": 0, "to_step": 9, "seconds": 1.5, "machine": {}}]


@cache
def of(target: str) -> Input:
    """What a target is given."""
    gray = np.zeros((2, 3, 4), np.uint8)
    recipe = keyed(RECIPE), to_dict(RECIPE)
    match target:
        case "recipe .json" | "run: recipe":
            return given_as(as_json, JSON_WORDS, *recipe)
        case "recipe .toml":
            return given_as(as_toml, TOML_WORDS, *recipe)
        case "study":
            known = given_as(as_toml, TOML_WORDS, STUDY_VALUES)
            return known._replace(seeds=[*known.seeds, to_toml(STUDY).encode()])
        case "run: options":
            return given_as(as_json, JSON_WORDS, keyed(RunOptions()), to_dict(RunOptions()))
        case "run: sessions":
            return given_as(as_json, JSON_WORDS, SESSIONS)
        case "run: rows" | "run: newest":
            rows = st.lists(altered({"step": 1, "d_loss": 0.5}).map(as_rows), max_size=4)
            return Input([b"".join(ROWS)], JSON_WORDS, rows.map(b"".join))
        case "cache: about":
            return given_as(as_rows, JSON_WORDS, about())
        case "cache: values" | "cache: labels":
            return Input([KEPT[f"{target.split()[1]}.npy"]], NPY_WORDS, ARRAYS.map(npy) | arrays())
        case "image":
            return Input(drawn(), [b"IHDR", b"tRNS"], IMAGES)
        case "npz":
            return Input(
                [
                    npz(images=gray, labels=np.arange(2)),
                    npz(x=gray),
                    npz(x_train=gray, x_test=gray),
                ],
                NPY_WORDS,
                arrays(),
            )
        case "hdf5":
            seeds = [
                hdf5({"images": gray}, None),
                hdf5({"x_train": gray, "y_train": [0, 1]}, "gzip"),
            ]
            return Input(seeds, HDF5_WORDS)
        case "parquet":
            return Input([a_table("image", "label"), a_table("jpg", "caption")], PARQUET_WORDS)
        case "zip":
            return Input(
                ZIPS, ZIP_WORDS, MEMBERS.map(packed) | changed([packed(named())], ZIP_WORDS)
            )
        case "tar":
            return Input(TARS, TAR_WORDS, TAPED)
        case "tar.gz":
            return Input([*map(gzip.compress, TARS)], [b"\x1f\x8b"], TAPED.map(gzip.compress))
        case "checkpoint":
            return Input([saved()], [b"PK\5\6"], CHECKPOINT)
        case "classifier":
            return Input(CLASSIFIERS, [*JSON_WORDS, b"F32", b"I64", b"shape"], CHANGED_CLASSIFIERS)
        case "command line":
            seeds = [as_words(["train", "basic-gan", "--lr-g", "1"]), as_words(["recipes"])]
            return Input(seeds, [b"\0", *map(os.fsencode, WORDS)], LINES.map(as_words))
    raise LookupError(target)


@st.composite
def classifiers(draw: DrawFn) -> bytes:
    """A classifier's file that says other things of itself."""
    content = draw(st.sampled_from(CLASSIFIERS))
    size = int.from_bytes(content[:8], "little")
    top = json.loads(content[8 : 8 + size])
    about = draw(altered(json.loads(top["__metadata__"]["ganatomy"])))
    top["__metadata__"]["ganatomy"] = json.dumps(about)
    text = json.dumps(top if draw(st.booleans()) else draw(altered(top))).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


CHANGED_CLASSIFIERS = classifiers()


def inputs(target: str) -> Bytes:
    """Everything that a target is given."""
    seeds, words, made = of(target)
    kinds = [st.binary(max_size=99), changed(seeds, words), made, made]
    return st.one_of([kind for kind in kinds if kind is not None])
