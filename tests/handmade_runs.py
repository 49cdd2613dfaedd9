"""Run folders written by hand, as a run leaves them, so that tables can be checked without training."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medimg.config.check import as_dict
from medimg.config.compose import load
from medimg.runs import RunFolder


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    return as_dict(load(["data=covid", "data.root=/images", *overrides]))


def write_run(
    path: Path,
    *overrides: str,
    value: float | None = None,
    epochs: list[tuple[float | None, float]] | None = None,
    val: dict[str, float | None] | None = None,
    test: dict[str, float | None] | None = None,
    partial: dict[str, list[int]] | None = None,
    config: dict[str, Any] | None = None,
    **info: Any,
) -> RunFolder:
    """A run.

    Args:
        path: its folder.
        overrides: of its configuration, which is `data=covid` with defaults otherwise.
        value: the monitored metric of the best epoch, which is the last.
        epochs: the monitored metric and val/loss of each epoch; None: one that fits `value`.
        val, test, partial: of results.json.
        config: dotted keys whose values in config.yaml are these, unchecked.
        info: of run.json, where it is not as in a completed run.
    """
    made = copy.deepcopy(_composed(overrides))
    for key, given in (config or {}).items():
        node, names = made, key.split(".")
        for name in names[:-1]:
            node = node[name]
        node[names[-1]] = given
    metric = made["monitor"]["metric"]
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    facts = {
        "status": "completed",
        "seed": made["seed"],
        "monitor": made["monitor"],
        "started": "2024-01-01T00:00:00+00:00",
        "seconds": 10.0,
        "parameters": {"total": 1000, "trained": 100},
        "data_fingerprint": "d" * 64,
        "images_fingerprint": "i" * 64,
        "split_unit": "patient",
        "synthetic": False,
    } | info
    known = {key: fact for key, fact in facts.items() if fact is not None}
    (path / "run.json").write_text(json.dumps(known), encoding="utf-8")
    epochs = [(value, 0.5)] if epochs is None else epochs
    lines = [f"{epoch},{'' if score is None else score},{loss}" for epoch, (score, loss) in enumerate(epochs)]
    header = "epoch,val/loss" if metric == "val/loss" else f"epoch,{metric},val/loss"
    lines = [f"{line.split(',')[0]},{line.split(',')[2]}" if metric == "val/loss" else line for line in lines]
    (path / "metrics.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    if facts["status"] == "completed":
        scores = {} if metric == "val/loss" else {metric.partition("/")[2]: value}
        results: dict[str, Any] = {"best_epoch": len(epochs) - 1, "val": scores | (val or {})}
        results |= {} if test is None else {"test": test}
        results |= {} if partial is None else {"partial": partial}
        (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return RunFolder(path)
