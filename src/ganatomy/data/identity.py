"""Identity of own images: names after their content, such as images-1a2b3c4d."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from ganatomy.data.samples import Samples, digest
from ganatomy.validation import check


@dataclass(frozen=True)
class Content:
    """Number and digest of samples."""

    n: int
    sha256: str
    """SHA-256, in hex, of values, labels and class names in their order"""

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, samples: Samples) -> "Content":
        """Return the content of samples, which they have after resizing and skipping."""
        sha = hashlib.sha256(digest(samples).encode())
        sha.update(samples.labels.numpy().tobytes())
        sha.update(repr(samples.classes).encode())
        return cls(len(samples), sha.hexdigest())

    def name(self, kind: Literal["images", "tensor"]) -> str:
        """Return the dataset's name in a recipe: images-… for a path, tensor-… for a tensor."""
        return f"{kind}-{self.sha256[:8]}"

    def __str__(self) -> str:
        return f"{self.n:,} samples, digest {self.sha256[:8]}"


def is_content_name(name: str) -> bool:
    """Whether Content.name made this name."""
    return re.fullmatch(r"(images|tensor)-[0-9a-f]{8}", name) is not None
