"""Rules of a diagnosis: signs of a failure in logged values and in measured values.

To add one, write its function and add an entry to LOG_RULES or MEASURE_RULES. The thresholds are
tested in both directions: planted failures must be named, and healthy runs must not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

WINDOW = 20
"""Logged rows whose medians a rule gets, because single steps are noisy."""

ABSENT = 19
"""Images that the missing classes should have had together, so that their absence is no chance: as
many as three of ten classes in a grid of 64."""

VANISHED = 0.02
"""Norm of G's gradient below which G hardly changes; in working GANs it is some tenths or more."""


@dataclass(frozen=True)
class Rule:
    """A sign of a failure, and advice."""

    needs: tuple[str, ...]
    """values that the rule cannot do without"""
    sign: Callable[[Any], str | None]
    """function of a Window or of measured values that returns the evidence, or None"""
    advice: str
    """remedies to try"""


class Window(NamedTuple):
    """Medians of logged values, of which a log rule is a function."""

    now: dict[str, float]
    """medians of WINDOW consecutive rows"""
    first: dict[str, float]
    """medians of the run's first WINDOW rows"""
    label_gap: float
    """distance of real and fake labels, which is the largest that D(x) - D(G(z)) tends to; 0 if the
    discriminator returns scores, which have no scale"""


def domination(w: Window) -> str | None:
    """D separates real from fake nearly always, so that G learns little."""
    if w.label_gap <= 0 or w.now["d_real"] - w.now["d_fake"] < 0.94 * w.label_gap:
        return None
    return f"median D(x) {w.now['d_real']:.3f}, D(G(z)) {w.now['d_fake']:.3f}"


def vanishing(w: Window) -> str | None:
    """G's gradient is almost 0 while D rejects all samples (Goodfellow et al. 2014, section 3)."""
    gradient = w.now["g_grad"]
    if w.label_gap <= 0 or w.now["d_fake_after"] > 0.05 or gradient > VANISHED:
        return None
    return f"norm of G's gradient {gradient:.1e}, D(G(z)) {w.now['d_fake_after']:.1e}"


def divergence(w: Window) -> str | None:
    """A loss is far above those of any working GAN, perhaps from the first row on."""
    for name in ("d_loss", "g_loss"):
        now, first = abs(w.now[name]), abs(w.first[name])
        if now > 1000 or (w.label_gap > 0 and now > max(25, 10 * first)):
            return f"median {name} {w.now[name]:.4g}, {w.first[name]:.2g} at the start"
    return None


def collapse(values: dict[str, float]) -> str | None:
    """Samples are of few classes, or of few images. Losses do not show it, samples do."""
    signs = _repeats(values)
    if noise(values):  # a classifier finds noise much alike, and of one class
        return None
    if values.get("absent", 0) >= ABSENT and values.get("chi2_p", 0) < 1e-6:
        signs.insert(0, f"{values['missing']:.0f} classes missing")
    if values.get("class_diversity", 1) < 0.3:
        signs.append(f"in a class {values['class_diversity']:.2f} times as varied as real")
    if values.get("near_duplicates", 0) > 0.3:
        signs.append(f"{values['near_duplicates']:.0%} of the samples nearly equal to another")
    return ", ".join(signs) or None


def noise(values: dict[str, float]) -> str | None:
    """Samples vary, but none of them is like the data."""
    pixels = values["pixel_diversity"]
    if _repeats(values):
        return None
    if "precision" in values:
        if values["precision"] > 0.02:
            return None
        return f"precision {values['precision']:.3f}, pixels {pixels:.2f} times as varied as real"
    # a sample grid has no precision; of all failures only noise varies more than the data
    if pixels < 1.05 or values["diversity"] > 0.4:
        return None
    return f"pixels {pixels:.2f} times as varied as real, features {values['diversity']:.2f} times"


def memorization(values: dict[str, float]) -> str | None:
    """Samples are training images."""
    signs = []
    if values["copies"] > 0.01:
        signs.append(f"{values['copies']:.0%} of the samples equal a reference image")
    if values.get("memorized", 0) > 0.2:
        signs.append(
            f"{values['memorized']:.0%} are nearer to one than all but 1 % of held-out images are"
        )
    return ", ".join(signs) or None


def _repeats(values: dict[str, float]) -> list[str]:
    """Return signs in the pixels that images repeat, whether or not they are like the data."""
    signs = []
    if values["pixel_diversity"] < 0.5:
        signs.append(f"pixels {values['pixel_diversity']:.2f} times as varied as real")
    if values.get("exact_duplicates", 0) > 0.05:
        signs.append(f"{values['exact_duplicates']:.0%} of the samples are equal to another")
    return signs


LOG_RULES: dict[str, Rule] = {
    "discriminator domination": Rule(
        ("d_real", "d_fake"),
        domination,
        "lower --lr_d, add --d_dropout 0.3, soften --real_label 0.9 0.9, or give G more --g_steps",
    ),
    "vanishing generator gradient": Rule(
        ("g_grad", "d_fake_after"),
        vanishing,
        "use --loss non_saturating, or weaken D as for its domination",
    ),
    "divergence": Rule(("d_loss", "g_loss"), divergence, "lower --lr_g and --lr_d, or --beta1 0.5"),
}
"""name -> rule over a Window of logged values"""

MEASURE_RULES: dict[str, Rule] = {
    "mode collapse": Rule(
        ("diversity", "pixel_diversity"),
        collapse,
        "go back to a checkpoint before it; lower --lr_g, try --g_norm batch, a larger --batch, "
        "or another seed",
    ),
    "noise": Rule(
        ("diversity", "pixel_diversity"),
        noise,
        "train on; if it has been so for long, look at the losses and the images",
    ),
    "memorization": Rule(("copies",), memorization, "train on more images, or stop earlier"),
}
"""name -> rule over the values of one evaluation"""
