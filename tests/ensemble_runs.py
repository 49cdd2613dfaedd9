"""The members of ensembles: tiny ones that are trained, and records of others that never were."""

from dataclasses import dataclass
from pathlib import Path

from medimg.config.compose import load
from medimg.data.manifest import Manifest, Record, Split
from medimg.inference.members import MemberRun
from medimg.runs import RunFolder
from medimg.runs.records import Run
from medimg.training.job import run_job

QUIET = ["logger=none", "callbacks.figures=null", "callbacks.learning_rate=null", "trainer.enable_progress_bar=false"]
SMALL = ["data.batch_size=8", "data.num_workers=0", "data.image_size=16", "model=small_cnn", "model.widths=[4]"]
FAST = [
    "data.check=off",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "optimizer.lr=0.02",
    "evaluation.resamples=100",
]


@dataclass(frozen=True)
class Trained:
    """Runs on class folders `a` and `b`, below one folder of runs.

    Attributes:
        images: 24 to train on, 24 to test.
        runs: the folder of all.
        seeds: three of one split, as a sweep leaves them: without predictions of test.
        folds: two seeds of each of two folds of the training images, fold 0 first.
    """

    images: Path
    runs: Path
    seeds: tuple[RunFolder, ...]
    folds: tuple[RunFolder, ...]


def train_members(home: Path) -> Trained:
    """Trains them on `home/images`."""
    runs = home / "runs"
    seeds = [_train(home, runs / "seeds" / f"seed-{seed}", f"seed={seed}") for seed in range(3)]
    folds = [
        _train(home, runs / "folds" / f"fold-{fold}_seed-{seed}", f"seed={seed}", "data.folds=2", f"data.fold={fold}")
        for fold in range(2)
        for seed in range(2)
    ]
    return Trained(home / "images", runs, tuple(seeds), tuple(folds))


def _train(home: Path, path: Path, *overrides: str) -> RunFolder:
    source = ["data=image_folder", f"data.root={home / 'images'}", f"paths.runs={home / 'runs'}"]
    run_job(load([*source, *QUIET, *SMALL, *FAST, *overrides]), RunFolder(path), in_sweep=True)
    return RunFolder(path)


def member(name: str, images: str = "i", config: dict[str, object] | None = None, **splits: str) -> MemberRun:
    """A member that was never trained: `train="ab", test="c"` are its images, of which there are no files."""
    records = [Record(f"{path}.png", "x", split=_split(split)) for split, paths in splits.items() for path in paths]
    run = Run(RunFolder(Path("/runs") / name), "completed", config=config or {}, images=images)
    return MemberRun(run, Manifest(Path("/"), tuple(records), classes=("x", "y")))


def _split(name: str) -> Split:
    assert name in {"train", "val", "test"}
    return name  # type: ignore[return-value]
