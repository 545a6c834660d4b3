"""Checked values of dataclasses, and parts by name."""

from ganatomy.validation.fields import (
    Leaf,
    Range,
    check,
    flat,
    from_dict,
    from_keyed,
    key,
    keyed,
    leaves,
    public,
    to_dict,
)
from ganatomy.validation.registry import lookup, nearest, register, require, resolve

__all__ = [
    "Leaf",
    "Range",
    "check",
    "flat",
    "from_dict",
    "from_keyed",
    "key",
    "keyed",
    "leaves",
    "lookup",
    "nearest",
    "public",
    "register",
    "require",
    "resolve",
    "to_dict",
]
