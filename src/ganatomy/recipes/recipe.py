"""Recipe is science, Options is circumstance: flat, checked, frozen, readable without torch."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganatomy import validation
from ganatomy.validation import check, to_dict

Norm = Literal["batch", "batch_all", "none"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh"]
Optimizer = Literal["adam", "rmsprop", "sgd"]
Precision = Literal["fp32", "bf16"]

_LIMITS: dict[str, tuple[float, float]] = {
    "shape": (1, 4096),
    "z_dim": (1, 65_536),
    "g_widths": (1, 65_536),
    "d_widths": (1, 65_536),
    "g_dropout": (0, 1),
    "d_dropout": (0, 1),
    "attention": (1, 4096),
    "gp": (0, 1e6),
    "dragan": (0, 1e6),
    "r1": (0, 1e6),
    "r2": (0, 1e6),
    "penalty_every": (1, 1000),
    "clip": (0, 1e6),
    "real_label": (0, 1),
    "fake_label": (0, 1),
    "batch": (1, 1_000_000),
    "epochs": (1e-6, 1_000_000),
    "steps": (1, 1_000_000_000),
    "d_steps": (1, 1000),
    "g_steps": (1, 1000),
    "lr_g": (0, 10),
    "lr_d": (0, 10),
    "beta1": (0, 0.999999),
    "beta2": (0, 0.999999),
    "ema": (0, 1),
    "seed": (0, 2**63 - 1),
    "threads": (1, 4096),
    "log_every": (1, math.inf),
    "sample_every": (1, math.inf),
    "save_every": (1, math.inf),
    "eval_every": (1, math.inf),
    "keep": (0, math.inf),
}
"""Smallest and largest value of each numeric field of Recipe and Options."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained. Two runs of equal recipes on one machine give equal weights."""

    # data
    dataset: str = "mnist"
    """name in DATASETS (see: ganatomy datasets), or a folder, zip, tar or npz of pictures"""
    shape: tuple[int, ...] | None = None
    """channels, height, width that pictures are cut (about their centre) and resized to; None:
    as they are"""

    # networks
    model: str = "mlp"
    """name in MODELS: mlp, dcgan or sagan"""
    z_dim: int = 100
    """size of the latent vector"""
    latent: Literal["normal", "uniform", "binary"] = "normal"
    """what it is drawn from: standard normal, uniform in [-1, 1], or a fair -1 or 1 for each"""
    g_widths: tuple[int, ...] = (256, 512)
    """generator: mlp takes the size of each hidden layer, dcgan and sagan one number of channels
    (the reports' gh)"""
    d_widths: tuple[int, ...] = (512, 256)
    """discriminator: as g_widths (the reports' dh)"""
    g_norm: Norm = "none"
    """normalisation between the generator's layers"""
    d_norm: Norm = "none"
    """normalisation between the discriminator's layers; dcgan's batch leaves out the first one, as
    its paper does, batch_all does not"""
    g_dropout: float = 0.0
    """chance of dropping each hidden activation of the generator"""
    d_dropout: float = 0.0
    """chance of dropping each hidden activation of the discriminator"""
    g_activation: Activation | None = None
    """between the generator's layers; None: the model's own"""
    d_activation: Activation | None = None
    """between the discriminator's layers; None: the model's own"""
    spectral: Literal["none", "d", "both"] = "none"
    """whose weights are divided by their spectral norm"""
    attention: tuple[int, ...] = ()
    """sides of the feature maps after which both networks attend to themselves; not in mlp"""
    init: Literal["pytorch", "dcgan", "xavier"] = "pytorch"
    """initial weights: PyTorch's own, DCGAN's normal ones of deviation 0.02, or Glorot's uniform"""

    # objective
    loss: str = "non_saturating"
    """name in LOSSES: non_saturating, minimax, least_squares, hinge, wasserstein or relativistic"""
    real_label: tuple[float, float] = (1.0, 1.0)
    """range from which D's target for each real sample is drawn"""
    fake_label: tuple[float, float] = (0.0, 0.0)
    """range from which D's target for each generated sample is drawn"""
    gp: float = 0.0
    """weight of WGAN-GP's penalty: D's gradient norm to 1 between real and generated samples"""
    dragan: float = 0.0
    """weight of DRAGAN's penalty: the same around real samples"""
    r1: float = 0.0
    """weight of R1: half the squared norm of D's gradient at real samples"""
    r2: float = 0.0
    """weight of R2: the same at generated samples"""
    penalty_every: int = 1
    """updates of D between those with penalties, which then weigh as many times more"""
    clip: float = 0.0
    """after each update D's weights are clipped to [-clip, clip]; 0: they are not"""

    # optimisation
    batch: int = 64
    """samples per update"""
    epochs: float | None = None
    """length of the training in passes over the data; give this or steps"""
    steps: int | None = None
    """length of the training in steps (each d_steps + g_steps updates); give this or epochs"""
    d_steps: int = 1
    """discriminator updates per step, each on a batch of its own"""
    g_steps: int = 1
    """generator updates per step"""
    same_fakes: bool = False
    """let G's first update be on the fakes of D's last one, as in the textbook, not on new ones"""
    opt_g: Optimizer = "adam"
    """the generator's optimiser"""
    opt_d: Optimizer = "adam"
    """the discriminator's optimiser"""
    lr_g: float = 2e-4
    """learning rate of the generator"""
    lr_d: float = 2e-4
    """learning rate of the discriminator"""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """how both learning rates fall, from the first step to 0 after the last"""
    beta1: float = 0.9
    """of Adam; of both networks"""
    beta2: float = 0.999
    """of Adam; of both networks"""
    ema: float = 0.0
    """decay of the averaged generator that samples are drawn from; 0 means no averaging"""
    seed: int = 0
    """decides initial weights, batches, noise, labels and dropout"""

    def __post_init__(self) -> None:
        check(self, _LIMITS)
        if (self.steps is None) == (self.epochs is None):
            given = "both" if self.steps is not None else "neither"
            raise ValueError(f"say how long to train: steps or epochs, got {given}")
        for name in ("real_label", "fake_label"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is a range, low before high, got {low:g} {high:g}")
        if self.batch == 1 and {self.g_norm, self.d_norm} != {"none"}:
            raise ValueError("batch norm needs batch >= 2; raise batch or set g_norm, d_norm none")
        if self.shape is not None and (len(self.shape) != 3 or self.shape[0] not in (1, 3)):
            raise ValueError(
                f"shape is channels (1 or 3), height and width, such as 3 64 64, got {self.shape}"
            )
        penalties = [name for name in ("gp", "dragan", "r1", "r2") if getattr(self, name)]
        if penalties and self.d_norm != "none":
            raise ValueError(
                f"{penalties[0]} looks at the gradient of each sample by itself, which d_norm "
                f"{self.d_norm} mixes with that of others; set d_norm none"
            )
        if self.clip and self.spectral != "none":
            raise ValueError(
                "clip and spectral both bound D's weights; set clip 0 or spectral none"
            )
        if self.penalty_every > 1 and not penalties:
            raise ValueError(
                "penalty_every says how often gp, dragan, r1 and r2 are added, and all are 0; set "
                "one of them, or penalty_every 1"
            )

    def but(self, **changes: Any) -> "Recipe":
        """Return a copy with some fields changed; a new length replaces steps and epochs alike."""
        if ("steps" in changes) != ("epochs" in changes):
            changes = {"steps": None, "epochs": None} | changes
        return dataclasses.replace(self, **changes)

    def total_steps(self, n: int) -> int:
        """Steps that this recipe takes on n samples; an epoch sees each of them at least once."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * n / self.images_per_step))

    @property
    def images_per_step(self) -> int:
        """Real samples that one step reads."""
        return self.batch * self.d_steps

    @property
    def key(self) -> str:
        """Eight characters that name this recipe on disk, see validation.key."""
        return validation.key(self)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is carried out. None of it changes what the recipe means."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    threads: int | None = None
    """CPU threads; None lets PyTorch choose"""
    precision: Precision = "fp32"
    """of the networks' products and convolutions: bf16 is faster where the machine has it (see:
    ganatomy doctor); weights, losses, optimisers and spectral norms are fp32 in both"""
    log_every: int = 50
    """steps between rows of log.jsonl"""
    sample_every: int | None = None
    """steps between sample grids; None means every epoch"""
    save_every: int | None = None
    """steps between checkpoints; None means every epoch"""
    eval_every: int | None = None
    """steps between measurements of the newest samples; None means none while training"""
    eval_protocol: str = "judge-10k"
    """how they are measured; see: ganatomy protocols"""
    keep: int = 3
    """newest checkpoints to keep; 0 keeps them all"""
    keep_best: bool = False
    """keep, besides, the checkpoint of least Fréchet distance that eval_every has measured"""
    skip_bad: bool = False
    """leave out pictures of a path that cannot be used, rather than stop"""
    data_root: Path | None = None
    """folder of full datasets; None means $GANATOMY_DATA, else a cache folder of the user"""

    def __post_init__(self) -> None:
        check(self, _LIMITS)


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Map each field in which two recipes differ to its two values."""
    a, b = to_dict(old), to_dict(new)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}
