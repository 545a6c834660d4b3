"""Class counts: which classes, or which modes of a toy density, samples reach, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganatomy.data import data_root, load
from ganatomy.data.toy import DENSITIES, HIGH_QUALITY, nearest_mode
from ganatomy.evaluation.checkpoints import samples
from ganatomy.evaluation.evaluate import evaluate_samples, predict
from ganatomy.evaluation.protocol import Protocol
from ganatomy.evaluation.reference import EvalOptions, reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import text_table
from ganatomy.figures import images, modes
from ganatomy.runs.data import source
from ganatomy.runs.folder import Run
from ganatomy.runs.sampling import check_suffix, generate, load_generator
from ganatomy.storage.files import write_atomic


@dataclass(frozen=True, repr=False)
class ClassCounts:
    """Number of samples in each predicted class, or near each mode of a toy density."""

    step: int
    """training step of the generator"""
    n: int
    """number of samples"""
    counts: Mapping[str, int]
    """samples by class"""
    expected: Mapping[str, float] | None = None
    """samples that a perfect generator would have; None for points"""
    evaluation: Evaluation | None = None
    """χ² and the other values of the classes; None for points"""
    high_quality: float | None = None
    """share of points within HIGH_QUALITY deviations of a mode; None for images"""
    out: Path | None = None
    """file that the figure was written to"""

    @property
    def reached(self) -> int:
        """Number of classes with a sample."""
        return sum(count > 0 for count in self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON holds them."""
        out = None if self.out is None else str(self.out)
        common = {"out": out, "step": self.step, "n": self.n, "counts": dict(self.counts)}
        if self.evaluation is not None:
            return common | self.evaluation.to_dict()
        found = {"modes": self.reached, "of": len(self.counts), "high_quality": self.high_quality}
        return common | found

    def __repr__(self) -> str:
        where = "" if self.out is None else f": {self.out}"
        if self.evaluation is None or self.expected is None:
            return (
                f"{self.reached} of {len(self.counts)} modes reached; {self.high_quality:.1%} of "
                f"{self.n:,} samples within {HIGH_QUALITY:g} deviations of one, step {self.step:,}"
                f"{where}"
            )
        lines = [(name, str(n), f"{self.expected[name]:.1f}") for name, n in self.counts.items()]
        found = self.evaluation
        return (
            f"{text_table(('class', 'samples', 'expected'), lines)}\n"
            f"χ² {found['chi2']:.1f} (p {found['chi2_p']:.2g}), {found['missing']:.0f} classes "
            f"missing, step {self.step:,}{where}"
        )


def class_counts(
    run: Run,
    n: int = 256,
    seed: int = 0,
    classifier: Literal["classifier", "classifier-mlp-hinge"] = "classifier",
    root: str | Path | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
) -> ClassCounts:
    """Count the classes that a classifier predicts in samples of the newest checkpoint.

    Args:
        run: a trained run.
        n: number of samples, at least 2.
        seed: seed of the latent vectors.
        classifier: feature space with a classifier.
        root: folder of full datasets; None means the run's.
        out: .png, .svg or .pdf file for a figure of the samples and their classes.
        data: place of the run's own images; None means where they were when it was trained.

    Raises:
        ValueError: for n below 2, another suffix, or a dataset without a classifier.
    """
    points = run.recipe.data.dataset in DENSITIES
    if out is not None:
        out = check_suffix(out, ".png") if points else check_suffix(out, ".png", ".svg", ".pdf")
    if n < 2 or seed < 0:
        raise ValueError(f"n must be at least 2 and seed at least 0, got {n} and {seed}")
    if points:
        return _of_points(run, n, seed, out)
    folder = data_root(Path(root) if root else run.options.data_root)
    section, name = run.recipe.data, source(run, data)
    place = EvalOptions(
        folder, shape=section.shape, skip_bad=run.options.skip_bad, convert=section.convert
    )
    digits = name in ("mnist", "mnist10k")  # which need no download
    if (
        not digits
        and not load(name, folder, "train", place.skip_bad, place.shape, place.convert).classes
    ):
        raise ValueError(
            f"{run.recipe.data.dataset} has no classes to count; ganatomy diagnose finds samples "
            "that repeat, and the recall of ganatomy evaluate falls where images are missing"
        )
    protocol = Protocol(features=classifier, n=n, seed=seed)
    ref = reference(protocol, name, place)
    step, generator = load_generator(run)
    pixels = samples(generator, run.recipe, ref)
    found = evaluate_samples(pixels, ref, ["classes"])
    if found.class_counts is None or ref.class_shares is None:
        raise ValueError(f"{classifier} predicts no classes of {run.recipe.data.dataset}")
    expected = (ref.class_shares * n).tolist()
    if out is not None:
        predicted = predict(pixels, ref)
        drawn = modes.class_counts(pixels, predicted, ref.classes, expected, out.suffix[1:])
        write_atomic(out, drawn)
    return ClassCounts(
        step=step,
        n=n,
        counts=dict(zip(ref.classes, found.class_counts, strict=True)),
        expected=dict(zip(ref.classes, expected, strict=True)),
        evaluation=found,
        out=out,
    )


def _of_points(run: Run, n: int, seed: int, out: Path | None) -> ClassCounts:
    """Count the modes of a toy density that samples reach."""
    name = run.recipe.data.dataset
    step, generator = load_generator(run)
    made = generate(generator, n, run.recipe, seed)
    mode, distance = nearest_mode(made, name)
    good = distance <= HIGH_QUALITY
    classes = load(name, Path(), "train").classes
    counts = mode[good].bincount(minlength=len(classes)).tolist()
    if out is not None:
        write_atomic(out, images.scatter(made))
    return ClassCounts(
        step=step,
        n=n,
        counts=dict(zip(classes, counts, strict=True)),
        high_quality=good.double().mean().item(),
        out=out,
    )
