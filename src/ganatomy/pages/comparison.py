"""Run folders to one self-contained page, readable offline and in print."""

import base64
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2
import numpy as np

from ganatomy.evaluation.evaluate import measured
from ganatomy.evaluation.statistics import fluctuation
from ganatomy.evaluation.tables import comparable, comparison_table
from ganatomy.figures.charts import COLOURS, Series, curves
from ganatomy.gan.losses import find_loss
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Row, Run
from ganatomy.validation import to_dict

EPOCHS_SHOWN = 10
"""Pairs of grids on the page, denser at the start, where images change fastest."""

POINTS = 80
"""Points of a curve; a longer log is averaged down to so many."""

CHARTS = (
    ("d_real", "D(x)", "how real D finds real images", (0.0, 1.0)),
    ("d_fake", "D(G(z))", "how real D finds generated images", (0.0, 1.0)),
    ("d_loss", "Discriminator loss", "of the two batches together", None),
    ("g_loss", "Generator loss", "as its loss function defines it", None),
)
"""Field of a row, its title, what it says, and the range of its axis, unless D gives scores."""


class Shown(NamedTuple):
    """A run as the page shows it."""

    name: str
    colour: str
    run: Run
    recipe: Recipe
    rows: list[Row]
    grids: list[tuple[float, bytes]]
    """epoch and PNG of each sample grid"""


def compare(runs: list[Run]) -> str:
    """Return the page that sets runs side by side.

    Raises:
        ValueError: for a run that has logged nothing yet, or runs measured by unlike protocols.
    """
    shown = list(map(_read, runs, _names(runs), _colours(len(runs))))
    rows = summary(runs)
    scored = sorted(
        {
            s.recipe.objective.loss
            for s in shown
            if not find_loss(s.recipe.objective.loss).probabilities
        }
    )
    charts = [
        {
            "title": title,
            "about": about,
            "svg": curves(
                {s.name: _series(s, field) for s in shown}, "epoch", None if scored else y_range
            ),
        }
        for field, title, about, y_range in CHARTS
    ]
    fields = [to_dict(s.recipe) for s in shown]
    sessions = [s.run.sessions[-1] for s in shown]
    environment = [
        (key, [session.get(key) for session in sessions])
        for key in ("ganatomy", "python", "torch", "platform", "cpu", "cores", "threads", "device")
    ]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        files("ganatomy.pages").joinpath("comparison.html").read_text(encoding="utf-8")
    )
    return template.render(
        shown=shown,
        columns=HEADINGS,
        summary=map(cells, rows),
        fluctuating=FLUCTUATING,
        fluctuations=fluctuations(rows),
        scores=scores(runs),
        stages=_stages(shown),
        charts=charts,
        scored=scored,
        differing=[(k, [f[k] for f in fields]) for k in fields[0] if len({*_texts(fields, k)}) > 1],
        shared=[(k, fields[0][k]) for k in fields[0] if len({*_texts(fields, k)}) == 1],
        environment=environment,
    )


def scores(runs: list[Run]) -> dict[str, Any] | None:
    """Return scores of one protocol as heading, columns, cells and rows; None where there are none.

    Raises:
        ValueError: for runs measured by unlike protocols, with both fingerprints.
    """
    labelled = comparable(list(zip(_names(runs), map(measured, runs), strict=True)))
    if not labelled:
        return None
    named = [(f"{name}, {found.step}", found) for name, found in labelled]
    columns, lines = comparison_table(named, "run, step")
    return {
        "heading": labelled[0][1].replace(step=None).heading(),
        "columns": columns,
        "cells": lines,
        "rows": {name: found.to_dict() for name, found in labelled},
    }


FLUCTUATING = ("run", "D loss jumps by", "G loss jumps by", "at rows of")
"""Of the cells of a row about fluctuation."""


def fluctuations(rows: list[Row]) -> list[list[str]]:
    """Write of summary rows how much their losses fluctuate, for people, under FLUCTUATING."""
    return [
        [
            row["run"],
            f"{row['d_fluctuation']:.3f}",
            f"{row['g_fluctuation']:.3f}",
            f"every {row['row_every']:g} steps",
        ]
        for row in rows
    ]


HEADINGS = ("run", "epochs", "steps", "trained", "images/s", "D(x)", "D(G(z))", "D loss", "G loss")
"""Of the cells of a summary row."""


def summary(runs: list[Run]) -> list[Row]:
    """Return a row per run: how long it trained, and the means of its last epoch's rows."""
    rows = []
    for run, name in zip(runs, _names(runs), strict=True):
        logged = _logged(run)
        last = logged[-1]
        tail = [row for row in logged if row["epoch"] > last["epoch"] - 1]
        seconds = sum(session["seconds"] for session in run.sessions)
        rows.append(
            {
                "run": name,
                "epochs": last["epoch"],
                "steps": last["step"],
                "seconds": seconds,
                "images_per_second": run.recipe.images_per_step * last["step"] / max(seconds, 0.1),
                **{field: float(np.mean([row[field] for row in tail])) for field, *_ in CHARTS},
                "row_every": float(np.median(np.diff([0, *(row["step"] for row in logged)]))),
                "d_fluctuation": _jumps(logged, "d_loss"),
                "g_fluctuation": _jumps(logged, "g_loss"),
            }
        )
    return rows


def _jumps(logged: list[Row], field: str) -> float:
    """How much a loss fluctuates in the latter half of a log; 0 where there are too few rows."""
    late = np.array([row[field] for row in logged[len(logged) // 2 :]])
    return fluctuation(late) if len(late) > 1 else 0.0


def cells(row: Row) -> list[str]:
    """Write a summary row for people, under HEADINGS."""
    return [
        row["run"],
        f"{row['epochs']:.4g}",
        f"{row['steps']:,}",
        f"{row['seconds'] / 60:.1f} min",
        f"{row['images_per_second']:,.0f}",
        *(f"{row[field]:.3f}" for field, *_ in CHARTS),
    ]


def _names(runs: list[Run]) -> list[str]:
    """Call runs by their folders, or by the whole path where two folders are called alike."""
    names = [run.path.name for run in runs]
    return names if len({*names}) == len(names) else [str(run.path) for run in runs]


def _read(run: Run, name: str, colour: str) -> Shown:
    rows = _logged(run)
    per_step = rows[-1]["epoch"] / rows[-1]["step"]
    grids = [(step * per_step, file.read_bytes()) for step, file in run.grids()]
    return Shown(name, colour, run, run.recipe, rows, grids)


def _logged(run: Run) -> list[Row]:
    rows = run.rows("log")
    if not rows or not run.grids():
        raise ValueError(f"{run.path} has logged nothing yet; train it first")
    return rows


def _series(shown: Shown, field: str) -> Series:
    """Gather a run's rows into at most POINTS bins, each a mean and a range."""
    points = np.array([(row["epoch"], row[field]) for row in shown.rows])
    parts = np.array_split(points, min(POINTS, len(points)))
    return Series(
        [float(p[:, 0].mean()) for p in parts],
        [float(p[:, 1].mean()) for p in parts],
        [float(p[:, 1].min()) for p in parts],
        [float(p[:, 1].max()) for p in parts],
    )


def _stages(shown: list[Shown]) -> list[dict[str, Any]]:
    """Pick epochs that every run has reached, and each run's grid nearest to them."""
    fewest = min(shown, key=lambda s: len(s.grids))
    reached = min(s.grids[-1][0] for s in shown)
    epochs = [epoch for epoch, _ in fewest.grids if epoch <= reached + 1e-6]
    places = np.geomspace(1, len(epochs), min(EPOCHS_SHOWN, len(epochs))).round().astype(int) - 1
    stages = []
    for place in sorted({*places.tolist()}):
        images = []
        for s in shown:
            epoch, content = min(s.grids, key=lambda g: abs(g[0] - epochs[place]))
            data = base64.b64encode(content).decode()
            images.append({"name": s.name, "colour": s.colour, "epoch": epoch, "data": data})
        stages.append({"epoch": epochs[place], "images": images})
    return stages


def _colours(n: int) -> list[str]:
    if n > len(COLOURS):
        raise ValueError(f"a page compares at most {len(COLOURS)} runs, got {n}")
    return list(COLOURS[:n])


def _texts(fields: list[dict[str, Any]], key: str) -> Iterable[str]:
    return (str(f[key]) for f in fields)
