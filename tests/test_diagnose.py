"""Rules over rows: what fires, since when, and what must not."""

from pathlib import Path

import pytest
import torch
from conftest import MLP
from torch import Tensor

from ganatomy.data import load
from ganatomy.evaluation import evaluate
from ganatomy.evaluation.diagnose import Diagnoses, Diagnosis, diagnose, diagnose_run
from ganatomy.evaluation.protocol import Protocol, preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.result import Evaluation, Score
from ganatomy.evaluation.rules import LOG_RULES, MEASURE_RULES, WINDOW
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Row, Run
from ganatomy.training.loop import fit

PLAIN = MLP.replace(real_label=(1.0, 1.0), fake_label=(0.0, 0.0))
BASIC = {
    "d_loss": 0.7,
    "g_loss": 1.8,
    "d_real": 0.78,
    "d_fake": 0.19,
    "d_fake_after": 0.19,
    "g_grad": 3.0,
}
EVEN = {"d_loss": 1.36, "g_loss": 0.83, "d_real": 0.46, "d_fake": 0.44, "d_fake_after": 0.43}
DOMINATED = {"d_real": 0.999, "d_fake": 0.001}
VANISHED = {"g_grad": 0.001, "d_fake_after": 0.001}
GOOD = {
    "missing": 0.0,
    "chi2_p": 0.3,
    "diversity": 0.9,
    "pixel_diversity": 0.97,
    "class_diversity": 1.1,
    "precision": 0.86,
    "exact_duplicates": 0.0,
    "near_duplicates": 0.01,
    "copies": 0.0,
    "memorized": 0.01,
}
FEW = ("missing", "chi2_p", "diversity", "pixel_diversity", "exact_duplicates")
COLLAPSED = {"missing": 8.0, "chi2_p": 0.0}


def logs(*stretches: tuple[int, dict[str, float]], every: int = 50) -> list[Row]:
    """Rows of log.jsonl: so many of each kind, one after the other."""
    kinds = [BASIC | change for count, change in stretches for _ in range(count)]
    return [{"step": every * (i + 1), "epoch": 0.0} | kind for i, kind in enumerate(kinds)]


def measured(step: int, *changes: dict[str, float], n: int = 2048) -> Evaluation:
    """An evaluation of a checkpoint, or with n = 64 that of a sample grid."""
    values = {name: GOOD[name] for name in (FEW if n == 64 else GOOD)}
    for change in changes:
        values |= change
    scores = {name: Score(value) for name, value in values.items()}
    return Evaluation(Protocol(n=n), n, 64, None, scores, (n // 10,) * 10, step=step)


@pytest.mark.parametrize("loss", ["wasserstein", "hinge", "least_squares", "relativistic"])
def test_scores_are_not_read_as_probabilities(loss: str) -> None:
    # a critic's scores go where they like, and its gradient may be small
    critic = {"d_real": 40.0, "d_fake": -60.0, "d_fake_after": -60.0, "d_loss": -100.0}
    recipe = PLAIN.replace(loss=loss)
    rows = logs((3 * WINDOW, critic | {"g_loss": 60.0, "g_grad": 0.001}))
    assert diagnose(recipe, rows, []) == []
    assert {*names(diagnose(PLAIN, rows, []))} >= {"discriminator domination"}
    worse = logs((WINDOW, critic), (2 * WINDOW, critic | {"d_loss": -5000.0}))
    assert names(diagnose(recipe, worse, [])) == ["divergence"]


def names(found: list[Diagnosis]) -> list[str]:
    return [d.name for d in found]


@pytest.mark.parametrize("healthy", [BASIC, BASIC | EVEN], ids=["ahead", "even"])
def test_healthy_rows_say_nothing(healthy: dict[str, float]) -> None:
    assert diagnose(PLAIN, logs((60, healthy)), [measured(1), measured(2, n=64)]) == []
    assert diagnose(PLAIN, [], []) == []


@pytest.mark.parametrize(
    ("name", "change", "evidence"),
    [
        ("discriminator domination", DOMINATED, "median D(x) 0.999, D(G(z)) 0.001"),
        ("vanishing generator gradient", VANISHED, "norm of G's gradient 1.0e-03, D(G(z)) 1.0e-03"),
        ("divergence", {"g_loss": 5000.0}, "median g_loss 5000, 1.8 at the start"),
        ("divergence", {"d_loss": -30.0}, "median d_loss -30, 0.7 at the start"),
    ],
)
def test_a_sign_in_the_log_is_named(name: str, change: dict[str, float], evidence: str) -> None:
    (found,) = diagnose(PLAIN, logs((40, {}), (30, change)), [])
    assert (found.name, found.until, found.evidence) == (name, None, evidence)
    assert found.advice == LOG_RULES[name].advice
    assert found.begins == pytest.approx(41 * 50, abs=50)  # where the median of 20 rows turns


def test_a_sign_from_the_first_row_begins_there() -> None:
    rows = logs((30, DOMINATED | {"g_loss": 54_000.0}))
    found = diagnose(PLAIN, rows, [])
    assert [(d.name, d.begins) for d in found] == [
        ("discriminator domination", 50),
        ("divergence", 50),
    ]


def test_small_numbers_that_are_well_say_nothing() -> None:
    """A generator with little left to learn; a loss that grew from nearly nothing to something."""
    assert diagnose(PLAIN, logs((60, {"g_grad": 0.001, "d_fake_after": 0.45})), []) == []
    assert diagnose(PLAIN, logs((30, {"d_loss": 0.01}), (30, {"d_loss": 1.3})), []) == []


def test_one_spike_is_no_sign() -> None:
    spikes = [(9, {}), (2, DOMINATED | VANISHED | {"g_loss": 1e6})] * 5
    assert diagnose(PLAIN, logs(*spikes), []) == []


@pytest.mark.parametrize(("short", "left"), [(WINDOW - 2, 0), (WINDOW + 2, 1)])
def test_what_passed_is_kept_if_it_lasted(short: int, left: int) -> None:
    found = diagnose(PLAIN, logs((30, {}), (short, DOMINATED), (40, {})), [])
    assert len(found) == left
    for d in found:
        assert d.begins == pytest.approx(31 * 50, abs=50)
        assert d.until == pytest.approx((31 + short) * 50, abs=50)
        assert d.looks == pytest.approx(short, abs=1)


def test_too_few_rows_say_nothing() -> None:
    assert diagnose(PLAIN, logs((19, DOMINATED)), []) == []
    assert names(diagnose(PLAIN, logs((20, DOMINATED)), [])) == ["discriminator domination"]


def test_domination_is_measured_between_the_labels() -> None:
    """D(x) 0.85, D(G(z)) 0.14: much for labels 1 and 0, all that smoothed labels allow."""
    rows = logs((30, {"d_real": 0.85, "d_fake": 0.14}))
    assert diagnose(PLAIN, rows, []) == []
    assert names(diagnose(MLP, rows, [])) == ["discriminator domination"]
    upside_down = PLAIN.replace(real_label=(0.0, 0.0), fake_label=(1.0, 1.0))
    assert diagnose(upside_down, rows, []) == []


def test_rows_without_a_value_are_passed_over() -> None:
    """As of runs by a version that did not log G's gradient yet."""
    rows = logs((30, VANISHED), (30, DOMINATED | VANISHED))
    old = [{k: v for k, v in row.items() if k != "g_grad"} for row in rows]
    assert names(diagnose(PLAIN, old, [])) == ["discriminator domination"]
    mixed = [old[i] if i % 2 else row for i, row in enumerate(rows)]
    both = names(diagnose(PLAIN, mixed, []))
    assert both == ["vanishing generator gradient", "discriminator domination"]


def test_failure_is_divergence_with_its_words() -> None:
    text = "d_loss (nan) is not finite at step 8"
    advice = LOG_RULES["divergence"].advice
    assert diagnose(PLAIN, [], [], text) == [Diagnosis("divergence", 0, None, 1, text, advice)]
    assert diagnose(PLAIN, logs((5, {})), [], text)[0].begins == 250
    (found,) = diagnose(PLAIN, logs((30, {}), (30, {"g_loss": 5000.0})), [], text)
    assert found.evidence == text and found.begins == pytest.approx(31 * 50, abs=50)


@pytest.mark.parametrize(
    ("name", "changes", "evidence"),
    [
        ("mode collapse", COLLAPSED, "8 classes missing"),
        ("mode collapse", {"pixel_diversity": 0.2}, "pixels 0.20 times as varied"),
        ("mode collapse", {"exact_duplicates": 0.5}, "50% of the samples are equal"),
        ("mode collapse", {"near_duplicates": 0.9}, "90% of the samples nearly equal"),
        ("mode collapse", {"class_diversity": 0.1}, "in a class 0.10 times as varied"),
        ("noise", {"precision": 0.0} | COLLAPSED, "precision 0.000, pixels 0.97"),
        ("memorization", {"copies": 0.3}, "30% of the samples equal a reference image"),
        ("memorization", {"memorized": 0.9}, "90% are nearer to one"),
    ],
)
def test_a_sign_in_the_samples_is_named(
    name: str, changes: dict[str, float], evidence: str
) -> None:
    (found,) = diagnose(PLAIN, [], [measured(100), measured(200, changes)])
    assert (found.name, found.begins, found.until, found.looks) == (name, 200, None, 1)
    assert found.evidence.startswith(evidence) and found.advice == MEASURE_RULES[name].advice


@pytest.mark.parametrize(
    ("missing", "n", "there"),
    [(1, 64, False), (2, 64, False), (3, 64, True), (1, 2048, True)],
)
def test_classes_are_missing_once_chance_is_out(missing: int, n: int, there: bool) -> None:
    found = diagnose(PLAIN, [], [measured(1, {"missing": missing, "chi2_p": 1e-9}, n=n)])
    assert names(found) == ["mode collapse"] * there
    assert diagnose(PLAIN, [], [measured(1, {"missing": missing, "chi2_p": 1e-3}, n=n)]) == []


def test_a_grid_shows_noise_by_its_pixels() -> None:
    noise = measured(1, COLLAPSED, {"diversity": 0.3, "pixel_diversity": 1.12}, n=64)
    assert names(diagnose(PLAIN, [], [noise])) == ["noise"]
    alike = measured(
        1, {"precision": 0.0, "near_duplicates": 0.4}, n=64
    )  # to a classifier's features
    assert names(diagnose(PLAIN, [], [alike])) == ["noise"]
    rough = measured(1, {"diversity": 0.5, "pixel_diversity": 0.9}, n=64)
    assert diagnose(PLAIN, [], [rough]) == []


def test_the_same_noise_again_is_collapse() -> None:
    again = measured(1, {"precision": 0.0, "exact_duplicates": 1.0})
    assert names(diagnose(PLAIN, [], [again])) == ["mode collapse"]


def test_every_generator_begins_collapsed() -> None:
    assert diagnose(PLAIN, [], [measured(0, COLLAPSED)]) == []
    assert diagnose(PLAIN, logs((60, BASIC)), [measured(0, COLLAPSED), measured(100)]) == []


@pytest.mark.parametrize(("looks", "left"), [(2, 0), (3, 1)])
def test_a_collapse_that_passed_is_kept_if_seen_often(looks: int, left: int) -> None:
    rows = [measured(100 * (i + 1), COLLAPSED if i < looks else {}) for i in range(8)]
    found = diagnose(PLAIN, [], rows)
    assert len(found) == left
    for d in found:
        assert (d.begins, d.until, d.looks) == (100, 100 * (looks + 1), looks)


def test_a_grid_does_not_end_a_failure_that_it_cannot_show() -> None:
    copied = {"copies": 1.0}
    rows = [measured(100, copied), measured(200, n=64), measured(300, copied)]
    (found,) = diagnose(PLAIN, [], rows)
    assert (found.name, found.begins, found.until, found.looks) == ("memorization", 100, None, 2)


def test_evaluations_without_a_classifier_are_diagnosed_by_the_rest() -> None:
    found = measured(100, {"exact_duplicates": 1.0})
    rest = found.scores.keys() - {"missing", "chi2_p", "class_diversity"}
    plain = found.replace(class_counts=None, scores={name: found.scores[name] for name in rest})
    assert names(diagnose(PLAIN, [], [plain])) == ["mode collapse"]
    assert diagnose(PLAIN, [], [plain.replace(scores={"fd": Score(9.0)})]) == []


def test_what_lasts_comes_first_then_by_step() -> None:
    rows = logs((30, DOMINATED), (30, {}), (30, VANISHED))
    looks = [measured(100 * i, COLLAPSED if i < 5 else {}) for i in range(1, 9)]
    looks += [measured(4500, {"memorized": 0.9})]
    found = diagnose(PLAIN, rows, looks)
    assert names(found) == [
        "vanishing generator gradient",
        "memorization",
        "discriminator domination",
        "mode collapse",
    ]
    assert [d.until is None for d in found] == [True, True, False, False]


@pytest.fixture(scope="module")
def ref() -> Reference:
    return reference(preset("classifier-2k").replace(n=64), "mnist10k", EvalOptions(Path()))


def of_grid(pixels: Tensor, ref: Reference) -> list[str]:
    return names(diagnose(PLAIN, [], [evaluate.evaluate_grid(pixels, ref).replace(step=1)]))


def test_grids_of_real_digits_and_of_planted_failures(ref: Reference) -> None:
    """Of what comes with the package; tests/reference/test_planted.py has the whole table."""
    digits = load("mnist10k", Path(), "train")
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(digits), generator=rng)
    for draw in digits.values[order].split(64)[:8]:
        assert of_grid(draw, ref) == []
    noise = torch.randint(0, 256, (64, 1, 28, 28), generator=rng).to(torch.uint8)
    assert of_grid(noise, ref) == ["noise"]
    for failed in (
        digits.values[digits.labels == 3][:64],
        digits.values[digits.labels < 5][order[order < 5000][:64]],
        digits.values[:1].expand(64, -1, -1, -1),
        digits.values[:10].repeat(7, 1, 1, 1)[:64],
    ):
        assert of_grid(failed, ref) == ["mode collapse"]


def test_copies_of_the_training_digits_are_named(ref: Reference) -> None:
    digits = load("mnist10k", Path(), "train").values[::40]
    values = ("diversity", "pixel_diversity", "exact_duplicates", "copies")
    found = evaluate.evaluate(digits, ref, values).replace(step=1)
    assert names(diagnose(PLAIN, [], [found])) == ["memorization"]


def test_python_finds_the_collapse_that_the_command_finds(tmp_path: Path) -> None:
    """Of a generator that returns one image."""
    run = fit(MLP, tmp_path / "run", RunOptions(log_every=2, save_every=7, device="cpu"))
    (file,) = run.checkpoints()[-1:]
    saved = run.load(file)
    for weights in (saved["ema"], saved["generator"]):
        for name, tensor in weights.items():
            if name.endswith("weight") and tensor.ndim == 2:
                tensor.zero_()
    run.save({k: v for k, v in saved.items() if k != "run"}, 0)
    found = diagnose_run(run)
    assert isinstance(found, Diagnoses) and "mode collapse" in [d.name for d in found]
    assert found[0].until is None and f"  try:   {found[0].advice}" in repr(found)
    assert found[:1] == found.found[:1] and len(found) == len(found.found)
    empty = Run.create(tmp_path / "empty", MLP)
    with pytest.raises(ValueError, match="neither log nor checkpoint"):
        diagnose_run(empty)


def test_healthy_diagnoses_say_so() -> None:
    none = Diagnoses(Path("run"), (), (measured(100), measured(700)))
    assert repr(none).splitlines()[0] == "no failure found, up to step 700"
    assert "2 measurements; newest: " in repr(none) and none.to_dict()["found"] == []
    assert "0 measurements" in repr(Diagnoses(Path("run"), (), ()))


def test_the_page_tells_of_every_rule() -> None:
    page = (Path(__file__).parents[1] / "docs/diagnose.md").read_text(encoding="utf-8")
    for name in (*LOG_RULES, *MEASURE_RULES):
        assert f"### {name}\n" in page
