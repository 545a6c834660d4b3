"""Own parts given from Python: images, networks and losses, under an identity in the recipe.

An object of a module is called package.module:name, so that another process can import it. Images
are called tensor-DIGEST, after their pixels and labels. Objects of a script or notebook are called
python-NAME-DIGEST, after their code. The latter two have to be given again to resume.
"""

import hashlib
import sys
from collections.abc import Callable, MutableMapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeVar

from torch import nn

from ganatomy.data import DATASETS, Content, as_dataset
from ganatomy.data.given import as_samples
from ganatomy.gan.losses import LOSSES, Loss
from ganatomy.models import MODELS, Model
from ganatomy.models.net import as_model
from ganatomy.recipes.recipe import Recipe, RunOptions

Networks = Callable[..., tuple[nn.Module, nn.Module]]
"""Builds a generator and a discriminator, see check_model."""

T = TypeVar("T")


def given(data: Any, networks: Networks | Model | None, loss: str | Loss | None) -> dict[str, str]:
    """Make parts available in this process, and return the recipe fields that name them.

    Raises:
        ValueError: for images, networks or a loss that cannot be used.
    """
    fields = {}
    if isinstance(data, str | Path):
        fields["dataset"] = str(data)
    elif data is not None:
        samples = as_samples(data)
        fields["dataset"] = Content.of(samples).name("tensor")
        DATASETS[fields["dataset"]] = as_dataset(samples)
    if networks is not None:
        make = networks.build if isinstance(networks, Model) else networks
        fields["model"] = _name(MODELS, networks, as_model(networks), make)
    if isinstance(loss, str):
        fields["loss"] = loss
    elif loss is not None:
        if not isinstance(loss, Loss):
            raise ValueError(f"loss must be a name or a ganatomy.Loss, got a {type(loss).__name__}")
        fields["loss"] = _name(LOSSES, loss, loss, loss.d, loss.g)
    return fields


def given_place(data: Any) -> Path | None:
    """Return the path of a run's images; make images that are not a path available, for None."""
    if data is None or isinstance(data, str | Path):
        return None if data is None else Path(data)
    given(data, None, None)
    return None


def check_given(recipe: Recipe, options: RunOptions) -> None:
    """Check that parts which were given from Python are available in this process.

    Images are available too if the options have their place.

    Raises:
        ValueError: naming the argument to pass.
    """
    wanted: tuple[tuple[str, str, MutableMapping[str, Any]], ...] = (
        ("data", recipe.data.dataset, DATASETS),
        ("networks", recipe.network.model, MODELS),
        ("loss", recipe.objective.loss, LOSSES),
    )
    for argument, name, table in wanted:
        placed = argument == "data" and options.data is not None
        own = name.startswith(("tensor-", "python-")) and not placed
        if own and name not in table:
            raise ValueError(
                f"this recipe uses {name}, which was given from Python; pass the same object again "
                f"as {argument}="
            )


def _name(table: MutableMapping[str, T], thing: object, part: T, *functions: Any) -> str:
    """Return the importable name of an object, or a name under which it is now registered."""
    for known, other in table.items():
        if other is thing:
            return known
    module = getattr(functions[0], "__module__", "__main__")
    if module != "__main__":
        for name, value in vars(sys.modules[module]).items():
            if value is thing:
                return f"{module}:{name}"
    sha = hashlib.sha256()
    for function in functions:
        sha.update(_content(function))
    label = getattr(functions[0], "__name__", type(functions[0]).__name__).strip("<>")
    name = f"python-{label}-{sha.hexdigest()[:8]}"
    table[name] = part
    return name


def _content(function: Any) -> bytes:
    """Return what a function computes with: its code, defaults, captured and bound values."""
    if isinstance(function, partial):
        bound = (function.args, sorted(function.keywords.items()))
        return _content(function.func) + repr(bound).encode()
    if not isinstance(function, FunctionType):  # an object that can be called
        return _code(type(function).__call__.__code__) + repr(vars(function)).encode()
    captured = [cell.cell_contents for cell in function.__closure__ or ()]
    inner = [_content(x) if isinstance(x, FunctionType) else repr(x).encode() for x in captured]
    defaults = (function.__defaults__, function.__kwdefaults__)
    return b"".join([_code(function.__code__), repr(defaults).encode(), *inner])


def _code(code: CodeType) -> bytes:
    """Return the instructions, names and constants of a function."""
    constants = [_code(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts]
    return b"".join([code.co_code, repr(code.co_names).encode(), *constants])
