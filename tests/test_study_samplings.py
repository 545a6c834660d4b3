"""Sampling seeds of studies: measured once each, averaged, told apart from training seeds."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from test_study import FALLS, TINY
from test_study_page import CLAIMS, COMMAND, FD, PROTOCOL, finish, image, plan, texts
from test_study_runs import LENGTHS, OPTIONS, WIDE

from ganatomy.evaluation.protocol import Protocol
from ganatomy.evaluation.result import Evaluation, Score
from ganatomy.evaluation.statistics import permutation
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run, step_of
from ganatomy.studies import trainings
from ganatomy.studies.job import Job
from ganatomy.studies.page import contents
from ganatomy.studies.plan import DIFFERENCES, plan_study
from ganatomy.studies.result import StudyResult
from ganatomy.studies.run import run_jobs
from ganatomy.studies.study import ALPHA, Study, begin
from ganatomy.studies.variance import pooled, power, seeds_for, split
from ganatomy.studies.verdict import numbers, verdicts

ALONE = dataclasses.replace(
    LENGTHS,
    conditions={"short": WIDE},
    claims=(dataclasses.replace(FALLS, conditions=("short",), value=5.0),),
)


class Drawn(NamedTuple):
    """A reference, as far as what follows reads it."""

    protocol: Protocol


def drawn(
    run: Run, files: Sequence[Path], ref: Drawn, metrics: Sequence[str]
) -> Iterator[Evaluation]:
    """Measure by the sampling seed alone."""
    scores = {name: Score(ref.protocol.seed + 1.0) for name in metrics}
    yield Evaluation(ref.protocol, 2048, 128, None, scores, step=step_of(files[0]))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "evaluate_run", drawn)
    monkeypatch.setattr(trainings, "reference_for", lambda *given: Drawn(PROTOCOL))


def run(study: Study, store: Path) -> Job:
    """Measure a run that was trained."""
    (job,) = study.jobs(store, 1.0, OPTIONS)
    if not job.folder.exists():
        finish(job, 0.0, image(0))
        (job.folder / "metrics.jsonl").unlink()
        (job.folder / "step-00000006.pt").touch()
    ((job, came),) = run_jobs(study.jobs(store, 1.0, OPTIONS), 1)
    assert isinstance(came, float)
    return job


def measured(job: Job) -> list[tuple[int, list[str]]]:
    rows = Run.open(job.folder).rows("metrics")
    return [(row["settings"]["seed"], [*row["values"]]) for row in rows]


@pytest.mark.usefixtures("quick")
def test_missing_sampling_seeds_alone_are_measured(tmp_path: Path) -> None:
    once = run(ALONE, tmp_path)
    first = Run.open(once.folder).rows("metrics")
    twice = run(dataclasses.replace(ALONE, samplings=2), tmp_path)
    assert once.folder == twice.folder and measured(twice) == [(0, ["fd"]), (1, ["fd"])]
    assert Run.open(twice.folder).rows("metrics")[:1] == first
    assert twice.evaluation() == once.evaluation() != None  # noqa: E711
    claim = ALONE.claims[0]
    assert numbers(claim, [twice]) == [[[1.5]]] and numbers(claim, [once]) == [[[1.0]]]
    # what a run without its checkpoint has stays as it is
    Run.open(twice.folder).checkpoint(6).unlink()
    thrice = dataclasses.replace(ALONE, samplings=3).jobs(tmp_path, 1.0, OPTIONS)[0]
    assert not thrice.missing() and numbers(claim, [thrice]) == numbers(claim, [twice])


def test_samplings_of_another_classifier_do_not_count(tmp_path: Path) -> None:
    job = again(plan(list(FD), seeds=1), tmp_path)[0]
    rows = Run.open(job.folder).rows("metrics")
    assert [*job.point.evaluations()] == [0, 1, 2] and not job.missing()
    settings = rows[1]["settings"] | {"features_sha256": "1" * 64}
    (job.folder / "metrics.jsonl").unlink()
    for row in (rows[0], rows[1] | {"settings": settings}, rows[2]):
        Run.open(job.folder).append("metrics", row)
    assert [*job.point.evaluations()] == [0, 2]


def again(study: Study, out: Path, side: float = 0.25) -> list[Job]:
    """Do as if the runs of a study had been measured with three sampling seeds, FD ± side."""
    study = dataclasses.replace(study, samplings=3)
    begin(study, out, 1.0)
    jobs = study.jobs(out, 1.0, RunOptions())
    for job in jobs:
        finish(job, FD[job.condition][job.seed], image(job.seed))
        (row,) = Run.open(job.folder).rows("metrics")
        for seed, shift in ((1, side), (2, -side)):
            protocol = PROTOCOL.replace(seed=seed)
            how = {"protocol": protocol.name, "fingerprint": protocol.fingerprint}
            fd = row["values"]["fd"]
            values = {"fd": fd | {"value": fd["value"] + shift}}
            settings = dataclasses.asdict(protocol)
            new = row | how | {"settings": settings, "values": values}
            Run.open(job.folder).append("metrics", new)
    return jobs


def test_files_tell_training_and_sampling_apart(tmp_path: Path) -> None:
    study = dataclasses.replace(plan(list(FD)), samplings=3)
    done = again(study, tmp_path)
    found = verdicts(study, done, 1.0)
    one = found.claims[0]
    table = [[fd, fd + 0.25, fd - 0.25] for fd in FD["a"]]
    assert one.variance["a"] == split(table) and one.variance["a"].sampling == pytest.approx(0.25)
    assert one.groups()["a"] == pytest.approx(FD["a"]) and one.improvement == 1
    assert not found.claims[2].variance  # logged, not measured
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert StudyResult.from_dict(plain) == StudyResult.from_dict(found.to_dict())
    assert StudyResult.from_dict(plain).claims[0].variance == one.variance
    files = contents(study, tmp_path, done, found, COMMAND)
    rows = [*csv.DictReader(io.StringIO(files["variance.csv"]))]
    assert [row["condition"] for row in rows] == list(FD)  # two claims are about FD
    assert float(rows[0]["training"]) == one.variance["a"].training
    assert len([*csv.DictReader(io.StringIO(files["samplings.csv"]))]) == 18
    for text in (texts(files["page.html"]), files["README.md"]):
        assert all(part in text for part in ("SD of sampling", "0.25", "3 × 3", "improvement"))


def test_an_undecided_claim_has_its_power(tmp_path: Path) -> None:
    study = dataclasses.replace(
        plan(list(FD)), claims=(CLAIMS[0], dataclasses.replace(CLAIMS[0], id="c2"))
    )
    found = verdicts(study, again(study, tmp_path), 1.0).claims[0]
    deviation = pooled([FD["a"], *(v for k, v in FD.items() if k != "a")])
    assert found.verdict == "undecided" and deviation == 1
    assert found.power == power(6, 3, 2) == 0  # three seeds never decide two claims
    assert found.seeds_for_effect == seeds_for(6, 1, 2) == 4


def test_power_of_pooled_settings_is_that_of_the_test() -> None:
    rng, seeds, effect = np.random.default_rng(1), 4, 1.0
    blocks = rng.standard_normal((300, 2, 2, seeds))
    blocks[:, :, 1] += effect
    hit = np.mean([permutation(block.tolist())[1] <= ALPHA for block in blocks])
    assert power(effect, seeds, 1, 2) == pytest.approx(hit, abs=0.08)
    assert power(effect, seeds, 1, 2) > power(effect, seeds) + 0.15


def test_a_plan_says_the_seeds_of_a_wanted_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = SimpleNamespace(disk_bytes=1, data=1, member=1, run_seconds=1.0)
    monkeypatch.setattr("ganatomy.studies.plan.predict_cost", lambda *given: cost)
    study = dataclasses.replace(plan(list(FD)), claims=CLAIMS[:1], samplings=3)
    assert plan_study(study, tmp_path).claims == ()
    found = verdicts(study, again(study, tmp_path), 1.0)
    (tmp_path / "verdicts.json").write_text(json.dumps(found.to_dict()))
    (claim,) = plan_study(study, tmp_path).claims
    assert claim.claim == "c1" and claim.deviation == pytest.approx(1)
    assert claim.seeds == tuple(seeds_for(8 * share, claim.deviation) for share in DIFFERENCES)


def test_samplings_of_a_plan_become_more_not_fewer(tmp_path: Path) -> None:
    begin(TINY, tmp_path, 1.0)
    held = json.loads((tmp_path / "study.json").read_text())
    del held["samplings"]  # as the plans of earlier versions
    (tmp_path / "study.json").write_text(json.dumps(held))
    begin(dataclasses.replace(TINY, samplings=3), tmp_path, 1.0)
    with pytest.raises(ValueError, match="has 3 samplings already"):
        begin(TINY, tmp_path, 1.0)
    with pytest.raises(ValueError, match="samplings of 1 or more"):
        dataclasses.replace(TINY, samplings=0)
