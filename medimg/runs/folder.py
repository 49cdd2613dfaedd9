"""A run is a folder that explains itself: where each thing is in it, and how it is read and written."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medimg.errors import RequestError
from medimg.files import write_json, write_text


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
    def error_file(self) -> Path:
        """The traceback, where the run failed."""
        return self.path / "error.txt"

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

    def clear(self) -> None:
        """Removes what an earlier run left here, its log excepted, so that nothing of it passes for this one's."""
        if not self.writable:
            return
        for name in ("checkpoints", "tensorboard", "predictions", "figures", "evaluations"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for file in (self.run_file, self.results_file, self.metrics_file, self.manifest_file, self.error_file):
            file.unlink(missing_ok=True)

    def info(self) -> dict[str, Any]:
        """The content of run.json; empty where there is none yet."""
        return _read_json(self.run_file) if self.run_file.is_file() else {}

    def update(self, **values: Any) -> None:
        """Adds these values to run.json or replaces them there."""
        if self.writable:
            write_json(self.run_file, self.info() | values)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.yaml."""
        if self.writable:
            write_text(self.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """The content of config.yaml, not checked.

        Raises:
            RequestError: it is missing or not YAML.
        """
        try:
            content = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RequestError(f"{self.config_file} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise RequestError(f"{self.config_file} holds no configuration")
        return content


def find_run(run: str, runs: Path) -> RunFolder:
    """The run folder that a user means by a path, or by `latest`: the run below `runs` that started last.

    Raises:
        RequestError: there is no such folder, or it holds no run.
    """
    if run == "latest":
        started = [(_started(file), file.parent) for file in runs.rglob("run.json")]
        if not started:
            raise RequestError(
                f"run=latest: there is no run below {runs.resolve()}\n  paths.runs=... says where runs are"
            )
        return RunFolder(max(started)[1].resolve())
    path = Path(run).expanduser()
    if not (path / "run.json").is_file():
        known = sorted(str(file.parent) for file in runs.rglob("run.json"))[-5:]
        raise RequestError(
            f"run={run}: not a run folder, as it has no run.json\n"
            f"  {'runs here: ' + ', '.join(known) if known else f'there is no run below {runs.resolve()}'}"
        )
    return RunFolder(path.resolve())


def _started(file: Path) -> str:
    """When a run started; a damaged file counts as the oldest, so that it is in nobody's way."""
    try:
        return str(_read_json(file).get("started", ""))
    except RequestError:
        return ""


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {error}") from None
    return content
