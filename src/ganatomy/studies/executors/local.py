"""Executors: each calls a function on every job and yields what came of it.

To add one, write such a function and add a line to EXECUTORS. A job that fails is tried once more;
then its error is what came of it, and the others go on.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Literal

from ganatomy.studies.executors.outcome import Failure, J, Outcomes, R, outcome
from ganatomy.studies.executors.ray import cluster


def serial(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """One after the other, in this process."""
    for job in jobs:
        yield job, outcome(function, job)


def processes(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """So many at once, each in a process; results come as they are ready."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(at_once, context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(outcome, function, job): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except Exception as error:  # the process itself has died
                yield futures[future], Failure(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    """Let a worker end as soon as the process that began it has gone, however that ended.

    It would train on alone otherwise, and a study that is repeated would find its run locked.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


Executor = Literal["serial", "processes", "ray"]

EXECUTORS: dict[str, Callable[..., Outcomes[J, R]]] = {
    "serial": serial,
    "processes": processes,
    "ray": cluster,
}

__all__ = ["EXECUTORS", "Executor", "Failure", "Outcomes", "cluster", "processes", "serial"]
