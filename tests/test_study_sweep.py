"""All studies in one call: runs are shared, a budget is kept, and the next call continues."""

import dataclasses
import json
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Call
from test_study import FALLS, TOML
from test_study_runs import LENGTHS, MEAN, OPTIONS, WIDE

import ganatomy as gan
from ganatomy.runs.folder import Run
from ganatomy.studies import agenda, sweep, trainings
from ganatomy.studies.study import Study
from ganatomy.studies.sweep import Sweep, seconds_of, study_all
from ganatomy.training.session import StepInfo

CLAIM = dataclasses.replace(FALLS, conditions=("short", "long"))
FIRST = dataclasses.replace(LENGTHS, name="first", claims=(CLAIM,), seeds=3)
SECOND = dataclasses.replace(
    FIRST, name="second", conditions={"short": WIDE, "long": WIDE | {"steps": 8}}
)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time steps briefly, and leave the threads of the tests as they are."""
    monkeypatch.setattr("ganatomy.gan.cost.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("torch.set_num_threads", lambda n: None)


def both(out: Path, *studies: Study, **how: Any) -> Sweep:
    return study_all(out, studies=studies or (FIRST, SECOND), options=OPTIONS, **how)


def test_studies_share_runs_and_end_with_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = both(tmp_path, plan=True)
    assert not list(tmp_path.iterdir()) and planned.results == {} and planned.seconds >= 0
    assert [(x.study, x.runs) for x in planned.left] == [("first", 3), ("second", 3)]
    found = both(tmp_path, fused=True)
    assert sorted(found.results) == ["first", "second"] and found.left == () == (*found.refused,)
    runs = [Run.open(path) for path in sorted((tmp_path / "runs").iterdir())]
    assert len(runs) == 3 and all(run.sessions[0]["fused"] == 3 for run in runs)
    assert [len(run.rows("metrics")) for run in runs] == [3] * 3
    assert found.results["first"].steps == {"long": 6, "short": 4} and found.seconds == 0
    assert (tmp_path / "second" / "page.html").exists()
    told = json.loads(json.dumps(found.to_dict()))
    assert told["results"]["first"] == found.results["first"].to_dict()
    # all is there: nothing is measured or written again
    monkeypatch.setattr(sweep, "serial", None)
    monkeypatch.setattr(agenda, "conclude", None)
    assert both(tmp_path).results == found.results


@pytest.mark.parametrize("fused", [False, True])
def test_a_budget_stops_cleanly_and_the_next_call_continues(
    fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = dataclasses.replace(FIRST, steps=10_000)
    with pytest.warns(UserWarning, match=r"budget of 0 s is too small for one run: the shortest"):
        begun = both(tmp_path / "long", long, budget=0.01, fused=fused)
    assert begun.results == {} and not begun.refused and begun.seconds > 1
    assert [(x.study, x.runs) for x in begun.left] == [("first", 3)]
    assert not (tmp_path / "long" / "runs").exists()  # no run begins after the end of the budget

    taken = trainings._take
    with monkeypatch.context() as patch:

        def stops(steps: Iterable[StepInfo], until: float) -> None:
            def watched() -> Iterator[StepInfo]:
                for info in steps:
                    if info.step == 2:
                        patch.setattr(time, "monotonic", lambda: math.inf)
                    yield info

            taken(watched(), until)

        patch.setattr(trainings, "_take", stops)
        stopped = both(tmp_path, budget="1h", fused=fused)
    files = sorted(path.name for path in (tmp_path / "runs").rglob("*.pt"))
    assert files == ["step-00000003.pt"] * (3 if fused else 1)
    assert [(x.study, x.runs) for x in stopped.left] == [("first", 3), ("second", 3)]
    found = both(tmp_path, fused=fused)
    assert sorted(found.results) == ["first", "second"]
    sessions = [Run.open(path).sessions for path in sorted((tmp_path / "runs").iterdir())]
    assert sorted(len(s) for s in sessions) == ([2, 2, 2] if fused else [1, 1, 2])
    assert max(s[-1]["from_step"] for s in sessions) == 3


def test_the_order_is_of_claims_in_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganatomy.studies.pacing.step_seconds", lambda *given: 1.0)
    more = dataclasses.replace(
        SECOND, name="more", steps=40, claims=tuple(dataclasses.replace(CLAIM, id=f"c{i}")
                                                    for i in range(2)), seeds=4,
    )  # fmt: skip
    own = WIDE | {"g_widths": [5]}
    apart = dataclasses.replace(
        FIRST, name="apart", conditions={"short": own | {"steps": 4}, "long": own}
    )
    planned = both(tmp_path, more, apart, FIRST, plan=True)
    # apart takes 18 s for a claim, more 160 s for two; first shares the runs of more
    assert [x.study for x in planned.left] == ["apart", "more", "first"]
    assert [x.seconds for x in planned.left] == [18, 160, 120] and planned.seconds == 178


def test_a_study_that_cannot_begin_is_left_out(tmp_path: Path) -> None:
    few = dataclasses.replace(FIRST, name="few", seeds=2)
    found = both(tmp_path, few, SECOND, plan=True)
    assert "use 3 or more" in found.refused["few"]
    assert [x.study for x in found.left] == ["second"]
    with pytest.raises(ValueError, match="few: no claim of few can be decided"):
        both(tmp_path, few)


def test_a_study_whose_runs_failed_has_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any, **named: Any) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(trainings, "run_steps", fails)
    found = both(tmp_path)
    assert found.refused == {
        name: "all runs of condition long failed: no luck"
        if name == "first" else "all runs of condition short failed: no luck"
        for name in ("first", "second")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("9m", 540), ("1.5 h", 5400), (7, 7), (None, math.inf)]
)
def test_budgets(budget: float | str | None, seconds: float) -> None:
    assert seconds_of(budget) == seconds


@pytest.mark.parametrize("budget", ["9", "m", "9 minutes", "-9m", "0s", 0, -1.0, math.nan])
def test_budgets_that_are_not_times(budget: float | str) -> None:
    with pytest.raises(ValueError, match="a budget is a time above 0 with its unit"):
        study_all(budget=budget)


def test_a_budget_is_for_the_main_thread() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="only the main thread"):
        pool.submit(study_all, budget="9m").result()


def test_a_damaged_run_does_not_stop_the_others(tmp_path: Path) -> None:
    before = both(tmp_path).results
    run = next((tmp_path / "runs").glob("*seed0*"))
    (run / "environment.json").write_text("no\n")
    assert both(tmp_path).results == before
    (run / "metrics.jsonl").write_text("no\n")
    for fused in (False, True):
        found = both(tmp_path, fused=fused).results
        assert found["first"].seeds == found["second"].seeds == {"long": 2, "short": 2}
        assert "metrics.jsonl" in found["first"].failures["long-seed0"]


def test_the_command(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TOML)
    assert study_all.__kwdefaults__ is not None
    monkeypatch.setitem(study_all.__kwdefaults__, "studies", [file])
    out = tmp_path / "out"
    code, said, _ = call("study", "--all", "--out", out, "--plan", "--device", "cpu")
    assert code == 0 and "of training left in all; the command without --plan continues" in said
    code, said, complaint = call(
        "study", "--all", "--out", out, "--device", "cpu", "--budget", "1h"
    )
    assert code == 0 and f"{out / 'tiny' / 'page.html'}" in said and "tiny: 1 " in said
    assert "[6/6] mnist10k-mlp-seed2-" in complaint and ", step 6: FD " in complaint
    for words, said in (
        ([], "takes the NAME or FILE"),
        (["--all", "r3-modes"], "takes the NAME or FILE"),
        (["r3-modes", "--budget", "9m"], "takes the NAME or FILE"),
        (["--all", "--jobs", "2"], "leave out --jobs"),
        (["--all", "--budget", "9"], "a budget is a time above 0"),
        (["--all", "--fused", "--no-fused"], "exclude each other"),
    ):
        code, _, complaint = call("study", *words)
        assert code == 2 and said in complaint, words


def test_it_is_public() -> None:
    assert gan.study_all is study_all and MEAN.metric
