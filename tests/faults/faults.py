"""What can befall a run, an evaluation, a cache or a study, done to real processes.

    python tests/faults/faults.py [SHARE [FAULT ...]]

tries every fault, or those named, with all its seeds, or that share of them, and prints the table
of docs/reliability.md. After each, either the work is taken up and ends in the same bytes as if
nothing had happened, or it is refused with one clear line and the checkpoints can still be read.
"""

import contextlib
import datetime
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ganatomy.cli import main as cli
from ganatomy.data import folder as own_images
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run
from ganatomy.storage import checksums
from ganatomy.training import loop
from ganatomy.validation import to_dict

RECIPE = Recipe.of(
    dataset="mnist10k",
    z_dim=8,
    g_widths=(16, 16),
    d_widths=(16,),
    g_norm="batch",
    g_dropout=0.2,
    batch=16,
    steps=60,
    ema=0.9,
)
EVERY = ["--log_every", "2", "--save_every", "7", "--sample_every", "20", "--keep", "0"]
HOW = ["--threads", "1", "--device", "cpu", "--quiet"]
STUDY = """
question = "Does it matter?"
base = "mine.json"
steps = 12
seeds = 4
protocol = "classifier-2k"
[conditions.a]
lr_g = 1e-3
[conditions.b]
lr_g = 2e-3
[[claims]]
id = "c1"
text = "it does"
metric = "fd"
direction = "falls"
conditions = ["a", "b"]
"""


class Place(NamedTuple):
    """Where one fault is tried, and what undisturbed work came to."""

    path: Path
    """an empty folder"""
    whole: Path
    """a folder with a finished run, its evaluation and a finished study"""
    seconds: float
    """that the run took"""
    rng: random.Random

    @property
    def run(self) -> Path:
        """Where the run of this place is."""
        return self.path / "run"

    def train(self) -> list[str]:
        """The command that trains it."""
        file = self.whole / "mine.json"
        return ["train", str(file), "--out", str(self.run), *HOW, *EVERY]

    def evaluate(self) -> list[str]:
        """The command that measures it."""
        return [
            "evaluate",
            str(self.run),
            "--protocol",
            "classifier-2k",
            "--metrics",
            "fd",
            "classes",
        ]

    def study(self) -> list[str]:
        """The command that answers a question."""
        file = self.whole / "small.toml"
        return ["study", str(file), "--out", str(self.path / "study"), "--jobs", "2"]

    def finished(self) -> None:
        """Put a copy of the finished run here."""
        shutil.copytree(self.whole / "run", self.run)

    def half_done(self) -> None:
        """Put a run here that was killed at some step."""
        with contextlib.closing(loop.run_steps(RECIPE, self.run, OPTIONS)) as running:
            for _ in range(self.rng.randrange(8, 60)):
                next(running)


OPTIONS = RunOptions(threads=1, device="cpu", log_every=2, save_every=7, sample_every=20, keep=0)


class Child(NamedTuple):
    """A process of ours that carries out a command."""

    pid: int
    said: Path

    def wait(self) -> int:
        """Return its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def running(self) -> bool:
        """Whether it has not ended; one that has can still be waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def lines(self) -> list[str]:
        """What it complained of, without warnings and what it said of its progress."""
        text = self.said.read_text(errors="replace")
        assert "Traceback" not in text, text
        lines = [line for line in text.splitlines() if line.startswith("ganatomy: ")]
        return [line for line in lines if not line.startswith(("ganatomy: warning", "ganatomy: ["))]


def start(place: Place, arguments: list[str], before: Callable[[], object] | None = None) -> Child:
    """Carry out a command in a process of its own, of which another may be the end."""
    said = place.path / f"said-{time.monotonic_ns()}"
    pid = os.fork()
    if pid:
        return Child(pid, said)
    code = 70
    try:
        sys.stdout = sys.stderr = said.open("w", buffering=1)
        if before is not None:
            before()
        code = cli.main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def do(place: Place, arguments: list[str], before: Callable[[], object] | None = None) -> int:
    """Carry out a command to its end, which must be one that a user can read."""
    child = start(place, arguments, before)
    code = child.wait()
    lines = child.lines()
    assert code <= 0 or len(lines) == 1, (code, lines)
    return code


def contents(run: Path) -> dict[str, bytes]:
    """What must not depend on what befell a run."""
    found = Run(run)
    rows = [file for name in ("log", "metrics") if (file := run / f"{name}.jsonl").exists()]
    files = [*found.checkpoints(), *(file for _, file in found.grids()), *rows, run / "recipe.json"]
    return {file.name: file.read_bytes() for file in files}


def readable(run: Path) -> None:
    """See that every checkpoint that there is can be used."""
    found = Run(run)
    for file in found.checkpoints():
        assert found.load(file)["step"] > 0


def taken_up(place: Place) -> str:
    """Train a run to its end, and see that it is the one that never stopped."""
    assert do(place, place.train()) == 0
    assert not list(place.run.rglob(".*.tmp"))
    wanted = contents(place.whole / "run")
    assert contents(place.run) | {"metrics.jsonl": wanted["metrics.jsonl"]} == wanted
    return "same bytes"


def refused_or_taken_up(place: Place, command: list[str] | None = None) -> str:
    """Try to go on: the end must be the same, or there must be a reason."""
    code = do(place, command or ["resume", str(place.run), "--quiet"])
    if code in (1, 2):
        return "refused"
    assert code == 0
    return taken_up(place)


# training is ended


def killed(place: Place) -> str:
    """SIGKILL at a random moment, up to three times."""
    for _ in range(place.rng.randrange(1, 4)):
        child = start(place, place.train())
        time.sleep(place.rng.uniform(0, place.seconds))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    return taken_up(place)


def _at(target: object, name: str, count: int, what: Callable[..., object]) -> None:
    """Do something in place of the count-th call of a function."""
    real, calls = getattr(target, name), iter(range(count))

    def instead(*args: Any, **how: Any) -> Any:
        return real(*args, **how) if next(calls, None) is not None else what(*args, **how)

    setattr(target, name, instead)


def _die(*args: object, **how: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_in(target: object, name: str, most: int, place: Place, what: Any = _die) -> str:
    count = place.rng.randrange(most)
    assert do(place, place.train(), lambda: _at(target, name, count, what)) == -signal.SIGKILL
    if place.run.exists():
        readable(place.run)
    return taken_up(place)


def killed_before_rename(place: Place) -> str:
    """SIGKILL when a file has been written beside its place."""
    return _killed_in(Path, "replace", 20, place)


def killed_before_sync(place: Place) -> str:
    """SIGKILL when a file has been handed over but not synced."""
    return _killed_in(os, "fsync", 40, place)


def killed_in_a_file(place: Place) -> str:
    """SIGKILL when half of a file has been written."""
    real, left = Path.open, iter(range(place.rng.randrange(20)))

    class Half:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Half":
            return self

        def __exit__(self, *error: object) -> None: ...

        def write(self, content: bytes) -> None:
            self.file.write(content[: place.rng.randrange(len(content))])
            self.file.flush()
            _die()

    def opened(path: Path, mode: str = "r", *args: Any, **how: Any) -> Any:
        file = real(path, mode, *args, **how)
        return Half(file) if mode == "wb" and next(left, None) is None else file

    assert do(place, place.train(), lambda: setattr(Path, "open", opened)) == -signal.SIGKILL
    if place.run.exists():
        readable(place.run)
    return taken_up(place)


def killed_in_a_row(place: Place) -> str:
    """SIGKILL when half of a logged row has been written."""

    def half(run: Run, name: str, row: dict[str, Any]) -> None:
        text = checksums.encode_row(row)
        with (run.path / f"{name}.jsonl").open("ab") as file:
            file.write(text[: place.rng.randrange(len(text))])
        _die()

    return _killed_in(Run, "append", 29, place, half)


def terminated(place: Place) -> str:
    """SIGTERM or SIGINT at a random moment: the state is saved, or there was none yet."""
    number = place.rng.choice([signal.SIGTERM, signal.SIGINT])
    child = start(place, place.train())
    time.sleep(place.rng.uniform(0, place.seconds))
    os.kill(child.pid, number)
    code = child.wait()
    assert code in (0, 128 + number, 130, -number), code
    if "stopped and saved" in child.said.read_text():
        file = Run(place.run).newest_checkpoint()
        assert file is not None
        assert do(place, place.train()) == 0
        if file.name not in contents(place.whole / "run"):  # of a step that is not every seventh
            file.unlink()
    return taken_up(place)


# the machine


def full_disk(place: Place) -> str:
    """No file may grow beyond a random size: a checkpoint, a log or an image is cut off."""
    most = place.rng.choice([100, 1000, 5000, 20_000, 60_000, 120_000])
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # noqa: E731
    code = do(place, place.train(), limit)
    assert code in (0, 1, 2), code
    if place.run.exists():
        readable(place.run)
    return taken_up(place)


def full_folder(place: Place) -> str:
    """A file system of some hundred kilobytes."""
    small = place.path / "small"
    small.mkdir()
    size = place.rng.randrange(100, 1500)
    if os.system(f"mount -t tmpfs -o size={size}k tmpfs {small} 2> {os.devnull}") != 0:
        return "not tried (no right to mount)"
    try:
        there = place._replace(path=small)
        assert do(place, there.train()) in (0, 1, 2)
        if there.run.exists():
            readable(there.run)
            shutil.copytree(there.run, place.run)
    finally:
        os.system(f"umount {small}")
    return taken_up(place)


def read_only(place: Place) -> str:
    """A folder that may not be written to, before the training or in the middle of it."""
    if place.rng.random() < 0.7:
        place.half_done()
    else:
        place.run.mkdir()
    before = contents(place.run) if (place.run / "recipe.json").exists() else {}
    place.path.chmod(0o777)
    folders = [place.run, *(path for path in place.run.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)

    def as_nobody() -> None:
        if os.geteuid() == 0:  # whom no mode keeps out
            os.setegid(65534)
            os.seteuid(65534)

    code = do(place, place.train(), as_nobody)
    assert code in (1, 2), code
    for folder in folders:
        folder.chmod(0o755)
    assert not before or contents(place.run) == before
    return taken_up(place)


def no_memory(place: Place) -> str:
    """The process may not take more than some megabytes beyond what it has."""
    extra = place.rng.randrange(1 << 20, 120 << 20)

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + extra
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    child = start(place, place.train(), limit)
    code = child.wait()
    assert code <= 0 or len(child.lines()) == 1, (code, child.said.read_text())
    if place.run.exists():
        readable(place.run)
    return taken_up(place)


def clock_jumps(place: Place) -> str:
    """The clock jumps by up to ten years, either way, whenever it is looked at."""
    place.half_done()
    for file in place.run.rglob("*"):
        moment = place.rng.uniform(0, 2**32)
        os.utime(file, (moment, moment))

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Clock":
            jump = datetime.timedelta(days=place.rng.uniform(-3650, 3650))
            return cls.fromtimestamp((datetime.datetime.now(tz) + jump).timestamp(), tz)

    assert do(place, place.train(), lambda: setattr(loop, "datetime", Clock)) == 0
    return taken_up(place)


def two_processes(place: Place) -> str:
    """Another process trains in the same folder, stopped for the moment."""
    child = start(place, place.train())
    while child.running() and not list(place.run.glob("step-*.pt")):
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGSTOP)
    code = do(place, place.train())
    os.kill(child.pid, signal.SIGCONT)
    assert child.wait() == 0 and code in (0, 2)
    return taken_up(place)


# files are damaged


def _hurt(place: Place, file: Path) -> None:
    """Cut a file short or flip a bit of it."""
    content = bytearray(file.read_bytes())
    if place.rng.random() < 0.5:
        content = content[: place.rng.randrange(len(content))]
    else:
        content[place.rng.randrange(len(content))] ^= 1 << place.rng.randrange(8)
    file.write_bytes(content)


def newest_checkpoint(place: Place) -> str:
    """The newest checkpoint, or two of them, are cut short or have a wrong bit."""
    place.half_done()
    for file in Run(place.run).checkpoints()[1:][-place.rng.randrange(1, 3) :]:
        _hurt(place, file)
    return taken_up(place)


def every_checkpoint(place: Place) -> str:
    """All of them are: to train from the start is for the user to say."""
    place.half_done()
    files = Run(place.run).checkpoints()
    for file in files:
        _hurt(place, file)
    assert do(place, place.train()) == 1
    for file in files:
        file.unlink()
    return f"refused, then {taken_up(place)}"


def _damaged(name: str, place: Place) -> str:
    place.half_done()
    _hurt(place, place.run / name)
    before = {k: v for k, v in contents(place.run).items() if k.endswith(".pt")}
    came = refused_or_taken_up(place)
    if came == "refused":
        assert {k: contents(place.run)[k] for k in before} == before
    return came


def recipe_file(place: Place) -> str:
    """The recipe is cut short or has a wrong bit."""
    return _damaged("recipe.json", place)


def options_file(place: Place) -> str:
    """The options are cut short or have a wrong bit."""
    return _damaged("options.json", place)


def environment_file(place: Place) -> str:
    """The record of machines is cut short or has a wrong bit."""
    return _damaged("environment.json", place)


def rows_file(place: Place) -> str:
    """Logged rows are cut short, or one has a wrong bit."""
    return _damaged("log.jsonl", place)


# measuring


def _measured(place: Place) -> str:
    assert do(place, place.evaluate()) == 0
    rows = [Run(run).rows("metrics")[-1] for run in (place.run, place.whole / "run")]
    assert rows[0] == rows[1]
    return "same values"


def evaluation_killed(place: Place) -> str:
    """SIGKILL at a random moment of an evaluation whose cache is empty."""
    place.finished()
    (place.run / "metrics.jsonl").unlink()
    with _cache(place.path / "cache"):
        child = start(place, place.evaluate())
        time.sleep(place.rng.uniform(0, 3 * place.seconds))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        return _measured(place)


def cached_numbers(place: Place) -> str:
    """A file of the cache that evaluations use is cut short or has a wrong bit."""
    place.finished()
    (place.run / "metrics.jsonl").unlink()
    cache = place.path / "cache"
    shutil.copytree(os.environ["XDG_CACHE_HOME"], cache)
    files = [file for file in sorted(cache.rglob("*")) if file.is_file() and file.stat().st_size]
    files = [file for file in files if file.parent.name in ("numbers", "references")]
    _hurt(place, place.rng.choice(files))
    with _cache(cache):
        return _measured(place)


def cached_images(place: Place) -> str:
    """Decoded images are damaged, or the process that decodes them is killed."""
    from PIL import Image

    source = place.path / "images"
    source.mkdir()
    for i in range(30):
        noise = place.rng.randbytes(64)
        Image.frombytes("L", (8, 8), noise).save(source / f"{i}.png")
    wanted = own_images.load_images(source).values
    from ganatomy.data import cache

    with _cache(place.path / "cache"), _less(cache, "LARGE", 10):
        if place.rng.random() < 0.5:
            pid = os.fork()
            if pid == 0:
                _at(os, "fsync", place.rng.randrange(2), _die)
                own_images.load_images(source)
                os._exit(0)
            os.waitpid(pid, 0)
        else:
            own_images.load_images(source)
            folder = next(f for f in (place.path / "cache/ganatomy/images").iterdir() if f.is_dir())
            _hurt(place, place.rng.choice(sorted(folder.iterdir())))
        found = own_images.load_images(source)
        assert torch.equal(found.values, wanted)
    return "same values"


def damaged_images(place: Place) -> str:
    """An image to train on loses its second half, or it becomes zeros, or it has a wrong bit."""
    from PIL import Image

    source = place.path / "images"
    source.mkdir()
    suffix = place.rng.choice(["png", "jpg", "webp"])
    for i in range(5):
        noise = Image.frombytes("L", (8, 8), place.rng.randbytes(64))
        noise.resize((64, 64)).convert("RGB").save(source / f"{i}.{suffix}")
    file = source / f"{place.rng.randrange(5)}.{suffix}"
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    if suffix == "png" and place.rng.random() < 0.5:
        content[place.rng.randrange(8, len(content))] ^= 1 << place.rng.randrange(8)
    elif place.rng.random() < 0.5:
        content[half:] = bytes(len(content) - half)
    else:
        del content[half:]
    file.write_bytes(content)
    train = ["train", str(place.whole / "mine.json"), "--dataset", str(source)]
    assert do(place, [*train, "--out", str(place.run), *HOW]) == 2
    code = start(place, ["data", "check", str(source), "--json"]).wait()
    assert code == 1
    return "refused"


# studies


def worker_killed(place: Place) -> str:
    """A worker of a study, the study or all are killed, and it is repeated."""
    child = start(place, place.study())
    time.sleep(place.rng.uniform(2, 12))
    workers = _children(child.pid)
    for pid in place.rng.choice([workers[:1], [*workers, child.pid], [child.pid]]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait()
    time.sleep(1)  # workers end with the study, but not in the same moment
    assert "Traceback" not in child.said.read_text()
    assert do(place, place.study()) == 0
    found, wanted = (Path(p) / "study" for p in (place.path, place.whole))
    for run in sorted((wanted / "runs").iterdir()):
        assert contents(found / "runs" / run.name) == contents(run), run.name
    verdicts = [json.loads((p / "verdicts.json").read_text()) for p in (found, wanted)]
    assert verdicts[0]["claims"] == verdicts[1]["claims"]
    return "same bytes"


def _children(pid: int) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = file.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(file.parent.name))
    return sorted(found)


@contextlib.contextmanager
def _cache(path: Path) -> Iterator[None]:
    before = os.environ["XDG_CACHE_HOME"]
    os.environ["XDG_CACHE_HOME"] = str(path)
    try:
        yield
    finally:
        os.environ["XDG_CACHE_HOME"] = before


@contextlib.contextmanager
def _less(module: Any, name: str, value: int) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


FAULTS: dict[Callable[[Place], str], int] = {
    killed: 30,
    killed_before_rename: 16,
    killed_before_sync: 16,
    killed_in_a_file: 16,
    killed_in_a_row: 10,
    terminated: 16,
    full_disk: 14,
    full_folder: 8,
    read_only: 6,
    no_memory: 10,
    clock_jumps: 6,
    two_processes: 6,
    newest_checkpoint: 16,
    every_checkpoint: 6,
    recipe_file: 12,
    options_file: 8,
    environment_file: 6,
    rows_file: 14,
    evaluation_killed: 6,
    cached_numbers: 8,
    cached_images: 12,
    damaged_images: 12,
    worker_killed: 8,
}
"""what befalls -> with how many seeds it is tried"""


def prepare(folder: Path, study: bool = True) -> tuple[Path, float]:
    """Do all undisturbed, in a folder; return it and the seconds that the training took."""
    torch.set_num_threads(1)
    (folder / "mine.json").write_text(json.dumps(to_dict(RECIPE)))
    (folder / "small.toml").write_text(STUDY.replace("mine.json", str(folder / "mine.json")))
    place = Place(folder, folder, 0.0, random.Random())
    with contextlib.redirect_stdout(io.StringIO()):
        for command in (place.train(), place.evaluate()):  # here, so that no child imports again
            assert cli.main(command) == 0
    shutil.rmtree(place.run)
    begun = time.monotonic()
    assert do(place, place.train()) == 0
    seconds = time.monotonic() - begun
    assert do(place, place.evaluate()) == 0
    assert not study or do(place, place.study()) == 0
    return folder, seconds


def tried(fault: Callable[[Place], str], seed: int, whole: Path, seconds: float) -> str:
    """Try one fault; return what came of it."""
    with tempfile.TemporaryDirectory(dir=whole.parent) as folder:
        name = f"{fault.__name__} {seed}"
        return fault(Place(Path(folder), whole, seconds, random.Random(name)))


def main(share: str = "1", *names: str) -> int:
    """Try all, or those named, and print what came of it."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        Path(folder, "whole").mkdir()
        whole, seconds = prepare(Path(folder, "whole"), not names or "worker_killed" in names)
        print("| what befalls | tried | came of it |\n|---|---|---|")
        for fault, count in FAULTS.items():
            if names and fault.__name__ not in names:
                continue
            came: Counter[str] = Counter()
            for seed in range(max(1, round(count * float(share)))):
                try:
                    came[tried(fault, seed, whole, seconds)] += 1
                except Exception:
                    traceback.print_exc()
                    print(f"{fault.__name__}, seed {seed}", file=sys.stderr)
                    came["**lost**"] += 1
                    failed += 1
            told = ", ".join(f"{n} {what}" for what, n in came.most_common())
            about = (fault.__doc__ or "").rstrip(".")
            print(f"| {about} | {came.total()} | {told} |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
