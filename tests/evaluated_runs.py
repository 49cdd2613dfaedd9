"""Run folders with predictions, results and all that a report reads, made without training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from handmade_runs import write_run

from medimg.config.evaluation import EvaluationConfig
from medimg.data.manifest import Manifest, Record, Split, write_manifest_csv
from medimg.evaluation.predictions import Predictions
from medimg.files import write_json
from medimg.runs import RunFolder
from medimg.training.evaluate import ResultsWriter

SETTINGS = EvaluationConfig(resamples=20, min_patients=5, min_group=5)


def manifest_of(
    root: Path, classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], synthetic: bool = False
) -> Manifest:
    """Two images a patient, `counts` of each class in each split."""
    records = [
        Record(
            f"{split}/{number}_{image:03d}.png",
            label,
            split=split,  # type: ignore[arg-type]
            patient_id=f"p{split}{number}_{image // 2}",
            columns={"sex": "FM"[image // 2 % 2]},
        )
        for split, by_class in counts.items()
        for number, (label, count) in enumerate(by_class.items())
        for image in range(count)
    ]
    positive = classes[1] if len(classes) == 2 else None
    return Manifest(root, tuple(records), tuple(classes), positive, "patient", synthetic)


def predictions_of(manifest: Manifest, split: Split, seed: int = 0) -> Predictions:
    """A model that is right more often than not, and too sure of itself."""
    rows, classes = manifest.of(split), manifest.classes
    generator = np.random.default_rng(seed)
    labels = np.array([classes.index(row.label) for row in rows], dtype=np.int64)
    logits = generator.normal(0, 3, (len(rows), len(classes)))
    logits[np.arange(len(rows)), labels] += 4
    return Predictions(
        tuple(row.path for row in rows), tuple(row.patient_id for row in rows), labels, logits, tuple(classes)
    )


def write_evaluated_run(
    path: Path,
    classes: Sequence[str] = ("normal", "covid"),
    counts: Mapping[str, Mapping[str, int]] | None = None,
    *,
    synthetic: bool = False,
    evaluated: Sequence[Split] = ("val", "test"),
) -> RunFolder:
    """A run whose splits have `counts` images; those of `evaluated` that it has were evaluated."""
    counts = counts or {split: dict.fromkeys(classes, 24) for split in ("train", "val", "test")}
    manifest = manifest_of(path, classes, counts, synthetic)
    info = {
        "name": path.name,
        "classes": list(classes),
        "positive_class": manifest.positive_class,
        "synthetic": synthetic,
        "counts": manifest.counts(),
        "command": "medimg train data=covid",
        "device": "cpu",
        "skipped": {"count": 0, "files": {}},
        "versions": {"torch": "2.14.1"},
        "preprocessing": {"height": 16, "width": 24, "resizing": "stretch"},
    }
    epochs: list[tuple[float | None, float]] = [(0.25, 1.5), (0.75, 0.5), (0.5, 0.625)]
    folder = write_run(path, epochs=epochs, value=0.75, config={"paths.runs": str(path.parent)}, **info)
    writer = ResultsWriter(folder, manifest, SETTINGS, epoch=1)
    for seed, split in enumerate(split for split in evaluated if manifest.of(split)):
        writer.add(split, predictions_of(manifest, split, seed))
    writer.write()
    write_manifest_csv(manifest, folder.manifest_file)
    finding = {"kind": "shortcut", "severity": "warning", "files": [], "message": "V 0.90 <x>.", "cure": "Look."}
    write_json(folder.check_file, {"findings": [finding], "counts": manifest.counts()})
    return folder


def edit(file: Path, **values: object) -> None:
    """Replaces values of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
