"""ganatomy classifier."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command

if TYPE_CHECKING:
    from ganatomy.evaluation.fitting import Progress


@dataclass(frozen=True, kw_only=True)
class Classifier(Command):
    """Fit the classifier whose features measure images of its data, or show one."""

    action: Annotated[Positional[Literal["fit", "show"]], arg(metavar="fit|show")]
    """fit one and put it into the cache, or show the existing one"""
    data: str = "mnist"
    """a dataset or a path of images, with a folder for each class if there are classes"""
    kind: Literal["conv", "mlp-hinge", "rotation"] | None = None
    """conv: five convolutions, fitted to the classes; mlp-hinge: two hidden layers with hinge loss;
    rotation: as conv, fitted to quarter turns of the images, the default without classes"""
    epochs: int | None = None
    """passes over the training images; by default 12, or as many as show 120,000 images to a
    network of quarter turns"""
    shape: tuple[int, int, int] | None = None
    """channels, height and width that images are cropped and resized to"""
    skip_bad: bool = False
    """skip unreadable images instead of stopping"""
    convert: Literal["none", "white", "black"] = "none"
    """background on which CMYK, 16-bit and transparent images become 8-bit gray or RGB"""
    seed: int = 0
    """seed of initial weights, order and augmentation"""
    threads: int | None = None
    """number of CPU threads, on which the last digits of the weights depend"""
    out: Path | None = None
    """further copy of the classifier's file"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""

    def call(self) -> Any:
        """Fit, or find, the classifier."""
        import torch

        from ganatomy.data import data_root
        from ganatomy.evaluation.classifier import find_classifier
        from ganatomy.evaluation.fitting import fit_classifier
        from ganatomy.storage.files import write_atomic

        root = data_root(self.data_root)
        if self.action == "show":
            return find_classifier(
                self.data, root, self.kind, self.shape, self.skip_bad, self.convert
            )
        if self.threads:
            torch.set_num_threads(self.threads)

        def say(at: "Progress") -> None:
            if not self.json:
                terminal.say(f"epoch {at.epoch}/{at.epochs} loss {at.loss:.4f}")

        found, path = fit_classifier(
            self.data,
            root,
            kind=self.kind,
            epochs=self.epochs,
            seed=self.seed,
            shape=self.shape,
            skip_bad=self.skip_bad,
            convert=self.convert,
            progress=say,
        )
        if self.out is not None:
            write_atomic(self.out, path.read_bytes())
        return replace(found, file=path)

    def show(self, result: Any) -> None:
        """Print the data, the accuracy and the confusion of classes."""
        values = result.to_dict()
        matrix, names = values.pop("confusion"), values["classes"]
        rows = [(name, str(value)) for name, value in values.items() if value is not None]
        terminal.table(("classifier", ""), rows)
        if not matrix:
            return
        terminal.say("\ntrue against predicted, of the test images:")
        lines = [[n, *map(str, row)] for n, row in zip(names, matrix, strict=True)]
        terminal.table(("", *names), lines)
