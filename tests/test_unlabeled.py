"""Images without classes, and few of them, are measured by everything that needs neither."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from conftest import Call
from torch import Tensor

import ganatomy as gan
from ganatomy.data import load
from ganatomy.data.content import digest_of
from ganatomy.data.given import as_samples
from ganatomy.evaluation import classifier, evaluate, fitting
from ganatomy.evaluation.diagnose import diagnose_run
from ganatomy.evaluation.metrics import TooFewImagesError
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.figures.images import npz, png

DIGITS = load("mnist10k", Path(), "train").values
CLASSES = {"score", "chi2", "chi2_p", "entropy", "missing", "confidence", "class_diversity"}
PRDC = {"precision", "recall", "density", "coverage"}
TRAIN = ("--steps", 6, "--log_every", 1, "--save_every", 3, "--sample_every", 3, "--device", "cpu")

pytestmark = [
    pytest.mark.filterwarnings("ignore:n = "),
    pytest.mark.filterwarnings("ignore:fitting a small network"),
    pytest.mark.filterwarnings("ignore:.* left out"),
]


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "TURNED", 1280)


def folder(path: Path, images: Tensor) -> Path:
    path.mkdir(parents=True)
    for i, image in enumerate(images):
        (path / f"{i:04}.png").write_bytes(png(image))
    return path


def test_a_new_user_trains_measures_diagnoses_and_compares(
    call: Call, tmp_path: Path, cache: Path
) -> None:
    pics = folder(tmp_path / "my pics", DIGITS[::60])
    runs = [tmp_path / "runs" / name for name in "ab"]
    for run, seed in zip(runs, (0, 1), strict=True):
        arguments = ("basic-gan", "--dataset", pics, "--out", run, "--seed", seed, *TRAIN)
        assert call("train", *arguments)[0] == 0
        code, said, errors = call("evaluate", run, "--n", 60)
        assert code == 0 and said.startswith("step 6, own-10k+n=60 [") and "Traceback" not in errors
        assert "64 features of rotation" in said and "precision" in said and "score" not in said
    (file,) = (cache / "ganatomy" / "classifiers").iterdir()
    assert file.name.startswith("rotation-")
    code, said, _ = call("diagnose", runs[0])
    assert code == 0 and "pixel diversity" in said
    assert "Missing classes and diversity within a class were not looked for: " in said
    code, said, _ = call("compare", *runs, "--out", tmp_path / "page.html")
    assert code == 0 and "own-10k" in said and "own-10k" in (tmp_path / "page.html").read_text()
    code, _, errors = call("class-counts", runs[0], "--out", tmp_path / "counts.png")
    assert code == 2 and errors.count("\n") == 1 and "fit" not in errors
    assert "has no classes to count; ganatomy diagnose" in errors


def test_python_measures_images_without_classes(tmp_path: Path, cache: Path) -> None:
    real = folder(tmp_path / "pics", DIGITS[::60])
    for given in (real, DIGITS[::60]):
        found = gan.evaluate(DIGITS[7::90], real=given)
        assert found.protocol.features == "rotation" and found["precision"] > 0.5
        assert not CLASSES & {*found} and found.real("fd") is not None
        with pytest.raises(ValueError, match=r"classifier score left out: needs .*own-10k"):
            gan.evaluate(DIGITS[7::90], real=given, metrics="is")
    with pytest.raises(ValueError, match=r"need classes, but .*pics has none; .*own-10k"):
        gan.evaluate(DIGITS[7::90], real=real, protocol="mlp-hinge-10k")


def test_only_what_needs_classes_is_left_out(tmp_path: Path, cache: Path) -> None:
    real = folder(tmp_path / "pics", DIGITS[::60])
    with pytest.warns(UserWarning, match="classifier score left out"):
        found = gan.evaluate(DIGITS[7::90], real=real, metrics="is, fid, prdc")
    assert [*found] == ["fd", "precision", "recall", "density", "coverage"]
    assert [text for text in found.warnings if "left out" in text]


def test_the_fit_is_announced_once_and_its_weights_are_in_the_fingerprint(
    tmp_path: Path, cache: Path
) -> None:
    real = str(folder(tmp_path / "pics", DIGITS[::60]))
    options, protocol = EvalOptions(Path()), preset("classifier-2k")
    with pytest.warns(UserWarning, match=r"fitting a small network to .* about 2 minutes, once"):
        first = reference(protocol, real, options)
    with warnings.catch_warnings(action="error"):
        again = reference(preset("own-2k"), real, options)
    assert first.protocol == again.protocol and first.protocol.name == "own-2k"
    train, test = classifier.train_test_split(real, Path())
    *_, last = fitting.fit(train, test, real, "rotation", None, 1)
    assert last.content is not None
    fitting.store(last.content)
    other = reference(protocol, real, options)
    assert other.protocol.fingerprint != first.protocol.fingerprint
    assert first.held_out is not None and first.held_out.logits is None
    assert first.real.pixels is not None
    alone = first.space.extract(first.real.pixels[3:5])[0]
    torch.testing.assert_close(alone, first.real.features[3:5], rtol=1e-4, atol=1e-5)
    assert first.class_shares is None and first.space.classifier is None


def test_labeled_images_keep_their_default(tmp_path: Path, cache: Path) -> None:
    assert reference(preset("classifier-2k"), "mnist10k", EvalOptions(Path())).protocol.name == (
        "classifier-2k"
    )
    for label in "ab":
        folder(tmp_path / "pics" / label, DIGITS[::200])
    with pytest.raises(ValueError, match=r"no conv classifier .*--shape 1 28 28"):
        reference(preset("classifier-2k"), str(tmp_path / "pics"), EvalOptions(Path()))


def test_classifier_fits_quarter_turns_without_classes(
    call: Call, tmp_path: Path, cache: Path
) -> None:
    pics = folder(tmp_path / "pics", DIGITS[::60])
    code, said, _ = call("classifier", "fit", "--data", pics, "--json")
    result = json.loads(said)
    assert code == 0 and result["kind"] == "rotation" and result["n_test"] == 16
    assert result["classes"] == ["0°", "90°", "180°", "270°"]
    assert (
        json.loads(call("classifier", "show", "--data", pics, "--json")[1])["sha256"]
        == (result["sha256"])
    )
    code, _, errors = call("classifier", "fit", "--data", pics, "--kind", "conv")
    assert code == 2 and "needs classes" in errors and "--kind rotation" in errors


def test_turns_are_learned_by_images_of_any_form(cache: Path) -> None:
    """Bright at the top, of which a turned one is bright at a side, whatever its form."""
    rows = torch.linspace(255, 0, 12).view(12, 1).expand(12, 8)
    images = (rows + 40 * torch.randn(400, 1, 12, 8)).clamp(0, 255).to(torch.uint8)
    train = as_samples(images[:300])
    *_, last = fitting.fit(train, as_samples(images[300:]), "x", "rotation", 12, 0, batch=32)
    assert last.content is not None
    found = classifier.load(last.content, "x")
    assert found.about["accuracy"] > 0.95
    diagonal = torch.tensor(found.about["confusion"]).diagonal()
    assert diagonal.min() > 20 and found.about["digest"] == digest_of(train)
    *_, last = fitting.fit(train, None, "x", "rotation", 1, 0, batch=32)
    assert last.content is not None
    assert classifier.load(last.content, "x").about["accuracy"] is None


@pytest.mark.parametrize("n", [2, 5, 6, 9, 12, 19, 20, 40])
def test_few_real_images_leave_out_what_needs_more(n: int, tmp_path: Path, cache: Path) -> None:
    """A tenth of 19 is one image, which is too few for a real score."""
    real = folder(tmp_path / "pics", DIGITS[::60][:n])
    found = gan.evaluate(DIGITS[7::90], real=real)
    held_out = n // 10
    assert (found.real_n or 0) == (held_out if held_out > 1 else 0)
    assert {"fd", "diversity", "pixel_diversity", "exact_duplicates", "copies"} <= {*found}
    assert {*found} >= PRDC if n - held_out >= 6 else not PRDC & {*found}
    assert "memorized" not in found
    assert (found.real("fd") is None) == (held_out < 2)
    assert ("no held-out real images" in found.heading()) == (held_out < 2)


def test_the_left_out_is_named_with_its_cure(tmp_path: Path, cache: Path) -> None:
    real = folder(tmp_path / "pics", DIGITS[::60][:4])
    with pytest.warns(UserWarning) as told:
        found = gan.evaluate(DIGITS[7::90], real=real)
    said = " | ".join(str(w.message) for w in told)
    assert "precision, recall, density, coverage left out: expected at least 6 reference" in said
    assert "real score is left out: " in said and "0 held-out real images" in said
    assert any("precision" in text for text in found.warnings)
    with pytest.raises(
        ValueError, match=r"precision, recall.*expected at least 6 reference images"
    ):
        gan.evaluate(DIGITS[7::90], real=real, metrics="precision")


def test_a_test_folder_of_one(call: Call, tmp_path: Path, cache: Path) -> None:
    folder(tmp_path / "pics/train", DIGITS[::60])
    folder(tmp_path / "pics/test", DIGITS[:1])
    fakes = tmp_path / "fakes.npz"
    fakes.write_bytes(npz(DIGITS[7::90]))
    code, said, _ = call("evaluate", fakes, "--real", tmp_path / "pics", "--json")
    (row,) = json.loads(said)["rows"]
    assert code == 0 and row["real_n"] is None and row["values"]["recall"]["real"] is None


@pytest.mark.parametrize("n", [1, 6, 47])
def test_few_samples_leave_out_what_needs_more(n: int) -> None:
    ref = reference(preset("classifier-2k"), "mnist10k", EvalOptions(Path()))
    if n < 2:
        with pytest.raises(TooFewImagesError, match="at least 2 generated images, got 1"):
            evaluate.evaluate(DIGITS[:n], ref)
        with pytest.raises(TooFewImagesError, match="at least 2 generated images, got 1"):
            gan.evaluate(DIGITS[:n], real="mnist10k")
        return
    found = evaluate.evaluate(DIGITS[:n], ref)
    assert {*found} >= PRDC if n >= 6 else not PRDC & {*found}
    assert ("fd_infinity" in found) == (n >= 8) and ("near_duplicates" in found) == (n >= 30)
    assert {"fd", "kid", "chi2", "diversity", "memorized"} <= {*found}
    assert ("score" in found) == (n >= ref.protocol.splits)


def test_one_real_image_is_refused(tmp_path: Path, cache: Path) -> None:
    real = folder(tmp_path / "pics", DIGITS[:1])
    with pytest.raises(ValueError, match="expected at least 2 real images, got 1"):
        gan.evaluate(DIGITS[7::90], real=real)


def test_few_images_are_not_called_memorized(tmp_path: Path, cache: Path) -> None:
    """With two images held out, their nearest distance would be the threshold."""
    ref: Reference = reference(
        preset("own-2k"), str(folder(tmp_path / "pics", DIGITS[::60][:25])), EvalOptions(Path())
    )
    found = evaluate.evaluate(DIGITS[7::90], ref)
    assert found.real_n == 2 and "memorized" not in found and "near_duplicates" not in found


def test_the_log_is_diagnosed_where_the_images_are_gone(tmp_path: Path, cache: Path) -> None:
    pics = folder(tmp_path / "pics", DIGITS[::60])
    run = gan.train(
        "basic-gan", tmp_path / "run", dataset=str(pics), steps=30, progress=False, lr_d=0.5, lr_g=1
    )
    for file in pics.iterdir():
        file.unlink()
    pics.rmdir()
    found = diagnose_run(run)
    assert found.evaluations == () and "Only the log and earlier measurements" in repr(found)
    points = gan.train("basic-gan", tmp_path / "points", dataset="ring8", steps=3, progress=False)
    assert "points of ring8" in diagnose_run(points).left_out
