"""Archives carry the runs of studies to another machine; what does not fit is refused by name."""

import dataclasses
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_study_runs import OPTIONS
from test_study_sweep import FIRST, SECOND, both, brief

from ganatomy.evaluation.result import Evaluation
from ganatomy.runs.folder import Run
from ganatomy.storage.checksums import encode_row
from ganatomy.studies import sweep
from ganatomy.studies.archive import MARK, _add
from ganatomy.studies.study import Study

__all__ = ["brief"]
"""The fixture is used by name."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of one finished study, made once."""
    place = tmp_path_factory.mktemp("archive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganatomy.gan.cost.LEAST_SECONDS", 0.0)
        patch.setattr("torch.set_num_threads", lambda n: None)
        both(place / "out", FIRST, archive=place / "runs.tar.gz")
    return place / "runs.tar.gz"


def changed(made: Path, to: Path, change: Callable[[Path], None]) -> Path:
    """Return a copy of an archive whose unpacked files are changed."""
    files, archive = to / "files", to / "changed.tar.gz"
    with tarfile.open(made) as tar:
        tar.extractall(files, filter="data")
    change(files)
    with tarfile.open(archive, "w:gz") as tar:
        for file in sorted(p for p in files.rglob("*") if p.is_file()):
            tar.add(file, file.relative_to(files))
    return archive


def test_an_archive_goes_out_and_comes_in(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(made) as tar:
        names = tar.getnames()
    assert names[0] == MARK and "first/page.html" in names and len(set(names)) == len(names)
    assert not [n for n in names if n.endswith((".pt", ".lock")) or "tensorboard" in n]
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "serial", None)  # nothing is trained or measured again
        found = both(tmp_path / "there", FIRST, archive=shutil.copy(made, tmp_path / "x.tar.gz"))
    assert found.results["first"].claims and not found.left
    # checkpoints of unfinished runs come along: they go on where they were
    longer = dataclasses.replace(SECOND, steps=12)
    assert both(tmp_path / "there", longer, archive=tmp_path / "x.tar.gz").results


def test_further_sampling_seeds_come_along(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(files: Path) -> None:
        run = Run(next((files / "runs").glob("*seed1*")))
        row = run.rows("metrics")[0]
        protocol = Evaluation.from_dict(row).protocol.replace(seed=1)
        how = {"protocol": protocol.name, "fingerprint": protocol.fingerprint}
        run.append("metrics", row | how | {"settings": protocol.settings})

    monkeypatch.setattr(sweep, "serial", None)  # nothing is trained or measured again
    assert both(tmp_path / "out", FIRST, archive=changed(made, tmp_path, again)).results
    (run,) = (tmp_path / "out" / "runs").glob("*seed1*")
    assert Run(run).rows("metrics")[-1]["settings"]["seed"] == 1


def test_unfinished_runs_keep_their_checkpoints(tmp_path: Path) -> None:
    archive, three = tmp_path / "x.tar.gz", dataclasses.replace(FIRST, seeds=3)
    both(tmp_path / "a", three)
    for row in (tmp_path / "a" / "runs").glob("*seed1*/metrics.jsonl"):
        row.unlink()  # as if the budget had ended before it was measured
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_outcomes", lambda *given: iter(()))
        both(tmp_path / "a", three, archive=archive)
    with tarfile.open(archive) as tar:
        kept = [name for name in tar.getnames() if name.endswith(".pt")]
    assert len(kept) == 2 and all("seed1" in name for name in kept)
    assert both(tmp_path / "b", three, archive=archive).results.keys() == {"first"}
    assert len(Run.open(next((tmp_path / "b" / "runs").glob("*seed1*"))).sessions) == 1


def other_version(files: Path) -> None:
    (files / MARK).write_text(json.dumps({"ganatomy": "0.0.1"}))


def other_recipe(files: Path) -> None:
    (run := next((files / "runs").glob("*seed1*"))).rename(run.with_name("mnist10k-mlp-seed1-0"))


def renamed_recipe(files: Path) -> None:
    one, two = sorted((files / "runs").iterdir())[:2]
    shutil.copy(two / "recipe.json", one / "recipe.json")


def other_protocol(files: Path) -> None:
    run = Run(next((files / "runs").glob("*seed2*")))
    rows = [row | {"fingerprint": "00000000"} for row in run.rows("metrics")]
    (run.path / "metrics.jsonl").write_bytes(b"".join(map(encode_row, rows)))


def other_data(files: Path) -> None:
    file = next((files / "runs").glob("*seed0*")) / "environment.json"
    sessions: list[dict[str, Any]] = json.loads(file.read_text())
    sessions[-1]["data"]["sha256"] = "0" * 64
    file.write_text(json.dumps(sessions))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_version, r"changed.tar.gz was made by ganatomy 0.0.1, and this is"),
        (other_recipe, r"run mnist10k-mlp-seed1-0 has another recipe"),
        (renamed_recipe, r"run mnist10k-mlp-seed0-\w+-log1 has another recipe"),
        (other_protocol, r"run .*seed2.* was measured by another protocol: classifier-2k 00000000"),
        (other_data, r"run .*seed0.* has other data"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    change: Callable[[Path], None], said: str, made: Path, tmp_path: Path
) -> None:
    archive = changed(made, tmp_path, change)
    with pytest.raises(ValueError, match=said):
        both(tmp_path / "out", FIRST, archive=archive)
    assert not list((tmp_path / "out").iterdir())


def test_a_damaged_run_is_left_out_and_said(made: Path, tmp_path: Path) -> None:
    def damage(files: Path) -> None:
        (next((files / "runs").glob("*seed1*")) / "metrics.jsonl").write_text("no\n")

    archive = changed(made, tmp_path, damage)
    with pytest.warns(UserWarning, match=r"run .*seed1.* is damaged and left out: metrics.jsonl"):
        found = both(tmp_path / "out", FIRST, archive=archive)
    assert found.results.keys() == {"first"}  # it was trained again
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3


@pytest.mark.parametrize("size", [0, 40, 3000])
def test_a_damaged_archive_is_refused(size: int, made: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cut.tar.gz"
    archive.write_bytes(made.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"cut.tar.gz is not an intact archive of studies"):
        both(tmp_path / "out", FIRST, archive=archive)
    with pytest.raises(ValueError, match=r"an archive ends in .tar.gz, got runs.zip"):
        both(tmp_path / "out", FIRST, archive="runs.zip")


def test_the_run_that_is_further_stays(tmp_path: Path) -> None:
    study: Study = FIRST
    recipe = study.jobs(tmp_path, 1.0, OPTIONS)[0].recipe
    for ours, theirs, kept in ((5, 3, 5), (3, 5, 5), (4, 4, 4)):
        places = [tmp_path / f"{ours}{theirs}" / name for name in ("ours", "theirs")]
        for place, step in zip(places, (ours, theirs), strict=True):
            Run.create(place, recipe).append("log", {"step": step})
        (places[0] / "ours").touch()
        _add(places[1], places[0])
        assert (places[0] / "ours").exists() == (ours >= theirs)
        assert Run(places[0]).newest("log")["step"] == kept
