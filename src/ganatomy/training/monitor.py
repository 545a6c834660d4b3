"""Monitoring during training: samples are evaluated, and failures are warned of early."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganatomy.data import data_root
from ganatomy.evaluation.checkpoints import samples
from ganatomy.evaluation.diagnose import diagnose
from ganatomy.evaluation.evaluate import evaluate_grid, evaluate_samples, fitted
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, grid_reference, reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.rules import WINDOW
from ganatomy.figures.images import GRID
from ganatomy.recipes.recipe import Recipe, RunOptions, data_source
from ganatomy.runs.folder import Row

PATIENCE = 5
"""Consecutive sample grids with a failure before a warning; every GAN begins collapsed."""


class Monitor(NamedTuple):
    """Measurements and warnings of a training."""

    recipe: Recipe
    grid_reference: Reference | None
    """for sample grids; None if the dataset has no classifier"""
    reference: Reference | None
    """for eval_every"""
    logs: list[Row]
    measures: list[Evaluation]
    warned: set[str]
    """names of diagnoses that were reported"""


def create_monitor(recipe: Recipe, options: RunOptions, device: torch.device) -> Monitor:
    """Load the references that monitoring needs.

    Raises:
        ValueError: if eval_every is set and its protocol cannot be used.
    """
    place = EvalOptions(
        data_root(options.data_root),
        device=device,
        shape=recipe.data.shape,
        convert=recipe.data.convert,
        skip_bad=options.skip_bad,
    )
    data, measured = data_source(recipe, options), None
    if options.eval_every:
        measured = reference(preset(options.eval_protocol), data, place)
    return Monitor(recipe, grid_reference(data, place, GRID), measured, [], [], set())


def check_samples(monitor: Monitor, step: int, pixels: Tensor) -> None:
    """Evaluate a sample grid, and warn of failures that rows and grids have shown for a while.

    Samples that are points are not evaluated.
    """
    if monitor.grid_reference is not None:
        grid = fitted(pixels, monitor.grid_reference)
        monitor.measures.append(evaluate_grid(grid, monitor.grid_reference).replace(step=step))
    logs = (
        monitor.logs[:WINDOW] + monitor.logs[WINDOW:][-10 * WINDOW :]
    )  # bounds the time for a long log
    for found in diagnose(monitor.recipe, logs, monitor.measures):
        lasts = found.until is None and found.looks >= PATIENCE
        if lasts and found.name not in monitor.warned:
            monitor.warned.add(found.name)
            warnings.warn(
                f"{found.name} since step {found.begins}: {found.evidence}; {found.advice}",
                stacklevel=2,
            )


def measure(monitor: Monitor, step: int, generator: nn.Module) -> Evaluation:
    """Evaluate a generator for eval_every."""
    assert monitor.reference is not None
    pixels = samples(generator, monitor.recipe, monitor.reference)
    return evaluate_samples(pixels, monitor.reference).replace(step=step)
