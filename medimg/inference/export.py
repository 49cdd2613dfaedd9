"""A run's model as one file, with what is needed to use it, and checked against the original."""

import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medimg.config.check import Allowed
from medimg.errors import MedimgError, RequestError
from medimg.files import replaced, write_json
from medimg.inference.export_formats import ExportedGraph, Format, Outputs, format_of
from medimg.inference.loading import load_classifier
from medimg.inference.run_images import images_of_run
from medimg.models.classifier import ImageClassifier
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoint

TOLERANCE = 1e-4  # of probabilities
NOTICE = "Not for clinical use: a research model. Nothing that it computes is fit to decide about a patient."
_BATCH = 8
_HOW_IMAGES_GET_THERE = {
    "filter": "torchvision.transforms.v2.functional.resize, bilinear, antialias=True; 8 bits stay 8 bits, then / 255",
    "grey": "an image of one channel is repeated for each channel of the input",
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        file: the model.
        about: the JSON beside it.
        metadata: what is in it and in the JSON beside it.
        checked: what it was checked on, and the largest differences from the original.
    """

    file: Path
    about: Path
    metadata: dict[str, Any]
    checked: dict[str, Any]


def export(
    folder: RunFolder,
    format: Format = "onnx",  # noqa: A002 - as the command calls it
    *,
    checkpoint: str = "best",
    output: Path | None = None,
    allow: Allowed | None = None,
) -> Exported:
    """Writes the model of a run as a file of its own, and a JSON with its metadata beside it.

    The file takes images float32 [N, C, H, W] in 0..1 as `image`, of the preprocessing's size, and gives `logits`,
    `probability` (softmax) and, where the run has a temperature, `calibrated`. It takes its place once it has been run
    again and found to give the original's probabilities.

    Args:
        folder: of the run.
        format: `onnx`, or `torch`: a program of torch.export.
        checkpoint: `best`, `last`, a kept epoch such as `epoch_001`, or a file.
        output: the file; None: export/model.onnx or model.pt2 in the run folder.
        allow: targets of the user's own, by group.

    Raises:
        RequestError: there is no such checkpoint, the output has another suffix, or packages are missing.
        MedimgError: the network cannot be exported, or the file gives other probabilities; then there is none.
    """
    kind = format_of(format)
    file = output or folder.path / "export" / f"model{kind.suffix}"
    if file.suffix != kind.suffix:
        raise RequestError(f"output={file}: a file of format={format} ends in {kind.suffix}")
    weights = find_checkpoint(folder, checkpoint)
    classifier = load_classifier(folder, weights, allow=allow)
    metadata = {"format": format} | _metadata(folder, weights, classifier)
    graph = ExportedGraph(classifier, metadata["temperature"])
    metadata["outputs"] = ["logits", "probability", *(["calibrated"] if graph.temperature is not None else [])]
    images, source = images_of_run(folder, classifier.preprocessing)
    with replaced(file) as unfinished:
        kind.write(graph, metadata, unfinished)
        differences = _differences(graph, kind.load(unfinished), images)
        checked = {"images": len(images), "of": source, "runtime": kind.runtime(), "max_difference": differences}
        _refuse_differences(file, checked)
    about = file.with_name(f"{file.name}.json")  # of each format one: they differ in what they were checked with
    write_json(about, {"file": file.name} | metadata | {"checked": checked})
    return Exported(file, about, metadata, checked)


def _metadata(folder: RunFolder, weights: Path, classifier: ImageClassifier) -> dict[str, Any]:
    """What someone needs to use the model who has the file alone."""
    info = folder.info()
    # threshold and temperature were fitted to the best epoch, and say nothing of another
    is_best = weights.resolve() == folder.best.resolve()
    results = folder.results() if is_best else {}
    points = results.get("operating_points") or {}
    chosen = (points.get("points") or {}).get(points.get("chosen")) or {}
    temperature = results.get("temperature") or ({} if is_best else {"reason": "it was fitted to the best epoch alone"})
    size = classifier.preprocessing
    return {
        "notice": NOTICE,
        "run": info.get("name") or folder.path.name,
        "checkpoint": weights.name,
        "medimg": version("medimg"),
        "synthetic": bool(info.get("synthetic")),
        "classes": list(classifier.classes),
        "positive_class": classifier.positive_class,
        "operating_point": points.get("chosen") if chosen else None,
        "threshold": chosen.get("threshold"),
        "threshold_of": "probability",
        "temperature": temperature.get("value"),
        "temperature_safe": temperature.get("safe"),
        "temperature_reason": temperature.get("reason"),
        "input": {
            "name": "image",
            "shape": ["batch", size.channels, size.height, size.width],
            "dtype": "float32",
            "range": [0, 1],
            "window": folder.read_config().get("data", {}).get("window"),
        },
        "preprocessing": size.as_dict() | _HOW_IMAGES_GET_THERE,
    }


def _differences(graph: ExportedGraph, run: Any, images: Tensor) -> dict[str, float]:
    """The largest absolute difference of each output; also of a batch of one image, and of one that is not full."""
    found: dict[str, float] = {}
    for batch in (images[:1], *torch.split(images[1:], _BATCH)):
        if len(batch):
            ours, theirs = graph.run(batch), run(batch)
            for name, value in ours.items():
                found[name] = max(found.get(name, 0.0), _difference(name, value, theirs))
    return found


def _difference(name: str, value: Any, theirs: Outputs) -> float:
    if name not in theirs or theirs[name].shape != value.shape:
        return math.inf
    difference = float(np.abs(value - theirs[name]).max())
    return math.inf if math.isnan(difference) else difference


def _refuse_differences(file: Path, checked: dict[str, Any]) -> None:
    worst = max(value for name, value in checked["max_difference"].items() if name != "logits")
    if worst > TOLERANCE:
        raise MedimgError(
            f"{file} was not written: run by {checked['runtime']}, its probabilities differ from PyTorch's by up to "
            f"{worst:.2g} on {checked['images']} images, and {TOLERANCE:g} is allowed\n"
            f"  torch {torch.__version__} does not export this network faithfully; another format= may do"
        )
