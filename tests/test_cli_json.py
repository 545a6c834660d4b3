"""Every command prints, with --json, the to_dict() of what one public function returns."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CONV, MLP, Call

from ganatomy.cli import main
from ganatomy.gan import cost
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit

QUICK = ["--steps", "1", "--batch", "4", "--dataset", "ring8", "--threads", "1", "--quiet"]

COMMANDS: dict[str, list[str]] = {
    "train": ["basic-gan", *QUICK, "--out", "trained"],
    "resume": ["RUN", "--quiet"],
    "sample": ["RUN", "--n", "4", "--out", "x.png"],
    "interpolate": ["RUN", "--pairs", "2", "--k", "2", "--out", "x.png"],
    "class-counts": ["RUN", "--n", "20", "--out", "x.png"],
    "compare": ["RUN", "RUN", "--out", "x.html"],
    "study": ["r1-collapse-hides", "--plan", "--threads", "1"],
    "study new": [
        *("--base", "basic-gan", "--vary", "lr_g=1e-4,2e-4", "--seeds", "5"),
        *("--claim", "fd falls", "--steps", "5", "--out", "x.toml"),
    ],
    "evaluate": ["RUN", "--n", "60", "--metrics", "precision,classes"],
    "diagnose": ["RUN"],
    "protocols": [],
    "verify": ["RUN"],
    "classifier": ["show"],
    "export": ["RUN", "--out", "x.safetensors"],
    "theory": ["--seeds", "1", "--steps", "1", "--out", "x.html"],
    "data": ["check", "IMAGES"],
    "summary": ["basic-gan", "--dataset", "mnist10k", "--no-measure"],
    "recipes": ["mnist-fast"],
    "datasets": [],
    "doctor": [],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("json") / "run"
    options = RunOptions(log_every=1, threads=1, device="cpu")
    return fit(CONV.replace(steps=2, dataset="mnist10k", shape=(1, 28, 28)), folder, options)


def test_every_command_is_here() -> None:
    assert COMMANDS.keys() == main.COMMANDS.keys() and MLP


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_the_result(
    name: str,
    run: Run,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "LEAST_SECONDS", 0.0)  # plans of rough times
    images = tmp_path / "images"
    images.mkdir()
    (images / "0.png").write_bytes((run.path / "samples/real.png").read_bytes())
    places = {"RUN": str(run.path), "IMAGES": str(images)}
    words = [*name.split(), *(places.get(word, word) for word in COMMANDS[name]), "--json"]
    results: list[Any] = []
    command = type(main.parse(words))
    returned = command.call

    def kept(own: Any) -> Any:
        results.append(returned(own))
        return results[0]

    monkeypatch.setattr(command, "call", kept)
    code, said, _ = call(*words)
    assert json.loads(said) == json.loads(json.dumps(results[0].to_dict()))
    assert code == main.parse(words).code(results[0])
