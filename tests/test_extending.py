"""Every example of docs/extending.md runs, in a project of a user or in a copy of the source."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Call

import ganatomy as gan

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(section: str) -> list[tuple[str, str]]:
    """Languages and contents of a section's examples."""
    return BLOCK.findall(SECTIONS[section])


def written(code: str) -> bool:
    """Write an example that begins with the name of its file; say whether it does."""
    name = re.match(r"# ([\w.]+)\n", code)
    if name:
        Path(name[1]).write_text(code)
    return name is not None


def patch(root: Path, diff: str) -> None:
    """Insert the lines of a diff behind the lines that it shows, or make a new file of them."""
    for path, hunks in re.findall(r"^\+\+\+ (.*?)\n(.*?)(?=^\+\+\+|\Z)", diff, re.M | re.S):
        for hunk in hunks.split("@@\n")[1:]:
            lines = hunk.splitlines(keepends=True)
            old, new = ("".join(x[1:] for x in lines if x[0] in s) for s in (" ", "+ "))
            file = root / path
            text = file.read_text() if old else ""
            assert not old or text.count(old) == 1, old
            file.write_text(text.replace(old, new) if old else new)


def commands(block: str) -> Iterator[list[str]]:
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == "ganatomy"
        yield words


CHANGES = [name for name, text in SECTIONS.items() if "```diff" in text]
OWN = [name for name in SECTIONS if name not in CHANGES or name == "A recipe"]


def test_every_section_has_an_example() -> None:
    assert all(blocks(name) for name in SECTIONS)
    parts = ["loss", "model", "dataset", "metric", "recipe", "field", "augmentation", "command"]
    assert [name.split()[1] for name in SECTIONS] == parts


@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize("section", OWN)
def test_own_parts(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if section == "A metric":
        gan.train("basic-gan", "runs/r", dataset="mnist10k", steps=1, progress=False)
    for language, code in itertools.takewhile(lambda block: block[0] != "diff", blocks(section)):
        if language == "sh":
            for words in commands(code):
                status, _, said = call(*words)
                assert status == 0, said
        elif not written(code):
            exec(code, {})


def test_changes_of_the_source(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    found = [block for section in CHANGES for block in blocks(section)]
    first = next(i for i, (language, _) in enumerate(found) if language == "diff")
    for language, code in found[first:]:
        if language == "diff":
            patch(tmp_path, code)
            continue
        for words in commands(code):
            done = subprocess.run(
                [sys.executable, "-m", "ganatomy", *words],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
