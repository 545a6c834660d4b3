"""Runs of studies are shared: one for all lengths and studies, and fused on request."""

import dataclasses
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from test_study import FALLS, TINY

from ganatomy.gan.fused import FusionError
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.studies import trainings as module
from ganatomy.studies.executors.local import Failure
from ganatomy.studies.job import Job, run_name
from ganatomy.studies.pacing import shares
from ganatomy.studies.page import _whole
from ganatomy.studies.plan import plan_study
from ganatomy.studies.run import fuses, pace, prepare, run_jobs, run_study
from ganatomy.studies.study import Study
from ganatomy.studies.tables import by_condition, read
from ganatomy.studies.trainings import trainings
from ganatomy.studies.verdict import numbers

OPTIONS = RunOptions(device="cpu", threads=1)
WIDE: dict[str, Any] = {"dataset": "mnist10k", "g_widths": [4], "d_widths": [4]}
MEAN = dataclasses.replace(FALLS, metric="mean:d_real", conditions=("short", "long"))
LENGTHS = dataclasses.replace(
    TINY, conditions={"long": WIDE, "short": WIDE | {"steps": 4}}, claims=(MEAN,), seeds=1
)


def run(
    study: Study, store: Path, fused: bool = False, options: RunOptions = OPTIONS
) -> dict[Job, float | Failure]:
    return dict(run_jobs(study.jobs(store, 1.0, options), 1, None, fused))


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.pt")}


def test_lengths_are_one_run_that_equals_the_runs_alone(tmp_path: Path) -> None:
    found = run(LENGTHS, tmp_path / "shared")
    long, short = found
    assert long.folder == short.folder and [*files(long.folder)] != []
    assert sorted(files(long.folder)) == ["step-00000004.pt", "step-00000006.pt"]
    assert [job.point.evaluation().step for job in found] == [6, 4]  # type: ignore[union-attr]
    claim = dataclasses.replace(MEAN, conditions=("short",), value=0.5)
    lone = dataclasses.replace(
        LENGTHS, conditions={"short": LENGTHS.conditions["short"]}, claims=(claim,)
    )
    ((alone, fd),) = run(lone, tmp_path / "alone").items()
    assert fd == found[short] != found[long]
    assert files(alone.folder)["step-00000004.pt"] == files(short.folder)["step-00000004.pt"]
    # a claim sees the rows of its own length only
    assert numbers(lone.claims[0], [alone]) == [[numbers(MEAN, list(found))[0][0]]]
    assert [row["step"] for row in short.point.rows()] == [1, 2, 3, 4]
    assert [read(job).grid.name for job in found] == ["step-00000006.png", "step-00000004.png"]  # type: ignore[union-attr]
    assert pace(list(found), 1).steps == [6, 4] and pace(list(found), 1).seconds == 0


def test_a_run_of_the_store_is_used_and_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(LENGTHS, tmp_path)
    longer = dataclasses.replace(
        LENGTHS, name="other", conditions={"long": WIDE, "longest": WIDE | {"steps": 9}},
        claims=(dataclasses.replace(MEAN, conditions=("long", "longest")),),
    )  # fmt: skip
    second = run(longer, tmp_path)
    (folder,) = {job.folder for job in (*first, *second)}
    sessions = [(s["from_step"], s["to_step"]) for s in Run.open(folder).sessions]
    assert sessions == [(0, 6), (6, 9)]
    # the checkpoints that the first study needs are kept
    assert [Run.open(folder).checkpoint(step).exists() for step in (4, 6, 9)] == [True] * 3
    rows = Run.open(folder).rows("metrics")
    assert [row["step"] for row in rows] == [6, 4, 9]
    monkeypatch.setattr(module, "run_steps", None)  # nothing is trained again
    assert run(LENGTHS, tmp_path) == first and Run.open(folder).rows("metrics") == rows


def test_a_run_that_went_past_a_step_is_trained_again_beside_it(tmp_path: Path) -> None:
    ((long, _), _) = run(LENGTHS, tmp_path).items()
    between = dataclasses.replace(LENGTHS, conditions={"long": WIDE, "short": WIDE | {"steps": 5}})
    jobs = between.jobs(tmp_path, 1.0, OPTIONS)
    assert [job.folder.name.removeprefix(long.folder.name) for job in jobs] == ["", "-to-5"]
    found = run(between, tmp_path)
    assert all(isinstance(fd, float) for fd in found.values())
    assert between.jobs(tmp_path, 1.0, OPTIONS) == list(found)


def test_names_of_runs_have_all_that_decides_rows_and_weights() -> None:
    (recipe,) = {job.recipe for job in LENGTHS.jobs(Path(), 1.0, OPTIONS) if job.point.step == 6}
    every = dataclasses.replace(OPTIONS, log_every=10)
    usual = run_name(recipe, every)
    assert usual == f"mnist10k-mlp-seed0-{recipe.key_without_length}"
    assert run_name(recipe.replace(steps=9), dataclasses.replace(every, threads=2)) == usual
    for changes, ending in (
        ({"log_every": 1}, "-log1"), ({"precision": "bf16"}, "-bf16"), ({"fast": True}, "-fast")
    ):  # fmt: skip
        assert run_name(recipe, dataclasses.replace(every, **changes)) == usual + ending
    lowered = [recipe.replace(steps=steps, schedule="linear") for steps in (6, 9)]
    assert len({run_name(r, every) for r in lowered}) == 2
    assert run_name(recipe.replace(model="own.parts:net"), every).startswith(
        "mnist10k-own.parts-net-"
    )


def test_the_store_is_shared_unless_a_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for out, store, wanted in (
        (None, None, "studies/runs"), ("out", None, "out/runs"), ("out", "all", "all")
    ):  # fmt: skip
        _, folder, jobs = prepare(TINY, out, None, 1, 1.0, OPTIONS, store)
        assert folder == Path(out or "studies/tiny")
        assert {job.folder.parent for job in jobs} == {Path(wanted)}
    modes, best, capacity = (
        prepare(name, None, 7, 1, 1.0, OPTIONS)[2]
        for name in ("r3-modes", "r3-interpolation", "r3-capacity")
    )
    largest = [job.folder for job in capacity if job.condition == "z100-g100-d100"]
    assert [j.folder for j in modes] == [j.folder for j in best] == largest


def test_a_plan_counts_a_run_of_several_lengths_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganatomy.gan.cost.LEAST_SECONDS", 0.0)
    study = dataclasses.replace(LENGTHS, claims=(dataclasses.replace(MEAN, metric="fd"),), seeds=3)
    plan = plan_study(study, options=OPTIONS)
    assert plan.runs == 3 and [c.runs for c in plan.conditions] == [3, 3]
    assert [c.seconds > 0 for c in plan.conditions] == [True, False]


def narrow(seeds: int = 2) -> Study:
    return dataclasses.replace(LENGTHS, seeds=seeds)


def test_fused_runs_are_those_of_runs_alone_within_rounding(tmp_path: Path) -> None:
    alone, fused = run(narrow(), tmp_path / "alone"), run(narrow(), tmp_path / "fused", True)
    assert len(alone) == 4
    for job, fd in fused.items():
        other = next(o for o in alone if o.name == job.name)
        assert fd == pytest.approx(alone[other], rel=1e-3)
        assert Run.open(job.folder).sessions[0]["fused"] == 2
        assert sorted(files(job.folder)) == ["step-00000004.pt", "step-00000006.pt"]
        assert [row["step"] for row in job.point.rows()] == [*range(1, job.point.step + 1)]
    # a third seed is alone, since the others are done
    more = run(narrow(3), tmp_path / "fused", True)
    assert {Run.open(job.folder).sessions[-1]["fused"] for job in more if job.seed == 2} == {1}
    assert {job: more[job] for job in fused} == fused


def test_fused_runs_are_continued_together(tmp_path: Path) -> None:
    run(narrow(), tmp_path, True)
    longer = dataclasses.replace(narrow(), steps=8)
    for job in run(longer, tmp_path, True):
        sessions = [
            (s["from_step"], s["to_step"], s["fused"]) for s in Run.open(job.folder).sessions
        ]
        assert sessions == [(0, 6, 2), (6, 8, 2)]


def test_runs_that_cannot_be_fused_are_trained_apart_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: Any, **named: Any) -> Iterator[None]:
        raise FusionError("no")
        yield

    monkeypatch.setattr(module, "run_members", refuses)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = run(narrow(), tmp_path, True)
    assert [str(w.message) for w in told] == ["runs are trained one after the other: no"]
    assert all(isinstance(fd, float) for fd in found.values())


def test_a_member_that_fails_is_a_failure_of_its_jobs_after_that_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganatomy.training.session import Session

    checked = Session._check_finite

    def fails(self: Session, logs: Any, read: bool) -> None:
        if self.recipe.training.seed == 1 and self.state.step == 5:
            raise FloatingPointError("g_loss (nan) is not finite at step 5")
        checked(self, logs, read)

    monkeypatch.setattr(Session, "_check_finite", fails)
    for fused in (True, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run(narrow(), tmp_path / str(fused), fused)
        failed = {job.name: fd for job, fd in found.items() if isinstance(fd, Failure)}
        assert failed == {"long-seed1": Failure("g_loss (nan) is not finite at step 5")}
        assert len(found) == 4
        (failing,) = {job.folder for job in found if job.seed == 1}
        assert len(Run.open(failing).sessions) == 1  # it is not tried again


def test_a_damaged_run_is_a_failure_of_its_jobs(tmp_path: Path) -> None:
    jobs = [*run(narrow(), tmp_path)]
    (jobs[0].folder / "metrics.jsonl").write_text("no\n")
    found = run(narrow(), tmp_path)
    failed = {job.name for job, fd in found.items() if isinstance(fd, Failure)}
    assert failed == {"long-seed0", "short-seed0"}
    assert "metrics.jsonl" in str(found[jobs[0]])


def test_runs_beside_one_another_are_in_groups_of_those_that_go_on_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = dataclasses.replace(MEAN, conditions=("a", "b"))
    study = dataclasses.replace(
        LENGTHS, conditions={"a": WIDE, "b": WIDE | {"g_widths": [5]}}, seeds=3, claims=(claim,)
    )
    runs = trainings(study.jobs(Path(), 1.0, OPTIONS))

    def sizes() -> list[list[tuple[int, int]]]:
        groups = module.groups(runs)
        return [[(t.recipe.generator.widths[0], t.recipe.training.seed) for t in g] for g in groups]

    assert sorted(map(sorted, sizes())) == [[(w, s) for s in range(3)] for w in (4, 5)]
    monkeypatch.setattr("ganatomy.gan.fused.stacks", lambda recipe, device: False)
    monkeypatch.setattr(module, "AT_ONCE", 4)
    assert [len(group) for group in sizes()] == [4, 2]
    assert [len({width for width, _ in group[:3]}) for group in sizes()] == [1, 1]
    shorter = dataclasses.replace(
        study, steps=4, conditions={"a": WIDE | {"z_dim": 3}, "b": WIDE | {"z_dim": 5}}
    )
    runs += trainings(shorter.jobs(Path(), 1.0, OPTIONS))
    assert sorted(len(group) for group in sizes()) == [2, 2, 4, 4]  # lengths are apart


def test_sessions_at_one_time_share_it() -> None:
    at = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC).isoformat() for second in (0, 0, 4, 30)]
    sessions = [
        {"started": started, "seconds": seconds}
        for started, seconds in zip(at, (6.0, 6.0, 4.0, 1.0), strict=True)
    ]
    # two for 4 s, three for 2 s, one for 2 s
    assert shares(sessions) == pytest.approx([2 + 2 / 3, 2 + 2 / 3, 2 / 3 + 2, 1])
    assert shares([]) == []


def test_fused_is_for_one_process() -> None:
    assert fuses(1, None, True, "cpu") and not fuses(1, None, None, "cpu")
    assert not fuses(2, None, None, "cpu") and not fuses(1, "ray", None, "cpu")
    for jobs, executor in ((2, None), (1, "ray")):
        with pytest.raises(ValueError, match="use jobs 1, executor serial"):
            fuses(jobs, executor, True, "cpu")  # type: ignore[arg-type]


def test_a_study_with_fused_runs_of_several_lengths(tmp_path: Path) -> None:
    study = dataclasses.replace(narrow(3), claims=(dataclasses.replace(MEAN, metric="fd"),))
    found = run_study(study, tmp_path / "out", fused=True, options=OPTIONS)
    assert found.seeds == {"long": 3, "short": 3} and found.steps == {"long": 6, "short": 4}
    page = (tmp_path / "out" / "page.html").read_text()
    name = trainings(study.jobs(tmp_path, 1.0, OPTIONS))[0].folder.name
    runs = [read(job) for job in study.jobs(tmp_path / "out" / "runs", 1.0, OPTIONS)]
    assert [*_whole(by_condition(runs))] == ["long"]  # the curves of short are its beginning
    assert f"ganatomy train runs/{name}/recipe.json --steps 6 --out again" in page
