"""Documentation: every command in it can be parsed, every link has a target."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import Call

from ganatomy.cli.main import parse
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("studies/**/*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
BLOCK = re.compile(r"^```.*?^```|^ {4}\S.*?$(?:\n {4}.*?$)*", re.M | re.S)
PLACEHOLDERS = {
    "LOSS": "hinge",
    "SEED": "0",
    "STEP": "1",
    "RECIPE": "conv-gan",
    "N": "4",
    "…": "--quiet",
}


def commands(page: str) -> list[list[str]]:
    """Return the arguments of each line of code that calls ganatomy."""
    code = "\n".join(BLOCK.findall(page)).replace("\\\n", " ")
    lines = re.findall(r"^ *(?:\$ )?ganatomy (.*)$", code, re.M)
    return [[PLACEHOLDERS.get(w, w) for w in shlex.split(line, comments=True)] for line in lines]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    titles = re.findall(r"^#+ (.*)$", page, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", [n for n in NAMES if n != "docs/extending.md"])
def test_the_commands_of_a_page_can_be_parsed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for json in re.findall(r"^ {4}(\{\"dataset\".*?\})$", page, re.M | re.S):
        Path("ring8.json").write_text(json)
    for words in commands(page):
        if words[0] == "resume":
            Run.create(Path(words[1]), Recipe.of(steps=1))
        parse(words)


@pytest.mark.parametrize("name", NAMES)
def test_the_links_of_a_page_have_targets(name: str) -> None:
    page = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", page):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


ERRORS = {
    "losses/README": ["train conv-gan --loss hinge"],
    "losses/hinge": ["train conv-gan --loss hinge"],
    "losses/penalties": [
        "train conv-gan --r1 1 --d_norm batch",
        "train conv-gan --clip 1 --spectral d",
    ],
    "models/README": ["train conv-gan --attention 16"],
    "models/dcgan": [
        "train dcgan64 --shape 1 48 48",
        "train dcgan64 --g_widths 3 4",
        "train conv-gan --attention 16",
    ],
    "models/mlp": ["train basic-gan --attention 16"],
    "models/sagan": [
        "train sagan-cifar10 --shape 1 50 50",
        "train sagan-cifar10 --shape 3 32 32 --attention 4",
        "train sagan-cifar10 --shape 3 32 32 --attention 32",
    ],
    "datasets/mnist": ["train basic-gan --data-root DATA --dataset mnist"],
    "datasets/fashion-mnist": ["train basic-gan --data-root DATA --dataset fashion-mnist"],
    "datasets/cifar10": ["train dcgan-cifar10 --data-root DATA --dataset cifar10"],
    "datasets/celeba": ["train enhanced-gan-celeba --data-root DATA --dataset celeba"],
    "datasets/toy": [
        "train basic-gan --dataset ring8 --shape 1 8 8",
        "train conv-gan --dataset ring8",
    ],
}
"""page -> commands with an error that the page quotes"""


def pattern(quoted: str) -> re.Pattern[str]:
    """Turn a quoted message into a pattern, with anything for an ellipsis or REASON."""
    return re.compile(re.sub(r"…|REASON", ".*", re.escape(" ".join(quoted.split()))) + r"\s*")


@pytest.mark.parametrize("name", ERRORS)
def test_a_page_quotes_the_errors_of_the_program(
    name: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    quoted = [
        pattern(text)
        for text in re.findall(r"^    ganatomy: (.*?)(?=\n\n|\n    ganat)", page, re.M | re.S)
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANATOMY_OFFLINE", "1")
    Path("DATA").mkdir()
    for command in ERRORS[name]:
        arguments = (
            command.split()
            if "--dataset" in command
            else [*command.split(), "--dataset", "mnist10k"]
        )
        code, _, error = call(*arguments, "--steps", 1, "--out", "run")
        message = error.removeprefix("ganatomy: ")
        assert code == 2
        assert any(text.fullmatch(message) for text in quoted), message
