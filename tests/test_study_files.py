"""Studies are written as files, from a grid of fields, and read back."""

import dataclasses
import json
from pathlib import Path

import pytest
from conftest import Call

from ganatomy.evaluation.checkpoints import measured
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.studies.files import from_file, grid, to_toml
from ganatomy.studies.result import StudyResult
from ganatomy.studies.verdict import decide

STUDIES = Path(__file__).parents[1] / "studies"
COMMITTED = [path.parent.name for path in sorted(STUDIES.glob("*/study.json"))]
TWO = ("g_widths=16,48", "loss=hinge,non_saturating")


def test_a_grid_is_every_combination_and_claims_pool_the_other_fields(tmp_path: Path) -> None:
    claims = ("fd falls", "recall rises with loss")
    study = grid("wide", "mnist-fast", TWO, claims, 3, 20)
    names = [f"g_widths={w} loss={x}" for w in (16, 48) for x in ("hinge", "non_saturating")]
    assert list(study.conditions) == names and study.seeds == 3
    assert study.conditions[names[2]] == {"g_widths": [48], "loss": "hinge"}
    width, loss = study.claims
    assert width.rows == ((names[0], names[2]), (names[1], names[3]))
    assert loss.rows == ((names[0], names[1]), (names[2], names[3]))
    assert (loss.metric, loss.direction) == ("recall", "rises")
    recipes = [job.recipe for job in study.jobs(tmp_path, 1.0, RunOptions())]
    assert len({r.key for r in recipes}) == 12 and {r.training.steps for r in recipes} == {20}

    file = tmp_path / "wide.toml"
    file.write_text(to_toml(study))
    assert from_file(file) == study


def test_values_are_numbers_words_and_lists() -> None:
    study = grid("deep", "basic-gan", ("g_widths=256x512,64", "same_fakes=true,false"), (
        "fd falls",
    ), 3, 9)  # fmt: skip
    assert [c["g_widths"] for c in study.conditions.values()] == [[256, 512]] * 2 + [[64]] * 2
    assert [c["same_fakes"] for c in study.conditions.values()] == [True, False] * 2
    assert grid("fast", "mnist-fast", ("r1=1,3",), ("fd falls",), 3, None).steps == 20_000


@pytest.mark.parametrize(
    ("vary", "claims", "steps", "said"),
    [
        (("g_width=1,2",), ("fd falls",), 9, r"did you mean 'g_widths'"),
        (("r1=3",), ("fd falls",), 9, "a field and two or more values"),
        (("r1=3,3",), ("fd falls",), 9, "a field and two or more values"),
        (("r1=3,x",), ("fd falls",), 9, "condition r1=x: r1 must be a number"),
        ((), ("fd falls",), 9, "need a field that varies"),
        (("r1=3,1",), ("fd sinks",), 9, "direction must be one of falls, rises"),
        (("r1=3,1",), ("fd",), 9, "expected a claim as 'fd falls'"),
        (("r1=3,1",), ("fd falls with lr_g",), 9, "unknown varied field 'lr_g'"),
        (("r1=3,1",), (), 9, "one or more claims"),
        (("r1=3,1",), ("fdd falls",), 9, r"unknown metric 'fdd' \(did you mean 'fd'"),
        (("r1=3,1",), ("fd falls",), None, "set the steps of each run"),
    ],
)
def test_grids_that_make_no_sense_are_refused(
    vary: tuple[str, ...], claims: tuple[str, ...], steps: int | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        grid("x", "basic-gan", vary, claims, 3, steps)


def test_the_command_writes_a_study_that_the_other_reads(tmp_path: Path, call: Call) -> None:
    file = tmp_path / "own.toml"
    words = ("study", "new", "--base", "mnist-fast", "--vary", *TWO, "--steps", 20, "--claim")
    code, said, _ = call(*words, "fd falls", "--out", file)
    assert code == 0 and f"ganatomy study {file} --plan" in said and "12 runs of 20 steps" in said
    assert from_file(file).name == "own"
    before = file.read_bytes()
    for more, complaint in (
        (("fd falls", "--out", file), "own.toml exists"),
        (("fd falls", "--out", tmp_path / "own.json"), "a study file ends in .toml"),
        (("fd falls", "--seeds", 1, "--out", tmp_path / "b.toml"), "use 2 or more"),
        (("fd sinks", "--out", tmp_path / "b.toml"), "falls, rises"),
    ):
        code, _, said = call(*words, *more)
        assert code == 2 and complaint in said and len(said.splitlines()) == 1
    assert file.read_bytes() == before and [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seeds = 'many'", "seeds must be a whole number, got 'many'"),
        ("seeds = 0", "seeds must lie in"),
        ("steps = inf", "infinity|steps must be"),
        ("log_every = []", "log_every must be a whole number"),
        ("question = 1", "question must be text"),
        ("name = '../x'", "no / in it"),
        ("name = '/x'", "no / in it"),
        ("seeds = " + "[" * 9999, "recursion"),
        ("conditions = 1", "is not a study"),
    ],
)
def test_files_that_are_no_studies(tmp_path: Path, line: str, said: str) -> None:
    study = grid("x", "basic-gan", ("r1=1,3",), ("fd falls",), 3, 9)
    field = line.partition(" =")[0]
    kept = [text for text in to_toml(study).splitlines() if not text.startswith(f"{field} =")]
    (tmp_path / "x.toml").write_text("\n".join([line, *kept]))
    with pytest.raises(ValueError, match=said):
        from_file(tmp_path / "x.toml")


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_studies_are_read_and_their_verdicts_follow(name: str) -> None:
    folder = STUDIES / name
    study = from_file(folder / "study.json")
    result = StudyResult.from_dict(json.loads((folder / "verdicts.json").read_text()))
    assert decide(study.claims, [f.numbers for f in result.claims]) == [
        dataclasses.replace(finding, measure="") for finding in result.claims
    ]
    for path in (folder / "runs").iterdir():
        run = Run.open(path)
        (row,) = run.rows("metrics")
        (evaluation,) = measured(run)
        made = evaluation.to_dict()
        settings = made.pop("settings")  # those that are newer than the study are as they were
        assert row["settings"].items() <= settings.items()
        assert made == {k: row[k] for k in row if k not in ("crc", "settings")}
        assert evaluation.fingerprint == row["fingerprint"] == result.fingerprint
        assert run.recipe.training.steps == evaluation.step and run.sessions and run.options
