"""A run is a folder that explains itself: where each thing is in it, and how it is read and written."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medimg.config.older import completed
from medimg.errors import RequestError
from medimg.files import write_json, write_text

ENSEMBLE = "ensemble.json"  # in the folder of an ensemble, as run.json is in that of a run
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where PyYAML has it
_FEW = 5  # runs that a message names
_WRITTEN = (
    *("config.yaml", "results.json", "metrics.csv", "manifest.csv", "checkpoints", "predictions", "tensorboard"),
    *("figures", "report.html", "model_card.md"),
)
# what a process that was killed while it wrote a file has left of it
_UNFINISHED = (
    *(".*.ckpt.*", ".trunk-*", ".*.json.*", ".*.csv.*", ".*.yaml.*"),
    *(".*.txt.*", ".*.png.*", ".*.html.*", ".*.md.*"),
)


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: absolute.
        writable: false in the helper processes of distributed training, which leave all writing to the first.
    """

    path: Path
    writable: bool = True

    @property
    def shown(self) -> str:
        """The path as a user of this working directory would type it."""
        here = Path.cwd()
        return str(self.path.relative_to(here)) if self.path.is_relative_to(here) else str(self.path)

    @property
    def config_file(self) -> Path:
        """The whole configuration, resolved."""
        return self.path / "config.yaml"

    @property
    def run_file(self) -> Path:
        """Status, classes, versions and the rest that says what this run is."""
        return self.path / "run.json"

    @property
    def results_file(self) -> Path:
        """The metrics of the best epoch."""
        return self.path / "results.json"

    @property
    def manifest_file(self) -> Path:
        """The images of the run and their split, to be given back by `data=manifest`."""
        return self.path / "manifest.csv"

    @property
    def check_file(self) -> Path:
        """What the quick check of the data found."""
        return self.path / "check.json"

    @property
    def error_file(self) -> Path:
        """The traceback, where the run failed."""
        return self.path / "error.txt"

    @property
    def report_file(self) -> Path:
        """The page that shows it all."""
        return self.path / "report.html"

    @property
    def metrics_file(self) -> Path:
        """A row for each epoch."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch that ended."""
        return self.checkpoints / "last.ckpt"

    def predictions(self, split: str) -> Path:
        """The predictions table of a split."""
        return self.path / "predictions" / f"{split}.csv"

    def has_begun(self) -> bool:
        """Whether it holds a run that can be taken up: one that was killed sooner has no configuration yet."""
        return self.run_file.is_file() and self.config_file.is_file()

    def epochs(self) -> int:
        """How many epochs the epoch table has."""
        if not self.metrics_file.is_file():
            return 0
        return max(0, len(self.metrics_file.read_text(encoding="utf-8").splitlines()) - 1)

    def forget_checkpoints(self) -> None:
        """Removes them, of a run that begins anew."""
        if self.writable:
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def claim(self) -> None:
        """Makes sure that a new run writes over nothing.

        Raises:
            RequestError: the folder holds a run, or files that a run would write over.
        """
        if self.has_begun():
            raise RequestError(
                f"{self.shown} holds a run already\n"
                f"  medimg resume run={self.shown} goes on with it; a new run needs a new folder"
            )
        taken = [name for name in _WRITTEN if (self.path / name).exists()]
        if taken:
            raise RequestError(
                f"{self.shown} holds {', '.join(taken)}, which a run would write over: give another folder"
            )

    def forget_results(self) -> None:
        """Removes what a run that goes on will say anew, so that nothing old passes for it."""
        if not self.writable:
            return
        self.results_file.unlink(missing_ok=True)
        self.error_file.unlink(missing_ok=True)
        for pattern in _UNFINISHED:
            for file in self.path.rglob(pattern):
                file.unlink(missing_ok=True)
        self.report_file.unlink(missing_ok=True)
        stale = ["predictions", "figures"] if self.last.is_file() else ["predictions", "figures", "tensorboard"]
        for name in stale:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def info(self) -> dict[str, Any]:
        """The content of run.json; empty where there is none yet."""
        return _read_json(self.run_file) if self.run_file.is_file() else {}

    def results(self) -> dict[str, Any]:
        """The content of results.json; empty where there is none."""
        return _read_json(self.results_file) if self.results_file.is_file() else {}

    def update(self, **values: Any) -> None:
        """Adds these values to run.json or replaces them there."""
        if self.writable:
            write_json(self.run_file, self.info() | values)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.yaml."""
        if self.writable:
            write_text(self.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """The content of config.yaml, not checked; keys that it is too old to have are at what the run did.

        Raises:
            RequestError: it is missing or not YAML.
        """
        try:
            content = yaml.load(self.config_file.read_text(encoding="utf-8"), Loader=_SAFE_LOADER)  # noqa: S506
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RequestError(f"{self.config_file} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise RequestError(f"{self.config_file} holds no configuration")
        return completed(content)


def find_run(run: str, runs: Path) -> RunFolder:
    """The run folder that a user means by a path, or by `latest`: the run below `runs` that started last.

    Raises:
        RequestError: there is no such folder, or it holds no run.
    """
    if run == "latest":
        folders = [RunFolder(file.parent) for file in runs.rglob("run.json")]
        started = [(str(folder.info()["started"]), folder.path) for folder in folders if _can_go_on(folder)]
        if not started:
            raise RequestError(
                f"run=latest: there is no run below {runs.resolve()}\n  paths.runs=... says where runs are"
            )
        return RunFolder(max(started)[1].resolve())
    path = Path(run).expanduser()
    if not (path / "run.json").is_file():
        raise RequestError(f"run={run}: {_why_no_run(run, path, runs)}")
    return RunFolder(path.resolve())


def _why_no_run(run: str, path: Path, runs: Path) -> str:
    """What is there instead, and which runs are near."""
    if (path / ENSEMBLE).is_file():
        return (
            f"this is an ensemble, not a run\n  medimg predict run={run} input=IMAGES predicts with it; "
            "medimg ensemble makes its results, and evaluate and export take a member"
        )
    if path.is_dir() and (below := _runs_below(path)):
        return f"this is a folder with runs, not a run; run= names one of them\n{below}"
    what = "not a run folder, as it has no run.json" if path.exists() else "there is no such folder"
    below = _runs_below(runs)
    return f"{what}\n" + (f"  runs here:\n{below}" if below else f"  there is no run below {runs.resolve()}")


def _runs_below(folder: Path) -> str:
    """The last few by name, a line each, and how many more there are."""
    found = sorted(str(file.parent) for file in folder.rglob("run.json"))
    more = [f"    and {len(found) - _FEW} others"] if len(found) > _FEW else []
    return "\n".join([*(f"    {name}" for name in found[-_FEW:]), *more])


def _can_go_on(folder: RunFolder) -> bool:
    """Not one of those that failed before they had a checkpoint, as a mistaken request does."""
    try:
        return "started" in folder.info() and (folder.info()["status"] != "failed" or folder.last.is_file())
    except RequestError:
        return False


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {error}") from None
    return content
