"""How often the intervals of an evaluation hold the truth: python benchmarks/coverage.py [--trials 2000].

Data sets are drawn whose population is known, the product's own function makes intervals of each, and it is counted how
often those hold the population's value. Beside it the same function with every image counted as a patient of its own.
Writes coverage.md and coverage.json into the output folder, after each cell anew.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from medimg.evaluation.intervals import intervals
from medimg.evaluation.metrics import all_metrics
from medimg.evaluation.support import FLOOR
from medimg.evaluation.units import Units
from medimg.files import write_json, write_text

REQUIRED = ("accuracy", "f1_macro", "sensitivity/c1", "auroc")
METRICS = (*REQUIRED, "precision/c1", "mcc", "average_precision")
MOST_IMAGES = 6
HARDNESS = {2: (1.0, 1.0), 3: (1.25, 1.0, 0.8)}
IMAGE_LEVEL_EVERY = 4
POPULATION = 2_000_000


@dataclass(frozen=True)
class Cell:
    """A population and the size of the samples that are drawn from it."""

    classes: int
    patients: int
    correlation: float
    accuracy: float


@dataclass(frozen=True)
class Task:
    """What one process does at a time."""

    number: int
    cell: Cell
    trials: int
    resamples: int


def grid() -> list[Cell]:
    """Two classes over everything, three with one correlation."""
    sizes, accuracies = (25, 50, 100, 200), (0.7, 0.85, 0.95)
    two = [Cell(2, *values) for values in product(sizes, (0.0, 0.3, 0.6), accuracies)]
    return two + [Cell(3, *values) for values in product(sizes, (0.3,), accuracies)]


def draw(
    cell: Cell, patients: int, images: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Logits [N, K], labels and patients' numbers [N] of so many patients in each class with these numbers of images.

    A logit is the class's shift where it is the true one, plus a normal variable with variance 1, of which the share
    `correlation` is the patient's own and common to all of its images.
    """
    codes = np.repeat(np.arange(patients * cell.classes), images)
    labels = codes // patients
    own = generator.normal(size=(patients * cell.classes, cell.classes))[codes]
    noise = generator.normal(size=(len(codes), cell.classes))
    logits = np.sqrt(cell.correlation) * own + np.sqrt(1 - cell.correlation) * noise
    logits[np.arange(len(codes)), labels] += shifts(cell.classes, cell.accuracy)[labels]
    return logits, labels, codes


@cache
def shifts(classes: int, accuracy: float) -> NDArray[np.float64]:
    """How far the true class is ahead, for each class, so that the mean sensitivity is the accuracy."""
    hardness = np.array(HARDNESS[classes])
    places, step = np.linspace(-9, 9, 4001, retstep=True)
    density = np.exp(-(places**2) / 2) / np.sqrt(2 * np.pi)

    def excess(shift: float) -> float:
        ahead = ndtr(places + shift * hardness[:, None]) ** (classes - 1)
        return float((density * ahead).sum() * step / classes) - accuracy

    return float(brentq(excess, 0, 20)) * hardness


@cache
def truth(classes: int, accuracy: float) -> dict[str, float]:
    """The population's metrics, from two million images; neither correlation nor sample size moves them.

    Their standard error is below a thirtieth of that of the largest samples.
    """
    cell = Cell(classes, 0, 0.0, accuracy)
    each = POPULATION // classes
    images = np.ones(each * classes, dtype=np.int64)
    logits, labels, _ = draw(cell, each, images, np.random.default_rng(0))
    return all_metrics(logits, labels, names(classes))


def names(classes: int) -> list[str]:
    """c0, c1, ..."""
    return [f"c{number}" for number in range(classes)]


def measure(task: Task) -> dict[str, Any]:
    """Coverage and mean width of one cell, in a dictionary for JSON."""
    cell, known = task.cell, truth(task.cell.classes, task.cell.accuracy)
    by_patient: list[Sequence[tuple[float, float]]] = []
    by_image: list[Sequence[tuple[float, float]]] = []
    for trial in range(task.trials):
        generator = np.random.default_rng([1, task.number, trial])
        images = generator.integers(1, MOST_IMAGES + 1, cell.patients * cell.classes)
        logits, labels, codes = draw(cell, cell.patients, images, generator)
        patients = Units(codes, "patient", len(images))
        by_patient.append(_ends(logits, labels, patients, task, trial))
        if trial % IMAGE_LEVEL_EVERY == 0:
            single = Units(np.arange(len(labels)), "image", len(labels))
            by_image.append(_ends(logits, labels, single, task, trial))
    held, image_held = (_summary(found, known) for found in (by_patient, by_image))
    return {**asdict(cell), "trials": task.trials, "truth": {m: known[m] for m in METRICS}} | {
        "coverage": held["coverage"], "too_low": held["too_low"], "too_high": held["too_high"], "width": held["width"],
        "coverage_by_image": image_held["coverage"],
    }  # fmt: skip


def _ends(
    logits: NDArray[np.float64], labels: NDArray[np.int64], units: Units, task: Task, trial: int
) -> list[tuple[float, float]]:
    found = intervals(
        logits,
        labels,
        names(task.cell.classes),
        None,
        units,
        resamples=task.resamples,
        seed=task.number * 100_000 + trial,
    )
    return [found.ci.get(metric, (np.nan, np.nan)) for metric in METRICS]


def _summary(found: Sequence[Sequence[tuple[float, float]]], known: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """An interval that is not given counts as one that does not hold the truth."""
    low, high = np.moveaxis(np.array(found), 2, 0)
    value = np.array([known[metric] for metric in METRICS])
    parts = {
        "coverage": ((low <= value) & (value <= high)).mean(axis=0),
        "too_low": (high < value).mean(axis=0),
        "too_high": (low > value).mean(axis=0),
        "width": (high - low).mean(axis=0),
    }
    return {name: dict(zip(METRICS, map(float, part), strict=True)) for name, part in parts.items()}


def page(rows: Sequence[Mapping[str, Any]], trials: int, resamples: int) -> str:
    """The Markdown page."""
    error = 100 * np.sqrt(0.95 * 0.05 / trials)
    kept = [100 * row["coverage"][metric] for row in rows if row["patients"] >= FLOOR for metric in REQUIRED]
    span = (
        f"From {FLOOR} patients a class on it lies between {min(kept):.1f} and {max(kept):.1f} % for " if kept else ""
    )
    return "\n".join([
        "# How often the 95 % intervals hold the truth",
        "",
        f"`python benchmarks/coverage.py --trials {trials} --resamples {resamples}`",
        "",
        *_explained(trials, resamples, error, span),
        "",
        *_table(rows),
        "",
    ])  # fmt: skip


def _explained(trials: int, resamples: int, error: float, span: str) -> Iterator[str]:
    yield (
        f"Per cent of {trials} data sets a row whose interval, by `medimg.evaluation.intervals` with {resamples} "
        f"resamples, held the population's value; 95 would be right, and chance moves a figure by "
        f"{error:.1f} (standard error)."
    )
    if span:
        yield (
            f"{span}accuracy, macro-F1, sensitivity and AUROC. Below, medimg flags what rests on fewer than {FLOOR} "
            "patients: macro averages, AUROC and MCC rest on the smallest class, accuracy on the patients of all "
            "classes."
        )
    yield (
        f"In brackets the same with every image counted as a patient of its own, in every "
        f"{IMAGE_LEVEL_EVERY}th of the data sets: that is what ignoring patients does."
    )
    yield ""
    yield (
        f"A patient has 1 to {MOST_IMAGES} images. Logits are normal, and the correlation is that of a logit between "
        "two images of a patient. Sensitivity and precision are those of the second class. Of three classes the first "
        "is easier and the third harder than the accuracy says. coverage.json has widths and misses on each side."
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    titles = {"f1_macro": "macro-F1", "sensitivity/c1": "sensitivity", "auroc": "AUROC", "precision/c1": "precision"}
    titles |= {"mcc": "MCC", "average_precision": "average precision"}
    heads = ["classes", "patients a class", "correlation", "accuracy of the model"]
    yield "| " + " | ".join([*heads, *(titles.get(metric, metric) for metric in METRICS)]) + " |"
    yield "|" + "---|" * (len(heads) + len(METRICS))
    for row in rows:
        cells = [f"{row['classes']}", f"{row['patients']}", f"{row['correlation']:g}", f"{row['accuracy']:g}"]
        pairs = ((row["coverage"][metric], row["coverage_by_image"][metric]) for metric in METRICS)
        yield "| " + " | ".join([*cells, *(f"{100 * own:.1f} ({100 * image:.1f})" for own, image in pairs)]) + " |"


def main(arguments: Sequence[str] | None = None, cells: Sequence[Cell] | None = None) -> None:
    """Measure all cells and write the files."""
    parser = argparse.ArgumentParser(description="coverage of the intervals in simulations")
    parser.add_argument("--trials", type=int, default=2000, help="data sets in each cell")
    parser.add_argument("--resamples", type=int, default=400, help="of each data set; evaluations take 2,000")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("docs"), help="the folder of coverage.md and coverage.json")
    chosen = parser.parse_args(arguments)
    tasks = [Task(n, cell, chosen.trials, chosen.resamples) for n, cell in enumerate(cells or grid())]
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    with multiprocessing.Pool(chosen.processes) as pool:
        for row in pool.imap(measure, tasks):
            rows.append(row)
            about = {"resamples": chosen.resamples, "level": 0.95, "image_level_every": IMAGE_LEVEL_EVERY}
            write_json(chosen.output / "coverage.json", about | {"cells": rows})
            write_text(chosen.output / "coverage.md", page(rows, chosen.trials, chosen.resamples))
            held = " ".join(f"{metric} {100 * row['coverage'][metric]:.1f}" for metric in METRICS)
            sys.stdout.write(f"{time.perf_counter() - start:7.0f} s  {tasks[len(rows) - 1].cell}  {held}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
