"""Plans of studies do not change, finished runs are kept, and verdicts are calibrated."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Call
from executor_jobs import dies, fails_once, fails_or_not
from test_study_page import finish, image

from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.result import Evaluation
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.studies.claim import Claim
from ganatomy.studies.executors.local import EXECUTORS, Executor, Failure
from ganatomy.studies.job import Job
from ganatomy.studies.page import contents
from ganatomy.studies.reports import STUDIES, study
from ganatomy.studies.result import StudyResult
from ganatomy.studies.run import Pace, pace, run_jobs, run_study, spread
from ganatomy.studies.study import Study, begin, decidable, measurable, needed
from ganatomy.studies.trainings import Training, run_training, trainings
from ganatomy.studies.verdict import decide, measure, numbers, verdicts

FALLS = Claim(id="c1", text="falls", metric="fd", conditions=("a", "b"), direction="falls")
TINY = Study(
    name="tiny",
    question="Is wider better?",
    base="basic-gan",
    conditions={"a": {"dataset": "mnist10k", "g_widths": [4]}, "b": {"dataset": "mnist10k"}},
    steps=6,
    seeds=3,
    protocol="classifier-2k",
    log_every=1,
    claims=(FALLS,),
)
TOML = """
question = "Is wider better?"
base = "basic-gan"
steps = 6
seeds = 3
protocol = "classifier-2k"
log_every = 1
[conditions.a]
dataset = "mnist10k"
g_widths = [4]
[conditions.b]
dataset = "mnist10k"
[[claims]]
id = "c1"
text = "falls"
metric = "fd"
conditions = ["a", "b"]
direction = "falls"
"""


def claims(n: int) -> list[Claim]:
    return [dataclasses.replace(FALLS, id=f"c{k}") for k in range(n)]


def supported(shift: float, seeds: int, rng: np.random.Generator) -> list[bool]:
    """Which of three claims of a simulated study are called supported."""
    found = [
        [[rng.normal(0, 1, seeds).tolist(), rng.normal(-shift, 1, seeds).tolist()]]
        for _ in range(3)
    ]
    return [finding.verdict == "supported" for finding in decide(claims(3), found)]


def test_verdicts_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    wrong = [any(supported(0, 5, rng)) for _ in range(200)]
    assert np.mean(wrong) <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    right = [all(supported(4, 5, rng)) for _ in range(200)]
    assert np.mean(right) >= 0.9


def test_verdicts() -> None:
    low, high, mixed = [1.0, 2.0, 3.0], [7.0, 8.0, 9.0], [1.5, 8.5, 2.5]
    rises = dataclasses.replace(FALLS, direction="rises")
    (finding,) = decide([FALLS], [[[high, low]]])
    assert finding.verdict == "supported" and finding.p == pytest.approx(0.05)
    assert finding.effect == -6 and finding.superiority == 0
    assert finding.low is not None and finding.high is not None
    assert finding.low < -6 < finding.high
    assert decide([rises], [[[high, low]]])[0].verdict == "refuted"
    assert decide([FALLS], [[[low, mixed]]])[0].verdict == "undecided"
    # two claims of three seeds each can never be decided
    both = decide(claims(2), [[[high, low]]] * 2)
    assert [f.verdict for f in both] == ["undecided"] * 2 and both[0].seeds_needed == 4
    trend = dataclasses.replace(FALLS, conditions=("a", "b", "c"))
    assert decide([trend], [[[high, [4.0, 5.0, 6.0], low]]])[0].verdict == "supported"
    pooled = dataclasses.replace(FALLS, blocks=(("c", "d"),))
    assert decide([pooled] * 4, [[[high, low], [low, mixed]]] * 4)[0].verdict == "undecided"
    assert decide([pooled] * 4, [[[high, low], [[17.0, 18.0, 19.0], high]]] * 4)[0].verdict == (
        "supported"
    )
    below = dataclasses.replace(FALLS, conditions=("a",), value=5.0)
    all_below = dataclasses.replace(below, blocks=(("b",),))
    (finding,) = decide([all_below], [[[low], [[4.0, 4.2, 4.4]]]])
    assert finding.p == 1 / 64 and finding.effect == pytest.approx((2 + 4.2) / 2 - 5)
    (finding,) = decide([below], [[[[1.0, 2.0, 3.0, 4.0, 4.5]]]])
    assert finding.verdict == "supported" and finding.effect == pytest.approx(2.9 - 5)
    assert decide([below], [[[[6.0, 7.0, 8.0, 9.0, 5.5]]]])[0].verdict == "refuted"


def train(study: Study, out: Path, at_once: int, executor: Executor | None = None) -> list[Job]:
    begin(study, out, 1.0)
    options = RunOptions(device="cpu", threads=1)
    outcomes = list(run_jobs(study.jobs(out, 1.0, options), at_once, executor))
    assert all(isinstance(came, float) for _, came in outcomes)
    return sorted(job for job, _ in outcomes)


def test_runs_at_once_take_the_cuda_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, chosen = (TINY.jobs(Path("x"), 1.0, RunOptions(device=d)) for d in ("auto", "cuda:1"))
    for count, at_once, executor, wanted in (
        (2, 2, None, ["cuda:0", "cuda:1"] * 3),
        (4, 2, "processes", ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:0", "cuda:1"]),
        (1, 2, None, ["auto"] * 6),
        (0, 2, None, ["auto"] * 6),
        (2, 1, None, ["auto"] * 6),
        (2, 2, "serial", ["auto"] * 6),
        (2, 2, "ray", ["auto"] * 6),
    ):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert [job.options.device for job in spread(auto, at_once, executor)] == wanted  # type: ignore[arg-type]
        assert spread(chosen, at_once, executor) == chosen  # type: ignore[arg-type]


def test_studies_run_alike_in_processes_and_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = dataclasses.replace(TINY, seeds=2)
    done = {n: train(two, tmp_path / str(n), n) for n in (1, 2)}
    for one, other in zip(*done.values(), strict=True):
        files = [job.folder / "step-00000006.pt" for job in (one, other)]
        assert files[0].read_bytes() == files[1].read_bytes()
    found = {n: verdicts(two, done[n], 1.0) for n in done}
    assert found[1] == found[2] and found[1].seeds == {"a": 2, "b": 2}
    # whichever run ended first
    assert verdicts(two, done[2][::-1], 1.0).claims == found[1].claims
    written = [contents(two, tmp_path / str(n), done[n], found[n], "again") for n in done]
    tables = [{k: v for k, v in w.items() if k.endswith(".csv")} for w in written]
    assert tables[0] == tables[1] and written[0]["page.html"].count("<img") == 2

    rows = {job.folder: Run.open(job.folder).rows("metrics") for job in done[1]}
    assert {len(r) for r in rows.values()} == {1}
    monkeypatch.setattr("ganatomy.training.loop.captured", None)  # nothing is trained again
    train(two, tmp_path / "1", 1)
    assert {folder: Run.open(folder).rows("metrics") for folder in rows} == rows
    log = [row["d_real"] for row in Run.open(done[1][0].folder).rows("log")]
    assert len(log) == 6
    mean = dataclasses.replace(FALLS, metric="mean:d_real", to=0.5)
    assert numbers(mean, done[1])[0][0][0] == pytest.approx(abs(log[-1] - 0.5))
    fluctuation = dataclasses.replace(FALLS, metric="fluctuation:d_real")
    later = np.diff(log[3:])
    expected = (np.square(later).mean() / 2) ** 0.5
    assert numbers(fluctuation, done[1])[0][0][0] == pytest.approx(expected)
    blocks = dataclasses.replace(mean, blocks=(("b", "a"),))
    (a, b), other = numbers(blocks, done[1])
    assert other == [b, a]

    # the share of a class, and the evenness of interpolation
    share = dataclasses.replace(FALLS, metric="share:4")
    assert share.group == "classes"
    wanted = dataclasses.replace(two, claims=(share,)).jobs(tmp_path / "1", 1.0, RunOptions())
    assert wanted[0].metrics == ("fd", "classes")
    run_training(trainings(wanted)[0])
    row = Run.open(wanted[0].folder).rows("metrics")[-1]
    assert numbers(share, wanted[:1])[0][0] == [row["class_counts"][4] / row["n"]]
    even = dataclasses.replace(FALLS, conditions=("a",), value=2.0, metric="interpolation:lerp")
    (((found_jump,),),) = numbers(even, done[1][:1])
    assert even.group is None and 1 <= found_jump <= 10


def test_progress_is_read_from_the_folders(tmp_path: Path) -> None:
    todo = TINY.jobs(tmp_path, 1.0, RunOptions())
    assert pace(todo, 1) == Pace([0] * 6, None)
    first, second = "2026-01-01T00:00:00.000+00:00", "2026-01-01T00:00:10.000+00:00"
    for job, at, seconds, started in ((todo[0], 6, 3.0, first), (todo[1], 2, 4.0, second)):
        made = Run.create(job.folder, job.recipe)
        for step in range(1, at + 1):
            made.append("log", {"step": step})
        made.write_session({"started": started, "from_step": 0, "to_step": at, "seconds": seconds})
    with (todo[1].folder / "log.jsonl").open("a") as log:
        log.write('{"step": 3')  # a row being written
    # a: 0.5 s a step, 12 of them left; b: 2 s a step, 16 of them left
    assert pace(todo, 1) == Pace([6, 2, 0, 0, 0, 0], 12 * 0.5 + 16 * 2)
    assert pace(todo, 2).seconds == (12 * 0.5 + 16 * 2) / 2
    assert pace(todo, 9).seconds == 6 * 2  # never less than the longest


def test_a_claim_that_cannot_be_measured_is_refused_before_any_run() -> None:
    measurable(TINY, RunOptions())
    classes = (dataclasses.replace(FALLS, metric="missing"),)
    with pytest.raises(ValueError, match="claim c1: raw-10k cannot measure missing on mnist10k"):
        measurable(dataclasses.replace(TINY, protocol="raw-10k", claims=classes), RunOptions())
    larger: dict[str, dict[str, Any]] = {
        "a": {"dataset": "mnist10k"},
        "b": {"dataset": "mnist10k", "shape": [1, 32, 32]},
    }
    with pytest.raises(ValueError, match="values cannot be compared"):
        measurable(dataclasses.replace(TINY, protocol="raw-10k", conditions=larger), RunOptions())


def test_a_plan_does_not_change(tmp_path: Path) -> None:
    begin(TINY, tmp_path, 1.0)
    begin(dataclasses.replace(TINY, seeds=5), tmp_path, 1.0)
    assert json.loads((tmp_path / "study.json").read_text())["seeds"] == 5
    before = (tmp_path / "study.json").read_bytes()
    rises = dataclasses.replace(FALLS, direction="rises")
    for changed, scale, said in (
        (dataclasses.replace(TINY, seeds=5, claims=(rises,)), 1.0, "another claims"),
        (dataclasses.replace(TINY, seeds=5), 0.5, "another scale"),
        (TINY, 1.0, "has 5 seeds already"),
    ):
        with pytest.raises(ValueError, match=said):
            begin(changed, tmp_path, scale)
    assert (tmp_path / "study.json").read_bytes() == before
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"study.json is damaged"):
        begin(TINY, tmp_path, 1.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "fdd"}, r"claim c1: unknown metric 'fdd' \(did you mean 'fd'\?\)"),
        ({"metric": "prdc"}, "unknown metric 'prdc'"),
        ({"metric": "mean:d_reel"}, "did you mean 'mean:d_real'"),
        ({"metric": "sum:d_real"}, "unknown metric"),
        ({"metric": "share:four"}, "unknown metric"),
        ({"metric": "interpolation:"}, "unknown metric"),
        ({"blocks": (("a",),)}, "blocks of as many conditions"),
        ({"conditions": ("a",)}, "two or more conditions, or one with a value"),
        ({"conditions": ()}, "two or more conditions, or one with a value"),
        ({"value": 1.0}, "two or more conditions, or one with a value"),
        ({"reported": (1.0,)}, "a number for each condition"),
        ({"direction": "sinks"}, "direction must be one of falls, rises"),
    ],
)
def test_claims_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(FALLS, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"claims": (dataclasses.replace(FALLS, conditions=("a", "x")),)},
            "unknown condition of claim c1",
        ),
        ({"claims": (dataclasses.replace(FALLS, blocks=(("a", "x"),)),)}, "unknown condition of"),
        ({"claims": ()}, "one or more claims"),
        ({"claims": (FALLS, FALLS)}, "its own id"),
        ({"conditions": {"a": {"lr": 1}, "b": {}}}, "condition a: unknown field 'lr'"),
        ({"conditions": {"a": {"base": "none"}, "b": {}}}, "condition a: unknown recipe 'none'"),
        ({"conditions": {"../x": {}, "a": {}, "b": {}}}, r"part of a folder's name.*got '\.\./x'"),
        ({"conditions": {"a": {}, "b": {}, "a/b": {}}}, "part of a folder's name"),
        ({"protocol": "classifier"}, "unknown protocol"),
    ],
)
def test_studies_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(TINY, **changes)


def test_too_few_seeds_for_any_verdict_are_refused() -> None:
    with pytest.raises(ValueError, match=r"seeds = 2, .* use 3 or more"):
        decidable(dataclasses.replace(TINY, seeds=2))
    decidable(TINY)
    with pytest.raises(ValueError, match="use 4 or more"):
        decidable(dataclasses.replace(TINY, claims=tuple(claims(2))))


def test_one_seed_decides_nothing_with_any_number_of_conditions() -> None:
    one = dataclasses.replace(FALLS, conditions=("a",), value=1.0)
    more = [dataclasses.replace(FALLS, conditions=tuple("abcdef"[:n])) for n in (2, 3, 4, 6)]
    assert [needed(claim, 1) for claim in (one, *more)] == [5, 3, 2, 2, 2]
    pooled = [dataclasses.replace(FALLS, blocks=(("a", "b"),) * n) for n in (1, 3)]
    assert [needed(claim, 4) for claim in (FALLS, *pooled)] == [5, 3, 2]


def test_a_condition_without_a_run_has_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"condition . of tiny has no finished run yet"):
        verdicts(TINY, [], 1.0)


@pytest.mark.usefixtures("ray_of_the_tests")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "ray")) for n in EXECUTORS]
)
def test_a_failed_job_is_tried_again_and_then_reported(name: str, tmp_path: Path) -> None:
    executor = EXECUTORS[name]
    assert list(executor(fails_once, [tmp_path / "mark"], 2)) == [(tmp_path / "mark", "done")]
    found: dict[int, int | Failure] = dict(executor(fails_or_not, [1, 2, 3, 4], 2))
    assert found == {
        1: 1,
        2: Failure("RuntimeError: always (fails_or_not)"),
        3: Failure("use another"),
        4: 4,
    }


ALONE = """
import sys
from pathlib import Path
from executor_jobs import ExecutorJob, does_as_it_is_called
from ganatomy.studies.executors.local import EXECUTORS
if __name__ == "__main__":
    list(EXECUTORS["processes"](does_as_it_is_called, [ExecutorJob(Path(sys.argv[1]))], 2))
"""


def test_workers_end_with_their_study(tmp_path: Path) -> None:
    script, folder = tmp_path / "alone.py", tmp_path / "tells and waits"
    script.write_text(ALONE)
    folder.mkdir()
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, str(script), str(folder)], env=here) as study:
        deadline = time.monotonic() + 60
        while not (folder / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        worker = int((folder / "pid").read_text())
        os.kill(worker, 0)
        study.kill()
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(worker, 0)
            time.sleep(0.05)


def test_a_process_that_dies_is_a_failure() -> None:
    ((_, came),) = list[tuple[int, Failure | None]](EXECUTORS["processes"](dies, [1], 1))
    assert isinstance(came, Failure) and "BrokenProcessPool" in came.why


@pytest.mark.parametrize("name", STUDIES)
def test_named_studies_cite_their_rows_and_can_be_decided(name: str) -> None:
    found = STUDIES[name]
    assert found.name == name and all(c.id.startswith(f"R{name[1]}.") for c in found.claims)
    decidable(found)
    recipes = [job.recipe for job in found.jobs(Path("x"), 0.1, RunOptions())]
    assert len({r.key for r in recipes}) == len(found.conditions) * found.seeds
    lengths = {
        n: round(condition.get("steps", found.steps) / 10)
        for n, condition in found.conditions.items()
    }
    assert {r.training.steps for r in recipes} == set(lengths.values()) and found.lengths(
        0.1
    ) == lengths


def test_files_of_studies(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TOML)
    assert study(str(file)) == TINY
    begin(TINY, tmp_path / "out", 0.5)
    assert study(str(tmp_path / "out" / "study.json")) == TINY
    for text, said in (
        (TOML.replace("question", "quest"), "tiny.toml is not a study: unknown field 'quest'"),
        (TOML.replace("steps = 6", ""), "is not a study: .*steps"),
        (TOML.replace('direction = "falls"', ""), "is not a study: .*direction"),
        ("[", "is not a study"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            study(str(file))
    with pytest.raises(ValueError, match="cannot read the study"):
        study(str(tmp_path / "absent.toml"))
    with pytest.raises(ValueError, match=r"unknown study 'r3' .*r3-capacity"):
        study("r3")


def test_a_study_runs_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(training: Training) -> list[float]:
        (job,) = training.jobs
        if job.seed == 3:
            raise ValueError("no luck")
        fd = {"a": 9.0, "b": 2.0}[job.condition] + job.seed
        finish(job, fd, image(job.seed))
        return [fd]

    monkeypatch.setattr("ganatomy.studies.run.run_training", trained)
    found = run_study(TINY, str(tmp_path), seeds=4)
    assert found.verdicts == {"c1": "supported"} and found.path == tmp_path
    assert len(found.failures) == 2 and set(found.failures.values()) == {"no luck"}
    assert json.loads((tmp_path / "verdicts.json").read_text()) == found.to_dict()
    assert StudyResult.from_dict(found.to_dict()).table() == found.table()
    assert f"tiny: Is wider better? 1 supported ({tmp_path / 'page.html'})\n" in repr(found)
    assert found.page.title.startswith("Is wider better?")
    hostile = dataclasses.replace(found, question="<script>")._repr_html_()
    assert "<td>supported</td>" in hostile and "<script>" not in hostile
    assert "ganatomy study study.json --seeds 4" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr("ganatomy.studies.run.run_training", lambda training: int("x"))
    with pytest.raises(ValueError, match=r"all runs of condition a failed: invalid literal"):
        run_study(TINY, tmp_path / "failed")
    with pytest.raises(ValueError, match=r"with seeds = 2"):
        run_study(TINY, tmp_path / "other", seeds=2)
    with pytest.raises(ValueError, match=r"did you mean 'r3-capacity'"):
        run_study("r3-capacty", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = tmp_path / "tiny.toml", tmp_path / "out"
    file.write_text(TOML)
    monkeypatch.setattr("ganatomy.gan.cost.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("torch.set_num_threads", lambda n: None)  # other tests come after
    code, said, _ = call("study", file, "--out", out, "--plan", "--json")
    plan = json.loads(said)
    assert code == 0 and plan["runs"] == 6 and plan["seconds"] >= 0 and not out.exists()
    assert 1e8 < plan["memory_bytes"] < 1e10 and plan["disk_bytes"] > 6 * 3 * 4 * 200_000
    assert call("study", file, "--out", out, "--seeds", 2)[0] == 2 and not out.exists()
    assert "in (0, 1], got 1 and 2" in call("study", file, "--scale", 2)[2]

    monkeypatch.setattr("ganatomy.studies.run.run_training", lambda training: came(training))

    def came(training: Training) -> list[float]:
        (job,) = training.jobs
        if job.seed == 2:
            raise RuntimeError("lost")
        return [float(job.seed)]

    environment = {"cpu": "c", "cores": 2, "python": "3", "torch": "2", "ganatomy": "0"}
    (finding,) = decide([FALLS], [[[[3.0, 4.0], [1.0, 2.0]]]])
    found = StudyResult(
        study="tiny", question="?", scale=1.0, steps={"a": 6, "b": 6}, seeds={"a": 2, "b": 2},
        protocol="classifier-2k", fingerprint="0", real=0.1, environment=environment,
        claims=(finding,),
    )  # fmt: skip
    assert finding.low is None and StudyResult.from_dict(found.to_dict()) == found
    seen: list[int] = []

    def verdicts_of(study: Study, done: list[Job], scale: float) -> StudyResult:
        seen.append(len(done))
        return found

    def contents_of(study: Study, out: Path, done: list[Job], found: object, command: str) -> Any:
        return {"page.html": f"{len(done)} runs by {command}"}

    monkeypatch.setattr("ganatomy.studies.verdict.verdicts", verdicts_of)
    monkeypatch.setattr("ganatomy.studies.page.contents", contents_of)
    code, said, complaint = call("study", file, "--out", out, "--json", "--executor", "serial")
    assert code == 1 and json.loads(said) == found.to_dict() and seen == [4]
    assert "[3/6] a, seed 1: FD 1\n" in complaint and "2 of 6 runs failed; repeat" in complaint
    assert "seed 2: failed: RuntimeError: lost" in complaint
    assert json.loads((out / "verdicts.json").read_text()) == found.to_dict()
    assert (out / "page.html").read_text() == (f"4 runs by ganatomy study {file} --executor serial")


def test_verdicts_are_shown_with_what_was_reported() -> None:
    claim = dataclasses.replace(FALLS, reported=(112.3, 44.8))
    (finding,) = decide([claim], [[[[9.0, 8.0, 7.0], [1.0, 2.0, 3.0]]]])
    finding = dataclasses.replace(finding, measure="FD; so")
    (title, what, reported, ours, change, p, verdict) = finding.line()
    assert (title, what, reported) == ("c1: falls", "FD", "112 → 44.8")
    assert (ours, p, verdict) == ("8 → 2", "0.050", "supported") and change.startswith("-6 [-7")
    assert dataclasses.replace(finding, p=0.0004).line()[-2] == "< 0.001"
    few = decide(claims(2), [[[[9.0, 8.0, 7.0], [1.0, 2.0, 3.0]]]] * 2)
    assert few[0].line()[-1] == "undecided; needs 4 seeds"


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("fluctuation:d_loss", "fluctuation of Discriminator loss"),
        ("mean:d_real", "D(x); mean of the last 10 % of rows"),
        ("share:4", "share of samples of class 4"),
        ("interpolation:slerp", "largest over mean step, slerp"),
    ],
)
def test_claims_name_what_they_measure(metric: str, name: str) -> None:
    evaluation = Evaluation(preset("classifier-2k"), 2048, 64, None, {})
    assert measure(dataclasses.replace(FALLS, metric=metric), evaluation) == name
