"""The page is whole, offline and safe."""

import re
from pathlib import Path

import pytest
from conftest import CONV, MLP, Reader

from ganatomy.figures.charts import COLOURS, Series
from ganatomy.pages import comparison
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit

OPTIONS = RunOptions(log_every=1, save_every=7, sample_every=7, device="cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two runs, one of them with a name that would break a careless page."""
    root = tmp_path_factory.mktemp("runs")
    return [fit(MLP, root / "<b>&'name'", OPTIONS), fit(CONV, root / "conv", OPTIONS)]


def test_page_is_whole_and_offline(runs: list[Run]) -> None:
    page = comparison.compare(runs)
    read = Reader(page)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("svg") == 4 and tags.count("img") == 2 * 3  # grids at steps 0, 7 and 14
    links = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "xlink:href")]
    assert all(link and link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", page)
    assert len(page) < 3_000_000


def test_page_says_what_differs_and_what_is_shared(runs: list[Run]) -> None:
    text = Reader(comparison.compare(runs)).text
    differing, shared = text.split("What differs between them")[1].split("What they share")
    assert {"model", "g_widths", "d_widths"} <= set(differing.split()) and "lr_g" in shared
    assert "d_dropout" not in differing and runs[0].recipe.key in text


def test_page_escapes_names(runs: list[Run]) -> None:
    page = comparison.compare(runs)
    assert "<b>&'name'" not in page and "&lt;b&gt;" in page


def test_both_grids_are_of_the_same_epochs(runs: list[Run], tmp_path: Path) -> None:
    longer = fit(MLP.replace(steps=28), tmp_path / "longer", OPTIONS)
    shown = [comparison._read(run, "a run", "#000") for run in (longer, runs[1])]
    stages = comparison._stages(shown)
    assert [round(s["epoch"] * 10_000 / MLP.images_per_step) for s in stages] == [0, 7, 14]
    for stage in stages:
        assert len({image["epoch"] for image in stage["images"]}) == 1


def test_curves_keep_means_and_range(runs: list[Run]) -> None:
    shown = comparison._read(runs[0], "a run", "#000")
    values = [row["d_loss"] for row in shown.rows]
    series = comparison._series(shown, "d_loss")
    assert isinstance(series, Series) and series.mean == pytest.approx(values)
    many = shown._replace(rows=[{"epoch": i, "d_loss": float(i)} for i in range(160)])
    series = comparison._series(many, "d_loss")
    assert len(series.x) == comparison.POINTS and series.mean[:2] == [0.5, 2.5]
    assert series.low[:2] == [0, 2] and series.high[:2] == [1, 3]


def test_runs_called_alike_stay_apart(runs: list[Run], tmp_path: Path) -> None:
    alike = fit(CONV.replace(seed=1), tmp_path / "conv", OPTIONS)
    assert [row["run"] for row in comparison.summary([runs[1], alike])] == [
        str(runs[1].path),
        str(alike.path),
    ]
    chart = comparison.compare([runs[1], alike]).split("<svg")[1]
    assert all(f"stroke: {colour.lower()}" in chart for colour in COLOURS[:2])


def test_summary_is_of_the_last_epoch(runs: list[Run]) -> None:
    first, _ = comparison.summary(runs)
    mean = sum(row["d_real"] for row in runs[0].rows("log")) / 14  # all of them: under one epoch
    assert first["d_real"] == pytest.approx(mean) and first["steps"] == 14
    written = dict(zip(comparison.HEADINGS, comparison.cells(first), strict=True))
    assert written["D(x)"] == f"{mean:.3f}" and written["steps"] == "14"


def test_a_run_without_rows_is_refused(tmp_path: Path, runs: list[Run]) -> None:
    empty = Run.create(tmp_path / "empty", MLP)
    with pytest.raises(ValueError, match="empty has logged nothing yet"):
        comparison.compare([runs[0], empty])


def test_too_many_runs_are_refused(runs: list[Run]) -> None:
    with pytest.raises(ValueError, match="at most 6 runs, got 7"):
        comparison.compare([runs[0]] * 7)
