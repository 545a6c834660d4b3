"""What a person sees of a training."""

import io
import itertools
from pathlib import Path

import pytest
import rich.console

from ganatomy.cli import terminal
from ganatomy.training import progress
from ganatomy.training.session import StepInfo

LOGS = {"d_real": 0.5, "d_fake": 0.25, "d_loss": 1.0, "g_loss": 2.0, "d_fake_after": 0.2}
LONG = [StepInfo(0, 10**6, 0.0, {}), *(StepInfo(i, 10**6, i / 600, LOGS) for i in range(1, 4))]  # type: ignore[arg-type]
SHOWN = "D(x) 0.50 D(G(z)) 0.25 loss D 1.00 G 2.00"


def follow(steps: list[StepInfo], style: progress.Style = "auto", stderr: bool = False) -> StepInfo:
    return progress.follow(steps, Path("runs/mine"), 100, style, stderr=stderr)


def test_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(0, 6)  # a tick every six seconds
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))  # type: ignore[attr-defined]
    assert follow(LONG) == LONG[-1]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["mine", "step", f"{i}/1000000"] for i in (1, 2, 3)
    ]
    assert all(SHOWN in line for line in lines)
    assert "17 img/s" in lines[0] and "69 days, 10:39:54 left" in lines[0]  # 6 s for each step


def test_few_lines_and_always_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    follow([StepInfo(0, 3, 0.0, {}), *(StepInfo(i, 3, i, LOGS) for i in (1, 2, 3))])  # type: ignore[arg-type]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("mine step 3/3 epoch 3.00") and "0:00:00 left" in line


def test_quiet_and_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    short = [StepInfo(0, 1, 0.0, {}), StepInfo(1, 1, 1.0, LOGS)]  # type: ignore[arg-type]
    follow(short, "none")
    assert capsys.readouterr() == ("", "")
    follow(short, stderr=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("step", "total", "per_epoch", "begins"),
    [
        (24 * 469 + 451, 25 * 469, 469.0, "[24/25][450/469]"),  # the report's own line
        (1, 25 * 469, 469.0, "[0/25][0/469]"),
        (470, 25 * 469, 469.0, "[1/25][0/469]"),
        (11_719, 11_719, 468.75, "[24/25][468/469]"),  # 25 epochs of 60,000 in batches of 128
        (470, 11_719, 468.75, "[1/25][0/469]"),  # half a batch of it is of epoch 0
        (900, 900, 1875.0, "[0/1][899/1875]"),
        (1, 1, 0.5, "[0/1][0/1]"),
    ],
)
def test_dcgan_lines_are_those_of_r2_3(
    step: int, total: int, per_epoch: float, begins: str
) -> None:
    values = (0.9578, 2.3186, 0.8398, 0.4703, 0.1420)
    names = ("d_loss", "g_loss", "d_real", "d_fake", "d_fake_after")
    logs = dict(zip(names, values, strict=True))
    line = progress.dcgan_line(StepInfo(step, total, step / per_epoch, logs))  # type: ignore[arg-type]
    rest = "Loss_D: 0.9578 Loss_G: 2.3186 D(x): 0.8398 D(G(z)): 0.4703 / 0.1420"
    assert line == f"{begins} {rest}"


def test_dcgan_lines_come_at_intervals_and_last(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [StepInfo(0, 5, 0.0, {}), *(StepInfo(i, 5, i / 5, LOGS) for i in range(1, 6))]  # type: ignore[arg-type]
    progress.follow(steps, Path("mine"), 100, "dcgan", lines_every=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["[0/1][1/5]", "[0/1][3/5]", "[0/1][4/5]"]


@pytest.mark.parametrize("width", [60, 120])
def test_bar_fits_a_narrow_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = rich.console.Console(force_terminal=True, width=width)
    monkeypatch.setattr(rich, "reconfigure", lambda stderr: None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    follow([StepInfo(0, 3, 0.0, {}), *(StepInfo(i, 3, i, LOGS) for i in (1, 2, 3))])  # type: ignore[arg-type]
    last = rich.console.Console(width=width)
    with last.capture() as capture:
        last.print(rich.text.Text.from_ansi(capsys.readouterr().out))
    lines = capture.get().splitlines()
    assert all(len(line) <= width for line in lines)
    assert any(line.startswith("mine ━") and "epoch 3.0" in line for line in lines)
    assert any(SHOWN in line for line in lines)


def test_an_overview_shows_what_goes_on_and_only_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked: list[int] = []

    def look() -> tuple[str, list[terminal.Bar]]:
        looked.append(1)
        return "1 of 2 runs trained", [terminal.Bar("[b], seed 0", 1500, 3000)]

    with terminal.overview(look):
        pass
    assert not looked and capsys.readouterr().err == ""

    screen = io.StringIO()
    console = rich.console.Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(terminal, "Console", lambda stderr: console)
    with terminal.overview(look):
        pass
    assert all(x in screen.getvalue() for x in ("1 of 2 runs", "[b], seed 0", "1,500 of 3,000"))
