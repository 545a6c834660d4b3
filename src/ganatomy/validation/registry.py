"""Registries: parts by name, or by the importable name of an object. Readable without torch."""

import difflib
import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return, in brackets, the known name that was probably meant, or the list of names."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"(did you mean {close[0]!r}?)" if close else f"(there are: {', '.join(known)})"


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return table[name].

    Raises:
        ValueError: if the name is unknown, naming the nearest.
    """
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r} {nearest(name, table)}")
    return table[name]


def resolve(table: Mapping[str, T], name: str, kind: str, adapt: Callable[[Any], T]) -> T:
    """Return the part of a registry, or the object of an importable name.

    Args:
        table: registered parts by name.
        name: a key of table, or package.module:object, which is imported as `python -m` would
            import it: the current directory comes first.
        kind: word for such parts in messages, such as "model".
        adapt: converts an imported object to a part, or raises ValueError.

    Raises:
        ValueError: if the name is unknown, cannot be imported, or is not such a part.
    """
    if name in table or ":" not in name:
        return lookup(table, name, kind)
    try:
        return adapt(_import(name))
    except ValueError as error:
        raise ValueError(f"{name} is not a {kind}: {error}") from error


def register(
    table: MutableMapping[str, T], name: str, part: T, kind: str, check: Callable[[T], None]
) -> None:
    """Add a part to a registry, once it is checked.

    Raises:
        ValueError: if the name is taken, empty, or has the colon of an importable name, or as the
            check does.
    """
    if name in table:
        raise ValueError(f"there is a {kind} {name!r} already; choose another name")
    require(bool(name) and ":" not in name, f"a {kind} needs a name without a colon, got {name!r}")
    try:
        check(part)
    except ValueError as error:
        raise ValueError(f"the {kind} {name} is refused: {error}") from error
    table[name] = part


def require(fulfilled: bool, otherwise: str) -> None:
    """Raise ValueError unless a condition is fulfilled."""
    if not fulfilled:
        raise ValueError(otherwise)


def _import(name: str) -> Any:
    """Import package.module:object."""
    module, _, attributes = name.partition(":")
    try:
        if module not in sys.modules:
            importlib.invalidate_caches()  # the file may be newer than the last look
            if (here := str(Path.cwd())) not in sys.path:
                sys.path.insert(0, here)
        found = importlib.import_module(module)
        return functools.reduce(getattr, attributes.split("."), found)
    except Exception as error:  # a module may raise anything
        said = " ".join(str(error).split())
        raise ValueError(f"cannot import it ({type(error).__name__}: {said})") from error
