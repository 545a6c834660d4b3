"""The data of a run: where they are, and whether they are those that it was trained on.

A recipe names images of a path after their content, images-DIGEST, so that equal images give one
key wherever they are. Their place is a run option, and each session records their content.
"""

import dataclasses
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ganatomy.data import Content, Samples, data_root, is_content_name, is_name, load
from ganatomy.gan.state import check_recipe
from ganatomy.recipes.recipe import DataSection, Recipe, RunOptions, data_source
from ganatomy.runs.folder import Row, Run
from ganatomy.storage.checksums import DamagedError
from ganatomy.validation import from_dict


class Placed(NamedTuple):
    """A recipe whose images are named after their content, and options that have their place."""

    recipe: Recipe
    options: RunOptions
    data: Samples | None
    """the images, if they were loaded"""


def load_data(recipe: Recipe, options: RunOptions) -> Samples:
    """Load the recipe's training data after checking that all its parts exist.

    Raises:
        ValueError: if a part is unknown or the data are not available.
    """
    check_recipe(recipe)
    name, place = recipe.data.dataset, options.data
    if place is not None and is_name(name) and not is_content_name(name):
        raise ValueError(
            f"data is the place of own images, but the recipe names {name}; train "
            f"on images of a path with --dataset {place}"
        )
    if place is not None and not place.exists():
        raise ValueError(
            f"there is no {place}, where the images of the recipe were; name their place with "
            "--data (data= in Python)"
        )
    return load(
        data_source(recipe, options),
        data_root(options.data_root),
        "train",
        options.skip_bad,
        recipe.data.shape,
        recipe.data.convert,
    )


def place(recipe: Recipe, options: RunOptions) -> Placed:
    """Name the images of a path after their content, and put the path into the options.

    Recipes of named datasets, and of images that have such a name, stay as they are.

    Raises:
        ValueError: as load_data does.
    """
    name = recipe.data.dataset
    known = is_name(name) or is_content_name(name)
    if options.data is not None or known or not Path(name).exists():
        return Placed(recipe, options, None)
    options = absolute(recipe, options)
    data = load_data(recipe, options)
    return Placed(recipe.replace(dataset=Content.of(data).name("images")), options, data)


def place_all(recipes: Iterable[Recipe], options: RunOptions) -> list[Placed]:
    """Return recipes and options as place does, without the data; each path is read once."""
    found, known = [], dict[DataSection, tuple[str, RunOptions]]()
    for recipe in recipes:
        if recipe.data not in known:
            placed = place(recipe, options)
            known[recipe.data] = (placed.recipe.data.dataset, placed.options)
        name, placed_options = known[recipe.data]
        found.append(Placed(recipe.replace(dataset=name), placed_options, None))
    return found


def absolute(recipe: Recipe, options: RunOptions) -> RunOptions:
    """Return options whose paths do not depend on the working folder."""
    root, place, name = options.data_root, options.data, recipe.data.dataset
    if place is None and not is_name(name) and Path(name).exists():
        place = Path(name)
    return dataclasses.replace(
        options, data_root=root and root.absolute(), data=place and place.absolute()
    )


def trained_on(run: Run) -> Content | None:
    """Return the content that a run, or the parent of a new branch, was last trained on.

    None if no session recorded it.
    """
    found = [*_recorded(run.path / "parent.json", [run.parent]), *contents(run)]
    return found[-1][1] if found else None


def contents(run: Run) -> list[tuple[int, Content]]:
    """Return each content that a run was trained on, with the step at which it began.

    Raises:
        DamagedError: if a record cannot be read.
    """
    found = _recorded(run.path / "environment.json", run.sessions)
    return [row for at, row in enumerate(found) if at == 0 or row[1] != found[at - 1][1]]


def _recorded(file: Path, rows: list[Row]) -> list[tuple[int, Content]]:
    """Return the steps and contents that the rows of a file recorded."""
    try:
        return [
            (int(row.get("from_step", 0)), from_dict(Content, row["data"]))
            for row in rows
            if "data" in row
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedError(f"{file} is damaged: {error}") from error


def check_data(
    run: Run, recipe: Recipe, options: RunOptions, found: Content, accept: bool = False
) -> None:
    """Check that data are those that a run was last trained on, or that its recipe names.

    Args:
        run: the run, whose folder need not exist.
        recipe: its recipe.
        options: the options that the data were loaded with.
        found: content of the data.
        accept: warn instead of raising an error.

    Raises:
        ValueError: naming both contents.
    """
    known, name, place = trained_on(run), recipe.data.dataset, data_source(recipe, options)
    was = str(known or name)
    if known is not None:
        same = known == found
    elif is_content_name(name) and name.startswith("images"):
        same = found.name("images") == name
    else:  # a new run, or one of an older version
        same, was = not run.sessions or options.data == run.options.data, "without a record"
    if same:
        return
    changed = f"the data of {run.path} changed: {was} in training, {found} now at {place}"
    if not accept:
        raise ValueError(
            f"{changed}; name the place of the former with --data, or continue with these: "
            f"ganatomy resume {run.path} --accept-data"
        )
    warnings.warn(f"{changed}; the run continues with these", stacklevel=2)


def source(run: Run, data: str | Path | None = None) -> str:
    """Return the dataset or path with a run's data, after a check of images of a path.

    Args:
        run: the run.
        data: place of its images; None means where they were when it was trained.

    Raises:
        ValueError: if there are no such images, or if they changed since the training.
    """
    recipe, options = run.recipe, run.options
    if data is not None:
        options = dataclasses.replace(options, data=Path(data))
    if options.data is not None:
        check_data(run, recipe, options, Content.of(load_data(recipe, options)))
    return data_source(recipe, options)
