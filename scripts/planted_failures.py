"""Plant failures, measure them, and write the tables of docs/diagnose.md.

python scripts/planted_failures.py DATA_ROOT [--json FILE] [--runs RUN ...]
DATA_ROOT contains MNIST/raw. --json writes the results to a file instead of the page. Runs are
diagnosed as by `ganatomy diagnose`, in a table of their own.
"""

import argparse
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from planting import BASIC, GENERATORS, TRAININGS, Pools
from tables import machine, number, put, table
from torch import Tensor

from ganatomy.data import load
from ganatomy.evaluation import evaluate
from ganatomy.evaluation.diagnose import DIAGNOSTIC_METRICS, diagnose, diagnose_run
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.rules import WINDOW
from ganatomy.figures.images import GRID
from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.training.loop import fit

SHOWN = (
    "missing",
    "diversity",
    "pixel_diversity",
    "class_diversity",
    "precision",
    "near_duplicates",
    "memorized",
)
"""Values of the first table."""

LOOKS = {2048: 3, GRID: 20}
"""number of images -> number of measurements of each generator, on different images"""

LOGGED = ("d_real", "d_fake_after", "d_loss", "g_loss", "g_grad")


def diagnosed_generators(pools: Pools, ref: Reference) -> list[dict[str, Any]]:
    """Measure and diagnose each generator."""
    found = []
    for name, generator in GENERATORS.items():
        row: dict[str, Any] = {"generator": name}
        for n, times in LOOKS.items():
            looks = []
            for seed in range(times):
                pixels = generator(pools, n, torch.Generator().manual_seed(seed))
                looks.append(measure(pixels, n, ref))
            row[str(n)] = [[d.name for d in diagnose(BASIC, [], [look])] for look in looks]
            if n > GRID:
                row["values"] = dict(looks[0])
        print(name, row["2048"], Counter(map(tuple, row[str(GRID)])), flush=True)
        found.append(row)
    return found


def measure(pixels: Tensor, n: int, ref: Reference) -> Evaluation:
    """Measure with the metrics of a diagnosis, or of a grid."""
    if n == GRID:
        return evaluate.evaluate_grid(pixels, ref).replace(step=1)
    return evaluate.evaluate(pixels, ref, DIAGNOSTIC_METRICS).replace(step=1)


def false_alarms(pools: Pools, ref: Reference) -> dict[str, int]:
    """Count disjoint draws of all test digits, and those with a diagnosis."""
    order = torch.randperm(len(pools.test), generator=torch.Generator().manual_seed(99))
    counts: dict[str, int] = {}
    for n in LOOKS:
        parts = [p for p in pools.test.values[order].split(n) if len(p) == n]
        named = [diagnose(BASIC, [], [measure(p, n, ref)]) for p in parts]
        counts |= {f"draws of {n}": len(parts), f"named of {n}": sum(map(bool, named))}
    return counts


def trained() -> list[dict[str, Any]]:
    """Train each small GAN, and diagnose its log."""
    options = RunOptions(
        log_every=5, sample_every=10**6, save_every=10**6, threads=1, device="cpu", keep=1
    )
    found = []
    for name, (changed, recipe) in TRAININGS.items():
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fit(recipe, Path(folder) / "run", options)
            except FloatingPointError as error:
                print(error)
            run = Run.open(Path(folder) / "run")
            logs, failure = run.rows("log"), run.sessions[-1].get("failure")
        rows = np.array([[row[k] for k in LOGGED] for row in logs[-WINDOW:]] or [[np.nan] * 5])
        diagnoses = [d.to_dict() for d in diagnose(recipe, logs, [], failure)]
        print(name, [d["name"] for d in diagnoses], flush=True)
        medians = dict(zip(LOGGED, np.median(rows, axis=0).tolist(), strict=True))
        last = logs[-1]["step"] if logs else 0
        about = {"training": name, "changed": changed, "key": recipe.key, "steps": last}
        found.append(about | {"diagnoses": diagnoses, "values": medians})
    return found


def diagnosed(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Diagnose runs as the command does."""
    found = []
    for folder in folders:
        run = diagnose_run(Run.open(folder))
        found.append(
            {
                "run": folder.name,
                "step": run.evaluations[-1].step,
                "looks": len(run.evaluations),
                "diagnoses": [d.to_dict() for d in run],
            }
        )
    return found


def written(found: dict[str, Any]) -> str:
    """Write all tables and the machine."""
    real = found["real"]
    parts = [
        _generators(found["generators"]),
        f"All real test digits in disjoint draws: {real['named of 2048']} of "
        f"{real['draws of 2048']} draws of 2,048 samples and {real[f'named of {GRID}']} of "
        f"{real[f'draws of {GRID}']} draws of {GRID}\nsamples had a diagnosis.",
        _trainings(found["trainings"]),
        _runs(found["runs"]) if found["runs"] else "",
        machine(),
    ]
    return "\n\n".join(filter(None, parts))


def _generators(rows: Sequence[dict[str, Any]]) -> str:
    def said(names: Sequence[Sequence[str]]) -> str:
        counted = Counter(" and ".join(n) or "nothing" for n in names)
        return ", ".join(f"{what} {times}/{len(names)}" for what, times in counted.most_common())

    named = ("diagnosis of 2,048 samples", f"diagnosis of {GRID} samples")
    return table(
        ["generator", *named, *(k.replace("_", " ") for k in SHOWN)],
        [
            [
                row["generator"],
                said(row["2048"]),
                said(row[str(GRID)]),
                *(number(row["values"][k]) for k in SHOWN),
            ]
            for row in rows
        ],
    )


def _trainings(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        ["training", "changed", "steps", "diagnosis", *(f"`{k}`" for k in LOGGED)],
        [
            [
                row["training"],
                f"`{row['changed']}`" if row["changed"] else "nothing",
                f"{row['steps']:,}",
                _since(row["diagnoses"]),
                *(number(row["values"][k]) for k in LOGGED),
            ]
            for row in rows
        ],
    )


def _runs(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        ["run", "at step", "measurements", "diagnosis"],
        [
            [row["run"], f"{row['step']:,}", str(row["looks"]), _since(row["diagnoses"])]
            for row in rows
        ],
    )


def _since(diagnoses: Sequence[dict[str, Any]]) -> str:
    """Write the names of diagnoses with their ranges of steps."""
    ends = ["" if d["until"] is None else f" to {d['until']:,}" for d in diagnoses]
    stretches = [
        f"{d['name']} from step {d['begins']:,}{end}"
        for d, end in zip(diagnoses, ends, strict=True)
    ]
    return "; ".join(stretches) or "nothing"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    pools = Pools(
        load("mnist10k", given.data_root, "train"), load("mnist", given.data_root, "test")
    )
    ref = reference(preset("classifier-2k"), "mnist10k", EvalOptions(given.data_root))
    found = {
        "trainings": trained(),
        "generators": diagnosed_generators(pools, ref),
        "real": false_alarms(pools, ref),
        "runs": diagnosed(given.runs),
    }
    if given.json:
        given.json.write_text(json.dumps(found))
    else:
        put(written(found), "diagnose.md")


if __name__ == "__main__":
    main()
