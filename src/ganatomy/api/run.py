"""Run: a run folder, with methods to sample, measure and diagnose it."""

import base64
import dataclasses
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch import Tensor, nn

from ganatomy.api import parts
from ganatomy.api.evaluate import evaluate
from ganatomy.evaluation.class_counts import ClassCounts, class_counts
from ganatomy.evaluation.diagnose import Diagnosis, diagnose_run
from ganatomy.evaluation.result import Evaluation
from ganatomy.figures.images import encoded, png, to_uint8
from ganatomy.runs import film, folder
from ganatomy.runs.sampling import (
    Interpolation,
    check_draw,
    check_suffix,
    generate,
    interpolate,
    load_generator,
)
from ganatomy.storage.files import write_atomic, write_folder


@dataclass(frozen=True)
class SavedSamples:
    """A file or folder of samples."""

    out: Path
    n: int
    steps: tuple[int, ...]
    """training step of the generator, or of each frame of a film"""
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        steps = {"step": self.steps[0]} if len(self.steps) == 1 else {"steps": list(self.steps)}
        return {"out": str(self.out), "n": self.n, **steps, "seed": self.seed}

    def __str__(self) -> str:
        steps = f"step {self.steps[0]:,}"
        if len(self.steps) > 1:
            steps = f"{len(self.steps)} steps, {self.steps[0]:,} to {self.steps[-1]:,}"
        return f"{self.n:,} samples of {steps}: {self.out}"


class Run(folder.Run):
    """A run: everything that a training left in its folder, and what can be computed from it.

    Made by train, resume and load. A notebook shows its samples.
    """

    @property
    def step(self) -> int:
        """Step of the newest logged row; 0 before the first."""
        return int(self.newest("log").get("step", 0))

    @property
    def log(self) -> list[dict[str, Any]]:
        """Logged rows, oldest first: step, epoch, and the values of training.session.TAGS."""
        return self.rows("log")

    def generator(self, weights: Literal["ema", "raw"] = "ema") -> nn.Module:
        """Return the generator of the newest checkpoint in eval mode: (N, z_dim) to samples.

        Args:
            weights: the averaged weights, if the recipe averages them, or the raw ones.

        Raises:
            ValueError: for a run without a checkpoint.
        """
        return load_generator(self, None, weights)[1].eval()

    def sample(self, n: int = 64, seed: int = 0) -> Tensor:
        """Return samples (n, C, H, W) in [-1, 1] on the CPU.

        The i-th sample depends on the seed and on i only.

        Raises:
            ValueError: for n below 1, a negative seed, or a run without a checkpoint.
        """
        return self._made(n, seed)[1]

    def show(self, n: int = 64, seed: int = 0) -> Image.Image:
        """Return samples as one image, row by row."""
        return Image.open(io.BytesIO(self._png(n, seed)))

    def evaluate(
        self,
        protocol: str = "classifier-10k",
        metrics: str | Sequence[str] = (),
        n: int | None = None,
        checkpoint: str | int = "last",
        device: str = "auto",
        data: Any = None,
    ) -> Evaluation:
        """Measure a checkpoint and add the result to metrics.jsonl; see evaluate for more settings.

        Args:
            protocol: how to measure.
            metrics: values or groups; empty means all.
            n: number of samples; None means the protocol's number.
            checkpoint: last, a step, or best, which is picked by FD on other samples.
            device: auto, cpu, cuda, cuda:N or mps.
            data: place of the run's own images, or the images; None means where they were when it
                was trained.

        Raises:
            ValueError: as evaluate does.
        """
        return evaluate(
            self,
            protocol=protocol,
            metrics=metrics,
            n=n,
            checkpoint=checkpoint,
            device=device,
            data=data,
        )

    def diagnose(
        self, device: str = "auto", data_root: str | Path | None = None, data: Any = None
    ) -> Sequence[Diagnosis]:
        """Return what goes wrong, or went wrong, in this run; empty if nothing is found.

        Args:
            device: auto, cpu, cuda, cuda:N or mps.
            data_root: folder of full datasets; None means the run's.
            data: as for evaluate.

        Raises:
            ValueError: for a run without log and checkpoint, or a dataset without a classifier.
        """
        root = None if data_root is None else Path(data_root)
        return diagnose_run(self, device, root, parts.given_place(data))

    def interpolate(
        self, pairs: int = 5, k: int = 10, seed: int = 0, slerp: bool = False
    ) -> Interpolation:
        """Generate samples between pairs of latent vectors.

        Args:
            pairs: number of pairs, at least 1.
            k: number of steps from one vector to the other, at least 1.
            seed: seed of the latent vectors.
            slerp: follow the arc between the vectors instead of the straight line.

        Raises:
            ValueError: for a number out of range, or a run without a checkpoint.
        """
        if pairs < 1 or k < 1 or seed < 0:
            raise ValueError(
                f"pairs and k must be at least 1 and seed at least 0, got {pairs}, {k} and {seed}"
            )
        step, generator = load_generator(self)
        made = interpolate(generator, pairs, k, self.recipe, seed, slerp)
        return dataclasses.replace(made, step=step)

    def class_counts(
        self, n: int = 256, seed: int = 0, out: str | Path | None = None, data: Any = None
    ) -> ClassCounts:
        """Count the classes that a classifier predicts in n samples; see ClassCounts.

        Args:
            n: number of samples, at least 2.
            seed: seed of the latent vectors.
            out: .png, .svg or .pdf file for a figure.
            data: as for evaluate.

        Raises:
            ValueError: for a number out of range, another suffix, or a dataset without a
                classifier.
        """
        return class_counts(self, n, seed, out=out, data=parts.given_place(data))

    def save_samples(self, path: str | Path, n: int = 64, seed: int = 0) -> SavedSamples:
        """Write samples to a .png (one grid), an .npz (images, uint8 (N, H, W, C)) or a new folder.

        A path without a suffix is a folder, with a PNG for each sample: 00.png, 01.png and so on.

        Raises:
            ValueError: for another suffix, a folder with files, points in a folder, or as sample
                does.
        """
        path = Path(path)
        if path.suffix in film.SUFFIXES:
            raise ValueError(f"{path} is a film of all checkpoints; add --over_checkpoints")
        if path.suffix and not path.is_dir():
            check_suffix(path, ".png", ".npz")
            step, made = self._made(n, seed)
            write_atomic(path, encoded(made, path.suffix, math.ceil(n**0.5)))
        else:
            step, made = self._made(n, seed)
            if made.ndim == 2:
                raise ValueError("samples are points; write them to an .npz file")
            digits = len(str(n - 1))
            images = enumerate(to_uint8(made))
            write_folder(path, ((f"{i:0{digits}d}.png", png(image)) for i, image in images))
        return SavedSamples(path, n, (step,), seed)

    def save_film(self, path: str | Path, n: int = 64, seed: int = 0) -> SavedSamples:
        """Write a .gif or .mp4 whose frames are the same latent vectors at every checkpoint.

        An .mp4 needs the program ffmpeg.

        Raises:
            ValueError: for another suffix, fewer than two checkpoints, or as sample does.
        """
        check_suffix(path, *film.SUFFIXES)
        check_draw(n, seed)
        found = film.frames(self, n, seed)
        return SavedSamples(film.save_film(path, list(found.values())), n, tuple(found), seed)

    def to_dict(self) -> dict[str, Any]:
        """Return path, key, step and the newest logged values."""
        return {"run": str(self.path), "key": self.recipe.key} | self.newest("log")

    def __repr__(self) -> str:
        recipe = self.recipe
        return (
            f"Run({str(self.path)!r}): {recipe.network.model} on {recipe.data.dataset}, "
            f"key {recipe.key}, step {self.step:,}"
        )

    def _repr_html_(self) -> str:
        data, about = base64.b64encode(self._png(64, 0)).decode(), html.escape(repr(self))
        return f'<p>{about}</p><img alt="samples" src="data:image/png;base64,{data}">'

    def _png(self, n: int, seed: int) -> bytes:
        return encoded(self.sample(n, seed), ".png", math.ceil(n**0.5))

    def _made(self, n: int, seed: int) -> tuple[int, Tensor]:
        """Return the step of the newest checkpoint, and samples of it."""
        check_draw(n, seed)
        step, generator = load_generator(self)
        return step, generate(generator, n, self.recipe, seed)
