"""evaluate and compare: from runs or images to numbers and pages."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ganatomy.api import parts
from ganatomy.data import Samples, Shape, brightness_warning, data_root, load
from ganatomy.data.given import as_samples
from ganatomy.data.shape import reshape_all
from ganatomy.evaluation import checkpoints, tables
from ganatomy.evaluation import evaluate as measuring
from ganatomy.evaluation.metrics import require
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.result import COLUMNS, Evaluation
from ganatomy.evaluation.settings import EvaluationSettings
from ganatomy.evaluation.text import text_table
from ganatomy.figures.charts import curves
from ganatomy.gan.machine import pick_device
from ganatomy.pages import comparison
from ganatomy.runs.data import source
from ganatomy.runs.folder import Run
from ganatomy.storage.files import write_atomic


@dataclass(frozen=True)
class Measurements:
    """Evaluations of the checkpoints of a run, or of images."""

    source: dict[str, Any]
    """the run, or the images and their number"""
    evaluations: tuple[Evaluation, ...]
    picked: str | None = None
    """how the best checkpoint was picked"""
    curve: Path | None = None
    """chart of the Fréchet distance by step"""
    audit: bool = False
    """whether the evaluations are of the modes of one generator"""

    def to_dict(self) -> dict[str, Any]:
        """Return the measurements as JSON holds them."""
        about = self.source | {"picked": self.picked}
        if self.curve:
            about["curve"] = str(self.curve)
        return about | {"rows": [evaluation.to_dict() for evaluation in self.evaluations]}

    def __str__(self) -> str:
        found = self.evaluations
        if len(found) == 1:
            shown = f"{found[0].heading()}\n{text_table(COLUMNS, found[0].lines())}"
        elif self.audit:
            shown = text_table(*tables.protocols_table([(e.protocol.mode, e) for e in found]))
        else:
            shown = text_table(
                *tables.comparison_table([(f"{e.step:,}", e) for e in found], "step")
            )
        return "\n".join(str(part) for part in (self.picked, shown, self.curve) if part)


def evaluate(
    images: Any,
    *,
    real: Any = None,
    protocol: str = "classifier-10k",
    metrics: str | Sequence[str] = (),
    n: int | None = None,
    seed: int | None = None,
    shape: Shape | None = None,
    weights: Literal["ema", "raw"] = "ema",
    checkpoint: str | int = "last",
    device: str = "auto",
    data_root: str | Path | None = None,
    data: Any = None,
    inception_weights: str | Path | None = None,
    skip_bad: bool = False,
    convert: Literal["none", "white", "black"] | None = None,
    force: bool = False,
) -> Evaluation:
    """Measure a run, or images from anywhere, against real images.

    >>> gan.evaluate(run)["fd"], gan.evaluate("fakes.zip", real="mnist").interval("fd")

    Args:
        images: a run or its folder; a folder, zip, tar, npz, HDF5 or parquet of images; a tensor
            or array (N, C, H, W), uint8 or float in [-1, 1] or [0, 1]; a torch Dataset; or a
            function that returns n images.
        real: the real images: a dataset by name, or anything that images may be except a run; None
            means those that the run was trained on.
        protocol: how to measure, see `ganatomy protocols`.
        metrics: names of values or groups, such as "fid, prdc"; empty means all that the protocol
            can measure.
        n: number of samples; None means the protocol's number, or all images that are given.
        seed: seed of the samples; None means the protocol's.
        shape: (C, H, W) that real images and samples are brought to; None means the run's.
        weights: the averaged generator, if the recipe averages, or the raw one.
        checkpoint: last, a step, or best, which is picked by FD on other samples.
        device: auto, cpu, cuda, cuda:N or mps.
        data_root: folder of full datasets; None means the run's.
        data: place of the run's own images, or the images; None means where they were when it was
            trained.
        inception_weights: file of Inception's weights; None means torch-fidelity's download.
        skip_bad: skip unreadable images of a path instead of stopping.
        convert: background, white or black, on which CMYK, 16-bit and transparent images of a path
            become 8-bit gray or RGB; "none" refuses them; None means as the run does.
        force: measure too few samples, or with other Inception weights.

    Returns:
        The evaluation. An evaluation of a run is also added to its metrics.jsonl.

    Raises:
        ValueError: for images that cannot be used, an unknown name, or a protocol that cannot
            measure these images.
    """
    settings = EvaluationSettings(
        real=None if real is None else parts.given(real, None, None)["dataset"],
        protocol=protocol,
        metrics=(metrics,) if isinstance(metrics, str) else tuple(metrics),
        n=n,
        seed=seed,
        shape=shape,
        weights=weights,
        skip_bad=skip_bad,
        convert=convert,
        inception_weights=None if inception_weights is None else Path(inception_weights),
        device=device,
        data_root=None if data_root is None else Path(data_root),
        data=parts.given_place(data),
        force=force,
    )
    if checkpoint == "all":
        raise ValueError("evaluate measures one checkpoint: last, best or a step, got all")
    return measure(images, settings, str(checkpoint)).evaluations[0]


def measure(
    images: Any, settings: EvaluationSettings, checkpoint: str = "last", audit: bool = False
) -> Measurements:
    """Measure as evaluate does, but also all checkpoints of a run, or all modes of a generator.

    Args:
        images: as evaluate takes them.
        settings: how to measure.
        checkpoint: of a run: last, all, a step, or best, which is picked by FD on other samples.
        audit: measure one checkpoint with the generator in eval mode, in train mode and with
            reestimated batch norm statistics.

    Raises:
        ValueError: as evaluate does.
    """
    if isinstance(images, str | Path):
        path = Path(images)
        if (path / "recipe.json").exists() or not path.exists():
            images = Run.open(path)
    if isinstance(images, Run):
        return _measure_run(images, settings, checkpoint, audit)
    if settings.data is not None:
        raise ValueError(
            "data is the place of a run's images; real is what images are compared with"
        )
    if audit or checkpoint != "last" or settings.weights != "ema":
        raise ValueError("audit, checkpoint and weights are for runs, not for images")
    return _measure_images(images, settings)


def compare(runs: Iterable[str | Path | Run]) -> comparison.Comparison:
    """Compare two or more runs on one page: samples, curves, measured values, recipes.

    >>> gan.compare([run, "runs/other"]).save("page.html")

    Raises:
        ValueError: for fewer than two runs, a path that is not a run folder, or runs whose values
            were measured by different protocols.
    """
    opened = [run if isinstance(run, Run) else Run.open(Path(run)) for run in runs]
    if len(opened) < 2:
        raise ValueError(f"compare takes two or more runs, got {len(opened)}")
    return comparison.compare(opened)


def _measure_run(
    run: Run, settings: EvaluationSettings, checkpoint: str, audit: bool
) -> Measurements:
    """Measure checkpoints of a run, and add the evaluations to its folder."""
    options = replace(run.options, data=settings.data or run.options.data)
    parts.check_given(run.recipe, options)
    picked, best = None, checkpoint == "best"
    files = checkpoints.select_checkpoints(run, "all" if best else checkpoint)
    ref = _reference(settings, run)
    if best:
        seed = ref.protocol.seed
        picked = f"best of {len(files)} by FD on seed {seed + 1}, reported on seed {seed}"
        files = [checkpoints.best_checkpoint(run, files, ref, settings.force)]
    refs = [ref]
    if audit:
        if len(files) > 1:
            raise ValueError("an audit measures one checkpoint: last, best or a step, got all")
        refs = [ref._replace(protocol=ref.protocol.replace(mode=m)) for m in checkpoints.MODES]
    found = []
    for one in refs:
        for row in checkpoints.evaluate_run(run, files, one, settings.metrics, settings.force):
            run.append("metrics", row.to_dict())
            found.append(row)
    several = checkpoint == "all" and "fd" in found[0]
    curve = _curve(run, ref) if several else None
    return Measurements({"run": str(run.path)}, tuple(found), picked, curve, audit)


def _curve(run: Run, ref: Reference) -> Path:
    """Draw the Fréchet distance by step, of one protocol, into the run's folder."""
    print_of = ref.protocol.fingerprint
    alike = [e for e in checkpoints.measured(run) if e.fingerprint == print_of]
    path = run.path / f"fd-{print_of}.svg"
    write_atomic(path, curves({"FD": tables.series(alike, "fd")}, "step").encode())
    return path


def _measure_images(images: Any, settings: EvaluationSettings) -> Measurements:
    if settings.real is None:
        raise ValueError(
            "images are measured against real images: name a dataset or a path, such as "
            '--real mnist, or real="mnist" in Python'
        )
    name = str(images) if isinstance(images, str | Path) else type(images).__name__
    if callable(images) and not isinstance(images, nn.Module):
        images = images(settings.n or preset(settings.protocol).n)
    given = _load(images, settings)
    require(len(given), 2, "generated")
    n = settings.n or min(len(given), preset(settings.protocol).n)
    ref = _reference(replace(settings, n=n), None)
    pixels = measuring.choose(given.values, n, ref.protocol.seed)
    found = measuring.evaluate(pixels, ref, settings.metrics, settings.force)
    return Measurements({"images": name, "found": len(given)}, (found,))


def _load(images: Any, settings: EvaluationSettings) -> Samples:
    """Load the images to measure from a path, or take those given."""
    if isinstance(images, str | Path):
        convert = settings.convert or "none"
        return load(str(images), Path(), None, settings.skip_bad, settings.shape, convert)
    given = as_samples(images)
    if warning := brightness_warning(given.values):
        warnings.warn(warning, stacklevel=5)
    return reshape_all(given, settings.shape)


def _reference(settings: EvaluationSettings, run: Run | None) -> Reference:
    """Load what the settings measure against: named real images, or those of the run."""
    changes = {"n": settings.n, "seed": settings.seed, "weights": settings.weights}
    protocol = preset(settings.protocol).replace(
        **{name: value for name, value in changes.items() if value is not None}
    )
    own = run if settings.real is None else None
    data = settings.real or (source(run, settings.data) if run else "")
    options = EvalOptions(
        data_root(settings.data_root or (run.options.data_root if run else None)),
        device=pick_device(settings.device),
        inception_weights=settings.inception_weights,
        force=settings.force,
        shape=settings.shape or (own.recipe.data.shape if own else None),
        skip_bad=settings.skip_bad or (own.options.skip_bad if own else False),
        convert=settings.convert or (own.recipe.data.convert if own else "none"),
    )
    return reference(protocol, data, options)
