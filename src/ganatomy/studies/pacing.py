"""Expected times of runs, from their sessions on this machine or from a few timed steps."""

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ganatomy.gan import fused
from ganatomy.gan.cost import dataset_size, step_seconds
from ganatomy.gan.machine import environment, pick_device
from ganatomy.runs.folder import Row, Run
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.trainings import Training


def _sessions(run: Training) -> list[Row]:
    """Return the sessions of a run; none of a damaged one, which says so when it is trained."""
    try:
        return Run(run.folder).sessions
    except DamagedError:
        return []


class Pacing:
    """Seconds of a step of each kind of run, which runs of one shape share."""

    def __init__(self, runs: Sequence[Training], until: float) -> None:
        """Read or measure the pace of runs.

        Args:
            runs: all runs.
            until: time, as time.monotonic gives it, after which no kind is measured any more; its
                pace is then the mean of the others.
        """
        self.runs, self.kinds = runs, dict[Path, int]()
        shapes = [run.recipe.replace(steps=1) for run in runs]
        for kind, group in enumerate(fused.groups(shapes)):
            self.kinds |= {runs[i].folder: kind for i in group}
        self.timed: dict[int, float] = {}
        self.trained = self._trained()
        for run in runs:
            kind = self.kinds[run.folder]
            known = kind in self.trained or kind in self.timed
            if run.left() and not known and (time.monotonic() < until or not self.timed):
                size = dataset_size(run.recipe, run.options)
                self.timed[kind] = step_seconds(run.recipe, size, run.options)

    def read(self) -> None:
        """Read the sessions of the runs again."""
        self.trained = self._trained()

    def seconds(self, runs: Sequence[Training]) -> float:
        """Return the expected seconds of training that runs have left."""
        known = self.timed | self.trained
        usual = statistics.mean(known.values()) if known else 0.0
        return sum(known.get(self.kinds[run.folder], usual) * run.left() for run in runs)

    def _trained(self) -> dict[int, float]:
        """Return the seconds that a run's step took in its last session, by kind."""
        found, here = defaultdict[int, list[float]](list), environment()["cpu"]
        last = [(run, session) for run in self.runs for session in _sessions(run)[-1:]]
        for (run, session), seconds in zip(last, shares([s for _, s in last]), strict=True):
            steps = session["to_step"] - session["from_step"]
            machine = (session["cpu"], session["device"])
            if steps > 0 and machine == (here, str(pick_device(run.options.device))):
                found[self.kinds[run.folder]].append(seconds / steps)
        return {kind: statistics.mean(times) for kind, times in found.items()}


def shares(sessions: Sequence[Row]) -> list[float]:
    """Return the seconds of each session, which those that went on at one time share."""
    begun = [datetime.fromisoformat(session["started"]).timestamp() for session in sessions]
    spans = [(at, at + s["seconds"]) for at, s in zip(begun, sessions, strict=True)]
    found = [0.0] * len(spans)
    for a, b in itertools.pairwise(sorted({end for span in spans for end in span})):
        inside = [i for i, (first, last) in enumerate(spans) if first <= a and b <= last]
        for i in inside:
            found[i] += (b - a) / len(inside)
    return found
