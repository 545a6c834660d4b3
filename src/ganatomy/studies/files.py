"""Files of studies, and studies of every combination of some recipe fields."""

import dataclasses
import itertools
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganatomy.recipes.named import read
from ganatomy.storage.files import write_atomic
from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study, decidable
from ganatomy.validation import check, from_dict, lookup, nearest, to_dict

_LIMITS = {"steps": (1, 1e9), "seeds": (1, 1000), "log_every": (1, math.inf), "samplings": (1, 100)}


def from_file(path: Path) -> Study:
    """Read a study from a TOML file, or from the study.json of a study's folder.

    A file has the fields of Study, with a table for each condition and claim.

    Raises:
        ValueError: for a file that is not a study, with the reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        values = {"name": path.stem} | values
        values.pop("scale", None)  # of the runs in that folder
        return _from_dict(values)
    except OSError as error:
        raise ValueError(f"cannot read the study {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{path} is not a study: {error}") from error


def _from_dict(values: dict[str, Any]) -> Study:
    known = {field.name for field in dataclasses.fields(Study)}
    for name in values:
        if name not in known:
            raise ValueError(f"unknown field {name!r} {nearest(name, known)}")
    claims = tuple(from_dict(Claim, claim) for claim in values.pop("claims", ()))
    study = Study(**values, claims=claims)
    check(study, _LIMITS)
    if not re.fullmatch(r"[^./\\\0][^/\\\0]*", study.name):
        raise ValueError(f"its name is a folder's name: expected no / in it, got {study.name!r}")
    return study


def new_study(
    out: str | Path,
    base: str,
    vary: Sequence[str],
    claims: Sequence[str],
    *,
    seeds: int = 3,
    steps: int | None = None,
) -> Study:
    """Write the TOML file of a study of every combination of some fields of a recipe.

    Args:
        out: the file to write, which ends in .toml and does not exist yet.
        base: a named recipe, or a recipe file.
        vary: FIELD=VALUE,VALUE for each field, such as lr_g=1e-4,2e-4.
        claims: METRIC falls, METRIC rises, or METRIC falls with FIELD.
        seeds: runs of each condition.
        steps: steps of each run; None means the recipe's own.

    Raises:
        ValueError: for an unusable path, field, metric or number of seeds.
    """
    out = Path(out)
    if out.suffix != ".toml":
        raise ValueError(f"a study file ends in .toml, got {out}")
    if out.exists():
        raise ValueError(f"{out} exists; remove it, or use another file")
    study = grid(out.stem, base, vary, claims, seeds, steps)
    decidable(study)
    write_atomic(out, to_toml(study).encode())
    return study


def grid(
    name: str, base: str, vary: Sequence[str], claims: Sequence[str], seeds: int, steps: int | None
) -> Study:
    """Return the study of every combination of varied fields.

    Args:
        name: name of the study.
        base: a named recipe, or a recipe file.
        vary: FIELD=VALUE,VALUE for each field, in the order that claims use; a value of a list,
            such as g_widths, may be several numbers with an x between them.
        claims: METRIC falls or METRIC rises, from the first value of the first field to the last,
            pooled over all settings of the other fields; METRIC falls with FIELD for another field.
        seeds: runs of each condition.
        steps: steps of each run; None means the recipe's own.

    Raises:
        ValueError: for an unknown field or metric, text of another form, or a recipe without steps
            if steps is None.
    """
    steps = steps or read(base).training.steps
    if steps is None:
        raise ValueError(f"{base} has epochs instead of steps; set the steps of each run (--steps)")
    factors = dict(_factor(text, base) for text in vary)
    if not factors:
        raise ValueError("conditions need a field that varies, such as --vary lr_g=1e-4,2e-4")
    settings = [
        dict(zip(factors, chosen, strict=True)) for chosen in itertools.product(*factors.values())
    ]
    conditions = {_name(words): {k: factors[k][w] for k, w in words.items()} for words in settings}
    made = tuple(_claim(f"c{i}", text, factors) for i, text in enumerate(claims, 1))
    question = f"What do {' and '.join(factors)} change in {base}?"
    return Study(
        name=name,
        question=question,
        base=base,
        conditions=conditions,
        claims=made,
        steps=steps,
        seeds=seeds,
    )


def _name(words: Mapping[str, str]) -> str:
    return " ".join(f"{field}={word}" for field, word in words.items())


def _factor(text: str, base: str) -> tuple[str, dict[str, Any]]:
    """Read FIELD=VALUE,VALUE: the field, and the value of each word."""
    field, _, listed = text.partition("=")
    recipe = to_dict(read(base))
    lookup(recipe, field, "field of a recipe")
    words = [word for word in listed.split(",") if word]
    if len({*words}) < 2 or len({*words}) < len(words):
        raise ValueError(f"expected a field and two or more values (lr_g=1e-4,2e-4), got {text!r}")
    return field, {word: _value(word, isinstance(recipe[field], list)) for word in words}


def _value(word: str, several: bool) -> Any:
    if several:
        return [_value(part, False) for part in word.split("x")]
    try:
        return json.loads(word)  # numbers, true and false
    except ValueError:
        return word


def _claim(id: str, text: str, factors: Mapping[str, Mapping[str, Any]]) -> Claim:
    """Read METRIC falls|rises [with FIELD]."""
    words = text.split()
    if len(words) not in (2, 4) or (len(words) == 4 and words[2] != "with"):
        raise ValueError(f"expected a claim as 'fd falls' or 'fd falls with lr_g', got {text!r}")
    field = words[3] if len(words) == 4 else next(iter(factors))
    lookup(factors, field, "varied field")
    others = {name: values for name, values in factors.items() if name != field}
    rows = []
    for chosen in itertools.product(*others.values()):
        setting = dict(zip(others, chosen, strict=True))
        rows.append(
            tuple(
                _name({k: word if k == field else setting[k] for k in factors})
                for word in factors[field]
            )
        )
    return from_dict(
        Claim,
        {
            "id": id,
            "text": f"{words[0]} {words[1]} with {field}",
            "metric": words[0],
            "direction": words[1],
            "conditions": rows[0],
            "blocks": rows[1:],
        },
    )


def to_toml(study: Study) -> str:
    """Write a study as a TOML file that from_file reads; its name is the name of the file."""
    plain = dataclasses.asdict(study)
    lines = [
        f"{field} = {json.dumps(plain[field])}"
        for field in ("question", "base", "steps", "seeds", "protocol", "log_every", "samplings")
    ]
    for condition, fields in plain["conditions"].items():
        lines += ["", f"[conditions.{json.dumps(condition)}]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    for claim in plain["claims"]:
        lines += ["", "[[claims]]"]
        lines += [
            f"{name} = {json.dumps(value)}"
            for name, value in claim.items()
            if value is not None and value != ()
        ]
    return "\n".join(lines) + "\n"
