"""Schedules: pure functions of training progress that multiply both learning rates.

To add one, add an entry to SCHEDULES and its name to the recipe field `schedule`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A decay of the learning rates."""

    factor: Callable[[float], float]
    """share of the steps that are done, in [0, 1), to a factor in [0, 1]"""
    about: str
    """one line of description"""


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(lambda done: 1.0, "no decay"),
    "linear": Schedule(lambda done: 1.0 - done, "linear decay to 0"),
    "cosine": Schedule(
        lambda done: (1.0 + math.cos(math.pi * done)) / 2, "half a cosine from 1 to 0"
    ),
}
