"""Progress of a training: a bar in a terminal, plain lines elsewhere, a live grid in a notebook.

Readable without torch, so that a bar is shown while torch is imported.
"""

import base64
import collections
import datetime
import html
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import rich
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

Style = Literal["auto", "dcgan", "none"]
"""How progress is shown: by what reads the output, as PyTorch's DCGAN example prints it, or not."""

LINE_SECONDS = 5.0
"""Shortest time between two lines where there is no terminal."""

BAR_SECONDS = 0.2
"""Shortest time between two updates of the bar; each waits for the device."""

LIVE_SECONDS = 1.0
"""Shortest time between two updates of a notebook."""


class StepLike(Protocol):
    """The part of training.session.StepInfo that progress reads."""

    @property
    def step(self) -> int:
        """Steps taken."""

    @property
    def total(self) -> int:
        """Steps of the whole training."""

    @property
    def epoch(self) -> float:
        """Passes over the data."""

    @property
    def logs(self) -> Mapping[str, Any]:
        """Scalars of the step."""


T = TypeVar("T", bound=StepLike)


def follow(
    steps: Iterable[T],
    folder: Path,
    images_per_step: int,
    style: Style = "auto",
    *,
    stderr: bool = False,
    lines_every: int = 1,
) -> T:
    """Consume a training and show its progress.

    Args:
        steps: the training, see training.loop.run_steps.
        folder: its run folder, which names it and holds the grids that a notebook shows.
        images_per_step: real images that one step reads.
        style: how to show it.
        stderr: write to standard error instead of standard output.
        lines_every: steps between the lines of style dcgan.

    Returns:
        The last step.
    """
    rich.reconfigure(stderr=stderr)  # the bar of loading data uses the same console
    console = rich.get_console()
    if style == "none":
        shown: Iterator[T] = iter(steps)
    elif style == "dcgan":
        shown = _dcgan_lines(steps, lines_every, console)
    elif in_notebook():
        shown = _notebook(steps, folder, images_per_step)
    elif console.is_terminal:
        shown = _bar(steps, folder.name, images_per_step, console)
    else:
        shown = _lines(steps, folder.name, images_per_step, console)
    return collections.deque(shown, maxlen=1)[0]


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this process."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


class _Speed(ProgressColumn):
    """Real images per second."""

    def __init__(self, images_per_step: int) -> None:
        super().__init__(Column(no_wrap=True))
        self.images_per_step = images_per_step

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self.images_per_step:,.0f} img/s" if task.speed else "", "cyan")


class _TwoLines(Progress):
    """The bar, and the newest logs on a line below it, so that a narrow terminal has room."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text("  ".join(str(task.fields["logs"]) for task in self.tasks), "magenta")


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
        shown = 0.0
        for info in steps:
            now = time.monotonic()
            if now - shown > BAR_SECONDS or info.step == info.total or not info.logs:
                shown = now
                epoch, logs = f"epoch {info.epoch:.1f}", brief(info.logs)
                progress.update(task, completed=info.step, total=info.total, epoch=epoch, logs=logs)
            yield info


def _lines(steps: Iterable[T], label: str, images_per_step: int, console: Console) -> Iterator[T]:
    for info, pace in _paced(steps, images_per_step, LINE_SECONDS):
        if pace:
            line = (
                f"{label} step {info.step}/{info.total} epoch {info.epoch:.2f} {pace} "
                f"{brief(info.logs)}"
            )
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        yield info


def _notebook(steps: Iterable[T], folder: Path, images_per_step: int) -> Iterator[T]:
    from IPython.display import HTML, display

    handle = display(HTML(f"{html.escape(folder.name)}: starting"), display_id=True)
    for info, pace in _paced(steps, images_per_step, LIVE_SECONDS):
        if pace:
            handle.update(HTML(live(info, folder, pace)))
        yield info


def live(info: StepLike, folder: Path, pace: str) -> str:
    """Return the HTML that a notebook shows of a step: a bar, the newest logs and sample grid."""
    grids = sorted((folder / "samples").glob("step-*.png"))
    image = ""
    if grids:
        data = base64.b64encode(grids[-1].read_bytes()).decode()
        image = f'<br><img alt="{grids[-1].stem}" src="data:image/png;base64,{data}">'
    return (
        f"<div><b>{html.escape(folder.name)}</b> "
        f'<progress value="{info.step}" max="{info.total}"></progress> '
        f"step {info.step:,} of {info.total:,}, epoch {info.epoch:.1f}, {pace}<br>"
        f"<small>{html.escape(brief(info.logs))}</small>{image}</div>"
    )


def _paced(
    steps: Iterable[T], images_per_step: int, seconds: float
) -> Iterator[tuple[T, str | None]]:
    """Yield each step, at intervals and at the end with its speed and the time left."""
    began = shown = time.monotonic()
    first = 0
    for info in steps:
        now, pace = time.monotonic(), None
        if not info.logs:
            first, began = info.step, now
        elif now - shown > seconds or info.step == info.total:
            shown = now
            speed = (info.step - first) / max(now - began, 1e-9)
            left = datetime.timedelta(seconds=round((info.total - info.step) / speed))
            pace = f"{speed * images_per_step:,.0f} img/s {left} left"
        yield info, pace


def _dcgan_lines(steps: Iterable[T], every: int, console: Console) -> Iterator[T]:
    for info in steps:
        if info.logs and (info.step % every == 0 or info.step == info.total):
            console.print(dcgan_line(info), highlight=False, markup=False, soft_wrap=True)
        yield info


def dcgan_line(info: StepLike) -> str:
    """Format a step as PyTorch's DCGAN example does, with epochs and batches counted from 0."""
    per_epoch = info.step / info.epoch
    epoch = int((info.step - 1) / per_epoch + 1e-9)
    batch = info.step - 1 - math.ceil(epoch * per_epoch - 1e-9)
    epochs = math.ceil((info.total - 1) / per_epoch) or 1  # the last step may pass their end
    value = {name: float(number) for name, number in info.logs.items()}
    return (
        f"[{epoch}/{epochs}][{batch}/{math.ceil(per_epoch)}] "
        f"Loss_D: {value['d_loss']:.4f} Loss_G: {value['g_loss']:.4f} D(x): {value['d_real']:.4f} "
        f"D(G(z)): {value['d_fake']:.4f} / {value['d_fake_after']:.4f}"
    )


def brief(logs: Mapping[str, Any]) -> str:
    """Format D(x), D(G(z)) and both losses of one step as one short line."""
    if not logs:
        return ""
    value = {name: float(number) for name, number in logs.items()}
    return (
        f"D(x) {value['d_real']:.2f} D(G(z)) {value['d_fake']:.2f} "
        f"loss D {value['d_loss']:.2f} G {value['g_loss']:.2f}"
    )
