"""The page of a study, and the other files for its readers."""

import base64
import collections
import hashlib
import io
import itertools
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganatomy.evaluation.protocol import PROTOCOLS
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import number
from ganatomy.figures.charts import dot_plot
from ganatomy.pages.page import Page, render
from ganatomy.pages.sections import CHARTS, chart_sets, differences, score_losses
from ganatomy.studies import certainty
from ganatomy.studies.checklist import machines
from ganatomy.studies.claim import Claim
from ganatomy.studies.figures import axis, bands
from ganatomy.studies.job import Job
from ganatomy.studies.lengths import lengths
from ganatomy.studies.result import COLUMNS, StudyResult
from ganatomy.studies.study import ALPHA, Study
from ganatomy.studies.tables import (
    Finished,
    by_condition,
    length,
    markdown,
    read,
    spread,
    tables,
    value,
)

IMAGES = 2_400_000
"""Largest size of all sample grids in bytes: 3.2 MB as text, so that a page is under 4 MB."""


def contents(
    study: Study, out: Path, done: Sequence[Job], found: StudyResult, command: str
) -> dict[str, str]:
    """Return the files for readers in a study's folder, name to text.

    Args:
        study: the plan.
        out: the folder, which holds study.json.
        done: its finished runs.
        found: the verdicts on its claims.
        command: the command that repeats it.
    """
    order = list(study.conditions)
    runs = sorted(map(read, done), key=lambda run: (order.index(run.job.condition), run.job.seed))
    plan = (out / "study.json").read_bytes()
    return {
        "README.md": markdown(found, command),
        "page.html": page(study, plan, runs, found, command).html,
        **tables(runs, found),
    }


def page(
    study: Study, plan: bytes, runs: Sequence[Finished], found: StudyResult, command: str
) -> Page:
    """Return the page of a study with finished runs, ordered by condition and seed."""
    measured = next((run.evaluation for run in runs if run.evaluation), None)
    scored = score_losses(run.job.recipe for run in runs)
    conditions = by_condition(runs)
    recipes = {name: seeds[0].job.recipe for name, seeds in conditions.items()}
    differing, shared = differences(recipes, without=("seed",))
    lines = {
        field: {
            name: bands([run.logs for run in seeds], field)
            for name, seeds in _whole(conditions).items()
        }
        for field, *_ in CHARTS
    }
    first = runs[0].job
    return render(
        "study.html",
        study=study,
        found=found,
        alpha=ALPHA,
        columns=COLUMNS,
        verdicts=list(zip(found.claims, found.table(), strict=True)),
        tally=collections.Counter(finding.verdict for finding in found.claims),
        few={c: n for c in study.conditions if (n := found.seeds.get(c, 0)) < study.seeds},
        panels=_panels(found, runs),
        values=spread(runs),
        variance=(certainty.VARIANCE, certainty.variances(found), certainty.VARIANCE_NOTE),
        chances=(certainty.CHANCES, certainty.chances(found), certainty.CHANCES_NOTE),
        scored=scored,
        sets=chart_sets(lines, "step", bool(scored)),
        grids=_grids(runs),
        differing=differing,
        shared=shared,
        measured=measured,
        heading=measured.replace(step=None).heading() if measured else "",
        about=PROTOCOLS[first.protocol].about if first.protocol in PROTOCOLS else "",
        lengths=lengths(found, runs),
        machines=[
            (len(sessions), how)
            for how, sessions in machines([s for r in runs for s in r.sessions])
        ],
        plan=hashlib.sha256(plan).hexdigest(),
        command=command,
        alone=_alone(first, found.path),
        number=number,
        length=length,
    )


def _whole(conditions: Mapping[str, list[Finished]]) -> dict[str, list[Finished]]:
    """Leave out conditions whose runs are the beginning of those of another condition."""
    ends = {(run.job.folder, run.job.point.step) for seeds in conditions.values() for run in seeds}
    longest = {folder: step for folder, step in sorted(ends)}
    return {
        name: seeds
        for name, seeds in conditions.items()
        if any(longest[run.job.folder] == run.job.point.step for run in seeds)
    }


def _alone(job: Job, path: Path | None) -> str:
    """Return the arguments of train that repeat a run, for a study's folder."""
    at = os.path.relpath(job.folder / "recipe.json", path or job.folder.parent)
    return f"{shlex.quote(at)} --steps {job.point.step}"


def _panels(found: StudyResult, runs: Sequence[Finished]) -> list[dict[str, Any]]:
    """Draw a dot plot for each claim; claims about one quantity share their axis."""
    measured = next((run.evaluation for run in runs if run.evaluation), None)
    shared: dict[str, tuple[list[float], list[tuple[str, float]]]] = {}
    for finding in found.claims:
        numbers, marks = shared.setdefault(finding.measure, ([], []))
        numbers += itertools.chain(*finding.groups().values())
        marks += _marks(finding.claim, measured)
    longest = max(len(name) for finding in found.claims for name in finding.groups())
    panels = []
    for finding in found.claims:
        name = finding.measure
        shown = axis(*shared[name])
        own = _marks(finding.claim, measured)
        svg = dot_plot(finding.groups(), name, shown, own, longest)
        panels.append({"finding": finding, "svg": svg, "log": shown.log})
    return panels


def _marks(claim: Claim, measured: Evaluation | None) -> list[tuple[str, float]]:
    """Return the marks of a claim: the claimed value and the real score, if there are such."""
    shown = measured is not None and claim.to is None and claim.metric in measured
    real = measured.real(claim.metric) if measured and shown else None
    known = (("claimed", claim.value), ("real", real))
    return [(f"{name} {number(x)}", x) for name, x in known if x is not None]


def _grids(runs: Sequence[Finished]) -> list[dict[str, Any]]:
    """Choose each condition's last grid of the seed with the median FD, or the lower middle one."""
    chosen = []
    for seeds in by_condition(runs).values():
        drawn = [run for run in seeds if run.grid]
        known = [run for run in drawn if value(run, "fd") is not None]
        ranked = sorted(known, key=lambda run: value(run, "fd") or 0.0) or drawn
        if ranked:
            chosen.append((ranked[(len(ranked) - 1) // 2], len(known)))
    images = fitted([run.grid.read_bytes() for run, _ in chosen if run.grid])
    return [
        {
            "run": run,
            "fd": value(run, "fd"),
            "of": of,
            "share": share,
            "data": base64.b64encode(content).decode(),
        }
        for (run, of), (content, share) in zip(chosen, images, strict=True)
    ]


def fitted(images: Sequence[bytes], most: int = IMAGES) -> list[tuple[bytes, float]]:
    """Return PNGs of at most this many bytes in total, each with the factor it was scaled by.

    If they are larger, every PNG above an equal share of the bytes is scaled down.
    """
    if sum(map(len, images)) <= most:
        return [(image, 1.0) for image in images]
    return [_shrunk(image, most // len(images)) for image in images]


def _shrunk(image: bytes, most: int) -> tuple[bytes, float]:
    content, share = image, 1.0
    with Image.open(io.BytesIO(image)) as whole:
        while len(content) > most:
            share *= 0.95 * (most / len(content)) ** 0.5
            size = [max(1, round(share * side)) for side in whole.size]
            buffer = io.BytesIO()
            whole.resize((size[0], size[1]), Image.Resampling.LANCZOS).save(
                buffer, "PNG", optimize=True
            )
            content = buffer.getvalue()
    return content, share
