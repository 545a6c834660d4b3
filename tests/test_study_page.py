"""The page and the tables of a study say what its runs gave, whole, offline and safe."""

import base64
import csv
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Reader
from PIL import Image

from ganatomy.evaluation.protocol import preset
from ganatomy.figures.images import grid, png, scatter
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.studies.claim import Claim
from ganatomy.studies.figures import axis, bands
from ganatomy.studies.job import Job
from ganatomy.studies.page import contents, fitted
from ganatomy.studies.study import Study, begin
from ganatomy.studies.tables import read, tables
from ganatomy.studies.verdict import decide, verdicts

HOSTILE = "<script>alert('1')|&\""
OTHER = "b, x=1"
FD = {"a": (9.0, 8.0, 7.0), OTHER: (1.0, 3.0, 2.0)}
"""Of each condition's seeds; the median ones are seeds 1 and 2."""

PROTOCOL = preset("classifier-2k")
CLAIMS = (
    Claim(id="c1", text=f"falls {HOSTILE}", metric="fd", conditions=tuple(FD), direction="falls"),
    Claim(id="c2", text="below", metric="fd", conditions=("a",), value=20.0, direction="falls"),
    Claim(
        id="c3",
        text="nearer",
        metric="mean:d_fake",
        conditions=tuple(FD),
        to=0.5,
        direction="rises",
    ),
)


def plan(conditions: Sequence[str], seeds: int = 3, claims: Sequence[Claim] = CLAIMS) -> Study:
    return Study(
        name="tiny",
        question=f"Is wider better? {HOSTILE}",
        base="basic-gan",
        conditions={
            c: {"dataset": "mnist10k", "g_widths": [4 + i]} for i, c in enumerate(conditions)
        },
        steps=6,
        seeds=seeds,
        protocol="classifier-2k",
        log_every=1,
        claims=tuple(claims),
    )


def finish(job: Job, fd: float, image: bytes, metrics: tuple[str, ...] = ("fd",)) -> None:
    """Make the folder that the job would have left, of numbers that are known."""
    run = Run.create(job.folder, job.recipe)
    for step in range(1, 7):
        fake = 0.1 * job.seed + 0.01 * step
        logs = {"d_real": 0.5 + fake, "d_fake": fake, "d_loss": 1.0 + step, "g_loss": -fd}
        run.append("log", {"step": step, "epoch": step / 100} | logs)
    real_scores = {"fd": 0.25, "kid": None}
    values = {
        name: {
            "value": fd,
            "low": fd - 0.5,
            "high": fd + 0.5,
            "std": None,
            "real": real_scores[name],
        }
        for name in metrics
    }
    how: dict[str, Any] = {"protocol": job.protocol, "fingerprint": PROTOCOL.fingerprint}
    how |= {"settings": dataclasses.asdict(PROTOCOL), "n": 2048, "dim": 128, "real_n": 2048}
    how |= {"class_counts": None, "warnings": []}
    run.append("metrics", {"step": job.recipe.training.steps} | how | {"values": values})
    (job.folder / "samples").mkdir()
    run.write("samples/step-00000006.png", image)
    session = {"started": "now", "cpu": "a CPU", "cores": 2, "device": "cpu", "threads": 1}
    versions = {"python": "3", "torch": "2", "ganatomy": "0", "platform": "Linux"}
    run.write_session(session | {"precision": "fp32"} | versions)


def image(seed: int, side: int = 28, channels: int = 1) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (64, channels, side, side), np.uint8)
    return png(grid(torch.from_numpy(noise)))


COMMAND = "ganatomy study tiny.toml"


def train(
    study: Study, out: Path, fd: Mapping[str, tuple[float, ...]], side: int = 28
) -> list[Job]:
    """Do as if the runs of a study had been trained and measured."""
    begin(study, out, 1.0)
    todo = [job for job in study.jobs(out, 1.0, RunOptions()) if job.seed < len(fd[job.condition])]
    for job in todo:
        finish(job, fd[job.condition][job.seed], image(job.seed, side, 1 if side == 28 else 3))
    return todo


Made = tuple[Study, Path, list[Job]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished study of two conditions and three seeds; names are hostile."""
    study, out = plan(list(FD)), tmp_path_factory.mktemp("study")
    return study, out, train(study, out, FD)


@pytest.fixture(scope="module")
def files(made: Made) -> dict[str, str]:
    return written(*made)


def written(study: Study, out: Path, done: list[Job], scale: float = 1.0) -> dict[str, str]:
    return contents(study, out, done, verdicts(study, done, scale), COMMAND)


def texts(page: str) -> str:
    """What a reader sees, without style and space."""
    return " ".join(Reader(re.sub(r"<style>.*?</style>", "", page, flags=re.S)).text.split())


def test_verdicts_come_first(files: dict[str, str]) -> None:
    text = texts(files["page.html"])
    order = [
        text.index(part)
        for part in (
            "Is wider better?",
            "Of 3 claims",
            "below",
            "Results by seed",
            "Measured values",
            "Training curves",
            "Samples",
            "Differences between",
            "All settings of the protocol",
            "Environment",
            "Reproduction",
        )
    ]
    assert order == sorted(order)
    assert "Of 3 claims 3 are undecided" in text  # three of three seeds cannot be decided
    assert "undecided needs 4 seeds" in text and COMMAND in text
    assert "D(G(z)), distance from 0.5 — 0.34 → 0.34" in text


def test_page_is_offline_and_needs_no_script(files: dict[str, str]) -> None:
    page = files["page.html"]
    read = Reader(page)
    links = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "xlink:href")]
    assert links and all(link and link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\((?!#)|fetch\(", page)
    tags = [tag for tag, _ in read.tags]
    assert "script" not in tags and tags.count("figure") == 3 + 4 + 2 and tags.count("img") == 2


def test_names_are_inert(files: dict[str, str]) -> None:
    page = files["page.html"]
    assert "<script" not in page and "&lt;script&gt;alert" in page
    assert not {k for _, a in Reader(page).tags for k in a if k.startswith(("on", "alert"))}
    (row,) = [line for line in files["README.md"].splitlines() if line.startswith("| c1:")]
    assert "<script" not in files["README.md"] and len(re.findall(r"(?<!\\)\|", row)) == 8


def test_bands_are_over_seeds() -> None:
    logs = [[{"step": s, "y": y + s} for s in (1, 2)] for y in (0.0, 1.0, 5.0)]
    line = bands(logs, "y")
    assert line.x == [1, 2] and line.mean == [3, 4] and line.low == [1, 2] and line.high == [6, 7]
    # 160 steps make 80 points, each the mean of two; the step that one seed lacks is left out
    long = [[{"step": s, "y": s * seed} for s in range(160 + (seed == 2))] for seed in (1, 2)]
    line = bands(long, "y")
    assert len(line.x) == 80 and line.x[:2] == [0.5, 2.5]
    assert line.mean[1] == 3.75 and line.low[1] == 2.5 and line.high[1] == 5.0
    assert bands(logs, "absent").x == [] and bands(logs[:1], "y").low == [1, 2]


def test_grids_are_of_median_seeds(files: dict[str, str]) -> None:
    images = [a["src"] or "" for tag, a in Reader(files["page.html"]).tags if tag == "img"]
    shown = [base64.b64decode(image.split(",")[1]) for image in images]
    assert shown == [image(1), image(2)]
    assert "seed 1 , FD 8 , median of 3" in texts(files["page.html"]).replace(
        ", FD", " , FD"
    ).replace(", median", " , median").replace("  ", " ")


def test_values_of_cells(files: dict[str, str], made: Made) -> None:
    text = texts(files["page.html"])
    assert "FD ↓ 8 7 to 9" in text and "2 1 to 3 0.25 Table" in text
    assert PROTOCOL.fingerprint in text and "a CPU, 2 cores, on cpu with 1 thread, fp32" in text
    assert "6 runs: a CPU" in text


def test_tables_give_the_numbers_back(files: dict[str, str], made: Made) -> None:
    rows = list(csv.DictReader(io.StringIO(files["values.csv"])))
    found = {(row["condition"], int(row["seed"])): float(row["fd"]) for row in rows}
    assert found == {
        (condition, i): fd for condition, fds in FD.items() for i, fd in enumerate(fds)
    }
    assert {(r["step"], r["fd_real"], r["fingerprint"]) for r in rows} == {
        ("6", "0.25", PROTOCOL.fingerprint)
    }
    claims = list(csv.DictReader(io.StringIO(files["verdicts.csv"])))
    tested = verdicts(made[0], made[2], 1.0)
    assert [float(row["p"]) for row in claims] == [finding.p for finding in tested.claims]
    assert claims[0]["means"] == "8.0 → 2.0" and claims[0]["conditions"] == f"a → {OTHER}"
    lines = list(csv.DictReader(io.StringIO(files["curves.csv"])))
    first = next(row for row in lines if row["condition"] == "a" and float(row["step"]) == 1)
    shown = [float(first[f"d_fake{part}"]) for part in ("_least", "", "_most")]
    assert shown == pytest.approx([0.01, 0.11, 0.21]) and len(lines) == 12


def test_what_is_shortened_or_missing_is_said(tmp_path: Path) -> None:
    fd = {"a": (9.0, 8.0), "b": (1.0,)}
    study = plan(list(fd), claims=[dataclasses.replace(CLAIMS[0], conditions=("a", "b"))])
    done = train(study, tmp_path, fd)
    text = texts(written(study, tmp_path, done, scale=0.5)["page.html"])
    assert "Shortened. Every run has 0.5 of the study's length, which is 6 steps." in text
    assert "Incomplete. Of 3 planned seeds, there are 2 of a, 1 of b" in text
    assert "seed 1, FD 8, lower middle of 2" in text
    assert "seed 0, FD 1 Figure" in text and "b seeds: 1 real FD ↓ 8.5 8 to 9 1 0.25" in text
    complete = texts(written(dataclasses.replace(study, seeds=1), tmp_path, done)["page.html"])
    assert "Shortened" not in complete and "Incomplete" not in complete


def test_cells_with_a_length_of_their_own_are_named(tmp_path: Path) -> None:
    fd = {"a": (9.0,), "b": (1.0,), "c": (2.0,)}
    claim = dataclasses.replace(CLAIMS[0], conditions=("a", "b"))
    study = plan(list(fd), seeds=1, claims=[claim])
    longer = dict(study.conditions["b"]) | {"steps": 8000}
    study = dataclasses.replace(study, conditions={**study.conditions, "b": longer})
    files = written(study, tmp_path, train(study, tmp_path, fd), scale=0.5)
    text = texts(files["page.html"])
    assert "3 conditions, 3 runs; steps of each: 3 (b 4,000)." in text
    assert "0.5 of the study's length, which is 6 (b 8,000) steps." in text
    assert "Steps of each run: 3 (b 4,000), 0.5 of the study's length." in files["README.md"]


def test_a_value_that_a_run_or_the_real_score_lacks_is_a_dash(tmp_path: Path) -> None:
    study = plan(
        ["a", "b"], seeds=1, claims=[dataclasses.replace(CLAIMS[0], conditions=("a", "b"))]
    )
    begin(study, tmp_path, 1.0)
    one, other = study.jobs(tmp_path, 1.0, RunOptions())
    points = scatter(torch.zeros(3, 2))
    finish(one, 4.0, points, ("fd", "kid"))
    finish(other, 2.0, points)
    text = texts(written(study, tmp_path, [one, other])["page.html"])
    found = verdicts(study, [one, other], 1.0)
    assert "a seeds: 1 b seeds: 1 real FD ↓ 4 2 0.25 KID ↓ 4 — —" in text
    rows = list(csv.DictReader(io.StringIO(tables([read(other)], found)["values.csv"])))
    assert "kid" not in rows[0]


def test_eight_cells_of_large_images_stay_small(tmp_path: Path) -> None:
    fd = {f"condition {i}": (float(i + 1),) for i in range(8)}
    claim = dataclasses.replace(CLAIMS[0], conditions=tuple(fd))
    study = plan(list(fd), seeds=1, claims=[claim])
    page = written(study, tmp_path, train(study, tmp_path, fd, side=64))["page.html"]
    assert len(page.encode()) < 4_000_000 and page.count("data:image") == 8
    assert "shrunk to" in texts(page) and "Images were shrunk" in texts(page)
    # eight lines are two sets of four charts, on the same axes
    assert page.count('class="legend"') == 2 and page.count("How real D") == 0
    assert len([t for t, _ in Reader(page).tags if t == "figure"]) == 1 + 2 * 4 + 8


def test_images_are_shrunk_only_as_needed() -> None:
    small, large = image(0), image(0, 64, 3)
    assert fitted([small, large], 10**7) == [(small, 1.0), (large, 1.0)]
    (kept, whole), (content, share) = fitted([small, large], 400_000)
    assert (kept, whole) == (small, 1.0) and share < 1 and len(content) <= 200_000
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.width == round(share * 530)


def test_axes() -> None:
    plain = axis([10.0, 20.0], [("real", 5.0)])
    assert not plain.log and plain.low < 5 and plain.high > 20
    far = axis([16.0, 20.0], [("real", 0.5), ("claimed", 99.0)])
    assert far.low > 15 and far.high < 21
    log = axis([1.0, 100.0], [("real", 0.0)])
    assert log.log and log.low < 1 and log.high > 100
    same = axis([3.0, 3.0], [])
    assert same.low < 3 < same.high
    assert axis([0.0, 0.0], [("real", 0.9)]).high > 0.9  # there is nothing to squeeze


def test_pooled_claims_show_every_row_of_conditions_once() -> None:
    claim = Claim(id="c1", text="", metric="fd", direction="rises", conditions=("a", "b"),
                  blocks=(("c", "d"), ("a", "d")))  # fmt: skip
    (finding,) = decide([claim], [[[[1.0], [2.0]], [[3.0], [4.0]], [[1.0], [4.0]]]])
    assert finding.groups() == {"a": [1.0], "b": [2.0], "c": [3.0], "d": [4.0]}
