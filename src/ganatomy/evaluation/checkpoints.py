"""Measure the checkpoints and the sample grids of a run, and read its evaluations."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from ganatomy.evaluation.evaluate import evaluate_grid, evaluate_samples, fitted
from ganatomy.evaluation.reference import Reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.figures.images import to_uint8, ungrid
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run
from ganatomy.runs.sampling import GeneratorMode, generate, load_generator

MODES: tuple[GeneratorMode, ...] = ("eval", "train", "reestimated")
"""Modes of a generator that an audit compares."""


def evaluate_run(
    run: Run,
    files: Sequence[Path],
    ref: Reference,
    metrics: str | Sequence[str] = (),
    force: bool = False,
) -> Iterator[Evaluation]:
    """Measure checkpoints of a run, one after the other.

    Args:
        run: run.
        files: its checkpoints to measure, as select_checkpoints returns them.
        ref: reference, whose protocol says how samples are drawn.
        metrics: as evaluate takes them.
        force: as evaluate takes it.

    Raises:
        ValueError: as evaluate does, or for a checkpoint that cannot be loaded.
    """
    protocol = ref.protocol
    assert protocol.weights != "given"
    for file in files:
        step, generator = load_generator(run, file, protocol.weights)
        pixels = samples(generator.to(ref.space.device), run.recipe, ref)
        yield evaluate_samples(pixels, ref, metrics, force).replace(step=step)


def evaluate_grids(run: Run, ref: Reference) -> list[Evaluation]:
    """Measure the sample grids of a run, oldest first.

    A grid that cannot be read, or has other images, is skipped.
    """
    assert ref.real.pixels is not None
    shape = run.recipe.data.shape or tuple(ref.real.pixels.shape[1:])
    found = []
    for step, file in run.grids():
        with contextlib.suppress(ValueError):
            pixels = fitted(ungrid(file.read_bytes(), shape), ref)
            found.append(evaluate_grid(pixels, ref).replace(step=step))
    return found


def samples(generator: nn.Module, recipe: Recipe, ref: Reference) -> Tensor:
    """Generate the uint8 images (n, C, H, W) that the reference's protocol asks for."""
    protocol = ref.protocol
    assert protocol.mode != "given"
    made = generate(generator, protocol.n, recipe, protocol.seed, protocol.mode)
    return fitted(to_uint8(made), ref)


def select_checkpoints(run: Run, which: str) -> list[Path]:
    """Return the checkpoint files of "last", "all" or a step.

    Raises:
        ValueError: if there is none, naming those that exist.
    """
    if which == "last" or not run.checkpoints():
        return [run.checkpoint()]
    if which != "all" and not which.isdigit():
        raise ValueError(f"--checkpoint must be last, best, all or a step, got {which}")
    return run.checkpoints() if which == "all" else [run.checkpoint(int(which))]


def best_checkpoint(run: Run, files: Sequence[Path], ref: Reference, force: bool = False) -> Path:
    """Return the checkpoint of least Fréchet distance, measured on samples of the next seed.

    The best of many measurements is better than its true value by chance. So the samples that
    select a checkpoint are not those that it is reported on.
    """
    other = ref._replace(protocol=ref.protocol.replace(seed=ref.protocol.seed + 1))
    found = [evaluation["fd"] for evaluation in evaluate_run(run, files, other, ["fd"], force)]
    return files[found.index(min(found))]


def measured(run: Run) -> list[Evaluation]:
    """Return the evaluations of a run, one for each step and fingerprint, oldest first.

    Values of a later measurement of the same step and fingerprint are added to the earlier ones,
    or replace them.
    """
    merged: dict[tuple[int, str], Evaluation] = {}
    for row in run.rows("metrics"):
        found = Evaluation.from_dict(row)
        key = (row["step"], found.fingerprint)
        if key in merged:
            found = found.replace(scores={**merged[key].scores, **found.scores})
        merged[key] = found
    return [merged[key] for key in sorted(merged)]
