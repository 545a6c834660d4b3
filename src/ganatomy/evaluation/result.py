"""The result of a measurement: values with their intervals, and the protocol they depend on."""

import dataclasses
import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ganatomy.evaluation.features import INCEPTION_SHA256
from ganatomy.evaluation.metrics import ALIASES, value
from ganatomy.evaluation.protocol import Protocol
from ganatomy.evaluation.text import html_table, interval, number, text_table
from ganatomy.runs.folder import Row
from ganatomy.validation import from_dict, lookup

COLUMNS = ("metric", "value", "95 % interval", "real")
"""Heads of the table of one evaluation."""

_OFFICIAL = {"fd": "FID", "fd_infinity": "FID∞", "score": "IS"}


@dataclass(frozen=True)
class Score:
    """One measured value."""

    value: float
    low: float | None = None
    """lower end of the 95 % interval; None if the value has no interval"""
    high: float | None = None
    """upper end"""
    std: float | None = None
    """standard deviation, of KID over subsets and of the score over splits; None for others"""
    real: float | None = None
    """value of held-out real images under the same protocol; None if there are none"""


@dataclass(frozen=True, repr=False)
class Evaluation(Mapping[str, float]):
    """Values of a set of images, by name, such as evaluation["fd"]."""

    protocol: Protocol
    n: int
    """number of images measured"""
    dim: int
    """number of features"""
    real_n: int | None
    """number of held-out real images behind the real scores"""
    scores: Mapping[str, Score]
    class_counts: tuple[int, ...] | None = None
    """images predicted in each class; None without a classifier"""
    warnings: tuple[str, ...] = ()
    step: int | None = None
    """training step of the generator; None for images from elsewhere"""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the protocol: only values of equal fingerprints can be compared."""
        return self.protocol.fingerprint

    def __getitem__(self, name: str) -> float:
        return self.scores[ALIASES.get(name, name)].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def score(self, name: str) -> Score:
        """Return a value with its interval.

        Raises:
            ValueError: if it was not measured, naming the nearest.
        """
        return lookup(self.scores, ALIASES.get(name, name), "value")

    def interval(self, name: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a value; None if it has none."""
        score = self.score(name)
        return None if score.low is None or score.high is None else (score.low, score.high)

    def real(self, name: str) -> float | None:
        """Return the value of held-out real images; None if it was not measured."""
        return self.score(name).real

    def title(self, name: str) -> str:
        """Return the title of a value; FD is FID only with the official Inception features."""
        official = self.protocol.features_sha256 == INCEPTION_SHA256
        official = official and self.protocol.features == "inception-2048"
        return (official and _OFFICIAL.get(name)) or value(name).title

    def head(self, name: str) -> str:
        """Return the title of a value with its direction, such as FD ↓."""
        return self.title(name) + value(name).arrow

    def replace(self, **changes: Any) -> "Evaluation":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def heading(self) -> str:
        """Return the conditions of the measurement, in a line or two."""
        step = "" if self.step is None else f"step {self.step:,}, "
        real = (
            f"real: {self.real_n:,} held-out real images"
            if self.real_n
            else "there are no held-out real images to compare with"
        )
        return (
            f"{step}{self.protocol.name} [{self.fingerprint}]: {self.n:,} samples against "
            f"{self.protocol.dataset} ({self.protocol.split}), {self.dim:,} features of "
            f"{self.protocol.features}; {real}"
        )

    def lines(self) -> list[list[str]]:
        """Return the cells of the table of its values, under COLUMNS."""
        return [
            [
                self.head(name),
                number(s.value) + (f" ± {number(s.std)}" if s.std is not None else ""),
                interval(s.low, s.high),
                number(s.real),
            ]
            for name, s in self.scores.items()
        ]

    def to_dict(self) -> Row:
        """Return a row of metrics.jsonl."""
        step = {} if self.step is None else {"step": self.step}
        return step | {
            "protocol": self.protocol.name,
            "fingerprint": self.fingerprint,
            "settings": self.protocol.settings,
            "n": self.n,
            "dim": self.dim,
            "real_n": self.real_n,
            "values": {name: dataclasses.asdict(score) for name, score in self.scores.items()},
            "class_counts": None if self.class_counts is None else list(self.class_counts),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, row: Row) -> "Evaluation":
        """Read a row of metrics.jsonl."""
        counts, preset = row["class_counts"], row["protocol"].partition("+")[0]
        return cls(
            protocol=from_dict(Protocol, row["settings"]).replace(preset=preset),
            n=row["n"],
            dim=row["dim"],
            real_n=row["real_n"],
            scores={name: Score(**score) for name, score in row["values"].items()},
            class_counts=None if counts is None else tuple(counts),
            warnings=tuple(row["warnings"]),
            step=row.get("step"),
        )

    def __repr__(self) -> str:
        return f"{self.heading()}\n{text_table(COLUMNS, self.lines())}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.heading())}</p>{html_table(COLUMNS, self.lines())}"
