"""Print FD per minute of training, for studies/quality-per-minute.

    python scripts/quality_per_minute.py clock NAME:PRECISION [NAME:PRECISION ...] > clock.json
    python scripts/quality_per_minute.py table clock.json MINUTES,MINUTES RUN [RUN ...]

clock times the steps of each recipe in turns on two idle cores, with PyTorch's own number of
threads, and takes medians. The runs themselves may be trained two at a time with one thread each: a
checkpoint stands for the minute in which the clock would have reached its step. table needs runs
evaluated with `--checkpoint all`, and combines runs that differ in their seed only into one row.
"""

import itertools
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import tables

from ganatomy.data import DATASETS
from ganatomy.evaluation.checkpoints import measured
from ganatomy.evaluation.protocol import require_same
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import number
from ganatomy.gan.machine import environment, keep_memory
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Precision
from ganatomy.runs.folder import Run

TURNS, TURN_SECONDS = 9, 2.0


def clock(names: list[str]) -> None:
    """Print seconds per step of each NAME:PRECISION, and the machine."""
    keep_memory()
    stepping, found = {}, {name: list[float]() for name in names}
    for name in names:
        kind, _, how = name.partition(":")
        precision: Precision = "bf16" if how == "bf16" else "fp32"
        recipe = RECIPES[kind].recipe.replace(steps=10**6)
        data = DATASETS["mnist10k"].load(Path(), "train", recipe.data.shape)
        stepping[name] = steps(State.new(recipe, data.shape), recipe, data, precision)
    for name in names * (TURNS + 1):
        begun, taken = time.perf_counter(), 0
        while time.perf_counter() - begun < TURN_SECONDS:
            next(stepping[name])
            taken += 1
        found[name].append((time.perf_counter() - begun) / taken)
    seconds = {name: statistics.median(times[1:]) for name, times in found.items()}
    spread = {name: [min(times[1:]), max(times[1:])] for name, times in found.items()}
    print(json.dumps({"seconds": seconds, "spread": spread, "where": environment()}, indent=1))


def fd_at(rows: list[Evaluation], step: float) -> float:
    """Return FD of the last checkpoint between 10 % before and 1 % after a step."""
    found = next(e for e in reversed(rows) if (e.step or 0) <= step * 1.01)
    assert (found.step or 0) >= 0.9 * step, f"no checkpoint near step {step:.0f}"
    return found["fd"]


def _without_resize(rows: list[Evaluation]) -> list[Evaluation]:
    """Return the evaluations at 28 pixels of a run that was measured at several shapes."""
    return [e for e in rows if e.protocol.resize == "none"]


def table(clock_file: str, minutes: str, paths: list[str]) -> None:
    """Print a row for each recipe: mean over seeds, and their range."""
    seconds = json.loads(Path(clock_file).read_text())["seconds"]
    groups: dict[str, list[list[Evaluation]]] = defaultdict(list)
    names = {e.recipe.replace(steps=1).key: n for n, e in RECIPES.items()}
    for run in map(Run.open, map(Path, paths)):
        plain = run.recipe.replace(steps=1, seed=0)
        groups[f"{names[plain.key]}:{run.options.precision}"].append(_without_resize(measured(run)))
    require_same((n, rows[0].protocol) for n, runs in groups.items() for rows in runs)
    marks: list[float] = [float(m) for m in minutes.split(",")]
    lines: list[list[str]] = []
    for name, runs in groups.items():
        cells = [f"`{name}`", str(len(runs)), f"{seconds[name] * 1e3:.1f}"]
        for mark in marks:
            step = mark * 60 / seconds[name]
            found = [fd_at(rows, step) for rows in runs if (rows[-1].step or 0) >= 0.9 * step]
            low, high = (number(end(found)) if found else "" for end in (min, max))
            cells.append(f"{number(statistics.mean(found))} ({low}–{high})" if found else "–")
        lines.append(cells)
    real = next(iter(groups.values()))[0][-1].real("fd")
    lines.append(["real digits", "", "", *itertools.repeat(number(real), len(marks))])
    print(tables.table(("recipe", "seeds", "ms a step", *(f"{m:g} min" for m in marks)), lines))


if __name__ == "__main__":
    if sys.argv[1] == "clock":
        clock(sys.argv[2:])
    else:
        table(sys.argv[2], sys.argv[3], sys.argv[4:])
