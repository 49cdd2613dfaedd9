"""The commands that are put side by side, each run as a whole process, and the figures that come of it."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.bench.images import Images
from benchmarks.bench.process import CLOCK, BenchError, Measured, run

Figures = dict[str, float]

_CLOCK = "benchmarks.bench.clock.Clock"


@dataclass(frozen=True)
class Bench:
    """What all cases measure on.

    Attributes:
        images: at 1x.
        weights: a state dict of the backbone, or None: random weights.
        backbone: torchvision's name, which is also a choice of medimg's `model`.
        size: pixels a side.
        batch_size: images a step.
        epochs: of a frozen study.
        yardstick: the script of the plain loop.
        work: where everything is written.
    """

    images: Images
    weights: Path | None
    backbone: str
    size: int
    batch_size: int
    epochs: int
    yardstick: Path
    work: Path
    _numbers: Any = field(default_factory=count, repr=False)

    def on(self, images: Images) -> "Bench":
        """The same with other images."""
        return replace(self, images=images)

    def fresh(self, name: str) -> Path:
        """A folder that is not there yet."""
        return self.work / "measured" / f"{next(self._numbers):04d}-{name}"

    def plain(self, *, epochs: int, frozen: bool = False) -> Figures:
        """The plain loop."""
        options = {"--val": self.images.held_out, "--backbone": self.backbone, "--epochs": epochs}
        options |= {"--batch-size": self.batch_size, "--size": self.size}
        options |= {} if self.weights is None else {"--weights": self.weights}
        words = [str(word) for pair in options.items() for word in pair] + ["--frozen"] * frozen
        # -P: what lies beside the script is not to be imported in place of a package
        done = run(
            [sys.executable, "-P", str(self.yardstick), str(self.images.root), *words], self.fresh("plain") / "log"
        )
        return _whole(done) | _numbers(_last_line(done))

    def medimg(self, *overrides: str, epochs: int, cache: Path | None = None, sweep: bool = False) -> Figures:
        """A run of medimg, or a sweep, in a run folder of its own, with what a run does by default.

        Args:
            overrides: beside those that make it do the plain loop's work.
            epochs: to train.
            cache: where caches are; None: a new one, so that all is done for the first time.
            sweep: whether several values are given, and jobs are to be made of them.
        """
        folder = self.fresh("medimg")
        given = [
            "data=image_folder", f"data.root={self.images.root}", f"data.image_size={self.size}",
            f"data.batch_size={self.batch_size}", f"model={self.backbone}",
            f"model.weights={self.weights or 'null'}", f"trainer.max_epochs={epochs}",
            f"paths.runs={folder / 'runs'}", f"paths.cache={cache or folder / 'cache'}",
        ]  # fmt: skip
        timed = [] if sweep else [f"+callbacks.clock._target_={_CLOCK}", f"allow={{callbacks:[{_CLOCK}]}}"]
        clock = folder / "clock.json"
        command = [sys.executable, "-m", "medimg", "train", *["-m"] * sweep, *given, *timed, *overrides]
        done = run(command, folder / "log", {CLOCK: str(clock)})
        shutil.rmtree(folder / "cache", ignore_errors=True)  # as large as the images, or larger
        return _whole(done) | ({} if sweep else _clocked(clock) | _score(folder / "runs", self.images.held_out))

    def probe(self, kind: str, *words: object) -> Figures:
        """A piece of work of probe.py."""
        command = [sys.executable, "-m", "benchmarks.bench.probe", kind, *map(str, words)]
        done = run(command, self.fresh(kind) / "log")
        return _whole(done) | _numbers(_last_line(done))

    def forward(self) -> Figures:
        """The bare imports and all images through the network once."""
        weights: Sequence[object] = ["--weights", self.weights] if self.weights else []
        return self.probe(
            "forward", self.images.root, self.images.held_out, "--backbone", self.backbone, *weights, *self._shape()
        )

    def loader(self, which: str, epochs: int) -> Figures:
        """The loader alone: `plain` or `medimg`."""
        cache = self.fresh(f"cache-{which}")
        return self.probe("loader", which, self.images.root, "--cache", cache, "--epochs", epochs, *self._shape())

    def ceiling(self) -> Figures:
        """Training steps on one batch in GPU memory."""
        return self.probe("ceiling", "--backbone", self.backbone, *self._shape())

    def _shape(self) -> list[object]:
        return ["--size", self.size, "--batch-size", self.batch_size]


def device(work: Path) -> dict[str, Any]:
    """The GPU's name, or None, and the version of torch; asked of another process, so that this one stays small."""
    done = run([sys.executable, "-m", "benchmarks.bench.probe", "device"], work / "measured" / "device" / "log")
    return _last_line(done)


def _whole(done: Measured) -> Figures:
    return {
        "wall_s": round(done.wall_s, 3), "cpu_s": round(done.cpu_s, 3),
        "peak_mb": round(done.peak_mb, 1), "tree_mb": round(done.tree_mb, 1),
    }  # fmt: skip


def _last_line(done: Measured) -> dict[str, Any]:
    """What a script has printed last, as JSON.

    Raises:
        BenchError: it is something else.
    """
    lines = done.output.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise BenchError(f"expected a line of JSON at the end of the output, not {lines[-1:]}")
    return found


def _numbers(found: dict[str, Any]) -> Figures:
    """Those that are numbers; its own account of memory beside ours, by another name."""
    numbers = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    return {("own_peak_mb" if name == "peak_mb" else name): value for name, value in numbers.items()}


def _score(runs: Path, split: str) -> Figures:
    """Macro-F1 of the one run below, so that nothing is fast for having learnt nothing."""
    (results,) = runs.glob("*/*/results.json")
    return {"f1": json.loads(results.read_text(encoding="utf-8"))[split]["f1_macro"]}


def _clocked(file: Path) -> Figures:
    """The first step, and images a second over all epochs and from the second one on, as far as there is one."""
    found = json.loads(file.read_text(encoding="utf-8"))
    figures: Figures = {"first_step_s": found["first_step_s"]}
    for name, epochs in (("train_img_s", found["epochs"]), ("later_img_s", found["epochs"][1:])):
        if epochs:
            figures[name] = sum(one["images"] for one in epochs) / sum(one["seconds"] for one in epochs)
    return figures
