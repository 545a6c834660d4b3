"""EvaluationSettings: how images are measured. Readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ganatomy.validation import Range, check


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How images are measured.

    Raises:
        ValueError: for a value of the wrong type or range.
    """

    real: str | None = None
    """real images: a dataset or a path of images; None means those that the run was trained on"""
    protocol: str = "classifier-10k"
    """see: ganatomy protocols"""
    metrics: tuple[str, ...] = ()
    """values or groups, such as fid, prdc; none means all that the protocol can measure"""
    n: Annotated[int | None, Range(2, 10_000_000)] = None
    """number of samples; None means the protocol's number, or all images if there are fewer"""
    seed: Annotated[int | None, Range(0, 2**62)] = None
    """seed of the samples; None means the protocol's"""
    shape: tuple[int, ...] | None = None
    """channels, height and width that real images and samples are brought to; None means the
    run's"""
    weights: Literal["ema", "raw"] = "ema"
    """weights of the generator: averaged, if the recipe averages them, or raw"""
    skip_bad: bool = False
    """skip unreadable images of a path instead of stopping"""
    convert: Literal["none", "white", "black"] | None = None
    """background on which CMYK, 16-bit and transparent images of a path become 8-bit gray or RGB;
    none refuses them; by default the run's"""
    inception_weights: Path | None = None
    """file of Inception's weights; None means torch-fidelity's download"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    data_root: Path | None = None
    """folder of full datasets; None means the run's, else $GANATOMY_DATA or a cache folder"""
    data: Path | None = None
    """place of the run's own images; None means where they were when it was trained"""
    force: bool = False
    """measure too few samples, or with other Inception weights"""

    def __post_init__(self) -> None:
        check(self)
