"""Schedules: pure functions of how far a training is, by which its learning rates are multiplied.

To add one, add a line to SCHEDULES and its name to Recipe.schedule.
"""

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,
}
"""share of the steps that are done, in [0, 1), to the factor, in [0, 1]"""
