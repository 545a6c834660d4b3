"""What comes of a job, wherever it is carried out: a result, or why there is none."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Failure:
    """Why a job failed, in one line."""

    why: str


Outcomes = Iterator[tuple[J, R | Failure]]


def outcome(function: Callable[[J], R], job: J) -> R | Failure:
    """Return what a function gives for a job, or why it gives nothing.

    A ValueError is the user's to mend, and a second try would end alike; after any other error
    there is one.
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
