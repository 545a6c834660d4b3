"""The command that takes a generator out of its run."""

import json as jsons
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a run's generator to one file that needs neither the run nor its data."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    out: Path
    """a .safetensors file (ganatomy.runs.export.read builds the generator from it) or an .onnx file
    (z to samples, any batch; needs: pip install 'ganatomy[export]')"""
    checkpoint: str = "last"
    """last, or a step"""
    weights: Literal["ema", "raw"] = "ema"
    """the averaged generator, if the recipe averages, or the raw one"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.out.suffix not in (".safetensors", ".onnx"):
            raise ValueError(f"--out must end in .safetensors or .onnx, got {self.out}")
        if not self.out.parent.is_dir():
            raise ValueError(f"--out: there is no folder {self.out.parent}; make it first")
        if self.checkpoint != "last" and not self.checkpoint.isdigit():
            raise ValueError(f"--checkpoint is last or a step, got {self.checkpoint}")
        from ganatomy.evaluation import evaluate
        from ganatomy.runs import export, sampling
        from ganatomy.runs.folder import Run
        from ganatomy.storage.files import write_atomic

        run = Run.open(self.run)
        recipe = run.recipe
        (file,) = evaluate.checkpoints(run, self.checkpoint)
        step, generator = sampling.load_generator(run, file, self.weights)
        about = export.about(generator, recipe, step, self.weights)
        result = {
            "out": str(self.out),
            "key": recipe.key,
            "step": step,
            "weights": about["weights"],
            "shape": jsons.loads(about["shape"]),
            "parameters": sum(p.numel() for p in generator.parameters()),
        }
        if self.out.suffix == ".onnx":
            content = export.to_onnx(generator, recipe, about)
            most = export.difference(content, generator, recipe)
            result |= {"opset": export.OPSET, "max_difference": most}
        else:
            content = export.to_safetensors(generator, about)
        write_atomic(self.out, content)
        return answer(
            self.json, result, lambda: _show(result, recipe.network.z_dim, export.COMPARED)
        )


def _show(result: dict[str, Any], z_dim: int, compared: int) -> None:
    kind = "averaged" if result["weights"] == "ema" else "raw"
    made = " x ".join(map(str, result["shape"]))
    terminal.say(
        f"generator of step {result['step']}, {kind} weights, {result['parameters']:,} parameters, "
        f"{z_dim} numbers to {made} in [-1, 1]: {result['out']}"
    )
    if "opset" in result:
        most = result["max_difference"]
        agrees = (
            "not compared with PyTorch, as onnxruntime is not installed"
            if most is None
            else f"within {most:.1e} of PyTorch on {compared} latent vectors"
        )
        terminal.say(f"opset {result['opset']}, input z, output samples; {agrees}")
