"""Executors: each calls a function on every job and yields what came of it.

To add one, write such a function and add a line to EXECUTORS. A job that fails is tried once more;
then its error is what came of it, and the others go on.
"""

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Failure:
    """Why a job failed, in one line."""

    why: str


Outcomes = Iterator[tuple[J, R | Failure]]


def serial(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """One after the other, in this process."""
    for job in jobs:
        yield job, _attempt(function, job)


def processes(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """So many at once, each in a process; results come as they are ready."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(at_once, mp_context=context) as pool:
        futures = {pool.submit(_attempt, function, job): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except Exception as error:  # the process itself has died
                yield futures[future], Failure(f"{type(error).__name__}: {error}")


EXECUTORS: dict[str, Callable[..., Outcomes[J, R]]] = {"serial": serial, "processes": processes}


def _attempt(function: Callable[[J], R], job: J) -> R | Failure:
    for last in (False, True):
        try:
            return function(job)
        except ValueError as error:  # the user's to mend; a second try would end alike
            return Failure(str(error))
        except Exception as error:
            if last:
                where = traceback.extract_tb(error.__traceback__)[-1]
                return Failure(f"{type(error).__name__}: {error} ({where.name})")
    raise AssertionError
