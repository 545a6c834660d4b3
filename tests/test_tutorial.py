"""The tutorial runs as it stands, and is as short as it says."""

import runpy
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs/tutorial.py"


def code() -> list[str]:
    lines = TUTORIAL.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_the_tutorial_is_short() -> None:
    assert len(code()) <= 40


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(TUTORIAL))
    assert names["run"].step == 1000 and len(names["broken"].diagnose()) >= 1
    assert Path("runs/tutorial/compare.html").stat().st_size > 100_000
    assert names["own"].recipe.objective.loss == "<run_path>:loss"
