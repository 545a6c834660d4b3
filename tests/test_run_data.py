"""One content has one key wherever it is, and data that change under a run are noticed."""

import dataclasses
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Call
from PIL import Image

import ganatomy as gan
from ganatomy.data import Content, load_images
from ganatomy.runs.data import contents, trained_on
from ganatomy.runs.folder import Run
from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study, measurable, reference_for
from ganatomy.training.loop import fit
from ganatomy.training.verify import verify

FAST = ("--steps", 4, "--batch", 4, "--save_every", 2, "--threads", 1, "--device", "cpu", "--quiet")
FIELDS = ("--g_widths", 4, "--d_widths", 4, "--z_dim", 2)


def draw(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(file)


def make(folder: Path, n: int = 12) -> Path:
    for i in range(n):
        draw(folder / ("a" if i % 2 else "b") / f"{i:02}.png", i)
    return folder


@pytest.fixture
def pics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images in the working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return make(tmp_path / "here/pics")


def train(call: Call, dataset: object, out: str = "run", *more: object) -> Run:
    said = call("train", "basic-gan", "--dataset", dataset, "--out", out, *FAST, *FIELDS, *more)
    assert said[0] == 0, said[2]
    return Run(Path(out).absolute())


def complaint(said: tuple[int, str, str], code: int = 2) -> str:
    assert said[0] == code, said
    assert said[2].startswith("ganatomy: ") and said[2].count("\n") == 1
    return said[2]


def _tar(pics: Path, out: Path, mode: Any, reverse: bool = False) -> None:
    files = sorted((f for f in pics.rglob("*.png")), reverse=reverse)
    with tarfile.open(out, mode) as archive:
        for file in files:
            archive.add(file, file.relative_to(pics))


def _zip(pics: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        for file in sorted(pics.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(pics))


def _bmp(pics: Path) -> None:
    for file in pics.rglob("*.png"):
        out = Path("bmp", file.parent.name, f"{file.stem}.bmp")
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(out)


PLACES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "slash": ("pics/", lambda pics: None),
    "dot": ("./pics", lambda pics: None),
    "around": ("../here/pics", lambda pics: None),
    "absolute": ("{}/pics", lambda pics: None),
    "link": ("link", lambda pics: Path("link").symlink_to(pics)),
    "copy": ("copy", lambda pics: shutil.copytree(pics, "copy")),
    "tar": ("pics.tar", lambda pics: _tar(pics, Path("pics.tar"), "w")),
    "tar in reverse": ("p.tgz", lambda pics: _tar(pics, Path("p.tgz"), "w:gz", reverse=True)),
    "zip in reverse": ("pics.zip", lambda pics: _zip(pics, Path("pics.zip"))),
    "repacked": (
        "bmp",
        _bmp,
    ),
}


@pytest.mark.parametrize("kind", PLACES)
def test_one_content_has_one_key_at_any_place(pics: Path, call: Call, kind: str) -> None:
    name, prepare = PLACES[kind]
    prepare(pics)
    keys = []
    for dataset in ("pics", name.format(pics.parent)):
        code, out, _ = call(
            "train", "basic-gan", "--dataset", dataset, *FAST, *FIELDS, "--dry_run", "--json"
        )
        plan = json.loads(out)
        assert code == 0 and plan["images"] == 12
        keys.append((plan["run"], plan["recipe"]["dataset"]))
        assert plan["options"]["data"] == str(Path(dataset).absolute())
    assert keys[0] == keys[1] and keys[0][1].startswith("images-")


@pytest.mark.parametrize("kind", ["pixel", "fewer", "more", "renamed", "classes", "shape"])
def test_other_contents_have_other_keys(pics: Path, kind: str) -> None:
    before = Content.of(load_images(pics))
    if kind == "pixel":
        with Image.open(pics / "b/00.png") as image:
            image.putpixel((0, 0), 255 - int(image.getpixel((0, 0))))  # type: ignore[arg-type]
            image.save(pics / "b/00.png")
    elif kind == "fewer":
        (pics / "b/00.png").unlink()
    elif kind == "more":
        draw(pics / "b/99.png", 99)
    elif kind == "renamed":  # which changes the order, and with it the batches
        (pics / "b/00.png").rename(pics / "b/99.png")
    elif kind == "classes":
        (pics / "b").rename(pics / "c")
        (pics / "a").rename(pics / "b")
    shape = (1, 4, 4) if kind == "shape" else None
    assert Content.of(load_images(pics, shape=shape)) != before


def test_named_datasets_keep_their_keys_and_old_runs_their_recipe(pics: Path, call: Call) -> None:
    assert gan.Recipe.of(dataset="mnist10k", steps=5).key == "8a940d46"
    recipe = gan.Recipe.of(dataset="pics", steps=4, batch=4, g_widths=(4,), d_widths=(4,), z_dim=2)
    run = fit(recipe.replace(steps=2), "run", gan.RunOptions(threads=1, device="cpu"))
    session = {k: v for k, v in run.sessions[-1].items() if k != "data"}
    run.write("environment.json", json.dumps([session]).encode())  # as an older version wrote it
    run.write_settings(run.recipe, gan.RunOptions(threads=1, device="cpu"))
    key = run.recipe.key
    again = call("train", "basic-gan", "--dataset", "pics", "--out", "run", *FAST, *FIELDS)
    assert "change its length with: ganatomy resume" in complaint(again)
    assert call("resume", "run", "--steps", 4, "--quiet")[0] == 0
    assert run.recipe.data.dataset == "pics" and run.recipe.replace(steps=2).key == key
    assert run.options.data == pics and trained_on(run) == Content.of(load_images(pics))


@pytest.mark.filterwarnings("ignore:the real score is left out")
def test_a_run_of_own_images_works_from_any_folder(
    pics: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(call, "pics")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    where = "../here/run"
    assert call("resume", where, "--steps", 6, "--quiet")[0] == 0
    assert run.sessions[-1]["to_step"] == 6
    measure = ("--protocol", "raw-10k", "--n", 8, "--metrics", "precision")
    code, said, complaints = call("evaluate", where, *measure, "--json")
    assert code == 0, complaints
    assert call("verify", where, "--replay")[0] == 0
    assert call("resume", where, "--from", 4, "--lr_g", "1e-3", "--quiet")[0] == 0
    asked: list[str] = []

    def reference(protocol: object, data: str, options: object) -> None:
        asked.append(data)
        raise ValueError("not fitted here, as that takes ten seconds")

    with monkeypatch.context() as patch:
        patch.setattr("ganatomy.evaluation.diagnose.reference", reference)
        assert call("diagnose", where)[0] == 0 and set(asked) == {str(pics)}
    row = json.loads(said)["rows"][0]
    code, said, _ = call("evaluate", where, "--real", "../here/pics", *measure, "--json")
    assert code == 0 and json.loads(said)["rows"][0]["fingerprint"] == row["fingerprint"]


@pytest.mark.filterwarnings("ignore:the real score is left out")
@pytest.mark.parametrize("kind", ["removed", "added", "replaced", "swapped"])
def test_data_that_changed_under_a_run_stop_it(pics: Path, call: Call, kind: str) -> None:
    run = train(call, "pics")
    known, n = trained_on(run), 12
    assert known == Content.of(load_images(pics)) and run.recipe.data.dataset == known.name(
        "images"
    )
    if kind == "removed":
        (pics / "a/01.png").unlink()
        n = 11
    elif kind == "added":
        draw(pics / "a/99.png", 99)
        n = 13
    elif kind == "replaced":
        draw(pics / "a/01.png", 99)
    else:
        (pics / "a/01.png").rename(pics / "x.png")
        (pics / "a/03.png").rename(pics / "a/01.png")
        (pics / "x.png").rename(pics / "a/03.png")
    now = Content.of(load_images(pics))
    before = sorted(p.read_bytes() for p in run.path.glob("*.*") if p.is_file())
    for command in (
        ("resume", "run", "--steps", 6),
        ("resume", "run", "--from", 2, "--lr_g", "1e-3"),
        ("evaluate", "run", "--protocol", "raw-10k"),
        ("class-counts", "run", "--out", "c.png"),
    ):
        said = complaint(call(*command, *(["--quiet"] if command[0] == "resume" else [])))
        assert f"12 samples, digest {known.sha256[:8]} in training" in said, command
        assert f"{n} samples, digest {now.sha256[:8]} now at {pics}" in said
        assert "--accept-data" in said
    code, out, _ = call("diagnose", "run")
    assert code == 0 and "Only the log and earlier measurements were read: the data of run" in out
    for more in ((), ("--replay",)):
        code, out, said = call("verify", "run", *more)
        assert code == 1 and "CHANGED" in out and said.count("\n") == 1
        assert "the data of run changed" in said and "machine" not in said
    assert sorted(p.read_bytes() for p in run.path.glob("*.*") if p.is_file()) == before
    assert not Path("run-from-2").exists()
    again = call("train", "basic-gan", "--dataset", "pics", "--out", "run", *FAST, *FIELDS)
    assert "ganatomy resume run --accept-data" in complaint(again)
    with pytest.raises(ValueError, match="changed"):
        gan.resume("run", steps=6, progress=False)


@pytest.mark.filterwarnings("always:the data of")
def test_changed_data_are_accepted_on_record(pics: Path, call: Call) -> None:
    run = train(call, "pics")
    old, key = trained_on(run), run.recipe.key
    draw(pics / "a/99.png", 99)
    new = Content.of(load_images(pics))
    code, _, said = call("resume", "run", "--steps", 8, "--accept-data", "--quiet")
    assert code == 0 and "warning" in said and "12 samples" in said and "13 samples" in said
    assert contents(run) == [(0, old), (4, new)]
    assert run.recipe.replace(steps=4).key == key
    card = (run.path / "README.md").read_text()
    assert old is not None and old.sha256 in card and f"`{new.sha256}` since step 4" in card
    code, _, said = call("resume", "run", "--steps", 9, "--quiet")
    assert code == 0 and "changed" not in said
    for seed in range(4):  # replays only what the present data made
        replay = verify(run, replay=True, seed=seed).replay
        assert replay is not None and replay.same and replay.first >= 4
    draw(pics / "a/98.png", 98)
    assert "13 samples" in complaint(call("resume", "run", "--steps", 10))
    branch = gan.resume("run", step=8, lr_g=1e-3, steps=9, accept_data=True, progress=False)
    assert contents(branch) == [(8, Content.of(load_images(pics)))]


@pytest.mark.filterwarnings("always:the data of")
def test_accepting_is_recorded_at_the_end_of_a_run_too(pics: Path, call: Call) -> None:
    run = train(call, "pics")
    (pics / "a/01.png").unlink()
    assert call("resume", "run", "--accept-data", "--quiet")[0] == 0
    assert call("resume", "run", "--quiet")[0] == 0
    assert [content.n for _, content in contents(run)] == [12, 11]
    assert run.sessions[-1]["to_step"] == 4 and len(run.sessions) == 2


@pytest.mark.filterwarnings("ignore:the real score is left out")
def test_moved_data_are_named_once(pics: Path, call: Call) -> None:
    run = train(call, "pics")
    moved = pics.rename(pics.parent / "photos")
    said = complaint(call("resume", "run", "--steps", 6))
    assert f"there is no {pics}" in said and "--data" in said
    measure = ("--protocol", "raw-10k", "--n", 8, "--metrics", "precision")
    assert "--data" in complaint(call("evaluate", "run", *measure))
    code, out, _ = call("verify", "run", "--json")
    found = json.loads(out)["data"]
    assert code == 0 and found["same"] is None and f"there is no {pics}" in found["about"]
    assert "--data" in complaint(call("verify", "run", "--replay"))
    make(Path("other"), 10)
    for command in (("resume", "run", "--steps", 6), ("evaluate", "run", *measure)):
        assert "10 samples" in complaint(call(*command, "--data", "other"))
    assert call("verify", "run", "--data", "other")[0] == 1
    assert call("verify", "run", "--replay", "--data", "photos")[0] == 0
    assert call("evaluate", "run", *measure, "--data", "photos")[0] == 0
    assert run.options.data == pics  # who measures changes nothing
    assert call("resume", "run", "--data", "photos", "--quiet")[0] == 0
    assert run.options.data == moved and trained_on(run) == Content.of(load_images(moved))
    assert call("resume", "run", "--steps", 6, "--quiet")[0] == 0
    shutil.make_archive("packed", "tar", moved)
    shutil.rmtree(moved)
    assert gan.resume("run", steps=7, data="packed.tar", progress=False).step == 7
    straight = make(Path("again"))
    other = train(call, straight, "straight", "--steps", 7)
    a, b = (r.load(r.checkpoints()[-1])["generator"] for r in (run, other))
    assert run.recipe.key == other.recipe.key
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_recipe_of_own_images_asks_for_their_place(pics: Path, call: Call) -> None:
    run = train(call, "pics")
    recipe = shutil.copy(run.path / "recipe.json", "shared.json")
    name, short = run.recipe.data.dataset, ("--threads", 1, "--device", "cpu", "--quiet")
    said = complaint(call("train", recipe, "--out", "b", *short))
    assert name in said and "--data" in said
    make(Path("other"), 10)
    said = complaint(call("train", recipe, "--out", "b", "--data", "other", *short))
    assert name in said and "10 samples" in said and not Path("b").exists()
    assert call("train", recipe, "--out", "b", "--data", "pics/", *short)[0] == 0
    assert (Run(Path("b")).checkpoints()[-1].read_bytes()) == run.checkpoints()[-1].read_bytes()
    said = complaint(call("train", "basic-gan", "--data", "pics", *FAST, *FIELDS))
    assert "--dataset pics" in said
    Path("mine.toml").write_text('dataset = "pics"\nsteps = 4\nbatch = 4\nz_dim = 2\n')
    assert call("train", "mine.toml", "--out", "c", *short)[0] == 0
    assert Run(Path("c")).recipe.data.dataset == name


def test_a_branch_may_change_its_images(pics: Path, call: Call) -> None:
    train(call, "pics")
    make(Path("other"), 10)
    said = complaint(call("resume", "run", "--dataset", "other", "--steps", 6))
    assert "to change dataset, branch off" in said
    assert call("resume", "run", "--dataset", "./pics/", "--steps", 6, "--quiet")[0] == 0
    code, _, said = call(
        "resume", "run", "--from", 4, "--dataset", "other", "--out", "b", "--steps", 6, "--quiet"
    )
    assert code == 0, said
    branch = Run(Path("b"))
    found = Content.of(load_images("other"))
    assert branch.parent["changed"]["dataset"]["to"] == found.name("images")
    assert branch.options.data == Path("other").absolute() and trained_on(branch) == found
    code, _, said = call("resume", "run", "--from", 4, "--lr_g", "1e-3", "--out", "c", "--quiet")
    assert code == 0 and trained_on(Run(Path("c"))) == trained_on(Run(Path("run")))


@pytest.mark.filterwarnings("ignore:the real score is left out")
def test_images_from_python_are_checked_by_the_same_means(tmp_path: Path) -> None:
    def images(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (12, 1, 8, 8), generator=generator, dtype=torch.uint8)

    fast: dict[str, Any] = {"threads": 1, "device": "cpu", "progress": False, "batch": 4}
    base = gan.Recipe.of(steps=2, g_widths=(4,), d_widths=(4,), z_dim=2)
    run = gan.train(base, tmp_path / "run", data=images(0), shape=(1, 4, 4), **fast)
    fast.pop("batch")
    with pytest.raises(ValueError, match="branch off"):
        gan.resume(run, steps=4, data=images(1), **fast)
    assert gan.resume(run, steps=4, data=images(0), **fast).step == 4
    found = trained_on(run)
    assert found is not None and found.n == 12
    np.savez(tmp_path / "saved.npz", images=images(0).numpy())
    np.savez(tmp_path / "other.npz", images=images(1).numpy())
    with pytest.raises(ValueError, match="changed"):
        gan.resume(run, steps=5, data=tmp_path / "other.npz", **fast)
    assert gan.resume(run, steps=5, data=tmp_path / "saved.npz", **fast).step == 5
    measure: dict[str, Any] = {"protocol": "raw-10k", "metrics": "precision", "n": 8}
    assert gan.evaluate(run, data=images(0), **measure)["precision"] >= 0


def test_a_named_dataset_that_changed_stops_a_run(
    tmp_path: Path, own_parts: None, call: Call
) -> None:
    def part(n: int) -> Any:
        return torch.arange(n * 16, dtype=torch.uint8).reshape(n, 1, 4, 4)

    gan.register_dataset("stripes", part(9))
    recipe = gan.Recipe.of(dataset="stripes", steps=2, batch=4, g_widths=(4,), d_widths=(4,))
    run = gan.train(recipe, tmp_path / "run", threads=1, device="cpu", progress=False)
    gan.data.DATASETS.pop("stripes")
    gan.register_dataset("stripes", part(8))
    with pytest.raises(ValueError, match=r"9 samples, digest .* 8 samples, digest .* at stripes"):
        gan.resume(run, steps=4, progress=False)
    found = verify(run, replay=True)
    assert found.data.same is False and found.replay is None and not found.passed
    assert verify(run).passed and verify(run).data.same is None  # nothing is loaded for it


@pytest.mark.parametrize("fused", [False, True])
def test_runs_that_are_trained_together_name_and_check_their_images(
    pics: Path, fused: bool
) -> None:
    base = gan.Recipe.of(dataset="./pics", steps=2, batch=4, g_widths=(4,), d_widths=(4,), z_dim=2)
    fast: dict[str, Any] = {"fused": fused, "device": "cpu", "threads": 1, "progress": False}
    recipes = [base.replace(seed=seed) for seed in range(2)]
    runs = gan.train_many(recipes, "many", **fast)
    found = Content.of(load_images(pics))
    for run in runs:
        assert run.recipe.data.dataset == found.name("images") and run.options.data == pics
        assert trained_on(run) == found and run.path.name.endswith(run.recipe.key)
    draw(pics / "a/99.png", 99)
    with pytest.raises(ValueError, match="13 samples"):
        gan.train_many([run.recipe for run in runs], "many", **fast, options=runs[0].options)


def test_a_study_names_images_by_content(pics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Path("other"), 10)
    conditions: dict[str, dict[str, Any]] = {
        "one": {"dataset": "pics"},
        "same": {"dataset": "./pics/", "lr_g": 1e-3},
        "other": {"dataset": "other"},
        "named": {"dataset": "mnist10k"},
    }
    claim = Claim(id="c", text="t", metric="fd", direction="falls", conditions=("one", "other"))
    study = Study(
        name="s", question="q", base="basic-gan", conditions=conditions, claims=(claim,), steps=2
    )
    jobs = {job.condition: job for job in study.jobs(Path("out"), 1.0, gan.RunOptions())}
    names = {name: Content.of(load_images(name)).name("images") for name in ("pics", "other")}
    found = {name: (job.recipe.data.dataset, job.options.data) for name, job in jobs.items()}
    assert found == {
        "one": (names["pics"], pics),
        "same": (names["pics"], pics),
        "other": (names["other"], pics.parent / "other"),
        "named": ("mnist10k", None),
    }
    asked = []

    def reference(protocol: object, data: str, options: object) -> None:
        asked.append(data)
        raise ValueError

    monkeypatch.setattr("ganatomy.studies.study.reference", reference)
    for job in jobs.values():
        with pytest.raises(ValueError):
            reference_for(job.recipe, "raw-10k", job.options)
    assert asked == [str(pics), str(pics), str(pics.parent / "other"), "mnist10k"]
    asked.clear()
    first = {name: conditions[name] for name in ("other", "one")}
    with pytest.raises(ValueError):
        measurable(dataclasses.replace(study, conditions=first), jobs["one"].options)
    assert asked == ["other"]


@pytest.mark.parametrize("record", [7, {"n": 12}, {"n": "12", "sha256": "0"}, {"n": 1, "x": 2}])
def test_a_damaged_record_is_named(pics: Path, call: Call, record: Any) -> None:
    run = train(call, "pics")
    run.write("environment.json", json.dumps([run.sessions[0] | {"data": record}]).encode())
    for command in (("resume", "run", "--quiet"), ("verify", "run"), ("evaluate", "run")):
        said = call(*command)
        assert "environment.json" in said[2] + said[1] and "Traceback" not in said[2]
        assert said[0] in (1, 2)
