"""Commands that measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer, fields_table
from ganatomy.evaluation.protocol import PROTOCOLS, preset

if TYPE_CHECKING:
    from ganatomy.data import Shape
    from ganatomy.evaluation.reference import Reference
    from ganatomy.evaluation.result import Evaluation
    from ganatomy.runs.folder import Run


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a run, or images from anywhere, against real ones."""

    what: Annotated[Positional[Path], arg(metavar="RUN|IMAGES")]
    """run folder; or a folder, zip, tar or npz of images"""
    real: str | None = None
    """reference: a dataset or a path of images; by default what the run was trained on"""
    checkpoint: str = "last"
    """last, all, a step, or best: picked by FD on other samples than those that are reported"""
    protocol: str = "classifier-10k"
    """how to measure; see: ganatomy protocols"""
    n: int | None = None
    """samples, in place of the protocol's number; this changes the fingerprint"""
    seed: int = 0
    """of the samples; this changes the fingerprint"""
    metrics: tuple[str, ...] = ()
    """values or groups of values, such as fid,precision or prdc; by default all that the protocol
    allows"""
    shape: tuple[int, int, int] | None = None
    """channels, height, width that real and generated images are brought to first; by default
    the run's; GANs of unlike sizes are comparable at one"""
    weights: Literal["ema", "raw"] = "ema"
    """the averaged generator, if the recipe averages, or the raw one"""
    audit: bool = False
    """measure one checkpoint with the generator in eval and in train mode and with batch-norm
    statistics estimated anew, side by side"""
    skip_bad: bool = False
    """leave out images that cannot be read, rather than stop"""
    inception_weights: Path | None = None
    """Inception's weights; by default torch-fidelity's download"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    data_root: Path | None = None
    """folder of full datasets; by default the run's, else $GANATOMY_DATA or a cache folder"""
    force: bool = False
    """measure although the samples are too few or Inception's weights are others"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.evaluation.metrics import resolve_metrics
        from ganatomy.runs.folder import Run

        resolve_metrics(self.metrics)  # a mistake is found before data are loaded
        if (self.what / "recipe.json").exists() or not self.what.exists():
            return _evaluate_run(self, Run.open(self.what))
        return _evaluate_images(self)


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Say what goes wrong in a run, since which step, how one can tell, and what to try."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    data_root: Path | None = None
    """folder of full datasets; by default the run's, else $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import data_root
        from ganatomy.evaluation import evaluate
        from ganatomy.evaluation.diagnose import diagnose
        from ganatomy.evaluation.metrics import value
        from ganatomy.evaluation.reference import EvalOptions, reference
        from ganatomy.evaluation.text import number
        from ganatomy.figures.images import GRID
        from ganatomy.gan.machine import pick_device
        from ganatomy.runs.folder import Run

        run = Run.open(self.run)
        if not run.checkpoints() and not run.rows("log"):
            raise ValueError(f"{run.path} has neither log nor checkpoint yet; train it first")
        place = EvalOptions(
            data_root(self.data_root or run.options.data_root),
            pick_device(self.device),
            shape=run.recipe.data.shape,
            skip_bad=run.options.skip_bad,
        )
        ref = reference(preset("classifier-2k"), run.recipe.data.dataset, place)
        few = ref._replace(protocol=ref.protocol.replace(n=GRID))
        # the rules are about what a classifier sees
        rows = [e for e in evaluate.measured(run) if e.protocol.features == "classifier"]
        newest = [f for f in [run.newest_whole()] if f]  # none, if it diverged before the first
        rows += evaluate.evaluate_run(run, newest, ref, evaluate.DIAGNOSTIC_METRICS)
        known = {e.step for e in rows}  # by more samples than a grid has
        rows += [e for e in evaluate.evaluate_grids(run, few) if e.step not in known]
        rows.sort(key=lambda e: e.step or 0)
        failure = run.sessions[-1].get("failure") if run.sessions else None
        found = diagnose(run.recipe, run.rows("log"), rows, failure)
        values = dict(rows[-1]) if rows else {}

        def show() -> None:
            if not any(d.until is None for d in found):
                terminal.say(f"nothing wrong is seen, up to step {rows[-1].step:,}")
            for d in found:
                until = "to the end" if d.until is None else f"to step {d.until:,}, then no more"
                terminal.say(f"{d.name}, from step {d.begins:,} {until}")
                terminal.say(f"  seen:  {d.evidence}")
                if d.until is None:
                    terminal.say(f"  try:   {d.advice}")
            told = "  ".join(f"{value(n).title} {number(v)}" for n, v in values.items())
            terminal.say(f"\nlooked at {len(rows)} measurements; newest: {told}")

        result = {"run": str(run.path), "found": [d.to_dict() for d in found], "values": values}
        return answer(self.json, result, show)


@dataclass(frozen=True, kw_only=True)
class Protocols:
    """List the protocols that numbers are measured by, or show one in full."""

    name: Annotated[Positional[str | None], arg(metavar="[NAME]")] = None
    """the protocol to show"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.name is not None:
            settings = preset(self.name).settings
            return answer(self.json, settings, lambda: fields_table("setting", "value", settings))
        values = {n: {"about": p.about} | p.protocol.settings for n, p in PROTOCOLS.items()}
        abouts = {name: preset.about for name, preset in PROTOCOLS.items()}
        return answer(self.json, values, lambda: fields_table("protocol", "what", abouts))


def _evaluate_run(command: Evaluate, run: "Run") -> int:
    """Measure checkpoints of a run, and put the rows into its folder."""
    from ganatomy.evaluation import evaluate

    best = command.checkpoint == "best"
    files = evaluate.checkpoints(run, "all" if best else command.checkpoint)
    data_root = command.data_root or run.options.data_root
    data, shape, skip_bad = run.recipe.data.dataset, run.recipe.data.shape, run.options.skip_bad
    if command.real:
        data, shape, skip_bad = command.real, None, False
    ref = _reference(command, data, data_root, command.shape or shape, skip_bad)
    said = None
    if best:
        seed = ref.protocol.seed
        said = f"best of {len(files)} by FD on seed {seed + 1}, reported on seed {seed}"
        files = [evaluate.best(run, files, ref, command.force)]
    refs = [ref]
    if command.audit:
        if len(files) > 1:
            raise ValueError("--audit looks at one checkpoint; give its step, last or best")
        refs = [ref._replace(protocol=ref.protocol.replace(mode=mode)) for mode in evaluate.MODES]
    rows = []
    for one in refs:
        for found in evaluate.evaluate_run(run, files, one, command.metrics, command.force):
            run.append("metrics", found.to_dict())
            rows.append(found)
    about: dict[str, Any] = {"run": str(run.path), "picked": said}
    if command.checkpoint == "all" and "fd" in rows[0]:
        about["curve"] = str(_curve(run, ref))
    return _result(command, rows, about)


def _curve(run: "Run", ref: "Reference") -> Path:
    """Draw the Fréchet distance by step, of all that was measured alike, into the run's folder."""
    from ganatomy.evaluation import evaluate, tables
    from ganatomy.figures.charts import curves
    from ganatomy.storage.files import write_atomic

    alike = [e for e in evaluate.measured(run) if e.fingerprint == ref.protocol.fingerprint]
    path = run.path / f"fd-{ref.protocol.fingerprint}.svg"
    write_atomic(path, curves({"FD": tables.series(alike, "fd")}, "step").encode())
    return path


def _evaluate_images(command: Evaluate) -> int:
    """Measure images that were made elsewhere."""
    from ganatomy.data import load
    from ganatomy.evaluation import evaluate

    if command.real is None:
        raise ValueError(
            f"{command.what} is no run folder; to measure images say what they should be like: "
            "--real mnist, another dataset, or a path of real images"
        )
    if command.audit or command.checkpoint != "last" or command.weights != "ema":
        raise ValueError("--audit, --checkpoint and --weights are for run folders")
    ref = _reference(command, command.real, command.data_root, command.shape, False)
    given = load(str(command.what), Path(), None, command.skip_bad, command.shape).values
    pixels = evaluate.choose(given, ref.protocol.n, ref.protocol.seed)
    row = evaluate.evaluate(pixels, ref, command.metrics, command.force)
    return _result(command, [row], {"images": str(command.what), "found": len(given)})


def _reference(
    command: Evaluate, data: str, data_root: Path | None, shape: "Shape | None", skip_bad: bool
) -> "Reference":
    from ganatomy import data as datasets
    from ganatomy.evaluation.reference import EvalOptions, reference
    from ganatomy.gan.machine import pick_device

    protocol = preset(command.protocol).replace(weights=command.weights, seed=command.seed)
    if command.n is not None:
        protocol = protocol.replace(n=command.n)
    place = EvalOptions(
        datasets.data_root(data_root),
        pick_device(command.device),
        command.inception_weights,
        command.force,
        shape,
        skip_bad or command.skip_bad,
    )
    return reference(protocol, data, place)


def _result(command: Evaluate, rows: "list[Evaluation]", about: dict[str, Any]) -> int:
    from ganatomy.evaluation import tables
    from ganatomy.evaluation.result import COLUMNS

    def show() -> None:
        if about.get("picked"):
            terminal.say(about["picked"])
        if len(rows) == 1:
            terminal.say(rows[0].heading())
            terminal.table(COLUMNS, rows[0].lines())
        elif command.audit:
            terminal.table(*tables.protocols_table([(e.protocol.mode, e) for e in rows]))
        else:
            terminal.table(*tables.comparison_table([(f"{e.step:,}", e) for e in rows], "step"))
        if about.get("curve"):
            terminal.say(about["curve"])

    return answer(command.json, about | {"rows": [e.to_dict() for e in rows]}, show)
