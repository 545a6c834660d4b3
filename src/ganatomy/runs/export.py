"""Export of generators to standalone files: safetensors, which `read` loads, and ONNX."""

import copy
import dataclasses
import json
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganatomy import __version__
from ganatomy.gan.draws import draw_latent
from ganatomy.gan.state import build_networks
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run
from ganatomy.runs.sampling import load_generator
from ganatomy.storage.files import write_atomic
from ganatomy.validation import from_dict, to_dict

FORMAT = "ganatomy generator"
"""Format in the metadata of an exported file."""

OPSET = 18
"""ONNX opset: the one of PyTorch's exporter, so that no conversion is needed."""

COMPARED = 16
"""Number of latent vectors on which an ONNX file is compared with PyTorch."""

TOLERANCE = 1e-4
"""Largest allowed difference of their samples; adjacent pixel values are 2 / 255 apart."""


@dataclass(frozen=True)
class Export:
    """A file with a generator."""

    out: Path
    key: str
    """key of the recipe"""
    step: int
    weights: str
    """ema or raw"""
    z_dim: int
    shape: tuple[int, ...]
    """of one sample"""
    parameters: int
    opset: int | None = None
    """of an ONNX file"""
    max_difference: float | None = None
    """between samples of ONNX Runtime and PyTorch; None if they were not compared"""

    def to_dict(self) -> dict[str, Any]:
        """Return the export as JSON holds it."""
        return dataclasses.asdict(self) | {"out": str(self.out), "shape": list(self.shape)}

    def __str__(self) -> str:
        kind = "averaged" if self.weights == "ema" else "raw"
        text = (
            f"{self.out}: generator of step {self.step}, {kind} weights, {self.parameters:,} "
            f"parameters, {self.z_dim} numbers to {' x '.join(map(str, self.shape))} in [-1, 1]"
        )
        if self.opset is None:
            return text
        compared = (
            "not compared with PyTorch, as onnxruntime is not installed"
            if self.max_difference is None
            else f"within {self.max_difference:.1e} of PyTorch on {COMPARED} latent vectors"
        )
        return f"{text}\nopset {self.opset}, input z, output samples; {compared}"


def export(
    run: Run,
    out: str | Path,
    *,
    step: int | None = None,
    weights: Literal["ema", "raw"] = "ema",
) -> Export:
    """Write a run's generator to one file that needs neither the run nor its data.

    Args:
        run: the run.
        out: a .safetensors file, see `read`, or an .onnx file (z to samples, for any batch size).
        step: step of the checkpoint; None means the newest intact one.
        weights: the averaged weights, if the recipe averages them, or the raw ones.

    Raises:
        ValueError: for another suffix, an absent folder or checkpoint, or missing packages.
        RuntimeError: if samples of an ONNX file differ from PyTorch's.
    """
    out = Path(out)
    if out.suffix not in (".safetensors", ".onnx"):
        raise ValueError(f"--out must end in .safetensors or .onnx, got {out}")
    if not out.parent.is_dir():
        raise ValueError(f"--out: there is no folder {out.parent}; create it first")
    recipe = run.recipe
    step, generator = load_generator(run, run.checkpoint(step), weights)
    metadata = about(generator, recipe, step, weights)
    made = Export(
        out=out,
        key=recipe.key,
        step=step,
        weights=metadata["weights"],
        z_dim=recipe.network.z_dim,
        shape=tuple(json.loads(metadata["shape"])),
        parameters=sum(p.numel() for p in generator.parameters()),
    )
    if out.suffix == ".onnx":
        content = to_onnx(generator, recipe, metadata)
        most = difference(content, generator, recipe)
        made = dataclasses.replace(made, opset=OPSET, max_difference=most)
    else:
        content = to_safetensors(generator, metadata)
    write_atomic(out, content)
    return made


def plain(generator: nn.Module) -> dict[str, Tensor]:
    """Return a generator's tensors, with spectral norms already applied to the weights.

    PyTorch's remove_parametrizations would break every copy of the generator, such as the averaged
    one, because copies of a parametrized layer share its class.
    """
    used = _used(generator)  # in training mode each access to a weight would update its norm
    tensors = {k: v for k, v in used.state_dict().items() if ".parametrizations." not in k}
    for name, module in used.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            tensors[f"{name}.weight"] = torch.as_tensor(module.weight).detach()
    return tensors


@torch.no_grad()
def about(
    generator: nn.Module, recipe: Recipe, step: int, weights: Literal["ema", "raw"] = "ema"
) -> dict[str, str]:
    """Return a file's metadata, which describes the generator and its samples."""
    made = _used(generator)(torch.zeros(1, recipe.network.z_dim))
    return {
        "format": FORMAT,
        "ganatomy": __version__,
        "recipe": json.dumps(to_dict(recipe)),
        "key": recipe.key,
        "step": str(step),
        "shape": json.dumps(list(made.shape[1:])),
        "weights": weights if recipe.generator.ema else "raw",
        "range": "[-1, 1]",
    }


def to_safetensors(generator: nn.Module, metadata: dict[str, str]) -> bytes:
    """Serialize a generator as safetensors; equal generators give equal bytes."""
    tensors = {name: t.contiguous() for name, t in plain(generator).items()}
    content = write_tensors(tensors, metadata)
    header, data = _parts(content)
    header["__metadata__"] = metadata  # safetensors writes it in arbitrary order
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def read(path: str | Path) -> tuple[Recipe, nn.Module]:
    """Load an exported .safetensors file: the recipe, and the generator in evaluation mode.

    `sampling.generate` gives the same samples, bit for bit, as with the exported generator.

    Raises:
        ValueError: for a file that is not an exported generator, or whose parts do not fit.
    """
    content = Path(path).read_bytes()
    try:
        tensors = read_tensors(content)
        metadata = _parts(content)[0].get("__metadata__", {})
        if metadata.get("format") != FORMAT:
            raise ValueError("it was not written by: ganatomy export RUN --out G.safetensors")
        recipe = from_dict(Recipe, json.loads(metadata["recipe"]))
        return recipe, _build(recipe, metadata, tensors)
    except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]  # torch lists every layer
        raise ValueError(f"{path} is not a readable generator: {reason}") from error


def to_onnx(generator: nn.Module, recipe: Recipe, metadata: dict[str, str]) -> bytes:
    """Serialize a generator as ONNX: z (N, z_dim) to samples (N, *shape), for any N.

    Raises:
        ValueError: if onnx or onnxscript is not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ValueError(f"ONNX needs {missing[0]}; run: pip install 'ganatomy[export]'")
    from onnx.helper import set_model_props

    with warnings.catch_warnings():  # PyTorch 2.11 warns of its own code
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            _build(recipe, metadata, plain(generator)),
            (torch.zeros(2, recipe.network.z_dim),),  # a batch of 1 would be exported as constant
            dynamo=True,
            dynamic_shapes=({0: "N"},),
            input_names=["z"],
            output_names=["samples"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    graph = model.graph
    parts = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in parts:  # source positions, with paths of this machine
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    set_model_props(model, metadata)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@torch.no_grad()
def difference(content: bytes, generator: nn.Module, recipe: Recipe) -> float | None:
    """Return the largest difference of samples between ONNX Runtime and PyTorch.

    None if onnxruntime is not installed.

    Raises:
        RuntimeError: for a difference above TOLERANCE.
    """
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    z = draw_latent(recipe, COMPARED, torch.Generator().manual_seed(0))
    (made,) = session.run(["samples"], {"z": z.numpy()})
    most = (torch.from_numpy(made) - _used(generator)(z)).abs().max().item()
    if not most <= TOLERANCE:  # or NaN
        raise RuntimeError(
            f"samples of the ONNX file would differ from PyTorch's by {most:.2g}, more than "
            f"{TOLERANCE:g}; export .safetensors instead, and please report this"
        )
    return most


def _used(generator: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in evaluation mode."""
    return copy.deepcopy(generator).cpu().eval()


def _build(recipe: Recipe, metadata: dict[str, str], tensors: dict[str, Tensor]) -> nn.Module:
    """Return a generator without parametrizations, with these tensors, in evaluation mode."""
    with torch.device("meta"):  # neither initialize weights nor allocate them
        net, _ = build_networks(recipe, tuple(json.loads(metadata["shape"])))
    net.load_state_dict(tensors, assign=True)
    # channels last as in training: the memory order decides the order of sums
    net.to(dtype=torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval().requires_grad_(False)


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]
