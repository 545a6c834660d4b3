"""The page that compares runs, made from their folders."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ganatomy.evaluation.checkpoints import measured
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.statistics import fluctuation
from ganatomy.evaluation.tables import Table, comparable, comparison_table
from ganatomy.figures.charts import COLORS, Series
from ganatomy.pages.page import Page, render
from ganatomy.pages.sections import CHARTS, POINTS, chart_sets, differences, score_losses
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Row, Run

EPOCHS_SHOWN = 10
"""Largest number of epochs with samples on the page, denser at the start of the training."""

ENVIRONMENT = ("ganatomy", "python", "torch", "platform", "cpu", "cores", "threads", "device")
"""Keys of a session that the page shows."""


@dataclass(frozen=True)
class RunSummary:
    """Length of a run, means over its last epoch, and the fluctuation of its losses."""

    run: str
    """name: the run's folder, or its path if two folders have the same name"""
    epochs: float
    steps: int
    seconds: float
    """time of training, of all sessions"""
    images_per_second: float
    d_real: float
    """mean of D(x) over the rows of the last epoch"""
    d_fake: float
    """of D(G(z))"""
    d_loss: float
    """of the discriminator's loss"""
    g_loss: float
    """of the generator's loss"""
    row_every: float
    """median number of steps between rows of the log"""
    d_fluctuation: float
    """fluctuation of the discriminator's loss in the second half of the log; 0 for a single row"""
    g_fluctuation: float
    """of the generator's loss"""


@dataclass(frozen=True, repr=False)
class Comparison(Page):
    """The page that compares runs, and the numbers on it."""

    runs: tuple[RunSummary, ...]
    evaluations: Mapping[str, Evaluation]
    """newest evaluation of each run that has one, by name; all under one protocol"""

    def to_dict(self) -> Row:
        """Return the numbers on the page."""
        scores = {name: found.to_dict() for name, found in self.evaluations.items()}
        return {"runs": list(map(asdict, self.runs)), "scores": scores or None}


class Log(NamedTuple):
    """A run as the page shows it."""

    name: str
    color: str
    recipe: Recipe
    rows: list[Row]
    grids: list[tuple[float, bytes]]
    """epoch and PNG of each sample grid"""
    sessions: list[Row]


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs: samples at the same epochs, curves on the same axes, scores and recipes.

    Raises:
        ValueError: if there are too many runs for distinct colors, a run has logged nothing yet,
            or runs were evaluated under different protocols (with both fingerprints).
    """
    if len(runs) > len(COLORS):
        raise ValueError(f"a page compares at most {len(COLORS)} runs, got {len(runs)}")
    logs = list(map(_read, runs, _names(runs), COLORS))
    names = [log.name for log in logs]
    summaries = tuple(map(_summary, logs))
    evaluations = dict(comparable(list(zip(names, map(measured, runs), strict=True))))
    scored = score_losses(log.recipe for log in logs)
    lines = {field: {log.name: _series(log.rows, field) for log in logs} for field, *_ in CHARTS}
    differing, shared = differences({log.name: log.recipe for log in logs})
    page = render(
        "comparison.html",
        names=names,
        summary=summary_table(summaries),
        fluctuation=fluctuation_table(summaries),
        scores=score_table(evaluations) if evaluations else None,
        heading=protocol_heading(evaluations),
        stages=_stages(logs),
        sets=chart_sets(lines, "epoch", bool(scored)),
        scored=scored,
        differing=differing,
        shared=shared,
        environment=[
            ["recipe key", *(log.recipe.key for log in logs)],
            *([key, *(log.sessions[-1].get(key) for log in logs)] for key in ENVIRONMENT),
        ],
    )
    return Comparison(page.html, summaries, evaluations)


def summary_table(runs: Sequence[RunSummary]) -> Table:
    """Return the heads and the lines of a table of summaries."""
    heads = ["run", "epochs", "steps", "trained", "images/s", "D(x)", "D(G(z))", "D loss", "G loss"]
    lines = [
        [
            run.run,
            f"{run.epochs:.4g}",
            f"{run.steps:,}",
            f"{run.seconds / 60:.1f} min",
            f"{run.images_per_second:,.0f}",
            *(f"{mean:.3f}" for mean in (run.d_real, run.d_fake, run.d_loss, run.g_loss)),
        ]
        for run in runs
    ]
    return heads, lines


def fluctuation_table(runs: Sequence[RunSummary]) -> Table:
    """Return the heads and the lines of a table of the losses' fluctuation."""
    heads = ["run", "D loss fluctuation", "G loss fluctuation", "steps per row"]
    numbers = [(run.run, run.d_fluctuation, run.g_fluctuation, run.row_every) for run in runs]
    return heads, [[name, f"{d:.3f}", f"{g:.3f}", f"{every:g}"] for name, d, g, every in numbers]


def score_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return the heads and the lines of a table of evaluations under one protocol."""
    steps = [(f"{name}, {found.step}", found) for name, found in evaluations.items()]
    return comparison_table(steps, "run, step")


def protocol_heading(evaluations: Mapping[str, Evaluation]) -> str:
    """Return the protocol that evaluations share, in a line or two; empty without evaluations."""
    return next((found.replace(step=None).heading() for found in evaluations.values()), "")


def _names(runs: Sequence[Run]) -> list[str]:
    """Return distinct names: the folders' names, else their paths, else numbered names."""
    names = [run.path.name for run in runs]
    paths = [str(run.path) for run in runs]
    numbered = [f"{name} ({i})" for i, name in enumerate(names, 1)]
    return next(found for found in (names, paths, numbered) if len({*found}) == len(found))


def _read(run: Run, name: str, color: str) -> Log:
    rows, grids = run.rows("log"), run.grids()
    if not rows or not grids:
        raise ValueError(f"{run.path} has logged nothing yet; train it first")
    per_step = rows[-1]["epoch"] / rows[-1]["step"]
    images = [(step * per_step, file.read_bytes()) for step, file in grids]
    return Log(name, color, run.recipe, rows, images, run.sessions)


def _summary(log: Log) -> RunSummary:
    last = log.rows[-1]
    tail = [row for row in log.rows if row["epoch"] > last["epoch"] - 1]
    seconds = sum(session["seconds"] for session in log.sessions)
    return RunSummary(
        run=log.name,
        epochs=last["epoch"],
        steps=last["step"],
        seconds=seconds,
        images_per_second=log.recipe.images_per_step * last["step"] / max(seconds, 0.1),
        **{field: float(np.mean([row[field] for row in tail])) for field, *_ in CHARTS},
        row_every=float(np.median(np.diff([0, *(row["step"] for row in log.rows)]))),
        d_fluctuation=_fluctuation(log.rows, "d_loss"),
        g_fluctuation=_fluctuation(log.rows, "g_loss"),
    )


def _fluctuation(rows: list[Row], field: str) -> float:
    late = np.array([row[field] for row in rows[len(rows) // 2 :]])
    return fluctuation(late) if len(late) > 1 else 0.0


def _series(rows: list[Row], field: str) -> Series:
    """Return a field of a log in at most POINTS parts of neighboring rows: mean and range."""
    parts = np.array_split([(row["epoch"], row[field]) for row in rows], min(POINTS, len(rows)))
    columns = ((p[:, 0].mean(), p[:, 1].mean(), p[:, 1].min(), p[:, 1].max()) for p in parts)
    return Series(*([float(number) for number in column] for column in zip(*columns, strict=True)))


def _stages(logs: list[Log]) -> list[dict[str, Any]]:
    """Choose epochs that every run has reached, and each run's grid nearest to them."""
    fewest = min((log.grids for log in logs), key=len)
    reached = min(log.grids[-1][0] for log in logs)
    epochs = [epoch for epoch, _ in fewest if epoch <= reached + 1e-6]
    places = np.geomspace(1, len(epochs), min(EPOCHS_SHOWN, len(epochs))).round().astype(int) - 1
    stages = []
    for chosen in (epochs[place] for place in sorted({*places.tolist()})):
        images = []
        for log in logs:
            epoch, png = min(log.grids, key=lambda grid: abs(grid[0] - chosen))
            image = {"name": log.name, "color": log.color, "epoch": f"{round(epoch, 2):g}"}
            images.append(image | {"data": base64.b64encode(png).decode()})
        stages.append({"epoch": f"{round(chosen, 2):g}", "images": images})
    return stages
