"""A study to one self-contained page, readable offline and in print."""

import base64
import collections
import hashlib
import io
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ganatomy.evaluation.protocol import PROTOCOLS
from ganatomy.evaluation.tables import heading, number
from ganatomy.figures.images import COLOURS, DASHES, curves, span
from ganatomy.gan.losses import LOSSES
from ganatomy.pages.comparison import CHARTS
from ganatomy.runs.folder import Row
from ganatomy.studies.figures import axis, bands, groups, strips
from ganatomy.studies.study import ALPHA, Job, Study
from ganatomy.studies.tables import Finished, by_cell, length, markdown, read, spread, tables, value
from ganatomy.studies.verdict import COLUMNS, lines
from ganatomy.validation import to_dict

PICTURES = 2_400_000
"""Bytes of sample grids on a page: 3.2 MB of text, so that the page stays under 4 MB."""


def contents(
    study: Study, out: Path, done: Sequence[Job], found: Row, command: str
) -> dict[str, str]:
    """Return the files of a study's folder that are for readers, name to text.

    Args:
        study: the plan.
        out: the folder, which holds study.json.
        done: the runs that are finished.
        found: what verdicts gave of them.
        command: what repeats the study.
    """
    order = list(study.cells)
    runs = sorted(map(read, done), key=lambda run: (order.index(run.job.cell), run.job.seed))
    page = html(study, (out / "study.json").read_bytes(), runs, found, command)
    return {
        "README.md": markdown(found, command),
        "page.html": page,
        **tables(runs, found),
    }


def html(study: Study, plan: bytes, runs: Sequence[Finished], found: Row, command: str) -> str:
    """Return the page of a study from its finished runs, cell by cell."""
    measured = next((run.row for run in runs if run.row), None)
    scored = sorted(
        {r.job.recipe.loss for r in runs if not LOSSES[r.job.recipe.loss].probabilities}
    )
    differing, shared = _fields(runs)
    first = runs[0].job
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        files("ganatomy.pages").joinpath("study.html").read_text(encoding="utf-8")
    )
    return template.render(
        study=study,
        found=found,
        alpha=ALPHA,
        columns=COLUMNS,
        verdicts=list(zip(found["claims"], lines(found), strict=True)),
        tally=collections.Counter(claim["verdict"] for claim in found["claims"]),
        few={c: n for c in study.cells if (n := found["seeds"].get(c, 0)) < study.seeds},
        panels=_panels(found, runs),
        values=spread(runs),
        scored=scored,
        sets=_curves(runs, bool(scored)),
        grids=_grids(runs),
        differing=differing,
        shared=shared,
        measured=measured,
        heading=heading({k: v for k, v in measured.items() if k != "step"}) if measured else "",
        about=PROTOCOLS[first.protocol][0] if first.protocol in PROTOCOLS else "",
        machines=_machines(runs),
        plan=hashlib.sha256(plan).hexdigest(),
        command=command,
        alone=shlex.quote(f"runs/{first.folder.name}/recipe.json"),
        number=number,
        length=length,
    )


def _panels(found: Row, runs: Sequence[Finished]) -> list[dict[str, Any]]:
    """A drawing for each claim; those of one quantity share their axis."""
    measured = next((run.row for run in runs if run.row), None)
    shared: dict[str, tuple[list[float], list[tuple[str, float]]]] = {}
    for judged in found["claims"]:
        numbers, marks = shared.setdefault(judged["measure"], ([], []))
        numbers += [x for _, seeds in groups(judged) for x in seeds]
        marks += _marks(judged["claim"], measured)
    longest = max(len(c) for judged in found["claims"] for c, _ in groups(judged))
    panels = []
    for judged in found["claims"]:
        name = judged["measure"]
        shown = axis(*shared[name])
        own = _marks(judged["claim"], measured)
        svg = strips(groups(judged), name, shown, own, longest)
        panels.append({"judged": judged, "svg": svg, "log": shown.log})
    return panels


def _marks(claim: Row, measured: Row | None) -> list[tuple[str, float]]:
    """What the numbers of a claim are seen against: its value, and the floor where there is one."""
    values = measured["values"] if measured and claim["to"] is None else {}
    floor = values.get(claim["metric"], {}).get("floor")
    known = (("claimed", claim["value"]), ("floor", floor))
    return [(name, x) for name, x in known if x is not None]


def _curves(runs: Sequence[Finished], scored: bool) -> list[dict[str, Any]]:
    """Charts of as many cells at once as there are colours, in sets of about one size."""
    cells = by_cell(runs)
    lines = {
        field: {c: bands([run.logs for run in rs], field) for c, rs in cells.items()}
        for field, *_ in CHARTS
    }
    count = -(-len(cells) // len(COLOURS))
    size = -(-len(cells) // count)
    sets = []
    for begin in range(0, len(cells), size):
        names = list(cells)[begin : begin + size]
        charts = []
        for field, title, about, y_range in CHARTS:
            shared = span([*lines[field].values()]) if scored or y_range is None else y_range
            svg = curves([lines[field][c] for c in names], "step", shared, dashed=True)
            charts.append({"title": title, "about": about, "svg": svg})
        dashes = [" ".join(map(str, dash)) for dash in DASHES]
        key = list(zip(names, COLOURS, dashes, strict=False))
        sets.append({"key": key, "charts": charts})
    return sets


def _grids(runs: Sequence[Finished]) -> list[dict[str, Any]]:
    """The last grid of each cell's seed of median FD; of two middle ones, the better."""
    chosen = []
    for seeds in by_cell(runs).values():
        drawn = [run for run in seeds if run.grid]
        known = [run for run in drawn if value(run, "fd") is not None]
        ranked = sorted(known, key=lambda run: value(run, "fd") or 0.0) or drawn
        if ranked:
            chosen.append((ranked[(len(ranked) - 1) // 2], len(known)))
    pictures = fitted([run.grid.read_bytes() for run, _ in chosen if run.grid])
    return [
        {
            "run": run,
            "fd": value(run, "fd"),
            "of": of,
            "share": share,
            "data": base64.b64encode(content).decode(),
        }
        for (run, of), (content, share) in zip(chosen, pictures, strict=True)
    ]


def fitted(pictures: Sequence[bytes], most: int = PICTURES) -> list[tuple[bytes, float]]:
    """Return PNGs that take so many bytes together, with the share of its side that each kept.

    Those that fit are left as they are; else those above an equal share of the bytes are shrunk.
    """
    if sum(map(len, pictures)) <= most:
        return [(picture, 1.0) for picture in pictures]
    return [_shrunk(picture, most // len(pictures)) for picture in pictures]


def _shrunk(picture: bytes, most: int) -> tuple[bytes, float]:
    content, share = picture, 1.0
    with Image.open(io.BytesIO(picture)) as whole:
        while len(content) > most:
            share *= 0.95 * (most / len(content)) ** 0.5
            size = [max(1, round(share * side)) for side in whole.size]
            buffer = io.BytesIO()
            whole.resize((size[0], size[1]), Image.Resampling.LANCZOS).save(
                buffer, "PNG", optimize=True
            )
            content = buffer.getvalue()
    return content, share


def _fields(runs: Sequence[Finished]) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """The fields in which cells differ, as a table that is longer than wide, and all others."""
    cells = {cell: to_dict(seeds[0].job.recipe) for cell, seeds in by_cell(runs).items()}
    names = [name for name in next(iter(cells.values())) if name != "seed"]
    texts = {name: [str(fields[name]) for fields in cells.values()] for name in names}
    differing = {name: found for name, found in texts.items() if len({*found}) > 1}
    shared = [(name, found[0]) for name, found in texts.items() if name not in differing]
    table = [["field", *cells], *([name, *found] for name, found in differing.items())]
    if len(cells) > len(differing):
        table = [list(row) for row in zip(*table, strict=True)]
        table[0][0] = "cell"
    return (table if differing else []), shared


def _machines(runs: Sequence[Finished]) -> list[tuple[int, Row]]:
    """The machines and settings that runs had, and how many runs had each; the first is usual."""
    keys = ("cpu", "cores", "device", "threads", "precision", "python", "torch", "ganatomy")
    found: collections.Counter[tuple[Any, ...]] = collections.Counter()
    for run in runs:
        found.update({tuple(s.get(key) for key in (*keys, "platform")) for s in run.sessions})
    return [(n, dict(zip((*keys, "platform"), how, strict=True))) for how, n in found.most_common()]
