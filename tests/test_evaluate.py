"""Images to evaluations: real ones have the real scores, and what cannot be measured is refused."""

import dataclasses
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CONV, MLP
from PIL import Image
from torch import Tensor

import ganatomy as gan
from ganatomy.data import load
from ganatomy.data.content import content_order, digest_of, value_hashes
from ganatomy.data.mnist import natural
from ganatomy.data.shape import reshape_all
from ganatomy.evaluation import checkpoints, classifier, evaluate, tables
from ganatomy.evaluation.metrics import METRICS, values
from ganatomy.evaluation.protocol import Protocol, preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.result import Evaluation, Score
from ganatomy.figures.images import grid, png, ungrid
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit

OPTIONS = RunOptions(log_every=2, save_every=7, sample_every=7, device="cpu")
DIGITS = load("mnist10k", Path(), "train")
FEW = ("fd", "classes")


def place(root: Path = Path()) -> EvalOptions:
    return EvalOptions(root)


@pytest.fixture(scope="module")
def ref() -> Reference:
    """What 2,048 samples are measured against, from the package alone."""
    return reference(preset("classifier-2k"), "mnist10k", place())


@pytest.fixture(scope="module")
def row(ref: Reference) -> Evaluation:
    """All metrics of real digits."""
    return evaluate.evaluate(evaluate.choose(DIGITS.values, 2048, 0), ref)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with checkpoints at steps 7 and 14, averaged and with dropout."""
    return fit(MLP, tmp_path_factory.mktemp("runs") / "tiny", OPTIONS)


@pytest.fixture(autouse=True)
def few_samples_are_no_matter() -> None:
    warnings.filterwarnings("ignore", message="n = .*")


def test_real_images_are_resized_as_generated_ones_are(ref: Reference) -> None:
    larger = reshape_all(natural(), (1, 64, 64))
    chosen = evaluate.choose(larger.values, 2048, 0)
    there = reference(
        preset("classifier-2k"), "mnist10k", dataclasses.replace(place(), shape=(1, 64, 64))
    )
    expected = larger.values[content_order(value_hashes(larger.values))]
    assert there.real.pixels is not None and torch.equal(there.real.pixels, expected)
    assert torch.equal(evaluate.fitted(chosen, there), chosen)
    alike = evaluate.evaluate(chosen, there, ["fd", "classes"])
    unlike = evaluate.evaluate(evaluate.fitted(chosen, ref), ref, ["fd"])
    assert unlike["fd"] > 10 * alike["fd"]
    assert alike.fingerprint != unlike.fingerprint
    assert alike.protocol.resize.startswith("to the classifier's shape")
    assert alike["missing"] == 0 and sum(alike.class_counts or ()) == 2048
    assert there.class_shares is not None and ref.class_shares is not None
    assert torch.equal(there.class_shares, ref.class_shares)


def test_points_have_no_protocol() -> None:
    with pytest.raises(ValueError, match=r"got the points of ring8; .*ganatomy class-counts"):
        reference(preset("classifier-2k"), "ring8", place())


def test_all_is_measured_and_travels_with_its_protocol(row: Evaluation, ref: Reference) -> None:
    assert {*row} == {*values()}
    assert row.protocol == ref.protocol.replace(mode="given", weights="given")
    assert row.protocol.name == "classifier-2k+mode=given+weights=given"
    assert (row.n, row.dim, row.real_n) == (2048, 64, 2048)
    assert row.protocol.features_sha256 == classifier.SHIPPED["conv"][1]
    assert row.protocol.reference_sha256 == classifier.MNIST
    assert row.protocol.dataset == "mnist" and sum(row.class_counts or ()) == 2048
    of_pixels = {v for m in METRICS.values() for v in m.values if "fake.pixels" in m.needs}
    assert {name for name in row if row.real(name) is None} == of_pixels  # none held out have any


@pytest.mark.parametrize("step", [None, 7])
def test_an_evaluation_becomes_json_and_comes_back(row: Evaluation, step: int | None) -> None:
    at = row.replace(step=step)
    written = json.loads(json.dumps(at.to_dict(), allow_nan=False))
    assert written == at.to_dict() and ("step" in written) == (step is not None)
    assert Evaluation.from_dict(written) == at
    assert written["fingerprint"] == row.fingerprint
    assert written["protocol"] == Evaluation.from_dict(written).protocol.name == row.protocol.name
    assert written["values"]["fd"].keys() == {"value", "low", "high", "std", "real"}


def test_an_evaluation_is_a_mapping_that_shows_itself(row: Evaluation) -> None:
    assert row["fid"] == row["fd"] == dict(row)["fd"] and row["is"] == row["score"]
    low, high = row.interval("fd") or (0, 0)
    assert low < row["fd"] < high and row.interval("chi2") is None
    with pytest.raises(ValueError, match=r"unknown value 'precison' .*'precision'"):
        row.interval("precison")
    with pytest.raises(KeyError):
        row["precison"]
    lines = repr(row).splitlines()
    assert lines[0] == row.heading() and len(lines) == 2 + len(row)
    assert lines[1].split()[:2] == ["metric", "value"] and lines[2].startswith("FD ↓ ")
    assert row._repr_html_().count("<tr>") == 1 + len(row)


def test_real_digits_have_the_real_scores(row: Evaluation) -> None:
    for name in ("fd", "score", "precision", "recall", "density", "confidence", "diversity"):
        assert row[name] == pytest.approx(row.real(name), rel=0.1, abs=0.35)
    assert row["copies"] == 1 and row["memorized"] > 0.9  # they are


def test_floats_are_measured_as_the_images_that_they_are(ref: Reference) -> None:
    pixels = evaluate.choose(DIGITS.values, 600, 0)
    expected = evaluate.evaluate(pixels, ref, FEW)
    for form in (pixels / 255, pixels / 127.5 - 1, pixels.numpy()[..., 0, :, :], pixels.long()):
        assert evaluate.evaluate(form, ref, FEW) == expected
    with pytest.raises(ValueError, match="expected floats in"):
        evaluate.evaluate(pixels.float(), ref, FEW)


def test_a_fingerprint_is_of_what_was_measured(ref: Reference) -> None:
    """Of as many images as there were, from elsewhere, against as many as there were."""
    found = evaluate.evaluate(DIGITS.values[:200], ref, FEW)
    exact = ref.protocol.replace(n=200, mode="given", weights="given")
    assert found.protocol == exact and found.fingerprint != ref.protocol.fingerprint
    made = evaluate.evaluate_samples(DIGITS.values[:200], ref, FEW)
    assert made.protocol == ref.protocol.replace(n=200)
    few = reference(preset("raw-10k").replace(n_real=25), "mnist10k", place())
    assert few.protocol.n_real == len(few.real.features) == 25
    all_of_them = reference(preset("raw-10k").replace(n_real=10**6), "mnist10k", place())
    assert all_of_them.protocol.n_real == 10_000


def test_only_what_is_asked_for_is_in_the_result(ref: Reference) -> None:
    found = evaluate.evaluate(DIGITS.values[:64], ref, "precision, fid")
    assert [*found] == ["fd", "precision"] and found.real("precision") is not None
    everything = evaluate.evaluate(DIGITS.values[:64], ref)
    assert found.items() <= everything.items()


@pytest.mark.parametrize("copies", [1, 3])
def test_every_value_is_a_function_of_the_set_of_images(ref: Reference, copies: int) -> None:
    """Values, intervals and class counts of all metrics, which draw subsets and resamples."""
    pixels = evaluate.choose(DIGITS.values, 200, 0).repeat_interleave(copies, 0)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(1))
    one, other = (evaluate.evaluate(p, ref) for p in (pixels, pixels[order]))
    assert {*one} == {*values()} and other == one
    chosen = (evaluate.choose(p, 100, 3) for p in (pixels, pixels.flip(0), pixels[order]))
    first, *more = (sorted(value_hashes(c)) for c in chosen)
    assert more == [first, first] != [sorted(value_hashes(evaluate.choose(pixels, 100, 4)))] * 2


def test_embedded_digits_have_the_shares_of_the_full_set(ref: Reference, full_data: Path) -> None:
    """They are among the 60,000, whose moments and digest the reference has."""
    full = load("mnist", full_data, "train")
    assert ref.protocol.reference_sha256 == digest_of(full) == classifier.MNIST
    assert ref.moments.n == len(full) and ref.real.pixels is not None
    assert {*value_hashes(ref.real.pixels)} <= {*value_hashes(full.values)}
    drawn = natural()
    shares = (drawn.labels.bincount() / len(drawn) - full.labels.bincount() / len(full)).abs()
    assert shares.max() < 1e-4
    assert ref.protocol.drawn_n == len(drawn) == len(ref.real.features)
    assert ref.protocol.drawn_sha256 == digest_of(drawn)


def test_a_reference_is_remembered_but_not_believed_blindly(cache: Path) -> None:
    protocol = preset("classifier-2k").replace(n_real=300)
    first = reference(protocol, "mnist10k", place())
    (file,) = (cache / "ganatomy/references").iterdir()
    again = reference(protocol, "mnist10k", place())
    assert torch.equal(first.real.features, again.real.features) and first.moments.n == 300
    file.write_bytes(file.read_bytes()[:100])
    mended = reference(protocol, "mnist10k", place())
    assert torch.equal(first.moments.cov, mended.moments.cov)
    others = reference(protocol.replace(n_real=200), "mnist10k", place())
    assert others.moments.n == len(others.real.features) == 200


def test_protocols_fill_in_what_they_measure_against() -> None:
    raw = reference(preset("raw-10k"), "mnist10k", place(Path("nowhere")))
    assert raw.protocol.dataset == "mnist10k" and raw.held_out is None
    assert raw.space.dim == 784 and raw.moments.n == 10_000 and raw.class_shares is None
    measured = evaluate.evaluate(DIGITS.values[:500], raw, ("fd", "diversity"))
    assert measured.real_n is None and measured.real("fd") is None
    assert measured.class_counts is None
    hinge = reference(preset("mlp-hinge-10k"), "mnist", place(Path("nowhere")))
    plain = reference(preset("classifier-10k"), "mnist", place())
    assert hinge.protocol.fingerprint != plain.protocol.fingerprint
    assert hinge.protocol.reference_sha256 == plain.protocol.reference_sha256 == classifier.MNIST


def test_images_of_ones_own(tmp_path: Path) -> None:
    """A divided folder of unlabeled images, measured as pixels, with real scores."""
    for split, n in (("train", 90), ("test", 40)):
        for i, image in enumerate(DIGITS.values[:n] if split == "train" else DIGITS.values[-n:]):
            (tmp_path / split).mkdir(exist_ok=True)
            (tmp_path / split / f"{i:03}.png").write_bytes(png(image))
    protocol = preset("raw-10k").replace(n=50)
    ref = reference(protocol, str(tmp_path), place())
    row = evaluate.evaluate(DIGITS.values[200:250], ref)
    assert row.real_n == 40 and row.real("precision") is not None
    assert "score" not in row and row.real("copies") is None
    (tmp_path / "test/000.png").write_bytes(png(255 - DIGITS.values[0]))
    other = reference(protocol, str(tmp_path), place())  # the cache knows those that were there
    assert other.held_out is not None and ref.held_out is not None
    assert not torch.equal(other.held_out.features, ref.held_out.features)
    again = evaluate.evaluate(DIGITS.values[200:250], other)
    assert again.real("fd") != row.real("fd")


def test_too_few_or_other_images_are_refused(ref: Reference) -> None:
    with pytest.raises(ValueError, match=r"at least 2,048 images, got 100; .*--n 100"):
        evaluate.choose(DIGITS.values[:100], 2048, 0)
    color = torch.zeros(9, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"are 32 x 32 RGB, those of mnist 28 x 28 gray"):
        evaluate.evaluate(color, ref)
    with pytest.raises(ValueError, match=r"are 28 x 28 RGB, .* 28 x 28 gray; .* --shape 1 28 28"):
        evaluate.evaluate(DIGITS.values[:64].expand(-1, 3, -1, -1), ref)
    with pytest.raises(ValueError, match=r"unknown metric 'precison' .*'precision'"):
        evaluate.evaluate(DIGITS.values[:64], ref, ("precison",))
    wide = ref._replace(space=ref.space._replace(dim=2048))
    with pytest.raises(ValueError, match=r"n = 64 is below the 2,048 dimensions.*--force"):
        evaluate.evaluate(DIGITS.values[:64], wide, ("fd",))
    raw = reference(preset("raw-10k"), "mnist10k", place(Path("nowhere")))
    with pytest.raises(
        ValueError, match=r"score left out: needs a feature space with a classifier, which raw-10k"
    ):
        evaluate.evaluate(DIGITS.values[:64], raw, ("score",))


def test_gray_digits_in_three_channels_have_the_same_values_with_a_shape() -> None:
    gray = DIGITS.values[::20]
    one = gan.evaluate(gray, real="mnist", metrics=FEW)
    other = gan.evaluate(gray.expand(-1, 3, -1, -1), real="mnist", metrics=FEW, shape=(1, 28, 28))
    assert other == one


@pytest.mark.parametrize("names", ["is", "fd,kid", "FID, KID", ["is", "fid"]])
def test_names_of_the_literature_are_measured(ref: Reference, names: str | list[str]) -> None:
    found = evaluate.evaluate(DIGITS.values[:64], ref, names)
    known = {"is": "score", "fid": "fd", "fd": "fd", "kid": "kid"}
    text = ",".join([names] if isinstance(names, str) else names).lower()
    assert {*found} == {known[name.strip()] for name in text.split(",")}


def test_forty_samples_are_measured_by_all_metrics(ref: Reference) -> None:
    assert {*evaluate.evaluate(DIGITS.values[:40], ref)} == {*values()}


def test_images_that_hold_nan_are_named(ref: Reference) -> None:
    images = DIGITS.values[:64] / 255
    images[3, 0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match=r"holds NaN \(1 values are not finite\)"):
        evaluate.evaluate(images, ref)


def test_small_samples_are_warned_of(ref: Reference) -> None:
    with pytest.warns(UserWarning) as told:
        row = evaluate.evaluate(DIGITS.values[:50], ref, ("fd",))
    said = [str(w.message) for w in told]
    assert tuple(said) == row.warnings and len(said) == 2
    assert "below the 64 dimensions" in said[0] and "below 2,048" in said[1]
    assert evaluate.evaluate(DIGITS.values[:50], ref, ("classes",)).warnings == ()


def test_checkpoints_by_name(run: Run, tmp_path: Path) -> None:
    files = run.checkpoints()
    assert checkpoints.select_checkpoints(run, "all") == files and len(files) == 2
    assert checkpoints.select_checkpoints(run, "last") == files[-1:]
    assert checkpoints.select_checkpoints(run, "7") == files[:1]
    with pytest.raises(ValueError, match=r"no checkpoint 8 \(there are: 7, 14\)"):
        checkpoints.select_checkpoints(run, "8")
    with pytest.raises(ValueError, match="no checkpoint yet; train it first"):
        checkpoints.select_checkpoints(Run.create(tmp_path / "new", MLP), "last")


def test_modes_and_weights_are_other_samples_and_other_protocols(run: Run, ref: Reference) -> None:
    base = ref.protocol.replace(n=300)
    variants = [
        base,
        base.replace(mode="train"),
        base.replace(mode="reestimated"),
        base.replace(weights="raw"),
    ]
    rows = [
        next(checkpoints.evaluate_run(run, run.checkpoints()[-1:], ref._replace(protocol=p), FEW))
        for p in variants
    ]
    assert len({row["fd"] for row in rows}) == 4
    assert len({row.fingerprint for row in rows}) == 4
    columns, _ = tables.protocols_table([(row.protocol.mode, row) for row in rows])
    assert all(row.fingerprint in c for row, c in zip(rows, columns[1:], strict=True))
    with pytest.raises(ValueError, match=f"{rows[0].fingerprint}.*{rows[1].fingerprint}"):
        tables.comparison_table([("eval", rows[0]), ("train", rows[1])], "mode")


def test_the_best_is_picked_on_other_samples(
    run: Run, ref: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def scored(run: Run, files: list[Path], ref: Reference, *_: object) -> list[dict[str, float]]:
        seeds.append(ref.protocol.seed)
        return [{"fd": value} for value in (1.0, 3.0)]

    monkeypatch.setattr(checkpoints, "evaluate_run", scored)
    assert checkpoints.best_checkpoint(run, run.checkpoints(), ref) == run.checkpoints()[0]
    assert seeds == [ref.protocol.seed + 1]


def test_rows_of_one_step_and_protocol_are_joined(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MLP)
    for step, n, numbers in (
        (5, 20, {"fd": 1}),
        (3, 20, {"fd": 2}),
        (5, 30, {"fd": 3}),
        (5, 20, {"fd": 4, "kid": 5}),
        (5, 20, {"score": 6}),
    ):
        scores = {name: Score(value) for name, value in numbers.items()}
        made = Evaluation(Protocol(n=n), n, 64, None, scores, step=step)
        run.append("metrics", made.to_dict())
    found = {(e.step, e.n): dict(e) for e in checkpoints.measured(run)}
    joined = {"fd": 4, "kid": 5, "score": 6}
    assert found == {(3, 20): {"fd": 2}, (5, 20): joined, (5, 30): {"fd": 3}}


def test_grids_are_cut_back_into_their_images(run: Run, ref: Reference) -> None:
    pixels: Tensor = DIGITS.values[:64]
    assert torch.equal(ungrid(png(grid(pixels)), (1, 28, 28)), pixels)
    color = torch.randint(0, 256, (16, 3, 5, 7), dtype=torch.uint8)
    assert torch.equal(ungrid(png(grid(color)), (3, 5, 7)), color)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(buffer, "PNG")
    for content in (buffer.getvalue(), b"no image"):
        with pytest.raises(ValueError, match=r"expected a grid|not a readable PNG"):
            ungrid(content, (1, 28, 28))
    rows = checkpoints.evaluate_grids(run, ref)
    assert [row.step for row in rows] == [0, 7, 14]
    assert all(row["diversity"] < 0.6 for row in rows)  # it knows nothing yet


def test_measuring_while_training(tmp_path: Path, ref: Reference) -> None:
    options = RunOptions(eval_every=14, eval_protocol="classifier-2k", device="cpu")
    run = fit(CONV, tmp_path / "run", options)
    rows = checkpoints.measured(run)
    assert [row.step for row in rows] == [14]
    (again,) = checkpoints.evaluate_run(run, run.checkpoints()[-1:], ref, FEW)
    assert again.fingerprint == rows[-1].fingerprint
    assert again.items() <= rows[-1].items() and {*rows[0]} == {*values()}
