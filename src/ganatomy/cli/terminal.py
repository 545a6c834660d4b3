"""What a person sees in the terminal: progress, tables, one-line errors."""

import collections
import contextlib
import datetime
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import rich
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

LINE_SECONDS = 5.0
"""Least time between two lines where there is no terminal to draw a bar in."""

BAR_SECONDS = 0.2
"""Least time between two looks at the logs for the bar; each look waits for the device."""


class StepInfo(Protocol):
    """What progress needs to know of a step; see fit.Tick."""

    @property
    def step(self) -> int:
        """Steps taken."""

    @property
    def total(self) -> int:
        """Steps in all."""

    @property
    def epoch(self) -> float:
        """Passes over the data."""

    @property
    def logs(self) -> Mapping[str, Any]:
        """Scalars of the step."""


T = TypeVar("T", bound=StepInfo)


class _Speed(ProgressColumn):
    """Real images per second."""

    def __init__(self, images_per_step: int) -> None:
        super().__init__(Column(no_wrap=True))
        self.images_per_step = images_per_step

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self.images_per_step:,.0f} img/s" if task.speed else "", "cyan")


class _TwoLines(Progress):
    """The bar, and below it the newest logs, which a narrow terminal has no room for beside it."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text("  ".join(str(task.fields["logs"]) for task in self.tasks), "magenta")


def follow(
    steps: Iterable[T],
    label: str,
    images_per_step: int,
    *,
    quiet: bool,
    stderr: bool,
    lines_every: int | None = None,
) -> T:
    """Consume a training and show it: a bar in a terminal, plain lines elsewhere, or nothing.

    With lines_every it is instead a line in the format of R2.3 after so many steps each.

    Returns its last tick.
    """
    rich.reconfigure(stderr=stderr)  # the one console, on which loading data shows a bar of its own
    console = rich.get_console()
    if quiet:
        shown: Iterator[T] = iter(steps)
    elif lines_every is not None:
        shown = _dcgan_lines(steps, lines_every, console)
    elif console.is_terminal:
        shown = _bar(steps, label, images_per_step, console)
    else:
        shown = _lines(steps, label, images_per_step, console)
    return collections.deque(shown, maxlen=1)[0]


def _bar(steps: Iterable[T], label: str, images_per_step: int, console: Console) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[epoch]}"),
        _Speed(images_per_step),
        TimeRemainingColumn(compact=True),
    )
    with _TwoLines(*columns, console=console, expand=True) as progress:
        task = progress.add_task(label, total=None, epoch="starting", logs="")
        looked = 0.0
        for tick in steps:
            now, end = time.monotonic(), tick.step == tick.total
            if now - looked > BAR_SECONDS or end or not tick.logs:
                looked = now
                epoch, logs = f"epoch {tick.epoch:.1f}", brief(tick.logs)
                progress.update(task, completed=tick.step, total=tick.total, epoch=epoch, logs=logs)
            yield tick


def _lines(steps: Iterable[T], label: str, images_per_step: int, console: Console) -> Iterator[T]:
    began = printed = time.monotonic()
    first = 0
    for tick in steps:
        now = time.monotonic()
        if not tick.logs:
            first, began = tick.step, now
        elif now - printed > LINE_SECONDS or tick.step == tick.total:
            printed = now
            speed = (tick.step - first) / (now - began)
            left = datetime.timedelta(seconds=round((tick.total - tick.step) / speed))
            line = (
                f"{label} step {tick.step}/{tick.total} epoch {tick.epoch:.2f} "
                f"{speed * images_per_step:,.0f} img/s {left} left {brief(tick.logs)}"
            )
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        yield tick


def _dcgan_lines(steps: Iterable[T], every: int, console: Console) -> Iterator[T]:
    for tick in steps:
        if tick.logs and (tick.step % every == 0 or tick.step == tick.total):
            console.print(dcgan_line(tick), highlight=False, markup=False, soft_wrap=True)
        yield tick


def dcgan_line(tick: StepInfo) -> str:
    """Write a step as PyTorch's DCGAN example and report row R2.3 do; epochs and batches from 0."""
    per_epoch = tick.step / tick.epoch
    epoch = int((tick.step - 1) / per_epoch + 1e-9)
    batch = tick.step - 1 - math.ceil(epoch * per_epoch - 1e-9)
    epochs = math.ceil((tick.total - 1) / per_epoch) or 1  # the last step may pass their end
    value = {name: float(number) for name, number in tick.logs.items()}
    return (
        f"[{epoch}/{epochs}][{batch}/{math.ceil(per_epoch)}] "
        f"Loss_D: {value['d_loss']:.4f} Loss_G: {value['g_loss']:.4f} D(x): {value['d_real']:.4f} "
        f"D(G(z)): {value['d_fake']:.4f} / {value['d_fake_after']:.4f}"
    )


def brief(logs: Mapping[str, Any]) -> str:
    """Write D(x), D(G(z)) and both losses of one step in one short line."""
    if not logs:
        return ""
    value = {name: float(number) for name, number in logs.items()}
    return (
        f"D(x) {value['d_real']:.2f} D(G(z)) {value['d_fake']:.2f} "
        f"loss D {value['d_loss']:.2f} G {value['g_loss']:.2f}"
    )


class Bar(NamedTuple):
    """A thing that goes on, as an overview shows it."""

    label: str
    done: int
    total: int


@contextlib.contextmanager
def overview(look: Callable[[], tuple[str, Sequence[Bar]]]) -> Iterator[None]:
    """Show, while the block runs, a headline and a bar for each thing that goes on.

    look is called every second for both. Where there is no terminal nothing is shown.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return

    def shown() -> RenderableType:
        headline, bars = look()
        lines = Table.grid(padding=(0, 2), expand=True)
        lines.add_column(no_wrap=True)
        lines.add_column(ratio=1)
        lines.add_column(justify="right", no_wrap=True)
        for bar in bars:
            full = ProgressBar(total=bar.total, completed=bar.done)
            lines.add_row(escape(bar.label), full, f"{bar.done:,} of {bar.total:,}")
        return Group(Text(headline, "bold"), lines)

    with Live(get_renderable=shown, console=console, refresh_per_second=1, transient=True):
        yield


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output; cells are plain text."""
    shown = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        shown.add_column(escape(column), style="bold" if i == 0 else "", overflow="fold")
    for row in rows:
        shown.add_row(*map(escape, row))
    Console().print(shown)


def say(text: str) -> None:
    """Print a line to standard output, never wrapped, so that paths in it can be copied."""
    print(text)


def complain(text: str) -> None:
    """Print one line to standard error."""
    print(f"ganatomy: {' '.join(text.split())}", file=sys.stderr)
