"""Flat frozen data: values checked against annotations and limits, to and from what JSON knows.

Readable without torch, so that the command line can be.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")


def check(data: Any, limits: Mapping[str, tuple[float, float]]) -> None:
    """Put every field of a new frozen dataclass into its annotated type and see to its limits.

    Ints widen to float, lists become tuples; a limit holds for each number of a tuple.

    Raises:
        ValueError: naming the field, what it must be, and what it is.
    """
    for name, kind in typing.get_type_hints(type(data)).items():
        value = _conform(name, getattr(data, name), kind)
        object.__setattr__(data, name, value)
        low, high = limits.get(name, (-math.inf, math.inf))
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not low <= number <= high:
                raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {number!r}")


def to_dict(data: Any) -> dict[str, Any]:
    """Every field as JSON knows it: tuples become lists and paths text."""
    return {
        name: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v
        for name, v in dataclasses.asdict(data).items()
    }


def from_dict(kind: type[T], values: Mapping[str, Any]) -> T:
    """Read what to_dict gave; absent fields take their defaults.

    Raises:
        ValueError: for an unknown field (naming the nearest), a wrong type or a bad value.
    """
    known = typing.get_type_hints(kind)
    for name in values:
        if name not in known:
            raise ValueError(f"unknown field {name!r} {nearest(name, known)}")
    return kind(**values)


def nearest(name: str, known: Iterable[str]) -> str:
    """Say, in brackets, which known name was probably meant, or which there are."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"(did you mean {close[0]!r}?)" if close else f"(there are: {', '.join(known)})"


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return table[name].

    Raises:
        ValueError: if there is no such name, saying which is nearest.
    """
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r} {nearest(name, table)}")
    return table[name]


def _conform(name: str, value: Any, kind: Any) -> Any:
    """Return value in the annotated type (ints widen to float, lists to tuple) or say why not."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in args if a is not types.NoneType)
        return None if value is None else _conform(name, value, inner)
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{name} must be one of {', '.join(args)}, got {value!r}")
        return value
    if origin is tuple:
        count = None if args[-1] is Ellipsis else len(args)
        if not isinstance(value, list | tuple) or (count or len(value)) != len(value):
            raise ValueError(f"{name} must be a list of {count or 'numbers'}, got {value!r}")
        return tuple(_conform(name, item, args[0]) for item in value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} must be {_TYPE_WORDS[kind]}, got {value!r}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return value


_TYPE_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
