"""The command that shows what a recipe builds and what it costs to train."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.validation import to_dict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganatomy.data import Size
    from ganatomy.gan.cost import Cost, Layer

Values = dict[str, Any]

_BLOCKS = """\
a block's layers are indented below it; what it does besides (doubling, halving,
adding) has no line of its own"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Show a recipe's networks layer by layer, and what training it costs on this machine."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """a named recipe (see: ganatomy recipes), or a .json or .toml file of recipe fields"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    threads: int | None = None
    """CPU threads; None lets PyTorch choose"""
    skip_bad: bool = False
    """leave out images of a path that cannot be used, rather than stop"""
    no_measure: bool = False
    """only count and compute; do not time steps, which takes a second to half a minute"""
    json: bool = False
    """print the result as JSON, in plain numbers, bytes and seconds"""
    recipe: OmitArgPrefixes[Recipe] = dataclasses.field(default=RECIPES["basic-gan"].recipe)

    def __call__(self) -> int:
        """Run the command."""
        options = RunOptions(device=self.device, threads=self.threads, skip_bad=self.skip_bad)
        import torch

        from ganatomy.gan.cost import cost, layers, memory
        from ganatomy.gan.machine import pick_device
        from ganatomy.gan.step import State, check_recipe

        loss, device = check_recipe(self.recipe), pick_device(options.device)
        size = _size(self.recipe, options)
        if options.threads:
            torch.set_num_threads(options.threads)
        state = State.new(self.recipe, size.shape, device)
        z = torch.zeros(1, self.recipe.network.z_dim, device=device)
        x = torch.zeros(1, *size.shape, device=device)
        result = {
            "recipe": {"name": self.name, "key": self.recipe.key} | to_dict(self.recipe),
            "data": dataclasses.asdict(size),
            "machine": {"device": str(device), "threads": torch.get_num_threads()},
            "generator": _network(z, layers(state.generator, z), state.generator),
            "discriminator": _network(x, layers(state.discriminator, x), state.discriminator),
            "d_x": _d_x(self.recipe.objective.loss, loss.probabilities),
        }
        spent = cost(state, self.recipe, measure=not self.no_measure)
        result |= {"flops": _flops(spent, self.recipe), "time": _time(spent, self.recipe, size.n)}
        result |= {"memory": memory(state, size) | {"growth": spent.growth}}
        return answer(self.json, result, lambda: _show(result, self.recipe))


def _size(recipe: Recipe, options: RunOptions) -> "Size":
    """Of the recipe's dataset, which is loaded only if nothing is known of it."""
    from ganatomy.data import Size
    from ganatomy.gan.cost import known_size

    if (known := known_size(recipe)) is not None:
        return known
    from ganatomy.data.cache import LARGE
    from ganatomy.training.loop import load_data

    samples = load_data(recipe, options)
    mapped = len(samples) >= LARGE and Path(recipe.data.dataset).suffix.lower() != ".npz"
    return Size(len(samples), samples.shape, mapped)


def _network(given: "Tensor", layers: "list[Layer]", net: "nn.Module") -> Values:
    return {
        "input": list(given.shape),
        "layers": [dataclasses.asdict(layer) for layer in layers],
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def _d_x(loss: str, probabilities: bool) -> str:
    """What D's output means: its last layer is linear whatever the loss."""
    if probabilities:
        return "D gives logits; D(x), a probability, is their sigmoid, which is no layer"
    return f"D gives scores that only compare; the loss {loss} knows no probability D(x)"


def _flops(spent: "Cost", recipe: Recipe) -> Values:
    step = spent.d_flops + spent.g_flops
    each = step / recipe.images_per_step
    return {"d_update": spent.d_flops, "g_update": spent.g_flops, "step": step, "per_image": each}


def _time(spent: "Cost", recipe: Recipe, n: int) -> Values:
    """Steps there are, and seconds if any were timed."""
    per_epoch, total = n / recipe.images_per_step, recipe.total_steps(n)
    values: Values = {"steps_per_epoch": per_epoch, "steps": total, "timed": len(spent.seconds)}
    if not spent.seconds:
        return values
    step = median(spent.seconds)
    return values | {
        "step_seconds": step,
        "images_per_second": recipe.images_per_step / step,
        "epoch_seconds": per_epoch * step,
        "run_seconds": total * step,
    }


def _show(result: Values, recipe: Recipe) -> None:
    data, machine = result["data"], result["machine"]
    terminal.say(
        f"{result['recipe']['name']}: {recipe.network.model}, "
        f"{recipe.objective.loss} loss, {data['n']:,} "
        f"samples of {recipe.data.dataset} ({_shape(data)})"
    )
    for name in ("generator", "discriminator"):
        _show_network(name, result[name])
    if any(layer["depth"] for layer in result["generator"]["layers"]):
        terminal.say(f"\n{_BLOCKS}")
    terminal.say(f"\n{result['d_x']}")
    _table("work and time", [*_work(result["flops"], recipe), *_pace(result["time"])])
    _table("memory", _memory(result, recipe))
    if result["time"]["timed"]:
        where = (
            f"{machine['device']}, {machine['threads']} CPU thread{'s'[: machine['threads'] > 1]}"
        )
        terminal.say(f"\nmeasured on {where}; grids, checkpoints and evaluations take more")


def _show_network(name: str, network: Values) -> None:
    rows = [("input", str(network["input"]), "")]
    for layer in network["layers"]:
        last = layer["path"].rpartition(".")[2]
        part = f" ({last})" if last and not last.isdigit() else ""
        text = f"{'  ' * layer['depth']}{layer['kind']} {layer['settings']}".rstrip()
        count = f"{layer['parameters']:,}" if layer["parameters"] else "-"
        rows.append((text + part, str(list(layer["output"])), count))
    rows.append(("total", "", f"{network['parameters']:,}"))
    terminal.say("")
    terminal.table(
        (name, "output", f"{'parameters':>12}"), [(a, b, f"{c:>12}") for a, b, c in rows]
    )


def _table(title: str, rows: list[tuple[str, str, str]]) -> None:
    """Print quantities with how each is known; the values are aligned to the right."""
    terminal.say("")
    width = max(len(value) for _, value, _ in rows)
    aligned = [(name, f"{value:>{width}}", how) for name, value, how in rows]
    terminal.table((title, " " * width, "how it is known"), aligned)


def _work(flops: Values, recipe: Recipe) -> list[tuple[str, str, str]]:
    d, g = (
        f"{n} update{'s'[: n > 1]}" for n in (recipe.discriminator.steps, recipe.generator.steps)
    )
    return [
        (
            "D per step",
            quantity(flops["d_update"], "FLOP"),
            f"counted: {d}, with the fakes they need",
        ),
        ("G per step", quantity(flops["g_update"], "FLOP"), f"counted: {g}"),
        (
            "both per image",
            quantity(flops["per_image"], "FLOP"),
            "a multiplication and addition is 2",
        ),
    ]


def _pace(time: Values) -> list[tuple[str, str, str]]:
    if not time["timed"]:
        return [("whole run", f"{time['steps']:,} steps", "from the recipe")]
    speed = f"{time['images_per_second']:,.0f} img/s"
    return [
        (
            "time of a step",
            duration(time["step_seconds"]),
            f"measured: median of {time['timed']:,} steps",
        ),
        ("speed", speed, "real images in a second"),
        ("an epoch", duration(time["epoch_seconds"]), f"{time['steps_per_epoch']:,.0f} steps"),
        ("whole run", duration(time["run_seconds"]), f"{time['steps']:,} steps"),
    ]


def _memory(result: Values, recipe: Recipe) -> list[tuple[str, str, str]]:
    used, data = result["memory"], result["data"]
    grown, timed = used["growth"], result["time"]["timed"]
    nets = "G, D and averaged G" if recipe.generator.ema else "G and D"
    where = "read from a file as needed" if data["mapped"] else "held in memory"
    first = "measured: what the process took more for its first step"
    return [
        ("weights", quantity(used["weights"], "B"), f"computed: {nets}, with buffers"),
        ("gradients", quantity(used["gradients"], "B"), "computed: G and D"),
        (
            "optimisers",
            quantity(used["optimiser"], "B"),
            f"computed: {recipe.generator.optimizer} of G, {recipe.discriminator.optimizer} of D",
        ),
        ("data", quantity(used["data"], "B"), f"computed: {data['n']:,} x {_shape(data)}, {where}"),
        ("checkpoint", quantity(used["checkpoint"], "B"), "computed: each, on disk"),
        ("growth", quantity(grown, "B") if grown else "-", first if timed else "not measured"),
    ]


def _shape(data: Values) -> str:
    return "x".join(map(str, data["shape"]))


def quantity(count: float, unit: str) -> str:
    """Three figures and a prefix, such as 1.23 GFLOP or 47.0 MB."""
    rounded = float(f"{count:.3g}")
    size = (len(str(int(rounded))) - 1) // 3
    number = f"{rounded / 1000**size:#.3g}".rstrip(".") if size else f"{rounded:g}"
    return f"{number} {('', 'k', 'M', 'G', 'T', 'P', 'E')[size]}{unit}"


def duration(seconds: float) -> str:
    """Seconds in two units at most, such as 12.3 ms, 5.8 s, 19 min 12 s or 1 h 23 min."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    if round(seconds / 60) < 24 * 60:
        return "{} h {} min".format(*divmod(round(seconds / 60), 60))
    return "{:,} d {} h".format(*divmod(round(seconds / 3600), 24))
