"""Flat frozen data: values checked against annotations and limits, to and from what JSON knows.

Readable without torch, so that the command line can be.
"""

import dataclasses
import difflib
import hashlib
import json
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


def key(data: Any) -> str:
    """Eight characters that name what a frozen dataclass says.

    Only fields that differ from their defaults count, so a field that is added later with a
    default that keeps the old behaviour leaves every published key as it was.
    """
    plain = to_dict(data)
    fields = [f.name for f in dataclasses.fields(data) if getattr(data, f.name) != f.default]
    text = json.dumps({name: plain[name] for name in fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def keyed(data: Any) -> dict[str, Any]:
    """What to_dict gives, with its key, so that a file of it that was changed is known."""
    return to_dict(data) | {"key": key(data)}


def from_keyed(kind: type[T], values: Any) -> T:
    """Read what keyed gave, or what to_dict did.

    Raises:
        ValueError: as from_dict does, for what is no table, or if there is a key and it is that of
            other values.
    """
    if not isinstance(values, dict):
        raise ValueError("it holds no table of fields")
    data = from_dict(kind, {name: value for name, value in values.items() if name != "key"})
    if "key" in values and values["key"] != key(data):
        raise ValueError(
            f"its values have the key {key(data)}, not {values['key']!r}: some were changed; put "
            "them back, or leave the line of the key out of a copy that is meant to be another"
        )
    return data


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
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a table, got {value!r}")
        return {key: _conform(f"{name}.{key}", item, args[1]) for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1023 else math.inf
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
