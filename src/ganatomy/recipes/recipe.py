"""Recipe: the settings that decide the weights. RunOptions: device, logs and checkpoints.

A recipe is made of frozen sections. Each field is one line: its public name (used by flags, files,
grids and the key), its range, its default. Neither class needs torch.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ganatomy import validation
from ganatomy.validation import Range, check, flat, from_dict, public

Norm = Literal["batch", "batch_all", "none"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh"]
Optimizer = Literal["adam", "rmsprop", "sgd"]
Precision = Literal["fp32", "tf32", "bf16"]
Convert = Literal["none", "white", "black"]

_WEIGHT = Range(0, 1e6)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a recipe; values are checked when it is made."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class DataSection(Section):
    """The real images."""

    dataset: Annotated[str, public("dataset")] = "mnist"
    """name (see: ganatomy datasets), folder or file of images, or package.module:loader"""
    shape: Annotated[tuple[int, ...] | None, public("shape"), Range(1, 4096)] = None
    """channels, height and width that images are center-cropped and resized to; None keeps them"""
    convert: Annotated[Convert, public("data.convert", "--convert")] = "none"
    """background on which CMYK, 16-bit and transparent images of a path become 8-bit gray or RGB;
    none refuses them"""


@dataclass(frozen=True, kw_only=True)
class NetworkSection(Section):
    """Settings that both networks share."""

    model: Annotated[str, public("model")] = "mlp"
    """pair of networks by name (mlp, dcgan, sagan), or package.module:function"""
    z_dim: Annotated[int, public("z_dim"), Range(1, 65_536)] = 100
    """size of the latent vector"""
    latent: Annotated[Literal["normal", "uniform", "binary"], public("latent")] = "normal"
    """latent distribution: standard normal, uniform in [-1, 1], or -1 and 1 with equal chance"""
    spectral: Annotated[Literal["none", "d", "both"], public("spectral")] = "none"
    """networks with spectral normalization"""
    attention: Annotated[tuple[int, ...], public("attention"), Range(1, 4096)] = ()
    """side lengths of the feature maps that self-attention follows; mlp has none"""
    init: Annotated[Literal["pytorch", "dcgan", "xavier"], public("init")] = "pytorch"
    """initial weights: PyTorch's default, normal with deviation 0.02 (DCGAN), or Glorot uniform"""


@dataclass(frozen=True, kw_only=True)
class GeneratorSection(Section):
    """The generator and its optimizer."""

    widths: Annotated[tuple[int, ...], public("g_widths"), Range(1, 65_536)] = (256, 512)
    """hidden sizes (mlp), or one number of channels (dcgan, sagan)"""
    norm: Annotated[Norm, public("g_norm")] = "none"
    """normalization between layers"""
    dropout: Annotated[float, public("g_dropout"), Range(0, 1)] = 0.0
    """dropout probability of hidden activations"""
    activation: Annotated[Activation | None, public("g_activation")] = None
    """activation between layers; None takes the model's default"""
    optimizer: Annotated[Optimizer, public("opt_g")] = "adam"
    """optimizer"""
    lr: Annotated[float, public("lr_g"), Range(0, 10)] = 2e-4
    """learning rate"""
    steps: Annotated[int, public("g_steps"), Range(1, 1000)] = 1
    """updates per step"""
    ema: Annotated[float, public("ema"), Range(0, 1)] = 0.0
    """decay of the averaged weights that samples are drawn from; 0 turns averaging off"""


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSection(Section):
    """The discriminator and its optimizer."""

    widths: Annotated[tuple[int, ...], public("d_widths"), Range(1, 65_536)] = (512, 256)
    """hidden sizes (mlp), or one number of channels (dcgan, sagan)"""
    norm: Annotated[Norm, public("d_norm")] = "none"
    """normalization between layers; batch skips the first layer of dcgan, batch_all does not"""
    dropout: Annotated[float, public("d_dropout"), Range(0, 1)] = 0.0
    """dropout probability of hidden activations"""
    activation: Annotated[Activation | None, public("d_activation")] = None
    """activation between layers; None takes the model's default"""
    optimizer: Annotated[Optimizer, public("opt_d")] = "adam"
    """optimizer"""
    lr: Annotated[float, public("lr_d"), Range(0, 10)] = 2e-4
    """learning rate"""
    steps: Annotated[int, public("d_steps"), Range(1, 1000)] = 1
    """updates per step, each on its own batch"""
    clip: Annotated[float, public("clip"), _WEIGHT] = 0.0
    """weights are clipped to [-clip, clip] after each update; 0 turns clipping off"""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSection(Section):
    """The loss and the gradient penalties."""

    loss: Annotated[str, public("loss")] = "non_saturating"
    """adversarial loss by name, such as hinge or wasserstein, or package.module:loss"""
    real_label: Annotated[tuple[float, float], public("real_label"), Range(0, 1)] = (1.0, 1.0)
    """range of the discriminator's target for each real sample, low and high"""
    fake_label: Annotated[tuple[float, float], public("fake_label"), Range(0, 1)] = (0.0, 0.0)
    """range of the discriminator's target for each generated sample, low and high"""
    gp: Annotated[float, public("gp"), _WEIGHT] = 0.0
    """weight of the WGAN-GP penalty, between real and generated samples"""
    dragan: Annotated[float, public("dragan"), _WEIGHT] = 0.0
    """weight of the DRAGAN penalty, around real samples"""
    r1: Annotated[float, public("r1"), _WEIGHT] = 0.0
    """weight of R1: half the squared gradient norm at real samples"""
    r2: Annotated[float, public("r2"), _WEIGHT] = 0.0
    """weight of R2: half the squared gradient norm at generated samples"""
    penalty_every: Annotated[int, public("penalty_every"), Range(1, 1000)] = 1
    """discriminator updates between penalties, whose weights are multiplied by this number"""


@dataclass(frozen=True, kw_only=True)
class TrainingSection(Section):
    """Batches, length, schedule and seed."""

    batch: Annotated[int, public("batch"), Range(1, 1_000_000)] = 64
    """samples per update"""
    epochs: Annotated[float | None, public("epochs"), Range(1e-6, 1_000_000)] = None
    """length in passes over the data; give either epochs or steps"""
    steps: Annotated[int | None, public("steps"), Range(1, 1_000_000_000)] = None
    """length in steps of d_steps + g_steps updates; give either steps or epochs"""
    same_fakes: Annotated[bool, public("same_fakes")] = False
    """reuse the discriminator's last fakes for the generator's first update"""
    schedule: Annotated[Literal["constant", "linear", "cosine"], public("schedule")] = "constant"
    """decay of both learning rates, to 0 after the last step"""
    beta1: Annotated[float, public("beta1"), Range(0, 0.999999)] = 0.9
    """first Adam coefficient of both networks"""
    beta2: Annotated[float, public("beta2"), Range(0, 0.999999)] = 0.999
    """second Adam coefficient of both networks"""
    seed: Annotated[int, public("seed"), Range(0, 2**63 - 1)] = 0
    """seed of initial weights, batches, noise, labels and dropout"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights: equal recipes give equal weights on one machine.

    Make one from sections, or from public names with Recipe.of(model="dcgan", lr_g=1e-4, steps=9).

    Raises:
        ValueError: for a value of the wrong type or range, or fields that do not go together.
    """

    data: DataSection = DataSection()
    network: NetworkSection = NetworkSection()
    generator: GeneratorSection = GeneratorSection()
    discriminator: DiscriminatorSection = DiscriminatorSection()
    objective: ObjectiveSection = ObjectiveSection()
    training: TrainingSection = TrainingSection()

    def __post_init__(self) -> None:
        _check_length(self.training)
        _check_objective(self)
        shape = self.data.shape
        if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3)):
            raise ValueError(
                f"shape is channels (1 or 3), height and width, such as 3 64 64, got {shape}"
            )
        if self.training.batch == 1 and {self.generator.norm, self.discriminator.norm} != {"none"}:
            raise ValueError("batch norm needs batch >= 2; raise batch or set g_norm, d_norm none")

    @classmethod
    def of(cls, **fields: Any) -> "Recipe":
        """Make a recipe from public names, such as lr_g; all other fields keep their defaults.

        Raises:
            ValueError: for an unknown name (naming the nearest), or as the class does.
        """
        return from_dict(cls, fields)

    def replace(self, **fields: Any) -> "Recipe":
        """Return a copy with some fields changed, by public name.

        A new length replaces steps and epochs alike.

        Raises:
            ValueError: as Recipe.of does.
        """
        if ("steps" in fields) != ("epochs" in fields):
            fields = {"steps": None, "epochs": None} | fields
        return from_dict(Recipe, flat(self) | fields)

    def total_steps(self, n: int) -> int:
        """Number of steps on n samples; an epoch sees each sample at least once."""
        if self.training.steps is not None:
            return self.training.steps
        assert self.training.epochs is not None
        return max(1, math.ceil(self.training.epochs * n / self.images_per_step))

    @property
    def images_per_step(self) -> int:
        """Real samples that one step reads."""
        return self.training.batch * self.discriminator.steps

    @property
    def key(self) -> str:
        """Eight characters that name this recipe on disk, see validation.key."""
        return validation.key(self)

    @property
    def key_without_length(self) -> str:
        """Eight characters that recipes share if they differ in steps or epochs only."""
        return self.replace(steps=1).key


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Device, logs, samples, checkpoints and evaluations of a run; the recipe is independent.

    Raises:
        ValueError: for a value of the wrong type or range.
    """

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    threads: Annotated[int | None, Range(1, 4096)] = None
    """CPU threads; None lets PyTorch choose"""
    precision: Precision = "fp32"
    """type of matrix products and convolutions; bf16 is faster on some machines (see doctor), tf32
    needs a CUDA device"""
    fast: bool = False
    """on a CUDA device, allow algorithms whose results differ from one call to the next"""
    log_every: Annotated[int, Range(1, math.inf)] = 50
    """steps between rows of log.jsonl"""
    sample_every: Annotated[int | None, Range(1, math.inf)] = None
    """steps between sample grids; None means once per epoch"""
    save_every: Annotated[int | None, Range(1, math.inf)] = None
    """steps between checkpoints; None means once per epoch"""
    eval_every: Annotated[int | None, Range(1, math.inf)] = None
    """steps between evaluations; None means no evaluation during training"""
    eval_protocol: str = "classifier-10k"
    """protocol of these evaluations; see: ganatomy protocols"""
    save_at: Annotated[tuple[int, ...], Range(1, math.inf)] = ()
    """further steps with a checkpoint, which is not removed, and a sample grid"""
    keep: Annotated[int, Range(0, math.inf)] = 3
    """newest checkpoints to keep; 0 keeps all"""
    keep_best: bool = False
    """also keep the checkpoint with the lowest Fréchet distance measured by eval_every"""
    skip_bad: bool = False
    """skip unreadable images of a path instead of stopping"""
    data_root: Path | None = None
    """folder of full datasets; None means $GANATOMY_DATA, else the user's cache folder"""
    data: Path | None = None
    """place of the recipe's own images: a folder, zip, tar or npz with the digest in its dataset"""

    def __post_init__(self) -> None:
        check(self)


def data_source(recipe: Recipe, options: RunOptions) -> str:
    """Return the dataset or path that data are loaded from: the options' path, if they have one."""
    return str(options.data or recipe.data.dataset)


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Map each field in which two recipes differ, by public name, to its two values."""
    a, b = validation.to_dict(old), validation.to_dict(new)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


def _check_length(training: TrainingSection) -> None:
    if (training.steps is None) == (training.epochs is None):
        given = "both" if training.steps is not None else "neither"
        raise ValueError(f"set the length of the training: steps or epochs, got {given}")


def _check_objective(recipe: Recipe) -> None:
    """Raise ValueError for label ranges, penalties and bounds that do not go together."""
    objective, d_norm = recipe.objective, recipe.discriminator.norm
    for name in ("real_label", "fake_label"):
        low, high = flat(objective)[name]
        if low > high:
            raise ValueError(f"{name} is a range, low before high, got {low:g} {high:g}")
    penalties = [name for name in ("gp", "dragan", "r1", "r2") if flat(objective)[name]]
    if penalties and d_norm != "none":
        raise ValueError(
            f"{penalties[0]} needs the gradient of each sample alone, but d_norm {d_norm} mixes "
            "the samples of a batch; set d_norm none"
        )
    if recipe.discriminator.clip and recipe.network.spectral != "none":
        raise ValueError("clip and spectral both bound D's weights; set clip 0 or spectral none")
    if objective.penalty_every > 1 and not penalties:
        raise ValueError(
            "penalty_every is the interval of gp, dragan, r1 and r2, which are all 0; set one of "
            "them, or penalty_every 1"
        )
