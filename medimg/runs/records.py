"""What a run folder says of its run, read once into a record that tables are made of; imports nothing heavy."""

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medimg.config.check import as_dict, check
from medimg.config.compare import flatten
from medimg.config.training import MonitorConfig
from medimg.errors import RequestError
from medimg.runs.folder import ENSEMBLE, RunFolder
from medimg.runs.lock import is_abandoned

# what run.json says of these is what counts, and not what was asked for; beside each the value that leaves it open
AS_RUN: Mapping[str, Any] = {
    "data.positive_class": None,
    "trainer.precision": "auto",
    "trainer.channels_last": "auto",
    "trainer.compile": False,
    "trainer.float32_matmul_precision": "high",
}


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        folder: of the run.
        status: as in run.json; `killed` where the process that was writing it is gone, `pruned` where a search ended
            it early, `partial` where not all of validation was evaluated, `not started` where there is no run.json,
            `unreadable` where the folder is damaged.
        config: by dotted key, such as `optimizer.lr`; what the device or the data decided (`AS_RUN`) as it came out,
            and without the key where that is not known.
        value: the monitored metric of the best epoch, of a run that ended; None where there is none.
        so_far: the best that was ever measured of it, also where the run did not end.
        loss: `val/loss` of the same epoch as `value`.
        test: the metrics of the test split, where all of it was evaluated.
        data, images: fingerprints, with the split and without; older runs have the first alone.
        problem: why it is unreadable.
    """

    folder: RunFolder
    status: str
    config: Mapping[str, Any] = field(default_factory=dict)
    metric: str = MonitorConfig().metric
    mode: str = MonitorConfig().mode
    value: float | None = None
    so_far: float | None = None
    loss: float | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    parameters: int | None = None
    trained: int | None = None
    data: str | None = None
    images: str | None = None
    split_unit: str | None = None
    synthetic: bool = False
    started: str = ""
    problem: str | None = None


def find_runs(folders: Iterable[Path]) -> list[RunFolder]:
    """The runs below these folders, each once, in the order of their paths; a run folder itself counts too."""
    return [folder for folder in _find(folders) if folder.run_file.is_file()]


def find_ensembles(folders: Iterable[Path]) -> list[RunFolder]:
    """The ensembles below these folders, in the same way."""
    return [folder for folder in _find(folders) if (folder.path / ENSEMBLE).is_file()]


def _find(folders: Iterable[Path]) -> list[RunFolder]:
    found = set()
    for folder in folders:
        for path, below, files in os.walk(folder.resolve()):
            if "run.json" in files or ENSEMBLE in files:
                found.add(Path(path))
                below.clear()
    return [RunFolder(path) for path in sorted(found)]


def read_run(folder: RunFolder) -> Run:
    """The record of a run; one that says `unreadable`, and why, where its folder is damaged."""
    try:
        info = folder.info()
        if not folder.has_begun() and info.get("status") in {None, "running"}:
            return Run(folder, "not started")
        return _run(folder, info)
    except (RequestError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error) if isinstance(error, RequestError) else f"{type(error).__name__}: {error}"
        return Run(folder, "unreadable", problem=" ".join(reason.split()))


def _run(folder: RunFolder, info: dict[str, Any]) -> Run:
    raw = folder.read_config()
    monitor = info.get("monitor") or raw.get("monitor") or {}
    metric, mode = monitor.get("metric", Run.metric), monitor.get("mode", Run.mode)
    parameters = info.get("parameters") or {}
    results = _results(folder) if info.get("status") == "completed" else {}
    return Run(
        folder=folder,
        status=_status(folder, info, results),
        config=_settings(raw, info),
        metric=metric,
        mode=mode,
        seconds=_number(info.get("seconds")),
        parameters=parameters.get("total"),
        trained=parameters.get("trained"),
        data=info.get("data_fingerprint"),
        images=info.get("images_fingerprint"),
        split_unit=info.get("split_unit"),
        synthetic=bool(info.get("synthetic")),
        started=str(info.get("started") or ""),
        **_scores(results, _epochs(folder, metric), metric, mode, ended=info.get("status") == "completed"),
    )


def _status(folder: RunFolder, info: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    status = str(info.get("status", "not started"))
    if status == "running" and is_abandoned(folder.path):
        return "killed"
    if status != "completed":
        return status
    return "pruned" if info.get("pruned") else "partial" if "val" in results.get("partial", {}) else status


_Epoch = tuple[int, float | None, float | None]


def _scores(
    results: Mapping[str, Any], epochs: Sequence[_Epoch], metric: str, mode: str, *, ended: bool
) -> dict[str, Any]:
    """The scores of a run: from results.json where there is one, and from the epoch table for what that leaves out."""
    best = max(epochs, key=lambda epoch: _goodness(epoch, mode), default=None)
    if "best_epoch" in results:
        best = next((epoch for epoch in epochs if epoch[0] == results["best_epoch"]), None)
    value = _number(results.get("val", {}).get(metric.partition("/")[2]))
    if value is None and best and ended:
        value = best[1]
    measured = [epoch[1] for epoch in epochs if epoch[1] is not None]
    test = results.get("test", {}) if "test" not in results.get("partial", {}) else {}
    return {
        "value": value,
        "so_far": (max if mode == "max" else min)(measured, default=value),
        "loss": best[2] if best else None,
        "test": {name: score for name, score in test.items() if _number(score) is not None},
    }


def _results(folder: RunFolder) -> dict[str, Any]:
    if not folder.results_file.is_file():
        return {}
    content: dict[str, Any] = json.loads(folder.results_file.read_text(encoding="utf-8"))
    return content


def _epochs(folder: RunFolder, metric: str) -> list[_Epoch]:
    """Epoch, monitored metric and validation loss of each row of the epoch table."""
    if not folder.metrics_file.is_file():
        return []
    with folder.metrics_file.open(encoding="utf-8", newline="") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    places = [header.index(name) if name in header else None for name in ("epoch", metric, "val/loss")]
    found = []
    for row in rows:
        epoch, value, loss = (_number(row[place]) if place is not None else None for place in places)
        found.append((int(epoch or 0), value, loss))
    return found


def _goodness(row: _Epoch, mode: str) -> tuple[float, float]:
    """More is better; a tie goes to the lower loss, as in the selection of the best epoch."""
    _, value, loss = row
    signed = -math.inf if value is None else value if mode == "max" else -value
    return signed, -math.inf if loss is None else -loss


def _settings(raw: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration by dotted key.

    Keys that are younger than the run say what it did, so that runs of several versions are comparable. What
    cannot be checked, as an older version's keys, is taken as it is. Nothing of it is ever built.
    """
    try:
        whole = as_dict(check(raw, raw.get("allow")))
    except RequestError:
        whole = dict(raw)
    flat = dict(flatten(whole)) | _as_run(info)
    for key, left_open in AS_RUN.items():
        early = "device" not in info if key.startswith("trainer.") else "positive_class" not in info
        if early and flat.get(key) == left_open:
            flat.pop(key, None)  # a run that failed before anything was decided
    devices = flat.get("trainer.devices")
    return flat | ({"trainer.devices": len(devices)} if isinstance(devices, list | tuple) else {})


def _as_run(info: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for these keys in run.json: as it was found or done, whatever was asked for."""
    found = {key: info[name] for key in AS_RUN if (name := key.rpartition(".")[2]) in info}
    if info.get("device") in {"cpu", "mps"}:
        found["trainer.float32_matmul_precision"] = "highest"  # nothing else has it
    return found


def _number(value: Any) -> float | None:
    """A finite number, or None: a score that is not defined, an empty cell."""
    if value is None or value == "":
        return None
    number = float(value)
    return number if math.isfinite(number) else None
