"""The outcome of a job in any executor: its result, or the reason of its failure."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

J = TypeVar("J")
R = TypeVar("R")

Executor = Literal["serial", "processes", "ray"]
"""Names of EXECUTORS, which can be imported without their libraries."""


@dataclass(frozen=True)
class Failure:
    """The failure of a job."""

    why: str
    """reason, in one line"""


Outcomes = Iterator[tuple[J, R | Failure]]


def outcome(function: Callable[[J], R], job: J) -> R | Failure:
    """Return the result of a function for a job, or the reason of its failure.

    A job is tried again after any error but a ValueError, which a second try would only repeat.
    """
    for last in (False, True):
        try:
            return function(job)
        except ValueError as error:
            return Failure(str(error))
        except Exception as error:
            if last:
                where = traceback.extract_tb(error.__traceback__)[-1]
                return Failure(f"{type(error).__name__}: {error} ({where.name})")
    raise AssertionError
