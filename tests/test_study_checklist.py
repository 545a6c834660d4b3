"""Curves of claims over lengths, and the checklist of a study."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from test_study_page import COMMAND, finish, image, plan, texts

from ganatomy.figures.charts import Series
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.studies.job import Job
from ganatomy.studies.lengths import _name, _series, lengths, several
from ganatomy.studies.page import contents
from ganatomy.studies.study import Study, begin
from ganatomy.studies.tables import read
from ganatomy.studies.verdict import verdicts

FD = {"a-3": (9.0, 7.0, 11.0), "a-60": (5.0, 6.0, 1.0), "b": (2.0, 3.0, 4.0)}
Made = tuple[Study, Path, list[Job]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished study, two conditions of which are one run; sessions overlap by half an hour."""
    base, out = plan(["a", "b, x=1"]), tmp_path_factory.mktemp("lengths")
    wide: dict[str, Any] = {"dataset": "mnist10k", "g_widths": [4]}
    conditions = {"a-3": wide | {"steps": 3}, "a-60": wide, "b": wide | {"g_widths": [5]}}
    claim = dataclasses.replace(base.claims[0], conditions=("a-60", "b"))
    study = dataclasses.replace(base, conditions=conditions, claims=(claim,))
    begin(study, out, 1.0)
    done = study.jobs(out, 1.0, RunOptions())
    for job in sorted(done, key=lambda job: -job.point.step):
        fd = FD[job.condition][job.seed]
        if not job.folder.exists():
            finish(job, fd, image(job.seed))
            (session,) = Run.open(job.folder).sessions
            half = 2 * job.seed + (job.condition == "b")
            times = {"started": f"2026-01-01T0{half // 2}:{30 * (half % 2):02}:00", "seconds": 3600}
            (job.folder / "environment.json").unlink()
            Run.open(job.folder).write_session(session | times)
            continue
        (row,) = Run.open(job.folder).rows("metrics")
        values = {"fd": row["values"]["fd"] | {"value": fd}}
        Run.open(job.folder).append("metrics", row | {"step": job.point.step, "values": values})
    return study, out, done


def test_a_claim_is_drawn_by_epoch(made: Made) -> None:
    study, _, done = made
    runs = [read(job) for job in done]
    ((name, conditions),) = several(runs).items()
    assert name == "a" and [seeds[0].job.point.step for seeds in conditions] == [3, 6]
    assert _series(study.claims[0], conditions) == Series([0.03, 0.06], [9, 4], [7, 1], [11, 6])
    found = lengths(verdicts(study, done, 1.0), runs)
    assert [name for name, *_ in found["key"]] == ["a"]
    assert [(chart["title"], chart["log"]) for chart in found["charts"]] == [("FD", True)]
    alone = [read(job) for job in done if job.condition != "a-3"]
    assert lengths(verdicts(study, done, 1.0), alone) == {}


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["original-10", "original-160"], "original"),
        (["conv", "conv-10"], "conv"),
        (["z100-long", "z100-short"], "z100"),
        (["long", "short"], "long"),
    ],
)
def test_lengths_are_named_by_what_their_names_share(names: list[str], shared: str) -> None:
    assert _name(names) == shared


def test_the_checklist_is_filled_in(made: Made) -> None:
    study, out, done = made
    found = verdicts(study, done, 1.0)
    answers = found.checklist
    assert "They differ in g_widths: [4], [5]; steps: 3, 6." in answers["range of hyper-parameters"]
    assert answers["number of runs"].startswith(
        "6 trained runs, 3 training seeds of each condition"
    )
    assert "length only are one run; 1 sampling seed in each run" in answers["number of runs"]
    # six hours of sessions, half of each at the time of another
    assert answers["infrastructure"] == "a CPU, fp32, PyTorch 2: 3.5 h of training."
    files = contents(study, out, done, found, COMMAND)
    for text in (texts(files["page.html"]), " ".join(files["README.md"].split())):
        assert "hecklist" in text and all(answer in text for answer in answers.values())
    assert "Claims over training" in files["page.html"]
