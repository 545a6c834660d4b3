"""Diagnoses: pure rules over logged rows and measured rows, each with its evidence and a remedy.

To add one, write a rule and add a line to LOG_RULES or MEASURE_RULES. Planted failures, with which
docs/diagnose.md is made, must be named by the thresholds, and healthy runs must not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ganatomy.evaluation.result import Evaluation
from ganatomy.gan.losses import find_loss
from ganatomy.recipes.recipe import Recipe

Row = dict[str, Any]

WINDOW = 20
"""Logged rows of which rules take the median, as single steps are noisy."""

LOOKS = 3
"""Measurements in which a failure that passed must have shown; fewer may be chance."""

ABSENT = 19
"""Images that missing classes ought to have had together: three classes of ten, in a glance."""

VANISHED = 0.02
"""Norm of G's gradient below which it hardly moves; working GANs have some tenths and more."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that goes, or went, wrong."""

    name: str
    begins: int
    """first step of the stretch in which it showed"""
    until: int | None
    """first step after that stretch; None if it lasted to the end"""
    looks: int
    """measurements, or windows of logged rows, that showed it one after the other"""
    evidence: str
    """as last seen"""
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


class Rule(NamedTuple):
    """A sign, and what to try when it shows."""

    needs: tuple[str, ...]
    """values without which the rule has nothing to say"""
    sign: Callable[[Any], str | None]
    """evidence, or None"""
    advice: str


class Window(NamedTuple):
    """What a log rule sees: medians of WINDOW rows on end, and of the run's first."""

    now: dict[str, float]
    first: dict[str, float]
    label_gap: float
    """between real and fake labels, the widest that D(x) - D(G(z)) can sensibly be; 0 if the loss
    knows no probabilities, as scores can be as far apart as they like"""


def domination(w: Window) -> str | None:
    """D tells real from fake nearly always, so G learns little (R0.c2)."""
    if w.label_gap <= 0 or w.now["d_real"] - w.now["d_fake"] < 0.94 * w.label_gap:
        return None
    return f"median D(x) {w.now['d_real']:.3f}, D(G(z)) {w.now['d_fake']:.3f}"


def vanishing(w: Window) -> str | None:
    """G's gradient has all but gone while D rejects everything (Goodfellow 2014, section 3)."""
    gradient = w.now["g_grad"]
    if w.label_gap <= 0 or w.now["d_fake_after"] > 0.05 or gradient > VANISHED:
        return None
    return f"norm of G's gradient {gradient:.1e}, D(G(z)) {w.now['d_fake_after']:.1e}"


def divergence(w: Window) -> str | None:
    """A loss has left every scale that a working GAN has, perhaps before the first row."""
    for name in ("d_loss", "g_loss"):
        now, first = abs(w.now[name]), abs(w.first[name])
        if now > 1000 or (w.label_gap > 0 and now > max(25, 10 * first)):
            return f"median {name} {w.now[name]:.4g}, {w.first[name]:.2g} at the start"
    return None


def collapse(values: dict[str, float]) -> str | None:
    """Few classes, or few images: seen in the samples, for losses do not show it (R1.c4)."""
    signs = _repeats(values)
    if noise(values):  # to a classifier it is much alike, and of one class
        return None
    if values.get("absent", 0) >= ABSENT and values.get("chi2_p", 0) < 1e-6:
        signs.insert(0, f"{values['missing']:.0f} classes missing")
    if values.get("class_diversity", 1) < 0.3:
        signs.append(f"in a class {values['class_diversity']:.2f} times as varied as real")
    if values.get("near_duplicates", 0) > 0.3:
        signs.append(f"{values['near_duplicates']:.0%} of the samples nearly equal to another")
    return ", ".join(signs) or None


def noise(values: dict[str, float]) -> str | None:
    """Varied images, none of them like the data."""
    pixels = values["pixel_diversity"]
    if _repeats(values):
        return None
    if "precision" in values:
        if values["precision"] > 0.02:
            return None
        return f"precision {values['precision']:.3f}, pixels {pixels:.2f} times as varied as real"
    # a glance has no precision; of all failures only noise varies more than data do
    if pixels < 1.05 or values["diversity"] > 0.4:
        return None
    return f"pixels {pixels:.2f} times as varied as real, features {values['diversity']:.2f} times"


def memorisation(values: dict[str, float]) -> str | None:
    """The samples are training images."""
    signs = []
    if values["copies"] > 0.01:
        signs.append(f"{values['copies']:.0%} of the samples equal a reference image")
    if values.get("memorised", 0) > 0.2:
        signs.append(
            f"{values['memorised']:.0%} are nearer to one than all but 1 % of held-out images are"
        )
    return ", ".join(signs) or None


def _repeats(values: dict[str, float]) -> list[str]:
    """Say how pixels tell that images repeat, be they like the data or not."""
    signs = []
    if values["pixel_diversity"] < 0.5:
        signs.append(f"pixels {values['pixel_diversity']:.2f} times as varied as real")
    if values.get("exact_duplicates", 0) > 0.05:
        signs.append(f"{values['exact_duplicates']:.0%} of the samples are equal to another")
    return signs


LOG_RULES: dict[str, Rule] = {
    "discriminator domination": Rule(
        ("d_real", "d_fake"),
        domination,
        "lower --lr_d, add --d_dropout 0.3, soften --real_label 0.9 0.9, or give G more --g_steps",
    ),
    "vanishing generator gradient": Rule(
        ("g_grad", "d_fake_after"),
        vanishing,
        "use --loss non_saturating, or weaken D as for its domination",
    ),
    "divergence": Rule(("d_loss", "g_loss"), divergence, "lower --lr_g and --lr_d, or --beta1 0.5"),
}
"""name -> rule over a Window of log rows"""

MEASURE_RULES: dict[str, Rule] = {
    "mode collapse": Rule(
        ("diversity", "pixel_diversity"),
        collapse,
        "go back to a checkpoint before it; lower --lr_g, try --g_norm batch, a larger --batch, "
        "or another seed",
    ),
    "noise": Rule(
        ("diversity", "pixel_diversity"),
        noise,
        "train on; if it has long been so, look at the losses and the images",
    ),
    "memorisation": Rule(("copies",), memorisation, "train on more images, or stop earlier"),
}
"""name -> rule over the values of one measurement"""


def diagnose(
    recipe: Recipe, logs: Sequence[Row], measures: Sequence[Evaluation], failure: str | None = None
) -> list[Diagnosis]:
    """Apply every rule to a run's rows.

    Args:
        recipe: of the run, for its labels.
        logs: rows of log.jsonl, in order of step.
        measures: evaluations with their step, in order of step. Those of step 0 are
            passed over, and by each rule those that lack what it needs.
        failure: what ended the run, if its numbers were no longer finite.

    Returns:
        First what lasts to the end, then what passed again, each in the order in which they
        begin. What passed is only kept if it lasted for LOOKS measurements, or WINDOW windows.
    """
    found = []
    for name, rule in LOG_RULES.items():
        found += _stretches(name, rule, _windows(recipe, logs, rule.needs), WINDOW)
    seen = [(e.step, _values(e)) for e in measures if e.step]
    for name, rule in MEASURE_RULES.items():
        able = [(step, values) for step, values in seen if {*rule.needs} <= values.keys()]
        found += _stretches(name, rule, able, LOOKS)
    if failure is not None:
        found = [*_failed(failure, logs, found)]
    return sorted(found, key=lambda d: (d.until is not None, d.begins))


def _failed(failure: str, logs: Sequence[Row], found: Sequence[Diagnosis]) -> Iterator[Diagnosis]:
    """Put what ended a run in place of the divergence that its last rows show, if they do."""
    begins, looks = logs[-1]["step"] if logs else 0, 1
    for diagnosis in found:
        if diagnosis.name == "divergence" and diagnosis.until is None:
            begins, looks = diagnosis.begins, diagnosis.looks
        else:
            yield diagnosis
    yield Diagnosis("divergence", begins, None, looks, failure, LOG_RULES["divergence"].advice)


def _windows(recipe: Recipe, logs: Sequence[Row], names: Sequence[str]) -> list[tuple[int, Window]]:
    """Medians of the rows that have these values, under the middle step, where a median turns."""
    rows = [row for row in logs if {*names} <= row.keys()]
    if len(rows) < WINDOW:
        return []
    table = np.array([[row[name] for name in names] for row in rows])
    medians = np.median(np.lib.stride_tricks.sliding_window_view(table, WINDOW, axis=0), axis=2)
    named = [dict(zip(names, row, strict=True)) for row in medians.tolist()]
    gap = float(np.mean(recipe.objective.real_label) - np.mean(recipe.objective.fake_label))
    gap = gap if find_loss(recipe.objective.loss).probabilities else 0.0
    return [
        (rows[i + WINDOW // 2 if i else 0]["step"], Window(now, named[0], gap))
        for i, now in enumerate(named)
    ]


def _values(e: Evaluation) -> dict[str, float]:
    """Pick the bare values, and say how many images missing classes ought to have had."""
    values = dict(e)
    if e.class_counts is not None:
        values["absent"] = values.get("missing", 0) * e.n / len(e.class_counts)
    return values


def _stretches(
    name: str, rule: Rule, seen: Sequence[tuple[int, Any]], least: int
) -> list[Diagnosis]:
    """Find where a sign shows without a break; of passed stretches those that were long enough."""
    found = []
    begins, length, evidence = 0, 0, ""
    for step, what in seen:
        sign = rule.sign(what)
        if sign is not None:
            begins, evidence = (begins if length else step), sign
            length += 1
            continue
        if length >= least:
            found.append(Diagnosis(name, begins, step, length, evidence, rule.advice))
        length = 0
    if length:
        found.append(Diagnosis(name, begins, None, length, evidence, rule.advice))
    return found
