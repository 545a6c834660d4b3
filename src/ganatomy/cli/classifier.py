"""The command that fits and shows classifiers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer, fields_table


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Fit a classifier, the classifier that measures images like those it knows, or show one."""

    action: Annotated[Positional[Literal["fit", "show"]], arg(metavar="fit|show")]
    """fit one and keep it in the cache; or show the one there is"""
    data: str = "mnist"
    """a labelled dataset, or a path of images with a folder for each class"""
    kind: Literal["conv", "mlp-hinge"] = "conv"
    """five convolutions; or R3.4's two hidden layers with hinge loss"""
    epochs: int = 12
    """passes over the training images"""
    shape: tuple[int, int, int] | None = None
    """channels, height, width that images are cut and resized to, as a recipe's shape"""
    skip_bad: bool = False
    """leave out images that cannot be used, rather than stop"""
    seed: int = 0
    """decides initial weights, order and how images are moved"""
    threads: int | None = None
    """CPU threads; the file depends on them"""
    out: Path | None = None
    """where else to write the classifier's file"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        import torch

        from ganatomy.data import data_root, digest
        from ganatomy.evaluation import classifier
        from ganatomy.storage.files import write_atomic

        if self.epochs < 1 or self.seed < 0:
            raise ValueError(f"--epochs must be at least 1 and --seed at least 0, got {self}")
        root = data_root(self.data_root)
        if self.action == "show":
            if self.data == "mnist" and self.shape is None:
                return self._show(classifier.shipped(self.kind), None)
            known = digest(
                classifier.train_test_split(self.data, root, self.shape, self.skip_bad)[0]
            )
            return self._show(classifier.find(self.kind, known, self.data), None)
        if self.threads:
            torch.set_num_threads(self.threads)
        train, test = classifier.train_test_split(self.data, root, self.shape, self.skip_bad)
        content = None
        for at in classifier.fit(train, test, self.data, self.kind, self.epochs, self.seed):
            if not self.json:
                terminal.say(f"epoch {at.epoch}/{at.epochs} loss {at.loss:.4f}")
            content = at.content
        assert content is not None
        path = classifier.store(content)
        if self.out is not None:
            write_atomic(self.out, content)
        return self._show(classifier.load(content, str(path)), path)

    def _show(self, found: Any, path: Path | None) -> int:
        result = {"sha256": found.sha256, "file": path and str(path)} | found.about

        def show() -> None:
            matrix = result.pop("confusion")
            fields_table("classifier", "", {k: v for k, v in result.items() if v is not None})
            terminal.say("\ntrue against predicted, of the test images:")
            names = result["classes"]
            rows = [[n, *map(str, row)] for n, row in zip(names, matrix, strict=True)]
            terminal.table(("", *names), rows)

        return answer(self.json, result, show)
