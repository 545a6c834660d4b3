"""Run: a run folder, with methods to sample, measure and diagnose it."""

import base64
import html
import io
from typing import Any, Literal

from PIL import Image
from torch import Tensor, nn

from ganatomy.figures.images import encoded
from ganatomy.runs import folder
from ganatomy.runs.sampling import generate, load_generator


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
        """Logged rows, oldest first: step, epoch, and the values of training.loop.TAGS."""
        return self.rows("log")

    def generator(self, weights: Literal["ema", "raw"] = "ema") -> nn.Module:
        """Return the generator of the newest checkpoint in eval mode: (N, z_dim) to samples.

        Args:
            weights: the averaged weights, if the recipe averages them, or the raw ones.

        Raises:
            ValueError: if there is no checkpoint.
        """
        return load_generator(self, None, weights)[1].eval()

    def sample(self, n: int = 64, seed: int = 0) -> Tensor:
        """Return samples (n, C, H, W) in [-1, 1] on the CPU.

        The i-th sample depends on the seed and on i only.

        Raises:
            ValueError: for n below 1, a negative seed, or a run without a checkpoint.
        """
        if n < 1 or seed < 0:
            raise ValueError(f"n must be at least 1 and seed at least 0, got {n} and {seed}")
        return generate(self.generator(), n, self.recipe, seed)

    def show(self, n: int = 64, seed: int = 0) -> Image.Image:
        """Return samples as one image, row by row."""
        return Image.open(io.BytesIO(self._png(n, seed)))

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
        columns = max(1, round(n**0.5))
        return encoded(self.sample(n, seed), ".png", columns)
