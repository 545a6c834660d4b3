"""What a training is watched for: its samples are judged, and failures warned of in time."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganatomy.data import data_root
from ganatomy.evaluation.diagnose import WINDOW, diagnose
from ganatomy.evaluation.evaluate import evaluate, fitted, glance, samples
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import Place, Reference, glance_reference, reference
from ganatomy.figures.images import GRID
from ganatomy.recipes.recipe import Options, Recipe
from ganatomy.runs.folder import Row

PATIENCE = 5
"""Looks that must show a failure before a training warns of it; every GAN begins collapsed."""


class Watch(NamedTuple):
    """What has been seen of a training."""

    recipe: Recipe
    judge: Reference | None
    """for the sample grids; None if there is no judge for this dataset"""
    reference: Reference | None
    """for eval_every"""
    logs: list[Row]
    measures: list[Row]
    warned: set[str]
    """names of diagnoses that need not be repeated"""


def watching(recipe: Recipe, options: Options, device: torch.device) -> Watch:
    """Make ready to watch.

    Raises:
        ValueError: if eval_every is asked for and its protocol cannot be had.
    """
    place = Place(
        data_root(options.data_root), device, shape=recipe.shape, skip_bad=options.skip_bad
    )
    measured = None
    if options.eval_every:
        measured = reference(preset(options.eval_protocol), recipe.dataset, place)
    return Watch(recipe, glance_reference(recipe.dataset, place, GRID), measured, [], [], set())


def look(watch: Watch, step: int, pixels: Tensor) -> None:
    """Judge a sample grid, and warn of whatever rows and grids have shown for a while.

    Points, which are no pictures, are not judged.
    """
    if watch.judge is not None:
        watch.measures.append({"step": step} | glance(fitted(pixels, watch.judge), watch.judge))
    logs = watch.logs[:WINDOW] + watch.logs[WINDOW:][-10 * WINDOW :]  # a long log would cost time
    for found in diagnose(watch.recipe, logs, watch.measures):
        lasts = found.until is None and found.looks >= PATIENCE
        if lasts and found.name not in watch.warned:
            watch.warned.add(found.name)
            warnings.warn(
                f"{found.name} since step {found.begins}: {found.evidence}; {found.advice}",
                stacklevel=2,
            )


def measure(watch: Watch, step: int, generator: nn.Module) -> Row:
    """Measure a generator as eval_every asks."""
    assert watch.reference is not None
    pixels = samples(generator, watch.recipe, watch.reference)
    return {"step": step} | evaluate(pixels, watch.reference)
