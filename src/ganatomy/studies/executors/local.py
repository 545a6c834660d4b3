"""Executors: each calls a function on every job and yields the outcomes.

To add one, write such a function and add a line to EXECUTORS. A job that fails is tried once more;
then its outcome is a Failure, and the other jobs continue.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from ganatomy.studies.executors.outcome import Executor, Failure, J, Outcomes, R, outcome
from ganatomy.studies.executors.ray import cluster


def serial(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """Run one job after the other, in this process."""
    for job in jobs:
        yield job, outcome(function, job)


def processes(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """Run at_once jobs at a time, each in its own process; outcomes come in order of completion."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(at_once, context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(outcome, function, job): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except Exception as error:  # the process itself has died
                yield futures[future], Failure(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    """End this worker as soon as its parent process has ended, for any reason.

    Otherwise the worker would continue to train, and a repeated study would find its run locked.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


EXECUTORS: dict[str, Callable[..., Outcomes[J, R]]] = {
    "serial": serial,
    "processes": processes,
    "ray": cluster,
}

__all__ = ["EXECUTORS", "Executor", "Failure", "Outcomes", "cluster", "processes", "serial"]
