"""Commands that show what a generator makes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer

if TYPE_CHECKING:
    from ganatomy.runs.folder import Run


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw images from a run's newest checkpoint."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    n: int = 64
    """how many"""
    out: Path
    """a .png (one grid) or an .npz (array images, uint8 N x H x W x C; of a toy density: points)"""
    seed: int = 0
    """decides the latent vectors; the i-th image depends on seed and i alone"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.out.suffix not in (".png", ".npz"):
            raise ValueError(f"--out must end in .png or .npz, got {self.out}")
        if self.n < 1 or self.seed < 0:
            raise ValueError(
                f"--n must be at least 1 and --seed at least 0, got {self.n} {self.seed}"
            )
        from ganatomy.figures import images
        from ganatomy.runs import sampling
        from ganatomy.runs.folder import Run
        from ganatomy.storage.files import write_atomic

        run = Run.open(self.run)
        step, generator = sampling.load_generator(run)
        made = sampling.generate(generator, self.n, run.recipe, self.seed)
        columns = math.ceil(self.n**0.5)
        write_atomic(self.out, images.encoded(made, self.out.suffix, columns))
        result = {"out": str(self.out), "n": self.n, "step": step, "seed": self.seed}
        done = f"{self.n} samples of step {step}: {self.out}"
        return answer(self.json, result, lambda: terminal.say(done))


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare runs on one page: samples, curves, scores and recipes."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]
    """two or more run folders"""
    out: Path = Path("compare.html")
    """page to write, an .html file"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if len(self.runs) < 2:
            raise ValueError("compare needs two or more run folders")
        from ganatomy.pages import comparison
        from ganatomy.runs.folder import Run

        page = comparison.compare([Run.open(path) for path in self.runs])
        page.save(self.out)

        def show() -> None:
            terminal.table(*comparison.summary_table(page.runs))
            terminal.say("")
            terminal.table(*comparison.fluctuation_table(page.runs))
            if page.evaluations:
                terminal.say("\n" + comparison.protocol_heading(page.evaluations))
                terminal.table(*comparison.score_table(page.evaluations))
            terminal.say(f"\n{self.out.absolute()}")

        return answer(self.json, {"page": str(self.out)} | page.to_dict(), show)


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Draw the images between pairs of latent vectors, and say how evenly they change."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    pairs: int = 5
    """rows of images"""
    k: int = 10
    """steps from one end of a row to the other"""
    slerp: bool = False
    """go along the arc between the two vectors rather than straight"""
    seed: int = 0
    """decides the latent vectors"""
    out: Path
    """a .png"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.out.suffix != ".png":
            raise ValueError(f"--out must end in .png, got {self.out}")
        if self.pairs < 1 or self.k < 1 or self.seed < 0:
            given = f"{self.pairs} {self.k} {self.seed}"
            raise ValueError(f"--pairs and --k must be at least 1, --seed at least 0, got {given}")
        from ganatomy.figures import images
        from ganatomy.runs import sampling
        from ganatomy.runs.folder import Run
        from ganatomy.storage.files import write_atomic

        run = Run.open(self.run)
        step, generator = sampling.load_generator(run)
        way = sampling.interpolate(generator, self.pairs, self.k, run.recipe, self.seed, self.slerp)
        if way.samples.ndim == 3:
            raise ValueError(f"{run.recipe.data.dataset} is points; interpolate draws images")
        pixels = images.to_uint8(way.samples.flatten(0, 1))
        write_atomic(self.out, images.png(images.grid(pixels, columns=self.k + 1)))
        mean = sum(way.jump) / self.pairs
        result = {
            "out": str(self.out),
            "step": step,
            "way": "arc" if self.slerp else "straight",
            "jump": way.jump,
            "mean_jump": mean,
        }
        done = (
            f"{self.pairs} ways of {self.k} steps at step {step}: {self.out}\n"
            f"largest step over mean step: {mean:.2f} (1 is even change, {self.k} a single jump)"
        )
        return answer(self.json, result, lambda: terminal.say(done))


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Draw samples with the classes that a classifier predicts, and count the classes."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    n: int = 256
    """how many"""
    classifier: Literal["classifier", "classifier-mlp-hinge"] = "classifier"
    """which; classifier-mlp-hinge is R3.4's"""
    seed: int = 0
    """decides the latent vectors"""
    out: Path
    """a .png, .svg or .pdf"""
    data_root: Path | None = None
    """folder of full datasets; by default the run's, else $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.out.suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"--out must end in .png, .svg or .pdf, got {self.out}")
        if self.n < 2 or self.seed < 0:
            given = f"{self.n} {self.seed}"
            raise ValueError(f"--n must be at least 2 and --seed at least 0, got {given}")
        from ganatomy.data import data_root
        from ganatomy.data.toy import DENSITIES
        from ganatomy.evaluation import evaluate
        from ganatomy.evaluation.protocol import Protocol
        from ganatomy.evaluation.reference import EvalOptions, reference
        from ganatomy.figures import modes
        from ganatomy.runs import sampling
        from ganatomy.runs.folder import Run
        from ganatomy.storage.files import write_atomic

        run = Run.open(self.run)
        if run.recipe.data.dataset in DENSITIES:
            return _mode_counts_of_points(self, run)
        protocol = Protocol(features=self.classifier, n=self.n, seed=self.seed)
        root = data_root(self.data_root or run.options.data_root)
        place = EvalOptions(root, shape=run.recipe.data.shape, skip_bad=run.options.skip_bad)
        ref = reference(protocol, run.recipe.data.dataset, place)
        step, generator = sampling.load_generator(run)
        pixels = evaluate.samples(generator, run.recipe, ref)
        found = evaluate.evaluate_samples(pixels, ref, ["classes"])
        predicted = evaluate.predict(pixels, ref)
        assert ref.class_shares is not None
        expected = (ref.class_shares * self.n).tolist()
        form = self.out.suffix[1:]
        drawn = modes.class_counts(pixels, predicted, ref.classes, expected, form)
        write_atomic(self.out, drawn)
        counts = dict(zip(ref.classes, found.class_counts or (), strict=True))
        result = {"out": str(self.out), "step": step, "counts": counts} | found.to_dict()

        def show() -> None:
            lines = [
                (name, str(counts[name]), f"{e:.1f}")
                for name, e in zip(ref.classes, expected, strict=True)
            ]
            terminal.table(("class", "samples", "expected"), lines)
            terminal.say(
                f"χ² {found['chi2']:.1f} (p {found['chi2_p']:.2g}), "
                f"{found['missing']:.0f} classes missing, step {step}: {self.out}"
            )

        return answer(self.json, result, show)


def _mode_counts_of_points(command: ClassCounts, run: "Run") -> int:
    """Count which modes of a toy density samples reach, and how many samples are near one."""
    from ganatomy.data import load
    from ganatomy.data.toy import HIGH_QUALITY, nearest_mode
    from ganatomy.figures import images
    from ganatomy.runs import sampling
    from ganatomy.storage.files import write_atomic

    if command.out.suffix != ".png":
        raise ValueError(f"--out must end in .png for points, got {command.out}")
    name = run.recipe.data.dataset
    step, generator = sampling.load_generator(run)
    made = sampling.generate(generator, command.n, run.recipe, command.seed)
    mode, distance = nearest_mode(made, name)
    good = distance <= HIGH_QUALITY
    classes = load(name, Path(), "train").classes
    counts = mode[good].bincount(minlength=len(classes)).tolist()
    write_atomic(command.out, images.scatter(made))
    result = {
        "out": str(command.out),
        "step": step,
        "n": command.n,
        "modes": sum(count > 0 for count in counts),
        "of": len(classes),
        "high_quality": good.double().mean().item(),
        "counts": dict(zip(classes, counts, strict=True)),
    }
    done = (
        f"{result['modes']} of {len(classes)} modes reached; {result['high_quality']:.1%} of "
        f"{command.n} samples within {HIGH_QUALITY:g} deviations of one, step {step}: {command.out}"
    )
    return answer(command.json, result, lambda: terminal.say(done))
