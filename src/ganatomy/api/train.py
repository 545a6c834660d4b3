"""train, train_many, resume and load: from recipes to runs."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganatomy.api import parts
from ganatomy.api.run import Run
from ganatomy.data import Content, is_name
from ganatomy.gan import fused as fusing
from ganatomy.gan.launch import rank, size
from ganatomy.gan.losses import Loss
from ganatomy.gan.machine import pick_device
from ganatomy.gan.parallel import processes
from ganatomy.gan.state import unsupported
from ganatomy.recipes.named import default_folder, read
from ganatomy.recipes.recipe import Recipe, RunOptions, differences
from ganatomy.runs import branch, folder
from ganatomy.runs.data import Placed, check_data, load_data, place, place_all
from ganatomy.training import progress as showing
from ganatomy.training.loop import run_members, run_steps
from ganatomy.training.session import Logger, StepInfo
from ganatomy.validation import from_dict, leaves, nearest, to_dict


def train(
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    *,
    data: Any = None,
    networks: parts.Networks | None = None,
    loss: str | Loss | None = None,
    options: RunOptions | None = None,
    loggers: Iterable[Logger] = (),
    progress: bool | showing.Style = True,
    **fields: Any,
) -> Run:
    """Train a GAN in a run folder, or continue the training that the folder already holds.

    >>> run = gan.train("mnist-fast", dataset="mnist10k", steps=2000)

    Args:
        recipe: name of a recipe, a .json or .toml file of recipe fields, or a Recipe.
        out: run folder; None means runs/NAME-KEY.
        data: images to train on instead of the recipe's dataset: a path, a tensor or array of
            images (N, C, H, W), or a torch Dataset, whose labels are kept.
        networks: function that builds the generator and the discriminator, see check_model. The
            recipe's norm, dropout, activations and attention are dropped if they do not take them.
        loss: loss instead of the recipe's: a name, or a Loss, see check_loss.
        options: how to carry out the training.
        loggers: functions that receive each logged row, such as wandb.log.
        progress: whether to show progress, or the style of it.
        **fields: recipe fields and run options by name, such as lr_g=1e-4 or device="cpu".

    Started by torchrun, the processes train the run together.

    Returns:
        The finished run.

    Raises:
        ValueError: for an unknown name, a bad value, a folder of another recipe or unusable data.
        FloatingPointError: if a loss or weight is no longer finite; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, once the state is saved; train again to continue.
    """
    recipe_fields, options = _split(fields, options or RunOptions())
    recipe_fields |= parts.given(data, networks, loss)
    chosen = _chosen(recipe, recipe_fields, {*fields}, networks is not None)
    parts.check_given(chosen, options)
    placed = Placed(chosen, options, None)
    if out is None or not _holds(Path(out), chosen):  # a run of an older version has the path
        placed = place(chosen, options)
    path = Path(out) if out else _default_folder(recipe, placed.recipe)
    return _train(path, placed, loggers, progress)


def train_many(
    recipes: Iterable[str | Path | Recipe],
    out: str | Path | None = None,
    *,
    fused: bool | None = None,
    data: Any = None,
    networks: parts.Networks | None = None,
    loss: str | Loss | None = None,
    options: RunOptions | None = None,
    loggers: Iterable[Logger] = (),
    progress: bool | showing.Style = True,
    **fields: Any,
) -> list[Run]:
    """Train many GANs, each in its own run folder; on a GPU at once, see docs/gpu.md.

    Runs that are fused may differ in seed, learning rates, betas, penalty weights, label ranges and
    ema. Each one follows its run alone within rounding. On a GPU convolutional ones are trained
    side by side instead, may differ in all fields but their data, and equal their runs alone. A run
    with NaN or infinite values ends with a warning and a record of its failure, and the others
    continue.

    >>> base = gan.Recipe.of(dataset="mnist10k", steps=2000)
    >>> runs = gan.train_many([base.replace(steps=2000, seed=seed) for seed in range(8)])

    Args:
        recipes: names, files or Recipes, all different.
        out: folder in which each run has a folder NAME-KEY; None means runs.
        fused: whether to train runs of one shape as one program; None does so on CUDA only, because
            a CPU is not faster with it.
        data: as in train, for all runs.
        networks: as in train.
        loss: as in train.
        options: how to carry out the training.
        loggers: functions that receive each logged row of each run.
        progress: whether to show progress, or the style of it.
        **fields: recipe fields and run options by name, for all runs.

    Returns:
        The runs, in the order of the recipes.

    Raises:
        ValueError: as train does, for equal recipes, or for fused=True where it cannot be done.
        KeyboardInterrupt: after Ctrl-C, once all states are saved; train again to continue.
    """
    if size() > 1:
        raise ValueError("train_many trains in one process; start it without torchrun")
    recipe_fields, options = _split(fields, options or RunOptions())
    recipe_fields |= parts.given(data, networks, loss)
    named = list(recipes)
    chosen = [_chosen(r, recipe_fields, {*fields}, networks is not None) for r in named]
    for recipe in chosen:
        parts.check_given(recipe, options)
    placed = place_all(chosen, options)
    paths = [_default_folder(name, p.recipe) for name, p in zip(named, placed, strict=True)]
    paths = [Path(out) / path.name if out else path for path in paths]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"two recipes have the run folder {path}; leave one of them out")
    device = pick_device(options.device)
    together = device.type == "cuda" if fused is None else fused
    alone = [[i] for i in range(len(placed))]
    for group in fusing.groups([p.recipe for p in placed], device) if together else alone:
        these, folders = [placed[i] for i in group], [paths[i] for i in group]
        try:
            _train_group(these, folders, tuple(loggers), progress)
        except fusing.FusionError as error:
            if fused:
                raise
            warnings.warn(f"{error}, which is done now", stacklevel=2)
            for one, path in zip(these, folders, strict=True):
                _train_group([one], [path], tuple(loggers), progress)
    return [load(path) for path in paths]


def resume(
    run: str | Path | folder.Run,
    *,
    step: int | None = None,
    out: str | Path | None = None,
    data: Any = None,
    networks: parts.Networks | None = None,
    loss: str | Loss | None = None,
    accept_data: bool = False,
    options: RunOptions | None = None,
    loggers: Iterable[Logger] = (),
    progress: bool | showing.Style = True,
    **fields: Any,
) -> Run:
    """Continue a run to its planned end or to a new length, or branch off one of its checkpoints.

    Args:
        run: the run, or its folder.
        step: checkpoint to branch off; the branch is a run of its own, which records its parent
            and may change other fields too.
        out: folder of the branch; None means RUN-from-STEP.
        data: the images that the run was trained on, if they were given to train, or their new
            place; of a branch, any images.
        networks: the function that built its networks, if one was given to train.
        loss: its loss, if a Loss was given to train.
        accept_data: continue although the data changed since the run was last trained.
        options: how to carry out the training; None means as before.
        loggers: functions that receive each logged row.
        progress: whether to show progress, or the style of it.
        **fields: a new length (steps or epochs), run options, or for a branch any recipe field.

    Returns:
        The finished run.

    Raises:
        ValueError: as train does, for fields that only a branch may change, or if the data
            changed.
        FloatingPointError: as train does.
    """
    opened = run if isinstance(run, folder.Run) else load(run)
    recipe_fields, options = _split(fields, options or opened.options)
    if step is None and isinstance(data, str | Path) and not is_name(str(data)):
        options, data = replace(options, data=Path(data)), None
    recipe_fields |= parts.given(data, networks, loss)
    old = opened.recipe
    recipe = old.replace(**recipe_fields) if recipe_fields else old
    parts.check_given(recipe, options)
    placed = Placed(recipe, options, None)
    if recipe.data.dataset != old.data.dataset:  # the old place does not hold these images
        moved = options.data != opened.options.data
        placed = place(recipe, options if moved else replace(options, data=None))
    if step is not None:
        placed = _checked(opened, placed, accept_data)
        path = Path(out) if out else opened.path.with_name(f"{opened.path.name}-from-{step}")
        if rank() == 0:
            branch.branch(opened, step, placed.recipe, placed.options, path)
        return _train(path, placed, loggers, progress, accept_data=accept_data)
    if out is not None:
        raise ValueError("out is the folder of a branch; give the checkpoint's step too (--from)")
    changed = differences(old, placed.recipe).keys() - {"epochs", "steps"}
    if changed:
        raise ValueError(
            f"a run keeps its recipe except for its length; to change {', '.join(changed)}, "
            "branch off a checkpoint (--from STEP, or step= in Python)"
        )
    return _train(opened.path, placed, loggers, progress, longer=True, accept_data=accept_data)


def load(run: str | Path) -> Run:
    """Open a run folder.

    Raises:
        ValueError: if the path is not a run folder, naming the nearest one.
    """
    return Run(folder.Run.open(Path(run)).path)


def _chosen(
    recipe: str | Path | Recipe, fields: Mapping[str, Any], named: set[str], own_networks: bool
) -> Recipe:
    """Return a recipe with the given fields."""
    chosen = recipe if isinstance(recipe, Recipe) else read(str(recipe))
    if fields:
        chosen = chosen.replace(**fields)
    if own_networks:  # they rarely take a named recipe's norm or dropout
        dropped = {k: v for k, v in unsupported(chosen).items() if k not in named}
        chosen = chosen.replace(**dropped)
    return chosen


def _default_folder(given: str | Path | Recipe, recipe: Recipe) -> Path:
    """Return the run folder of a recipe by what it was chosen with."""
    return default_folder("gan" if isinstance(given, Recipe) else given, recipe)


def _holds(path: Path, recipe: Recipe) -> bool:
    """Whether a folder has a run whose recipe names its data in the same way."""
    held = (path / "recipe.json").exists()
    return held and folder.Run(path).recipe.data.dataset == recipe.data.dataset


def _checked(parent: folder.Run, placed: Placed, accept_data: bool) -> Placed:
    """Load the data of a branch, and check that they are its parent's unless the dataset changes.

    Raises:
        ValueError: as check_data does.
    """
    recipe, options, data = placed
    data = load_data(recipe, options) if data is None else data
    if recipe.data.dataset == parent.recipe.data.dataset and not accept_data:
        check_data(parent, recipe, options, Content.of(data))
    return Placed(recipe, options, data)


def _train_group(
    placed: Sequence[Placed],
    paths: Sequence[Path],
    loggers: Sequence[Logger],
    progress: bool | showing.Style,
) -> None:
    """Train runs as one program, or one run alone; a run that fails ends with a warning."""
    if len(placed) == 1:
        try:
            _train(paths[0], placed[0], loggers, progress)
        except FloatingPointError as error:
            warnings.warn(f"{paths[0]} has ended: {error}", stacklevel=3)
        return
    recipes, options = [p.recipe for p in placed], placed[0].options
    steps = run_members(recipes, paths, options, loggers)
    _follow(steps, paths[0], sum(r.images_per_step for r in recipes), options, progress)


def _train(
    path: Path,
    placed: Placed,
    loggers: Iterable[Logger],
    progress: bool | showing.Style,
    longer: bool = False,
    accept_data: bool = False,
) -> Run:
    recipe, options, data = placed
    if rank() > 0:
        progress = False
    with processes(recipe.training.batch, options.device) as share:
        steps = run_steps(
            recipe,
            path,
            options,
            longer,
            tuple(loggers),
            share,
            data=data,
            accept_data=accept_data,
        )
        _follow(steps, path, recipe.images_per_step, options, progress)
    return load(path) if rank() == 0 else Run(path)  # another machine has the folder


def _follow(
    steps: Iterable[StepInfo],
    path: Path,
    images_per_step: int,
    options: RunOptions,
    progress: bool | showing.Style,
) -> None:
    style = progress if isinstance(progress, str) else "auto" if progress else "none"
    showing.follow(steps, path, images_per_step, style, stderr=True, lines_every=options.log_every)


def _split(fields: Mapping[str, Any], options: RunOptions) -> tuple[dict[str, Any], RunOptions]:
    """Separate recipe fields from run options."""
    known, own = leaves(Recipe), leaves(RunOptions)
    for name in fields:
        if name not in known and name not in own:
            raise ValueError(f"unknown field {name!r} {nearest(name, [*known, *own])}")
    changed = {name: value for name, value in fields.items() if name in own}
    if changed:
        options = from_dict(RunOptions, to_dict(options) | changed)
    return {name: value for name, value in fields.items() if name in known}, options
