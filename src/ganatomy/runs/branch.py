"""Branches: runs that begin at a checkpoint of another run, with a changed recipe."""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from ganatomy.gan.state import State
from ganatomy.recipes.recipe import Recipe, RunOptions, differences
from ganatomy.runs.data import trained_on
from ganatomy.runs.folder import Row, Run
from ganatomy.storage.checksums import DamagedError

KEPT = ("opt_g", "opt_d", "model", "latent", "z_dim")
"""Recipe fields that a branch cannot change, because learned weights depend on them."""


def branch(parent: Run, step: int, recipe: Recipe, options: RunOptions, folder: str | Path) -> Run:
    """Create a run folder that begins with a checkpoint of another run.

    It has the parent's intact rows and sample grids up to the checkpoint, and parent.json: the
    parent's name, key, step and data, and the changed fields. It appears complete or not at all.

    Args:
        parent: run to branch off.
        step: step of the checkpoint.
        recipe: recipe of the branch.
        options: options of the branch.
        folder: new run folder.

    Raises:
        ValueError: if there is no such checkpoint, naming those there are; if the folder exists;
            if the recipe's networks or optimizers differ from those of the checkpoint.
        DamagedError: if the checkpoint is damaged.
    """
    folder = Path(folder)
    saved = _checkpoint(parent, step, recipe)
    if folder.exists():
        raise ValueError(f"{folder} exists; name another --out for the branch")
    made = Run(folder.with_name(f".{folder.name}.branch"))
    shutil.rmtree(made.path, ignore_errors=True)
    try:
        made.write_settings(recipe, options)
        for name in ("log", "metrics"):
            for row in _intact_rows(parent, name):
                if row["step"] <= step:
                    made.append(name, row)
        for at, file in parent.grids():
            if at <= step:
                made.write(f"samples/{file.name}", file.read_bytes())
        made.save(saved, keep=0)
        content = trained_on(parent)
        same = parent.recipe.data.dataset == recipe.data.dataset
        about = {
            "run": parent.path.absolute().name,
            "key": parent.recipe.key,
            "step": step,
            **({"data": dataclasses.asdict(content)} if content and same else {}),
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
    """Read the checkpoint of a step, and check that the recipe can continue from it."""
    file = parent.checkpoint(step)
    changed = differences(parent.recipe, recipe)
    for name in KEPT:
        if name in changed:
            raise ValueError(f"a branch keeps the learned weights, so {name} cannot change")
    saved = parent.load(file)
    try:
        State.new(recipe, tuple(saved["shape"])).load_state_dict(saved)
    except (LookupError, RuntimeError, ValueError) as error:
        fields = ", ".join(changed)
        raise ValueError(
            f"{file} does not fit the recipe: changed {fields} give other networks"
        ) from error
    if recipe.training.steps is not None and recipe.training.steps <= step:
        raise ValueError(f"the branch begins at step {step}; set --steps to more than that")
    return saved


def _intact_rows(run: Run, name: str) -> list[Row]:
    """Return the rows of a run; none of a damaged file."""
    with contextlib.suppress(DamagedError):
        return run.rows(name)
    return []
