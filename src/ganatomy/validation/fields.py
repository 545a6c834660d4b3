"""Frozen dataclasses of checked values, and their flat form that JSON and TOML hold.

A dataclass may be made of sections, which are dataclasses too. Each leaf has one public name:
the one given with public(), or else its path, such as data.augment. Readable without torch.
"""

import dataclasses
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from ganatomy.validation.registry import nearest

T = TypeVar("T")


class Range(NamedTuple):
    """Smallest and largest value of a number, or of each number of a tuple."""

    low: float
    high: float


def public(name: str, *flags: str) -> Any:
    """Annotation: the name of a field in flags, files, grids and keys, and other flags for it."""
    from tyro.conf import arg

    return arg(name=name, prefix_name=False, aliases=flags or None)


class Leaf(NamedTuple):
    """A field that holds a value."""

    name: str
    """public name"""
    path: tuple[str, ...]
    """attribute names from the outer dataclass"""
    kind: Any
    """annotated type"""
    range: Range
    default: Any


def leaves(kind: Any) -> dict[str, Leaf]:
    """Return the leaves of a dataclass and of its sections, by public name, in their order."""
    return _leaves(kind)


@functools.cache
def _leaves(kind: Any) -> dict[str, Leaf]:
    return {leaf.name: leaf for leaf in _walk(kind, ())}


def _walk(kind: type, path: tuple[str, ...]) -> Iterator[Leaf]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, notes = hints[field.name], list[Any]()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *notes = typing.get_args(hint)
        inner = (*path, field.name)
        if dataclasses.is_dataclass(hint):
            yield from _walk(typing.cast(type, hint), inner)
            continue
        named = [note.name for note in notes if getattr(note, "name", None)]
        limits = [note for note in notes if isinstance(note, Range)]
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        yield Leaf(
            named[0] if named else ".".join(inner),
            inner,
            hint,
            limits[0] if limits else Range(-math.inf, math.inf),
            default,
        )


def check(data: Any, limits: Mapping[str, tuple[float, float]] | None = None) -> None:
    """Convert every field of a new frozen dataclass to its annotated type and check its range.

    Ints widen to float, lists become tuples. Sections have been checked when they were made.

    Args:
        data: the dataclass.
        limits: ranges by public name, for a dataclass whose fields do not state them.

    Raises:
        ValueError: naming the field, the expected value, and the value found.
    """
    for leaf in leaves(type(data)).values():
        if len(leaf.path) > 1:
            continue
        value = _conform(leaf.name, getattr(data, leaf.path[0]), leaf.kind)
        object.__setattr__(data, leaf.path[0], value)
        low, high = (limits or {}).get(leaf.name, leaf.range)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not low <= number <= high:
                raise ValueError(f"{leaf.name} must lie in [{low:g}, {high:g}], got {number!r}")


def flat(data: Any) -> dict[str, Any]:
    """Return the value of every leaf by public name."""
    return {
        name: functools.reduce(getattr, leaf.path, data)
        for name, leaf in leaves(type(data)).items()
    }


def to_dict(data: Any) -> dict[str, Any]:
    """Return every leaf by public name as JSON holds it: tuples as lists, paths as text."""
    return {name: _plain(value) for name, value in flat(data).items()}


def from_dict(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass from leaves by public name, or from tables of its sections.

    Args:
        kind: the dataclass.
        values: such as {"lr_g": 1e-4} or {"generator": {"lr": 1e-4}}; absent leaves take their
            defaults.

    Raises:
        ValueError: for an unknown name (naming the nearest), a name given twice, a wrong type or a
            bad value.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it holds no table of fields")
    known = leaves(kind)
    by_path = {leaf.path: name for name, leaf in known.items()}
    given: dict[str, Any] = {}
    for name, value in _untabled(values, (), by_path):
        if name not in known:
            raise ValueError(f"unknown field {name!r} {nearest(name, known)}")
        if name in given:
            raise ValueError(f"{name} is given twice, by its name and in a section")
        given[name] = value
    return _build(kind, (), {known[name].path: value for name, value in given.items()})


def _untabled(
    values: Mapping[str, Any], path: tuple[str, ...], by_path: Mapping[tuple[str, ...], str]
) -> Iterator[tuple[str, Any]]:
    """Yield public names and values from nested tables."""
    for name, value in values.items():
        inner = (*path, name)
        section = inner not in by_path and any(known[: len(inner)] == inner for known in by_path)
        if section and isinstance(value, Mapping):
            yield from _untabled(value, inner, by_path)
        else:
            yield (by_path.get(inner, ".".join(inner)) if path else name), value


def _build(kind: type[T], path: tuple[str, ...], values: Mapping[tuple[str, ...], Any]) -> T:
    """Build a dataclass, and its sections first, from values by path."""
    made: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, kind)):
        inner = (*path, field.name)
        if inner in values:
            made[field.name] = values[inner]
        elif any(other[: len(inner)] == inner for other in values):
            made[field.name] = _build(type(field.default), inner, values)
    return kind(**made)


def key(data: Any) -> str:
    """Eight characters that name the values of a frozen dataclass.

    Only leaves that differ from their defaults count. A field that is added later with a default
    that keeps the old behavior leaves every published key unchanged.
    """
    values, known = flat(data), leaves(type(data))
    changed = {name: _plain(v) for name, v in values.items() if v != known[name].default}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def keyed(data: Any) -> dict[str, Any]:
    """Return to_dict with the key, so that a changed file is noticed."""
    return to_dict(data) | {"key": key(data)}


def from_keyed(kind: type[T], values: Any) -> T:
    """Read the output of keyed or of to_dict.

    Raises:
        ValueError: as from_dict does, for a value that is not a table, or for a key that belongs
            to other values.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it holds no table of fields")
    data = from_dict(kind, {name: value for name, value in values.items() if name != "key"})
    if "key" in values and values["key"] != key(data):
        raise ValueError(
            f"its values have the key {key(data)}, not {values['key']!r}: some were changed; "
            "restore them, or remove the key from a copy that is meant to differ"
        )
    return data


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


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
