"""Go back to a checkpoint and on from there by another recipe, in a run folder of its own."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from ganatomy.gan.step import State
from ganatomy.recipes.recipe import Recipe, RunOptions, differences
from ganatomy.runs.folder import Row, Run, step_of
from ganatomy.storage.checksums import DamagedError

KEPT = ("opt_g", "opt_d", "model", "latent", "z_dim")
"""Fields that a branch cannot change: what was learned by one means nothing to another."""


def branch(parent: Run, step: int, recipe: Recipe, options: RunOptions, folder: Path) -> Run:
    """Make a run folder that begins with a checkpoint of another run.

    It has that run's rows and sample grids up to there, as far as they are whole, and parent.json:
    the run, its step and what of its recipe has changed. It appears whole or not at all.

    Args:
        parent: the run to leave.
        step: of the checkpoint to go on from.
        recipe: to go on by.
        options: to go on with.
        folder: the new run folder.

    Raises:
        ValueError: if there is no such checkpoint, naming those there are; if the folder exists;
            if the recipe's networks or optimisers are not those of the checkpoint.
        DamagedError: if the checkpoint is not whole.
    """
    saved = _checkpoint(parent, step, recipe)
    if folder.exists():
        raise ValueError(f"{folder} exists; name another --out for the branch")
    made = Run(folder.with_name(f".{folder.name}.branch"))
    shutil.rmtree(made.path, ignore_errors=True)
    try:
        made.write_settings(recipe, options)
        for name in ("log", "metrics"):
            for row in _whole_rows(parent, name):
                if row["step"] <= step:
                    made.append(name, row)
        for at, file in parent.grids():
            if at <= step:
                made.write(f"samples/{file.name}", file.read_bytes())
        made.save(saved, keep=0)
        about = {
            "run": parent.path.absolute().name,
            "key": parent.recipe.key,
            "step": step,
            "changed": {
                name: {"from": a, "to": b}
                for name, (a, b) in differences(parent.recipe, recipe).items()
            },
        }
        made.write("parent.json", (json.dumps(about, indent=1) + "\n").encode())
        made.path.replace(folder)
    finally:
        shutil.rmtree(made.path, ignore_errors=True)
    return Run(folder)


def _checkpoint(parent: Run, step: int, recipe: Recipe) -> dict[str, Any]:
    """Read the checkpoint of a step, once it is known that a recipe can go on from it."""
    files = {step_of(file): file for file in parent.checkpoints()}
    if step not in files:
        there = ", ".join(map(str, files)) or "none"
        raise ValueError(f"{parent.path} has no checkpoint {step} (there are: {there})")
    changed = differences(parent.recipe, recipe)
    for name in KEPT:
        if name in changed:
            raise ValueError(f"a branch goes on with what was learned, so {name} cannot change")
    saved = parent.load(files[step])
    try:
        State.new(recipe, tuple(saved["shape"])).load_state_dict(saved)
    except (LookupError, RuntimeError, ValueError) as error:
        fields = ", ".join(changed)
        raise ValueError(
            f"{files[step]} does not fit a recipe of other {fields}: its networks are others"
        ) from error
    if recipe.training.steps is not None and recipe.training.steps <= step:
        raise ValueError(f"the branch begins at step {step}; make it longer than that with --steps")
    return saved


def _whole_rows(run: Run, name: str) -> list[Row]:
    """The rows of a run; of a damaged file none."""
    with contextlib.suppress(DamagedError):
        return run.rows(name)
    return []
