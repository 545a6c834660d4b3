"""Diagnoses: pure rules over logged rows and measured rows, each with its evidence and a remedy.

To add one, write a rule and add a line to LOG_RULES or MEASURE_RULES. The thresholds are those at
which planted failures are named and healthy runs are not; docs/diagnose.md has the table.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ganatomy.recipe import Recipe

Row = dict[str, Any]

WINDOW = 20
"""Logged rows of which rules take the median, as single steps are noisy."""

VANISHED = 0.02
"""Norm of G's gradient below which it hardly moves; working GANs have some tenths and more."""


class Diagnosis(NamedTuple):
    """One thing that goes, or went, wrong."""

    name: str
    begins: int
    """first step of the stretch in which it showed"""
    until: int | None
    """first step after that stretch; None if it lasted to the end"""
    looks: int
    """measurements, or windows of logged rows, that showed it one after the other"""
    evidence: str
    advice: str


class Rule(NamedTuple):
    """A sign, and what to try when it shows."""

    needs: tuple[str, ...]
    """values without which the rule has nothing to say"""
    sign: Callable[[Any], str | None]
    """evidence, or None"""
    advice: str


class Window(NamedTuple):
    """What a log rule sees: medians of the last WINDOW rows, and of the run's first."""

    now: dict[str, float]
    first: dict[str, float]
    label_gap: float
    """between real and fake labels, the widest that D(x) - D(G(z)) can sensibly be"""


def domination(w: Window) -> str | None:
    """D tells real from fake nearly always, so G learns little (R0.c2)."""
    if w.now["d_real"] - w.now["d_fake"] < 0.94 * w.label_gap:
        return None
    return f"median D(x) {w.now['d_real']:.3f}, D(G(z)) {w.now['d_fake']:.3f}"


def vanishing(w: Window) -> str | None:
    """G's gradient has all but gone while D rejects everything (Goodfellow 2014, section 3)."""
    gradient = w.now["g_grad"]
    if w.now["d_fake_after"] > 0.05 or gradient > VANISHED:
        return None
    return f"norm of G's gradient {gradient:.1e}, D(G(z)) {w.now['d_fake_after']:.1e}"


def divergence(w: Window) -> str | None:
    """A loss has left every scale that a working GAN has."""
    for name in ("d_loss", "g_loss"):
        now, first = abs(w.now[name]), abs(w.first[name])
        if now > 25 and now > 10 * first:
            return f"median {name} {now:,.0f}, {first:.2g} at the start"
    return None


def collapse(values: dict[str, float]) -> str | None:
    """Few classes, or few pictures: seen in the samples, for losses do not show it (R1.c4)."""
    if noise(values):
        return None
    signs = []
    if values.get("missing", 0) >= 1 and values.get("chi2_p", 0) < 1e-6:
        signs.append(f"{values['missing']:.0f} classes missing")
    for name, low in (("diversity", 0.6), ("class_diversity", 0.3)):
        if values.get(name, 1) < low:
            signs.append(f"{name.replace('_', ' ')} {values[name]:.2f} of real data's")
    if values.get("exact_duplicates", 0) > 0.05:
        signs.append(f"{values['exact_duplicates']:.0%} of the samples are equal to another")
    if values.get("near_duplicates", 0) > 0.3:
        signs.append(f"{values['near_duplicates']:.0%} nearly equal to another")
    return ", ".join(signs) or None


def noise(values: dict[str, float]) -> str | None:
    """Varied pictures, none of them like the data."""
    pixels = values["pixel_diversity"]
    if "precision" in values:
        if values["precision"] > 0.02 or pixels < 0.5:
            return None
        return f"precision {values['precision']:.3f}, pixels {pixels:.2f} times as varied as real"
    # a few samples have no precision; of all failures only noise varies more than data do
    if pixels < 1.05 or values["diversity"] > 0.4:
        return None
    return f"pixels {pixels:.2f} times as varied as real, features {values['diversity']:.2f} times"


def memorisation(values: dict[str, float]) -> str | None:
    """The samples are training pictures."""
    signs = []
    if values.get("copies", 0) > 0.01:
        signs.append(f"{values['copies']:.0%} of the samples equal a reference picture")
    if values.get("memorised", 0) > 0.1:
        signs.append(
            f"{values['memorised']:.0%} are nearer to one than all but 1 % of held-out pictures are"
        )
    return ", ".join(signs) or None


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
        "train on; if it has long been so, look at the losses and the pictures",
    ),
    "memorisation": Rule(
        ("copies", "memorised"), memorisation, "train on more pictures, or stop earlier"
    ),
}
"""name -> rule over the values of one measurement"""


def diagnose(
    recipe: Recipe, logs: Sequence[Row], measures: Sequence[Row], failure: str | None = None
) -> list[Diagnosis]:
    """Apply every rule to a run's rows.

    Args:
        recipe: of the run, for its labels.
        logs: rows of log.jsonl, in order of step.
        measures: rows of evaluate.evaluate with their step, in order of step; fewer values only
            make fewer rules speak. Those of step 0 are passed over.
        failure: what ended the run, if its numbers were no longer finite.

    Returns:
        Diagnoses in the order in which they begin. One that passed again is only kept if it
        lasted at least three measurements, or WINDOW rows.
    """
    found = []
    if failure is not None:
        last = logs[-1]["step"] if logs else 0
        found.append(
            Diagnosis("divergence", last, None, 1, failure, LOG_RULES["divergence"].advice)
        )
    windows = _windows(recipe, logs)
    for name, rule in LOG_RULES.items():
        able = [(step, w) for step, w in windows if {*rule.needs} <= w.now.keys()]
        found += _stretches(name, rule, able, WINDOW)
    seen = [(row["step"], _values(row)) for row in measures if row["step"] > 0]
    for name, rule in MEASURE_RULES.items():
        able_too = [(step, values) for step, values in seen if {*rule.needs} <= values.keys()]
        found += _stretches(name, rule, able_too, 3)
    return sorted(found, key=lambda d: (d.until is not None, d.begins))


def _windows(recipe: Recipe, logs: Sequence[Row]) -> list[tuple[int, Window]]:
    """Medians of each run of WINDOW rows, under the step at which the run of rows begins."""
    if len(logs) < WINDOW:
        return []
    names = [name for name in logs[0] if name not in ("step", "epoch")]
    table = np.array([[row.get(name, np.nan) for name in names] for row in logs])
    spans = np.lib.stride_tricks.sliding_window_view(table, WINDOW, axis=0)
    medians = np.median(spans, axis=2)
    gap = float(np.mean(recipe.real_label) - np.mean(recipe.fake_label))
    first = dict(zip(names, medians[0].tolist(), strict=True))
    return [
        (logs[i]["step"], Window(dict(zip(names, row, strict=True)), first, gap))
        for i, row in enumerate(medians.tolist())
    ]


def _values(row: Row) -> dict[str, float]:
    return {name: value["value"] for name, value in row["values"].items()}


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
