"""The command: python -m benchmarks.bench."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.cases import CASES
from benchmarks.bench.commands import Bench, device
from benchmarks.bench.images import default_images, default_weights, fewer, images_in
from benchmarks.bench.process import ROOT, BenchError
from benchmarks.bench.ratios import measure
from benchmarks.bench.table import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the cases one after another; what is done is written after each. 1 where one could not be measured."""
    given = _arguments(arguments)
    work = Path(tempfile.mkdtemp(prefix="medimg-bench-", dir=given.work))
    try:
        return _measure(given, work)
    except BenchError as failure:
        _say(f"cannot be measured: {failure}")
        return 1
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)


def _measure(given: argparse.Namespace, work: Path) -> int:
    bench = _bench(given, work)
    found = device(work)
    about = _about(given, bench, found)
    _say(", ".join(f"{name} {value}" for name, value in about.items()))
    results: list[dict[str, Any]] = []
    failed = False
    for name in given.case or CASES:
        if name == "gpu" and found["gpu"] is None:
            results.append({"case": name, "skipped": "no GPU"})
        else:
            try:
                results.append(measure(CASES[name](bench), given.repeats, _say).as_dict())
            except BenchError as failure:
                failed = True
                _say(f"{name} cannot be measured: {failure}")
                results.append({"case": name, "skipped": "failed"})
        if given.out is not None:
            given.out.write_text(json.dumps(about | {"cases": results}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results) + "\n")
    return int(failed)


def _bench(given: argparse.Namespace, work: Path) -> Bench:
    images = images_in(given.data.resolve()) if given.data else default_images(work)
    own = given.weights.resolve() if given.weights else None
    weights = own or (None if given.data or images.synthetic else default_weights())
    if given.quick:
        images = fewer(images, 6, work / "images-few")
    size, batch_size, epochs = (64, 8, 2) if given.quick else (224, 32, 10)
    return Bench(images, weights, "mobilenet_v2", size, batch_size, epochs, given.yardstick.resolve(), work)


def _about(given: argparse.Namespace, bench: Bench, found: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the figures has to know of where they come from."""
    return {
        "images": bench.images.total, "synthetic": bench.images.synthetic, "backbone": bench.backbone,
        "pretrained": bench.weights is not None, "size": bench.size, "batch_size": bench.batch_size,
        "epochs": bench.epochs, "repeats": given.repeats, "cores": os.cpu_count(), "machine": platform.machine(),
        "python": platform.python_version(), "torch": found["torch"], "threads": found["threads"], "gpu": found["gpu"],
    }  # fmt: skip


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description="medimg beside a plain training loop"
    )
    parser.add_argument("--case", action="append", choices=list(CASES), help="this one alone; may be repeated")
    parser.add_argument("--repeats", type=int, help="of each case (3; with --quick 1)")
    parser.add_argument(
        "--data", type=Path, help="class folders in train/ and val/ or test/ (the real images, or phantoms)"
    )
    parser.add_argument(
        "--weights", type=Path, help="a state dict for mobilenet_v2 (the real images' own, or random ones)"
    )
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    parser.add_argument("--work", type=Path, help="keep what is written while measuring, below this folder")
    parser.add_argument(
        "--quick", action="store_true", help="few small images, to see that it works; the ratios mean nothing"
    )
    parser.add_argument(
        "--yardstick", type=Path, default=ROOT / "benchmarks" / "plain_loop.py",
        help="another script with plain_loop.py's options and JSON line",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    given.repeats = given.repeats or (1 if given.quick else 3)
    return given


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
