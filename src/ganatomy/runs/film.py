"""Samples of one seed from every checkpoint of a run, as the frames of a film."""

import io
import math
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from ganatomy.figures.images import grid, scatter, to_uint8
from ganatomy.runs.folder import Run
from ganatomy.runs.sampling import check_suffix, generate, load_generator
from ganatomy.storage.checksums import DamagedError
from ganatomy.storage.files import write_atomic

SUFFIXES = (".gif", ".mp4")

SECONDS = 6
"""Length of a film, unless that needs frames shorter or longer than FRAME allows."""

FRAME = (0.04, 0.5)
"""Seconds of a frame: least and most."""


def frames(run: Run, n: int, seed: int) -> dict[int, Image.Image]:
    """Return an image of the same n latent vectors for the step of each checkpoint.

    Damaged checkpoints are left out with a warning.

    Raises:
        ValueError: for fewer than two checkpoints.
    """
    found = {}
    for file in run.checkpoints():
        try:
            step, generator = load_generator(run, file)
        except DamagedError as error:
            warnings.warn(f"left out of the film: {error}", stacklevel=2)
            continue
        found[step] = _frame(generate(generator, n, run.recipe, seed))
    if len(found) < 2:
        raise ValueError(
            f"a film needs two checkpoints or more, and {run.path} has {len(found)}; keep all of "
            "them when training: --keep 0"
        )
    return found


def _frame(samples: Tensor) -> Image.Image:
    if samples.ndim == 2:
        return Image.open(io.BytesIO(scatter(samples))).convert("RGB")
    laid = grid(to_uint8(samples), math.ceil(len(samples) ** 0.5)).permute(1, 2, 0).numpy()
    return Image.fromarray(laid[:, :, 0] if laid.shape[2] == 1 else laid)


def save_film(path: str | Path, images: Sequence[Image.Image]) -> Path:
    """Write frames to a .gif, or to an .mp4 by the program ffmpeg.

    Raises:
        ValueError: for another suffix, or if ffmpeg is not installed or fails.
    """
    path = check_suffix(path, *SUFFIXES)
    seconds = min(max(SECONDS / len(images), FRAME[0]), FRAME[1])
    write_atomic(path, (_gif if path.suffix == ".gif" else _mp4)(images, seconds))
    return path


def _gif(images: Sequence[Image.Image], seconds: float) -> bytes:
    file = io.BytesIO()
    duration = round(seconds * 100) * 10  # GIF counts hundredths of a second
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return file.getvalue()


def _mp4(images: Sequence[Image.Image], seconds: float) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError("mp4 needs the program ffmpeg, which is not installed; write a .gif")
    width, height = images[0].size
    pixels = b"".join(image.convert("RGB").tobytes() for image in images)
    pixel, rate = ["-pix_fmt", "rgb24"], f"{1 / seconds:.3f}"
    given = ["-f", "rawvideo", *pixel, "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    pad = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]  # as yuv420p has sides of even length
    made = [*pad, "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "film.mp4"
        command = [program, "-loglevel", "error", *given, *made, str(out)]
        done = subprocess.run(command, input=pixels, capture_output=True, check=False)
        if done.returncode:
            reason = " ".join(done.stderr.decode(errors="replace").split())[:160]
            raise ValueError(f"ffmpeg failed ({reason}); write a .gif")
        return out.read_bytes()
