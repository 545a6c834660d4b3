"""Archives of studies, which carry their runs to another machine and back."""

import io
import json
import re
import shutil
import tarfile
import tempfile
import warnings
import zlib
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from ganatomy import __version__
from ganatomy.data import Content
from ganatomy.recipes.recipe import DataSection
from ganatomy.runs.data import check_data, load_data
from ganatomy.runs.folder import Run
from ganatomy.storage.checksums import DamagedError
from ganatomy.studies.job import Job, run_name
from ganatomy.studies.study import reference_for
from ganatomy.studies.trainings import Training
from ganatomy.training.verify import verify

MARK = "archive.json"
"""The first file of an archive: the version that wrote it."""


def pack(archive: Path, out: Path, runs: Sequence[Training], whole: Container[Path]) -> None:
    """Write the studies of a folder, and runs, to an archive.

    Checkpoints of runs that are measured to the end are left out, and TensorBoard's files of all.

    Args:
        archive: file that ends in .tar.gz; it is replaced.
        out: folder of the studies.
        runs: the runs, as far as they have begun.
        whole: folders of runs whose checkpoints are kept anyway.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as place:
        made = Path(place) / archive.name
        with tarfile.open(made, "w:gz", compresslevel=1) as tar:
            mark = json.dumps({"ganatomy": __version__}).encode()
            head = tarfile.TarInfo(MARK)
            head.size = len(mark)
            tar.addfile(head, io.BytesIO(mark))
            for file in sorted(out.glob("*/*")):
                if file.is_file() and not file.name.startswith(".") and file.parent.name != "runs":
                    tar.add(file, file.relative_to(out))
            for run in runs:
                for file in _files(run, run.folder in whole):
                    tar.add(file, Path("runs") / run.folder.name / file.relative_to(run.folder))
        made.replace(archive)


def _files(run: Training, whole: bool) -> Iterator[Path]:
    """Return the files of a run that an archive has, if it has begun."""
    if not (run.folder / "recipe.json").exists():
        return
    try:
        finished = not whole and not run.unmeasured()
    except DamagedError:
        finished = False
    for file in sorted(run.folder.rglob("*")):
        inside = file.relative_to(run.folder).parts
        hidden = any(part.startswith(".") for part in inside) or inside[0] == "tensorboard"
        if file.is_file() and not hidden and not (finished and file.suffix == ".pt"):
            yield file


def unpack(archive: Path, out: Path, jobs: Sequence[Job]) -> None:
    """Add the runs of an archive to a folder of studies; a run that is further there stays.

    A damaged run is left out, with a warning.

    Args:
        archive: file that pack has written.
        out: folder of the studies.
        jobs: all jobs of the studies, to which the runs must belong.

    Raises:
        ValueError: naming the archive, if it is damaged or of another version, or the run in it
            that has another recipe, protocol or data. Nothing is added then.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".archive-") as place:
        found = Path(place)
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(found, filter="data")
            version = json.loads((found / MARK).read_text())["ganatomy"]
        except (OSError, tarfile.TarError, zlib.error, EOFError, LookupError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{archive} is not an intact archive of studies: {reason}") from error
        if version != __version__:
            raise ValueError(
                f"{archive} was made by ganatomy {version}, and this is {__version__}: use the "
                "same version, or start without the archive"
            )
        runs = [Run(path) for path in sorted((found / "runs").glob("*"))]
        good = _checked(archive, runs, jobs)
        for run in good:
            _add(run.path, out / "runs" / run.path.name)
        for file in sorted(found.glob("*/*")):
            to = out / file.relative_to(found)
            if file.is_file() and not to.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(file, to)


def _checked(archive: Path, runs: Sequence[Run], jobs: Sequence[Job]) -> list[Run]:
    """Return the runs that are intact."""
    by_name = {_base(job.folder.name): job for job in jobs}
    contents, fingerprints = dict[DataSection, Content](), dict[Any, str]()
    good = []
    for run in runs:
        where = f"{archive}: run {run.path.name}"
        try:
            damaged = [f"{file.file} {file.about}" for file in verify(run).damaged]
        except (DamagedError, ValueError) as error:
            damaged = [str(error)]
        if damaged:
            warnings.warn(f"{where} is damaged and left out: {damaged[0]}", stacklevel=4)
            continue
        recipe, rows = run.recipe, run.rows("metrics")
        job = by_name.get(_base(run.path.name))
        if job is None or run_name(recipe, run.options) != _base(run.path.name):
            raise ValueError(f"{where} has another recipe than the runs of the studies")
        if recipe.data not in contents:
            contents[recipe.data] = Content.of(load_data(recipe, job.options))
        try:
            check_data(run, recipe, job.options, contents[recipe.data])
        except ValueError as error:
            raise ValueError(f"{where} has other data: {error}") from error
        for row in rows:
            name, seed = row["protocol"].partition("+")[0], row["settings"]["seed"]
            key = (recipe.data, name, seed)
            if key not in fingerprints:
                ref = reference_for(recipe, name, job.options)
                fingerprints[key] = ref.protocol.replace(seed=seed).fingerprint
            if row["fingerprint"] != fingerprints[key]:
                raise ValueError(
                    f"{where} was measured by another protocol: {row['protocol']} "
                    f"{row['fingerprint']} there, {fingerprints[key]} here"
                )
        good.append(run)
    return good


def _base(name: str) -> str:
    """Return the name of a run without the length of one that was trained again."""
    return re.sub(r"-to-\d+$", "", name)


def _add(run: Path, to: Path) -> None:
    """Move a run to its place, unless the one there is as far or further."""
    if to.exists():
        if _progress(Run(to)) >= _progress(Run(run)):
            return
        shutil.rmtree(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(run, to)


def _progress(run: Run) -> tuple[int, int]:
    """Return the measurements and the steps of a run; none if it is damaged."""
    try:
        return len(run.rows("metrics")), int(run.newest("log").get("step", 0))
    except DamagedError:
        return -1, -1
