"""Generators as files that stand alone: safetensors, which `read` turns back into one, and ONNX."""

import copy
import json
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
from ganatomy.gan.step import build_networks, draw_latent
from ganatomy.recipes.recipe import Recipe
from ganatomy.validation import from_dict, to_dict

FORMAT = "ganatomy generator"
"""What the files' metadata say they are."""

OPSET = 18
"""Of ONNX: the one that PyTorch's exporter is written in, so that nothing has to be converted."""

COMPARED = 16
"""Latent vectors on which an ONNX file is compared with PyTorch."""

TOLERANCE = 1e-4
"""Most that their samples may differ by; two pixel values are 2 / 255 apart."""


def plain(generator: nn.Module) -> dict[str, Tensor]:
    """Return a generator's tensors, each weight already divided by its spectral norm if it has one.

    Not by PyTorch's remove_parametrizations, which breaks every copy: copies of a layer share the
    class that it takes the weight from, and the averaged generator is a copy.
    """
    used = _used(generator)  # in training mode each look at a weight would move its norm
    tensors = {k: v for k, v in used.state_dict().items() if ".parametrizations." not in k}
    for name, module in used.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            tensors[f"{name}.weight"] = torch.as_tensor(module.weight).detach()
    return tensors


@torch.no_grad()
def about(
    generator: nn.Module, recipe: Recipe, step: int, weights: Literal["ema", "raw"] = "ema"
) -> dict[str, str]:
    """Return the metadata of a file: what the generator is and what its samples are."""
    made = _used(generator)(torch.zeros(1, recipe.network.z_dim))
    return {
        "format": FORMAT,
        "ganatomy": __version__,
        "recipe": json.dumps(to_dict(recipe)),
        "key": recipe.key,
        "step": str(step),
        "shape": json.dumps(list(made.shape[1:])),
        "weights": weights
        if recipe.generator.ema
        else "raw",  # which are all that there are without ema
        "range": "[-1, 1]",
    }


def to_safetensors(generator: nn.Module, metadata: dict[str, str]) -> bytes:
    """Write a generator as safetensors; equal ones give equal bytes."""
    tensors = {name: t.contiguous() for name, t in plain(generator).items()}
    content = write_tensors(tensors, metadata)
    header, data = _parts(content)
    header["__metadata__"] = metadata  # safetensors writes it in no fixed order
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def read(path: Path) -> tuple[Recipe, nn.Module]:
    """Build what `to_safetensors` wrote: the recipe, and the generator in evaluation mode.

    `latent.generate` makes the same samples of it, bit for bit, as of the one that was written.

    Raises:
        ValueError: for a file that is no generator of ganatomy's, or whose parts do not fit.
    """
    content = path.read_bytes()
    try:
        tensors = read_tensors(content)
        metadata = _parts(content)[0].get("__metadata__", {})
        if metadata.get("format") != FORMAT:
            raise ValueError("it is not from: ganatomy export RUN --out G.safetensors")
        recipe = from_dict(Recipe, json.loads(metadata["recipe"]))
        return recipe, _build(recipe, metadata, tensors)
    except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]  # torch lists every layer
        raise ValueError(f"{path} is no generator that can be read: {reason}") from error


def to_onnx(generator: nn.Module, recipe: Recipe, metadata: dict[str, str]) -> bytes:
    """Write a generator as ONNX: z (N, z_dim) to samples (N, *shape), for any N.

    Raises:
        ValueError: if the packages that this needs are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ValueError(f"ONNX needs {missing[0]}; run: pip install 'ganatomy[export]'")
    from onnx.helper import set_model_props

    program = torch.onnx.export(
        _build(recipe, metadata, plain(generator)),
        (
            torch.zeros(2, recipe.network.z_dim),
        ),  # of 1 the exporter would believe that it is always 1
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
    told = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in told:  # of where each was in the source: paths of this machine, of use to nobody
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    set_model_props(model, metadata)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@torch.no_grad()
def difference(content: bytes, generator: nn.Module, recipe: Recipe) -> float | None:
    """Return the most that samples of an ONNX file differ from PyTorch's, by ONNX Runtime.

    None if that is not installed.

    Raises:
        RuntimeError: if they differ by more than TOLERANCE.
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
    if not most <= TOLERANCE:  # nor is it if it is no number
        raise RuntimeError(
            f"samples of the ONNX file would differ from PyTorch's by {most:.2g}, more than "
            f"{TOLERANCE:g}; write .safetensors, and please report it"
        )
    return most


def _used(generator: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in evaluation mode."""
    return copy.deepcopy(generator).cpu().eval()


def _build(recipe: Recipe, metadata: dict[str, str], tensors: dict[str, Tensor]) -> nn.Module:
    """Return a generator of plain layers with these tensors, in evaluation mode."""
    with torch.device("meta"):  # no weights are drawn to be replaced, nor memory taken
        net, _ = build_networks(recipe, tuple(json.loads(metadata["shape"])))
    net.load_state_dict(tensors, assign=True)
    # channels last as in training: the order of memory is that of sums, and decides last bits
    net.to(dtype=torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval().requires_grad_(False)


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]
