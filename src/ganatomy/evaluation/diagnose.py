"""Diagnoses of a run: which failures its log and its samples show, since when, with evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from ganatomy.data import data_root
from ganatomy.evaluation.checkpoints import evaluate_grids, evaluate_run, measured
from ganatomy.evaluation.evaluate import possible
from ganatomy.evaluation.metrics import value
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.rules import LOG_RULES, MEASURE_RULES, WINDOW, Rule, Window
from ganatomy.evaluation.text import number
from ganatomy.gan.losses import find_loss
from ganatomy.gan.machine import pick_device
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.data import source
from ganatomy.runs.folder import Row, Run

DIAGNOSTIC_METRICS = (
    "prdc",
    "classes",
    "diversity",
    "class_diversity",
    "pixel_diversity",
    "exact_duplicates",
    "near_duplicates",
    "copies",
    "memorized",
)
"""Metrics that MEASURE_RULES are functions of."""

SPACES = ("classifier", "rotation")
"""Feature spaces that the thresholds of MEASURE_RULES hold for."""

LOOKS = 3
"""Measurements that must have shown a failure that is over; fewer may be chance."""


@dataclass(frozen=True)
class Diagnosis:
    """A failure, and the stretch of a run in which it showed."""

    name: str
    """key of LOG_RULES or MEASURE_RULES"""
    begins: int
    """first step of the stretch"""
    until: int | None
    """first step after the stretch; None if it lasts to the end"""
    looks: int
    """number of consecutive measurements, or windows of logged rows, that showed it"""
    evidence: str
    """newest evidence"""
    advice: str
    """remedies to try"""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        until = "to the end" if self.until is None else f"to step {self.until:,}, then no more"
        lines = [f"{self.name}, from step {self.begins:,} {until}", f"  seen:  {self.evidence}"]
        return "\n".join(lines + [f"  try:   {self.advice}"] * (self.until is None))


@dataclass(frozen=True, repr=False)
class Diagnoses(Sequence[Diagnosis]):
    """The diagnoses of a run: first those that last to the end, then those that are over."""

    run: Path
    """run folder"""
    found: tuple[Diagnosis, ...]
    evaluations: tuple[Evaluation, ...]
    """measurements that they rest on, in the order of steps"""
    left_out: str = ""
    """one sentence: what was not looked for, and why; empty if everything was"""

    @overload
    def __getitem__(self, index: int) -> Diagnosis: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Diagnosis]: ...
    def __getitem__(self, index: int | slice) -> Diagnosis | Sequence[Diagnosis]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def to_dict(self) -> dict[str, Any]:
        """Return the run, the diagnoses and the newest values."""
        newest = dict(self.evaluations[-1]) if self.evaluations else {}
        found = [diagnosis.to_dict() for diagnosis in self.found]
        about = {"run": str(self.run), "found": found, "values": newest}
        return about | {"left_out": self.left_out or None}

    def __repr__(self) -> str:
        lines = list(map(str, self.found))
        last = self.evaluations[-1].step or 0 if self.evaluations else 0
        if all(d.until is not None for d in self.found):
            lines.insert(0, f"no failure found, up to step {last:,}")
        newest = self.evaluations[-1].items() if self.evaluations else ()
        shown = "  ".join(f"{value(name).title} {number(x)}" for name, x in newest)
        lines += ["", f"{len(self.evaluations)} measurements; newest: {shown}"]
        return "\n".join(lines + [self.left_out] * bool(self.left_out))


def diagnose_run(
    run: Run, device: str = "auto", root: Path | None = None, data: Path | None = None
) -> Diagnoses:
    """Diagnose a run from its log, its sample grids, its evaluations and its newest checkpoint.

    The checkpoint is measured under classifier-2k, or own-2k without classes or classifier, which
    writes nothing. If its samples cannot be measured, the log and the evaluations remain.

    Args:
        run: the run.
        device: auto, cpu, cuda, cuda:N or mps.
        root: folder of full datasets; None means the run's.
        data: place of the run's own images; None means where they were when it was trained.

    Raises:
        ValueError: for a run that has neither a log nor a checkpoint.
    """
    if not run.checkpoints() and not run.rows("log"):
        raise ValueError(f"{run.path} has neither log nor checkpoint yet; train it first")
    options = EvalOptions(
        data_root(root or run.options.data_root),
        device=pick_device(device),
        shape=run.recipe.data.shape,
        convert=run.recipe.data.convert,
        skip_bad=run.options.skip_bad,
    )
    ref, left_out = _reference(run, data, options)
    # the thresholds are those of these features
    found = [e for e in measured(run) if e.protocol.features in SPACES]
    if ref is not None:
        newest = [file for file in [run.newest_checkpoint()] if file]  # none, if it diverged before
        found += evaluate_run(run, newest, ref, possible(DIAGNOSTIC_METRICS, ref))
        known = {e.step for e in found}  # with more samples than a grid has
        found += [e for e in evaluate_grids(run, ref) if e.step not in known]
    found.sort(key=lambda e: e.step or 0)
    failure = run.sessions[-1].get("failure") if run.sessions else None
    diagnoses = diagnose(run.recipe, run.rows("log"), found, failure)
    return Diagnoses(run.path, tuple(diagnoses), tuple(found), left_out)


def _reference(run: Run, place: Path | None, options: EvalOptions) -> tuple[Reference | None, str]:
    """Return what samples are measured against, and a sentence on what that leaves out.

    It is None for points, or if the data cannot be loaded or changed.
    """
    try:
        data = source(run, place)
    except ValueError as error:
        return None, f"Only the log and earlier measurements were read: {error}."
    reason = f"{data} has no classes"
    try:
        ref = reference(preset("classifier-2k"), data, options)
    except ValueError as error:
        reason = str(error)
        try:
            ref = reference(preset("own-2k"), data, options)
        except ValueError as other:
            return None, f"Only the log and earlier measurements were read: {other}."
    if ref.space.classifier is not None:
        return ref, ""
    return ref, f"Missing classes and diversity within a class were not looked for: {reason}."


def diagnose(
    recipe: Recipe,
    logs: Sequence[Row],
    evaluations: Sequence[Evaluation],
    failure: str | None = None,
) -> list[Diagnosis]:
    """Apply every rule.

    Args:
        recipe: recipe of the run, for its labels.
        logs: rows of log.jsonl, in the order of steps.
        evaluations: evaluations of the run, in the order of steps. Those of step 0 do not count:
            every generator begins collapsed. Each rule skips those without the values it needs.
        failure: message of the error that ended the run, if its numbers became infinite or NaN.

    Returns:
        First the failures that last to the end, then those that are over, each in the order in
        which they begin. The latter must have lasted for LOOKS measurements or WINDOW windows.
    """
    found = []
    for name, rule in LOG_RULES.items():
        found += _stretches(name, rule, _windows(recipe, logs, rule.needs), WINDOW)
    values = [(e.step, _values(e)) for e in evaluations if e.step]
    for name, rule in MEASURE_RULES.items():
        able = [(step, known) for step, known in values if {*rule.needs} <= known.keys()]
        found += _stretches(name, rule, able, LOOKS)
    if failure is not None:
        found = [*_failed(failure, logs, found)]
    return sorted(found, key=lambda d: (d.until is not None, d.begins))


def _failed(failure: str, logs: Sequence[Row], found: Sequence[Diagnosis]) -> Iterator[Diagnosis]:
    """Replace the divergence that the last rows show, if they do, by the error itself."""
    begins, looks = logs[-1]["step"] if logs else 0, 1
    for diagnosis in found:
        if diagnosis.name == "divergence" and diagnosis.until is None:
            begins, looks = diagnosis.begins, diagnosis.looks
        else:
            yield diagnosis
    yield Diagnosis("divergence", begins, None, looks, failure, LOG_RULES["divergence"].advice)


def _windows(recipe: Recipe, logs: Sequence[Row], names: Sequence[str]) -> list[tuple[int, Window]]:
    """Return medians of the rows that have these values, each with the middle step of its rows."""
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
    """Return the values, and absent: the images that the missing classes should have had."""
    values = dict(e)
    if e.class_counts is not None:
        values["absent"] = values.get("missing", 0) * e.n / len(e.class_counts)
    return values


def _stretches(
    name: str, rule: Rule, known: Sequence[tuple[int, Any]], least: int
) -> list[Diagnosis]:
    """Find unbroken stretches of a sign; those that are over must have a least length."""
    found = []
    begins, length, evidence = 0, 0, ""
    for step, values in known:
        sign = rule.sign(values)
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
