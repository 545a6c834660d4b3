"""Give every reader many hostile inputs: python tests/fuzz/run.py [--cases N]; see `make fuzz`.

A third of the cases comes from hypothesis. Where atheris is installed (the extra "fuzz") it makes
the rest, guided by the code that they reach; elsewhere hypothesis makes them. Seeds are fixed.
Each target has a process of its own. The exit code is 1 if there was a defect: an error that no
reader documents, a crash, a case slower than SLOW, or memory that grows by more than GROWTH.
"""

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import importlib.util
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SLOW = 5.0
"""Seconds that a case may take; one that takes TIMES as many ends its process."""

TIMES = 6

GROWTH = 50
"""MB that resident memory may grow by after the first fifth of the cases."""

ROOM = 16
"""GB of addresses that a process has, so that what asks for too much fails rather than others."""

SHARES = {
    "recipe .json": 12, "recipe .toml": 8, "study": 5, "image": 12, "npz": 6, "zip": 5, "tar": 5,
    "tar.gz": 5, "run: rows": 8, "run: newest": 6, "run: recipe": 5, "run: options": 5,
    "run: sessions": 5, "checkpoint": 4, "classifier": 3, "cache: values": 2, "cache: labels": 2,
    "cache: about": 3, "command line": 2, "hdf5": 3, "parquet": 3,
}  # fmt: skip
"""How many of the cases are for each target: more where they cost less."""

PART = 500
"""Cases between two beginnings of hypothesis, which remembers all that it has made."""

FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where files are, for they are many."""

GUIDED = ("ganatomy", "tomllib", "tarfile", "zipfile", "PIL")
"""Packages whose code guides atheris."""


class Meter:
    """Runs the cases of one target, and keeps what is to be told of them."""

    def __init__(self, target: str, cases: int, accepts: Callable[[str, bytes], bool]) -> None:
        self.target, self.most, self.accepts = target, cases, accepts
        self.cases = self.accepted = self.slowest = 0
        self.before = self.growth = 0.0
        self.defects: dict[str, str] = {}
        self.file = Path(tempfile.gettempdir(), "last").open("w+b", buffering=0)  # noqa: SIM115

    def case(self, content: bytes) -> None:
        """Run one."""
        self.file.seek(0)
        self.file.write(len(content).to_bytes(8, "little") + content)
        signal.setitimer(signal.ITIMER_REAL, TIMES * SLOW)
        began = time.perf_counter()
        try:
            self.accepted += self.accepts(self.target, content)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [f for f in frames if "ganatomy" in f.filename] or frames
            place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
            self.note(f"{type(error).__name__} at {place}: {str(error)[:200]}", content)
        taken = round(1000 * (time.perf_counter() - began))
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.slowest = max(self.slowest, taken)
        if taken > 1000 * SLOW:
            self.note(f"a case took {taken:,} ms", content)
        self.cases += 1
        if self.cases == self.most // 5:
            self.before = resident()

    def last(self) -> bytes:
        """What the case was given that has ended the process."""
        self.file.seek(0)
        size = int.from_bytes(self.file.read(8), "little")
        return self.file.read(size)

    def note(self, what: str, content: bytes) -> None:
        """Keep the shortest input of a kind of defect."""
        kind = what.split(": ")[0].split(" took")[0]
        kept = self.defects.get(kind)
        if kept is None or len(repr(content)) < len(kept):
            self.defects[kind] = f"{what}\n    {content[:400]!r} ({len(content):,} bytes)"

    def tell(self) -> None:
        """Print all as a line of JSON."""
        growth = resident() - self.before
        if growth > GROWTH:
            self.defects["memory"] = f"memory grew by {growth:.0f} MB"
        told = {k: vars(self)[k] for k in ("target", "cases", "accepted", "slowest")}
        print(json.dumps(told | {"growth": growth, "defects": list(self.defects.values())}))
        sys.stdout.flush()


def resident() -> float:
    """MB of memory that this process holds."""
    if "atheris" not in sys.modules:  # in whose calls a full collection has ended the process
        gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what hypothesis has freed is not ours
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def by_hypothesis(first: int) -> Callable[[Meter], None]:
    """How to run the cases of a meter, by seeds from the first on."""
    import hypothesis
    from inputs import inputs

    settings = hypothesis.settings(
        max_examples=PART,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        database=None,
        deadline=None,
    )

    def run(meter: Meter) -> None:
        part, source = first, inputs(meter.target)
        while meter.cases < meter.most:

            @hypothesis.seed(part)
            @settings
            @hypothesis.given(source)
            def some(content: bytes) -> None:
                if meter.cases < meter.most:
                    meter.case(content)

            some()
            part += 1

    return run


def by_atheris() -> Callable[[Meter], None]:
    """How to run the cases of a meter, guided by the code that they reach."""
    import atheris

    with atheris.instrument_imports(include=list(GUIDED)):
        import inputs

    def run(meter: Meter) -> None:
        root = Path(tempfile.mkdtemp())
        (root / "seeds").mkdir()
        known = inputs.of(meter.target)
        for i, content in enumerate(known.seeds):
            (root / "seeds" / str(i)).write_bytes(content)
        words = {"".join(f"\\x{byte:02x}" for byte in word[:60]) for word in known.words if word}
        (root / "words").write_text("".join(f'"{word}"\n' for word in sorted(words)))

        def case(content: bytes) -> None:
            meter.case(content)
            if meter.cases == meter.most:
                meter.tell()
                os._exit(0)  # libFuzzer would go on

        options = [
            "-seed=1",
            "-rss_limit_mb=0",
            "-timeout=0",
            "-handle_alrm=0",
            "-verbosity=0",
            "-max_len=100000",
        ]
        atheris.Setup([sys.argv[0], *options, f"-dict={root / 'words'}", str(root / "seeds")], case)
        atheris.Fuzz()

    return run


WAYS: dict[str, Callable[[], Callable[[Meter], None]]] = {
    "hypothesis": lambda: by_hypothesis(0),
    "hypothesis again": lambda: by_hypothesis(1_000_000),
    "atheris": by_atheris,
}


def work(how: str, each: Mapping[str, int]) -> None:
    """Run the cases of each target in a fork of this process, so that imports are done once."""
    run = WAYS[how]()
    from targets import accepts

    for target, cases in each.items():
        meter = Meter(target, cases, accepts)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            run(meter)
            meter.tell()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            meter.note(f"crash or hang (exit code {code})", meter.last())
            meter.tell()
        meter.file.close()


def begin(how: str, each: Mapping[str, int]) -> list[dict[str, Any]]:
    """Start the process that works in one way, and return what it tells of each target."""
    with tempfile.TemporaryDirectory(prefix="ganatomy-fuzz-", dir=FAST) as home:
        own = {"TMPDIR": home, "XDG_CACHE_HOME": home, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        words = [sys.executable, __file__, "--how", how, "--each", json.dumps(each)]
        done = subprocess.run(words, env=os.environ | own, capture_output=True, cwd=home)
    lines = done.stdout.decode(errors="replace").splitlines()
    told = [json.loads(line) | {"how": how} for line in lines if line.startswith('{"target"')]
    if done.returncode or len(told) < len(each) or any(one["cases"] == 0 for one in told):
        print(done.stderr.decode(errors="replace")[-5000:], file=sys.stderr)
    if len(told) < len(each):
        raise RuntimeError(f"{how} told of {len(told)} of {len(each)} targets")
    return told


def main() -> int:
    """Run all, or what one process is to run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=120_000, help="of all targets together")
    parser.add_argument("--target", choices=SHARES, help="this one alone")
    parser.add_argument("--how", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--each", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.how:
        faulthandler.enable()
        faulthandler.register(signal.SIGALRM, chain=True)  # to say where, and end
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="hypothesis")
        resource.setrlimit(resource.RLIMIT_AS, (ROOM << 30, ROOM << 30))
        work(given.how, given.each)
        return 0
    guided = importlib.util.find_spec("atheris") is not None
    hows = ("hypothesis", "atheris" if guided else "hypothesis again")
    chosen = {t: n for t, n in SHARES.items() if given.target in (None, t)}
    unit = given.cases / sum(chosen.values()) / 3
    each = [{t: math.ceil(unit * n * part) for t, n in chosen.items()} for part in (1, 2)]
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        told = [one for part in pool.map(begin, hows, each) for one in part]
    return show(told, time.monotonic() - began)


def show(told: list[dict[str, Any]], seconds: float) -> int:
    """Print the table and the defects, and return the exit code."""
    head = ("target", "by", "cases", "refused", "accepted", "slowest ms", "growth MB", "defects")
    rows: list[tuple[Any, ...]] = [head]
    for one in told:
        cases, accepted = one["cases"], one["accepted"]
        row = (one["target"], one["how"], f"{cases:,}", f"{cases - accepted:,}", f"{accepted:,}")
        rows.append((*row, one["slowest"], f"{one['growth']:.1f}", len(one["defects"])))
    for target, how, *numbers in rows:
        print(f"{target:14} {how:16}" + "".join(f"{number:>12}" for number in numbers))
    defects = [f"{one['target']}: {defect}" for one in told for defect in one["defects"]]
    total = sum(one["cases"] for one in told)
    print(f"\n{total:,} cases in {seconds / 60:.1f} minutes, {len(defects)} defects")
    print(*defects, sep="\n")
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
