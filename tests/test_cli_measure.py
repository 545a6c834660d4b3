"""Measuring commands do what they say; every mistake gets one line, code 2, and writes nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import CONV, MLP, Call
from PIL import Image

from ganatomy.data import load
from ganatomy.evaluation.diagnose import diagnose_run
from ganatomy.evaluation.metrics import values
from ganatomy.evaluation.protocol import PROTOCOLS
from ganatomy.figures.images import npz, png
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit

pytestmark = pytest.mark.filterwarnings("ignore:n = ")

OPTIONS = RunOptions(log_every=2, save_every=7, sample_every=7, device="cpu")
DIGITS = load("mnist10k", Path(), "train").values
FEW = ("--n", 300, "--metrics", "fid,classes", "diversity")


@pytest.fixture
def run(tmp_path: Path, runs: tuple[Run, Run]) -> Run:
    """A copy of a short run, to be written into."""
    return copied(runs[0], tmp_path / "tiny")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    root = tmp_path_factory.mktemp("runs")
    return fit(MLP, root / "mlp", OPTIONS), fit(CONV, root / "conv", OPTIONS)


def copied(run: Run, to: Path) -> Run:
    for file in run.path.rglob("*"):
        if file.is_file():
            (to / file.relative_to(run.path)).parent.mkdir(parents=True, exist_ok=True)
            (to / file.relative_to(run.path)).write_bytes(file.read_bytes())
    return Run(to)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_evaluate_a_run(call: Call, run: Run) -> None:
    code, said, _ = call("evaluate", run.path, *FEW)
    (row,) = run.rows("metrics")
    assert code == 0 and row["step"] == 14 and row["n"] == 300
    assert said.startswith(
        f"step 14, classifier-10k+n=300 [{row['fingerprint']}]: 300 samples against"
    )
    for part in ("FD", "missing", "diversity", "95 % interval", "real"):
        assert part in said
    result = json.loads(call("evaluate", run.path, *FEW, "--json")[1])
    assert result["rows"] == [row] and run.rows("metrics") == [row, row]


def test_evaluate_all_checkpoints_with_a_curve(call: Call, run: Run) -> None:
    code, said, _ = call("evaluate", run.path, "--checkpoint", "all", *FEW)
    curve = Path(said.splitlines()[-1])
    assert code == 0 and curve.parent == run.path and b"<svg" in curve.read_bytes()
    assert [line.split()[0] for line in said.splitlines()[-5:-1]] == ["step", "7", "14", "real"]
    assert call("evaluate", run.path, "--checkpoint", "7", *FEW)[0] == 0
    code, said, _ = call("evaluate", run.path, "--checkpoint", "all", "--metrics", "diversity")
    assert code == 0 and ".svg" not in said  # there is nothing to draw a curve of
    best = call("evaluate", run.path, "--checkpoint", "best", "--seed", 4, *FEW)[1]
    assert best.startswith("best of 2 by FD on seed 5, reported on seed 4\n")


def test_audit_sets_modes_side_by_side(call: Call, run: Run) -> None:
    code, said, _ = call("evaluate", run.path, "--audit", *FEW)
    prints = [row["fingerprint"] for row in run.rows("metrics")]
    assert code == 0 and len({*prints}) == 3
    head = said.splitlines()[0]
    assert all(part in head for part in ("eval [", "train [", "reestimated ["))


@pytest.mark.parametrize("kind", ["npz", "folder", "zip"])
def test_evaluate_images_from_anywhere(call: Call, tmp_path: Path, kind: str) -> None:
    import shutil

    path = tmp_path / "fakes.npz"
    if kind == "npz":
        path.write_bytes(npz(DIGITS[:60]))
    else:
        path = tmp_path / "fakes"
        path.mkdir()
        for i, image in enumerate(DIGITS[:60]):
            (path / f"{i:02}.png").write_bytes(png(image))
        if kind == "zip":
            path = Path(shutil.make_archive(str(path), "zip", path))
    options = ("--real", "mnist10k", "--n", 60, "--metrics", "fd", "copies", "--json")
    code, said, _ = call("evaluate", path, *options)
    row = json.loads(said)["rows"][0]
    assert code == 0 and row["values"]["copies"]["value"] > 0.8  # 8,900 of 10,000
    assert row["settings"]["mode"] == row["settings"]["weights"] == "given"


@pytest.mark.filterwarnings("default:.* left out")
def test_bad_images_stop_or_are_left_out_when_asked(call: Call, tmp_path: Path) -> None:
    for i, image in enumerate(DIGITS[:20]):
        (tmp_path / f"{i:02}.png").write_bytes(png(image))
    (tmp_path / "07.png").write_bytes(b"\x89PNG broken")
    options = ("--real", "mnist10k", "--n", 19, "--metrics", "copies", "--json")
    code, _, complaint = call("evaluate", tmp_path, *options)
    assert code == 2 and "07.png" in complaint and complaint.count("\n") == 1
    code, said, complaint = call("evaluate", tmp_path, *options, "--skip-bad")
    assert code == 0 and json.loads(said)["found"] == 19
    assert "warning" in complaint and "left out 1 of 20 images, 07.png" in complaint


def test_compare_refuses_unlike_protocols(
    call: Call, runs: tuple[Run, Run], tmp_path: Path
) -> None:
    a, b = (copied(run, tmp_path / run.path.name) for run in runs)
    page = tmp_path / "page.html"
    call("evaluate", a.path, *FEW)
    code, said, _ = call("compare", a.path, b.path, "--out", page)
    assert code == 0 and "mlp, 14" in said and "conv, 14" not in said
    page.unlink()
    call("evaluate", b.path, "--n", 301, *FEW[2:])
    code, _, complaint = call("compare", a.path, b.path, "--out", page)
    prints = [run.rows("metrics")[0]["fingerprint"] for run in (a, b)]
    assert code == 2 and all(f in complaint for f in prints) and not page.exists()
    call("evaluate", b.path, *FEW)
    result = json.loads(call("compare", a.path, b.path, "--out", page, "--json")[1])
    assert {row["fingerprint"] for row in result["scores"].values()} == {prints[0]}
    text = page.read_text()
    assert "Evaluation" in text and prints[0] in text and "mlp, 14" in text


def test_classifier_of_ones_own_images(call: Call, tmp_path: Path, cache: Path) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("dark", 30), ("light", 200)):
        for split, n in (("train", 40), ("test", 10)):
            (tmp_path / "mine" / split / name).mkdir(parents=True)
            for i in range(n):
                image = rng.integers(level - 20, level + 20, (12, 12, 3)).astype(np.uint8)
                Image.fromarray(image).save(tmp_path / "mine" / split / name / f"{i:02}.png")
    mine = tmp_path / "mine"
    code, said, _ = call(
        "classifier", "fit", "--data", mine, "--epochs", 2, "--out", tmp_path / "j.st"
    )
    (stored,) = (cache / "ganatomy/classifiers").iterdir()
    assert code == 0 and "epoch 2/2" in said and "dark" in said
    assert (tmp_path / "j.st").read_bytes() == stored.read_bytes()
    shown = json.loads(call("classifier", "show", "--data", mine, "--json")[1])
    assert shown["classes"] == ["dark", "light"] and shown["sha256"][:16] in stored.name
    options = ("--real", mine, "--n", 20, "--metrics", "classes", "--json")
    code, said, _ = call("evaluate", mine / "test", *options)
    assert code == 0 and json.loads(said)["rows"][0]["settings"]["dataset"] == "images"
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    code, _, complaint = call("classifier", "show", "--data", mine)
    assert code == 2 and "is damaged: expected sha256" in complaint


def test_the_shipped_classifier_is_shown(call: Call) -> None:
    said = call("classifier", "show", "--kind", "mlp-hinge")[1]
    assert "0.98" in said and "true against predicted" in said


def test_diagnose(call: Call, run: Run) -> None:
    code, said, _ = call("diagnose", run.path)
    assert code == 0 and "to the end\n  seen:" in said and "  try:" in said
    result = json.loads(call("diagnose", run.path, "--json")[1])
    found = diagnose_run(run)
    assert result == found.to_dict() and said == f"{found}\n"
    assert [d.to_dict() for d in found] == result["found"]
    assert {d["name"] for d in result["found"]} <= {"mode collapse", "noise"}  # of 14 steps
    assert {*result["values"]} < {*values()} and not run.rows("metrics")


def test_a_run_that_failed_before_its_first_checkpoint_is_diagnosed(call: Call, run: Run) -> None:
    for file in run.checkpoints():
        file.unlink()
    run.write_session(run.sessions[-1] | {"failure": "g_loss (nan) is not finite at step 15"})
    found = json.loads(call("diagnose", run.path, "--json")[1])["found"]
    (divergence,) = [d for d in found if d["name"] == "divergence"]
    assert divergence["evidence"] == "g_loss (nan) is not finite at step 15"


def test_interpolate_and_modes(call: Call, run: Run, tmp_path: Path) -> None:
    options = ("--pairs", 3, "--k", 4, "--out", tmp_path / "i.png", "--json")
    straight, arc = (
        json.loads(call("interpolate", run.path, *options, *more)[1]) for more in ((), ("--slerp",))
    )
    assert len(straight["jump"]) == 3 and straight["jump"] != arc["jump"]
    with Image.open(tmp_path / "i.png") as image:
        assert image.size == (5 * 30 + 2, 3 * 30 + 2)
    for name, start in (("m.png", b"\x89PNG"), ("m.svg", b"<svg"), ("m.pdf", b"%PDF")):
        code, said, _ = call("class-counts", run.path, "--n", 30, "--out", tmp_path / name)
        assert code == 0 and said.endswith(f"{tmp_path / name}\n") and "χ²" in said
        assert (tmp_path / name).read_bytes().startswith(start)
    hinge = ("--classifier", "classifier-mlp-hinge", "--out", tmp_path / "m.png", "--json")
    assert (
        sum(json.loads(call("class-counts", run.path, "--n", 30, *hinge)[1])["counts"].values())
        == 30
    )


def test_protocols_are_listed(call: Call) -> None:
    assert all(name in call("protocols")[1] for name in PROTOCOLS)
    assert json.loads(call("protocols", "inception-50k", "--json")[1])["n"] == 50_000


MISTAKES = {
    "no such thing": (["evaluate", "nowhere"], "nowhere is not a run folder"),
    "unknown protocol": (["evaluate", "RUN", "--protocol", "fid"], "unknown protocol 'fid'"),
    "unknown metric": (["evaluate", "RUN", "--metrics", "ist"], "unknown metric 'ist'"),
    "no such checkpoint": (["evaluate", "RUN", "--checkpoint", "3"], "no checkpoint 3"),
    "audit of several": (["evaluate", "RUN", "--audit", "--checkpoint", "all"], "one checkpoint"),
    "unknown reference": (["evaluate", "RUN", "--real", "mnits"], "did you mean 'mnist'"),
    "one sample": (["evaluate", "RUN", "--n", "1"], "n must lie in [2"),
    "negative seed": (["evaluate", "RUN", "--seed", "-1"], "seed must lie in [0"),
    "inception offline": (
        ["evaluate", "RUN", "--protocol", "inception64-128"],
        "weights-inception-2015",
    ),
    "images against nothing": (["evaluate", "IMAGES"], "--real mnist"),
    "too few images": (
        ["evaluate", "IMAGES", "--real", "mnist10k", "--metrics", "near_duplicates"],
        "expected at least 30 generated",
    ),
    "checkpoint of images": (
        ["evaluate", "IMAGES", "--real", "mnist10k", "--audit"],
        "are for runs, not for images",
    ),
    "color against gray": (
        ["evaluate", "COLOR", "--real", "mnist10k", "--n", "4"],
        "are 8 x 8 RGB, those of mnist 28 x 28 gray",
    ),
    "floats": (["evaluate", "FLOATS", "--real", "mnist10k", "--n", "4"], "uint8"),
    "empty folder": (["evaluate", "EMPTY", "--real", "mnist10k"], "EMPTY"),
    "corrupt archive": (["evaluate", "CORRUPT.zip", "--real", "mnist10k"], "CORRUPT.zip"),
    "diagnose nothing": (["diagnose", "nowhere"], "nowhere is not a run folder"),
    "diagnose before training": (["diagnose", "NEW"], "neither log nor checkpoint yet"),
    "evaluate before training": (["evaluate", "NEW"], "no checkpoint yet"),
    "interpolate to svg": (["interpolate", "RUN", "--out", "x.svg"], "must end in .png"),
    "no steps": (
        ["interpolate", "RUN", "--k", "0", "--out", "x.png"],
        "pairs and k must be at least 1",
    ),
    "modes to gif": (["class-counts", "RUN", "--out", "x.gif"], "must end in .png, .svg or .pdf"),
    "modes of one": (
        ["class-counts", "RUN", "--n", "1", "--out", "x.png"],
        "n must be at least 2",
    ),
    "classifier of nothing": (
        ["classifier", "fit", "--data", "nowhere"],
        "unknown dataset 'nowhere'",
    ),
    "classifier without classes": (
        ["classifier", "fit", "--data", "IMAGES", "--kind", "conv"],
        "needs classes, but IMAGES has none",
    ),
    "classifier of no epochs": (
        ["classifier", "fit", "--epochs", "0"],
        "epochs must be at least 1 and seed at least 0, got 0 and 0\n",
    ),
    "classifier what": (["classifier", "fitt"], "fitt"),
    "unknown protocol to show": (["protocols", "classifier"], "unknown protocol 'classifier'"),
}


@pytest.mark.parametrize("arguments, part", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_line_and_writes_nothing(
    call: Call,
    runs: tuple[Run, Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    copied(runs[0], tmp_path / "RUN")
    Run.create(tmp_path / "NEW", MLP)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "CORRUPT.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "IMAGES").mkdir()
    for i, image in enumerate(DIGITS[:20]):
        (tmp_path / "IMAGES" / f"{i:02}.png").write_bytes(png(image))
    np.savez(tmp_path / "COLOR.npz", images=np.full((4, 8, 8, 3), 200, np.uint8))
    np.savez(tmp_path / "FLOATS.npz", images=np.zeros((4, 28, 28, 1), np.float32))
    names = {"COLOR": "COLOR.npz", "FLOATS": "FLOATS.npz"}
    before = contents(tmp_path)
    code, said, complaint = call(*(names.get(a, a) for a in arguments))
    assert code == 2 and not said and part in complaint
    assert complaint.startswith("ganatomy: ") and complaint.count("\n") == 1
    assert contents(tmp_path) == before
