"""The reproducibility checklist of a study, filled in from its plan and its runs.

The items are those of the NeurIPS checklist (Pineau et al. 2021, arXiv 2003.12206).
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ganatomy.pages.sections import differences
from ganatomy.runs.folder import Row, Run
from ganatomy.studies.job import Job
from ganatomy.studies.pacing import shares
from ganatomy.studies.study import ALPHA, Study
from ganatomy.validation import to_dict


def checklist(study: Study, done: Sequence[Job], scale: float) -> dict[str, str]:
    """Return the answer to each item of the checklist.

    Args:
        study: the plan.
        done: its finished runs.
        scale: factor of the steps of every run.
    """
    return {
        "range of hyper-parameters": _range(study, scale),
        "choice of the best": (
            "Nothing was chosen. The conditions, their lengths and the claims were written down "
            "before the first run. Every run is measured at the step of its condition, whatever "
            "its results."
        ),
        "number of runs": _runs(study, done),
        "error bars": (
            "Change: 95 % interval, BCa bootstrap over training seeds. Bands and ranges: lowest to "
            "highest training seed. Intervals of values.csv: 95 %, over the samples of one run. p: "
            f"permutation test over training seeds, Holm's correction, threshold {ALPHA:g}."
        ),
        "infrastructure": _infrastructure(done),
    }


def _range(study: Study, scale: float) -> str:
    recipes = {name: study.recipe(name, 0, scale) for name in study.conditions}
    fixed = differences(recipes, without=("seed",))[1]
    found: dict[str, list[str]] = defaultdict(list)
    for recipe in recipes.values():
        for name, value in to_dict(recipe).items():
            if name not in {*dict(fixed), "seed"} and str(value) not in found[name]:
                found[name].append(str(value))
    tried = "; ".join(f"{name}: {', '.join(values)}" for name, values in found.items())
    return (
        f"{len(recipes)} condition{'s' if len(recipes) > 1 else ''}, all of them reported. "
        + (f"They differ in {tried}. " if tried else "")
        + f"The other {len(fixed)} fields of a recipe are fixed. The study tried no others."
    )


def _runs(study: Study, done: Sequence[Job]) -> str:
    folders = {job.folder for job in done}
    counts = [sum(job.condition == c for job in done) for c in study.conditions]
    seeds = f"{min(counts)}" if len({*counts}) == 1 else f"{min(counts)} to {max(counts)}"
    text = f"{len(folders)} trained runs, {seeds} training seeds of each condition"
    if len(folders) < len(done):
        text += ", where conditions that differ in length only are one run"
    kinds = "sampling seeds" if study.samplings > 1 else "sampling seed"
    return f"{text}; {study.samplings} {kinds} in each run."


def machines(sessions: Sequence[Row]) -> list[tuple[Row, list[Row]]]:
    """Return what trained, with its sessions, that with most of them first."""
    keys = ("cpu", "cores", "device", "threads", "precision", "python", "torch", "ganatomy")
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for session in sessions:
        found[tuple(session.get(key) for key in (*keys, "platform"))].append(session)
    ranked = sorted(found.items(), key=lambda item: -len(item[1]))
    return [(dict(zip((*keys, "platform"), how, strict=True)), rows) for how, rows in ranked]


def _infrastructure(done: Sequence[Job]) -> str:
    folders = dict.fromkeys(job.folder for job in done)
    found = machines([*itertools.chain(*(Run.open(folder).sessions for folder in folders))])
    parts = []
    for m, sessions in found:
        seconds = sum(shares([s for s in sessions if "seconds" in s]))
        where = m["cpu"] if m["device"] == "cpu" else f"{m['device']} with {m['cpu']}"
        parts.append(
            f"{where}, {m['precision'] or 'fp32'}, PyTorch {m['torch']}: "
            f"{seconds / 3600:.2g} h of training"
        )
    return "; ".join(parts) + "."
