"""The page is whole, offline and safe."""

import re
from pathlib import Path

import pytest
from conftest import CONV, MLP, Reader

from ganatomy.figures.charts import COLORS, Series
from ganatomy.pages import comparison
from ganatomy.pages.page import Page
from ganatomy.pages.sections import POINTS
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
    page = comparison.compare(runs).html
    read = Reader(page)
    tags = [tag for tag, _ in read.tags]
    assert (
        tags.count("svg") == 4 + 2 and "script" not in tags and tags.count("img") == 2 * 3
    )  # grids at steps 0, 7 and 14
    links = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "xlink:href")]
    assert all(link and link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", page)
    assert len(page) < 3_000_000


def test_page_says_what_differs_and_what_is_shared(runs: list[Run]) -> None:
    text = Reader(comparison.compare(runs).html).text
    differing, shared = text.split("Differences")[1].split("Shared fields")
    assert {"model", "g_widths", "d_widths"} <= set(differing.split()) and "lr_g" in shared
    assert "d_dropout" not in differing and runs[0].recipe.key in text


def test_page_escapes_names(runs: list[Run]) -> None:
    page = comparison.compare(runs).html
    assert "<b>&'name'" not in page and "&lt;b&gt;" in page


def test_both_grids_are_of_the_same_epochs(runs: list[Run], tmp_path: Path) -> None:
    longer = fit(MLP.replace(steps=28), tmp_path / "longer", OPTIONS)
    shown = [comparison._read(run, "a run", "#000") for run in (longer, runs[1])]
    stages = comparison._stages(shown)
    assert [s["epoch"] for s in stages] == ["0", "0.02", "0.04"]  # steps 0, 7 and 14
    for stage in stages:
        assert {image["epoch"] for image in stage["images"]} == {stage["epoch"]}


def test_curves_keep_means_and_range(runs: list[Run]) -> None:
    shown = comparison._read(runs[0], "a run", "#000")
    values = [row["d_loss"] for row in shown.rows]
    series = comparison._series(shown.rows, "d_loss")
    assert isinstance(series, Series) and series.mean == pytest.approx(values)
    many = [{"epoch": i, "d_loss": float(i)} for i in range(160)]
    series = comparison._series(many, "d_loss")
    assert len(series.x) == POINTS and series.mean[:2] == [0.5, 2.5]
    assert series.low[:2] == [0, 2] and series.high[:2] == [1, 3]


def test_runs_called_alike_stay_apart(runs: list[Run], tmp_path: Path) -> None:
    alike = fit(CONV.replace(seed=1), tmp_path / "conv", OPTIONS)
    page = comparison.compare([runs[1], alike])
    assert [run.run for run in page.runs] == [str(runs[1].path), str(alike.path)]
    twice = comparison.compare([alike, alike])
    assert [run.run for run in twice.runs] == ["conv (1)", "conv (2)"]
    chart = page.html.split("<svg")[3]
    assert all(f"stroke: {color.lower()}" in chart for color in COLORS[:2])


def test_summary_is_of_the_last_epoch(runs: list[Run]) -> None:
    page = comparison.compare(runs)
    first, _ = page.runs
    mean = sum(row["d_real"] for row in runs[0].rows("log")) / 14  # all of them: under one epoch
    assert first.d_real == pytest.approx(mean) and first.steps == 14
    heads, lines = comparison.summary_table(page.runs)
    written = dict(zip(heads, lines[0], strict=True))
    assert page.to_dict()["runs"][0]["d_real"] == first.d_real and not page.to_dict()["scores"]
    assert written["D(x)"] == f"{mean:.3f}" and written["steps"] == "14"


def test_a_run_without_rows_is_refused(tmp_path: Path, runs: list[Run]) -> None:
    empty = Run.create(tmp_path / "empty", MLP)
    with pytest.raises(ValueError, match="empty has logged nothing yet"):
        comparison.compare([runs[0], empty])


def test_too_many_runs_are_refused(runs: list[Run]) -> None:
    with pytest.raises(ValueError, match="at most 6 runs, got 7"):
        comparison.compare([runs[0]] * 7)


def test_a_page_is_saved_and_shown(tmp_path: Path) -> None:
    page = Page("<!doctype html><title>a &amp; b: ganatomy</title><p class='x'>é</p>")
    for path in (tmp_path / "new" / "page.html", str(tmp_path / "page.html")):
        assert page.save(path) == Path(path)
        assert Path(path).read_text(encoding="utf-8") == page.html
    assert repr(page) == "Page('a & b: ganatomy', 0.00 MB)"
    ((tag, attributes),) = Reader(page._repr_html_()).tags  # nothing leaks into the notebook
    assert tag == "iframe" and attributes["srcdoc"] == page.html
    with pytest.raises(ValueError, match=r"a page is an \.html file, got .*page\.pdf"):
        page.save(tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()
