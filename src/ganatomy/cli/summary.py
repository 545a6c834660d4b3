"""ganatomy summary."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions

if TYPE_CHECKING:
    from ganatomy.gan import summary

Rows = list[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class Summary(Command):
    """Show a recipe's networks layer by layer, and the cost of training on this machine."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """a named recipe (see: ganatomy recipes), or a .json or .toml file of recipe fields"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    threads: int | None = None
    """CPU threads; None lets PyTorch choose"""
    skip_bad: bool = False
    """skip unreadable images of a path instead of stopping"""
    data: Path | None = None
    """place of a recipe's own images"""
    no_measure: bool = False
    """only count and compute: no steps are timed, which takes 1 to 20 seconds"""
    recipe: Annotated[Recipe, arg(name="")] = dataclasses.field(default=RECIPES["basic-gan"].recipe)

    def call(self) -> Any:
        """Build the networks, and time some steps."""
        from ganatomy.gan.summary import summarize

        options = RunOptions(
            device=self.device, threads=self.threads, skip_bad=self.skip_bad, data=self.data
        )
        return summarize(self.recipe, options, name=self.name, measure=not self.no_measure)

    def show(self, result: Any) -> None:
        """Print the layers and the cost."""
        _show(result)


def _show(found: "summary.Summary") -> None:
    recipe, data, cost = found.recipe, found.data, found.cost
    shape = "x".join(map(str, data.shape))
    terminal.say(
        f"{found.name}: {recipe.network.model}, {recipe.objective.loss} loss, {data.n:,} samples "
        f"of {recipe.data.dataset} ({shape})"
    )
    z, x = (1, recipe.network.z_dim), (1, *data.shape)
    _show_layers("generator", z, found.generator, cost.g_parameters)
    _show_layers("discriminator", x, found.discriminator, cost.d_parameters)
    if any(layer.depth for layer in found.generator):
        terminal.say("\nthe layers of a block are indented below it, without resizing and addition")
    terminal.say(f"\n{found.d_x}\n")
    rows = [*_work(found), *_memory(found, f"{data.n:,} x {shape}")]
    width = max(len(value) for _, value, _ in rows)
    aligned = [(name, f"{value:>{width}}", origin) for name, value, origin in rows]
    terminal.table(("cost", " " * width, "origin"), aligned)
    if cost.timed:
        threads = f"{found.threads} CPU thread{'s'[: found.threads > 1]}"
        terminal.say(f"\nmeasured on {found.device}, {threads}, without grids and checkpoints")


def _show_layers(
    title: str, given: tuple[int, ...], layers: "tuple[summary.Layer, ...]", parameters: int
) -> None:
    rows = [("input", str(list(given)), "")]
    for layer in layers:
        last = layer.path.rpartition(".")[2]
        part = f" ({last})" if last and not last.isdigit() else ""
        text = f"{'  ' * layer.depth}{layer.kind} {layer.settings}".rstrip()
        count = f"{layer.parameters:,}" if layer.parameters else "-"
        rows.append((text + part, str(list(layer.output)), count))
    rows.append(("total", "", f"{parameters:,}"))
    terminal.say("")
    terminal.table(
        (title, "output", f"{'parameters':>12}"), [(a, b, f"{c:>12}") for a, b, c in rows]
    )


def _work(found: "summary.Summary") -> Rows:
    cost, recipe = found.cost, found.recipe
    each = (cost.d_flops + cost.g_flops) / cost.images_per_step
    rows = [
        ("D per step", quantity(cost.d_flops, "FLOP"), f"updates: {recipe.discriminator.steps}"),
        ("G per step", quantity(cost.g_flops, "FLOP"), f"updates: {recipe.generator.steps}"),
        ("both per image", quantity(each, "FLOP"), "a multiplication with its addition is 2"),
    ]
    if cost.step_seconds is None or cost.run_seconds is None:
        return [*rows, ("whole run", f"{cost.steps:,} steps", "from the recipe")]
    speed, epoch = cost.images_per_step / cost.step_seconds, found.data.n / cost.images_per_step
    return [
        *rows,
        ("step", duration(cost.step_seconds), f"measured: median of {cost.timed:,} steps"),
        ("speed", f"{speed:,.0f} img/s", "real images per second"),
        ("epoch", duration(epoch * cost.step_seconds), f"{epoch:,.0f} steps"),
        ("whole run", duration(cost.run_seconds), f"{cost.steps:,} steps"),
    ]


def _memory(found: "summary.Summary", data: str) -> Rows:
    cost, g, d = found.cost, found.recipe.generator, found.recipe.discriminator
    nets = "G, D and averaged G" if g.ema else "G and D"
    where = "read from a file as needed" if found.data.mapped else "held in memory"
    growth = quantity(cost.growth, "B") if cost.growth else "-"
    first = "measured: growth of the process in its first step" if cost.timed else "not measured"
    fitting = "weights, optimizers, working: one of several runs that a GPU trains together"
    if cost.members is not None:
        fitting = f"the device has room for {cost.members:,} runs that it trains together"
    return [
        ("weights", quantity(cost.weights, "B"), f"{nets}, with buffers"),
        ("gradients", quantity(cost.gradients, "B"), "G and D"),
        ("optimizers", quantity(cost.optimizers, "B"), f"G {g.optimizer}, D {d.optimizer}"),
        ("working", quantity(cost.working, "B"), "counted: most that a step allocates at once"),
        ("one member", quantity(cost.member, "B"), fitting),
        ("data", quantity(cost.data, "B"), f"{data}, {where}"),
        ("growth", growth, first),
        ("disk", quantity(cost.disk_bytes, "B"), "approximate: the run folder at its end"),
    ]


def quantity(count: float, unit: str) -> str:
    """Format with three digits and a prefix, such as 1.23 GFLOP or 47.0 MB."""
    rounded = float(f"{count:.3g}")
    size = (len(str(int(rounded))) - 1) // 3
    number = f"{rounded / 1000**size:#.3g}".rstrip(".") if size else f"{rounded:g}"
    return f"{number} {('', 'k', 'M', 'G', 'T', 'P', 'E')[size]}{unit}"


def duration(seconds: float) -> str:
    """Format in at most two units, such as 12.3 ms, 5.8 s, 19 min 12 s or 1 h 23 min."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    if round(seconds / 60) < 24 * 60:
        return "{} h {} min".format(*divmod(round(seconds / 60), 60))
    return "{:,} d {} h".format(*divmod(round(seconds / 3600), 24))
