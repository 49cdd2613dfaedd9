"""Everything that a page or a card is made of, read from a folder once."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.reporting.report.cited import Cited
from medimg.runs import RunFolder
from medimg.runs.leaderboard import WHOLE
from medimg.runs.looks import looks_at_test

_SPLITS = ("test", "val", "train")  # in the order of interest
ERRORS = "figures/errors/errors.json"


@dataclass(frozen=True)
class Source:
    """What is known of a run or an ensemble. Whatever its folder does not have is empty.

    Attributes:
        path: the folder.
        info: run.json, or ensemble.json.
        config: config.yaml.
        results: results.json.
        check: check.json.
        errors: which pictures there are of confident errors.
        epochs: metrics.csv, a mapping a row, numbers as text.
        images: manifest.csv alike.
        predictions: the tables by split, the split of most interest first.
        overrides: the command line of the run, as Hydra keeps it.
        looks: how many runs have looked at the same test split; None where that is not known.
    """

    path: Path
    info: Cited
    config: Cited
    results: Cited
    check: Cited
    errors: Cited
    epochs: Cited
    images: Cited
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    overrides: tuple[str, ...] | None = None
    looks: int | None = None

    @property
    def name(self) -> str:
        """Of the run, or of its folder."""
        return str(self.info.value.get("name") or self.path.name)

    @property
    def splits(self) -> list[str]:
        """Those that were evaluated, the one of most interest first."""
        return [split for split in _SPLITS if self.results.at(split).value]

    @property
    def positive(self) -> str | None:
        """The positive class of a binary task."""
        found: str | None = self.info.value.get("positive_class")
        return found

    @property
    def split_unit(self) -> Cited:
        """`patient`, `group` or `image`."""
        found = self.info.at("split_unit")
        return found if found else self.results.at("split_unit")

    @property
    def region(self) -> str | None:
        """The part of the images that the model was shown, as `data.region` has it; None: all of them, or unknown."""
        found = self.config.at("data", "region").value or self.info.at("region").value
        return None if found in {None, WHOLE} else str(found)

    @property
    def is_synthetic(self) -> bool:
        """Whether the images are drawn ones."""
        return bool(self.info.value.get("synthetic") or self.results.value.get("synthetic"))

    @property
    def command(self) -> str | None:
        """What trains this again; None where that is not known, as of a run that was started from Python."""
        import shlex

        if self.overrides is not None:
            return shlex.join(["medimg", "train", *self.overrides])
        command = str(self.info.value.get("command") or "")
        return command if command.startswith("medimg ") else None

    @property
    def is_unfinished(self) -> bool:
        """Whether the run was given up. The status of one that is writing its report is `running` still."""
        return self.info.value.get("status") in {"failed", "interrupted"}

    def about(self, split: str) -> Cited:
        """What stands in results.json beside the scores of a split."""
        return self.results.at("evaluation", split)


def read_source(path: Path) -> Source:
    """Reads a run folder, or any folder with results.json and predictions.

    Raises:
        RequestError: a file of it is damaged.
    """
    folder = RunFolder(path)
    info = "run.json" if folder.run_file.is_file() else "ensemble.json"
    tables = {split: folder.predictions(split) for split in _SPLITS}
    return Source(
        path=path,
        info=_json(path, info),
        config=Cited.whole(folder.read_config() if folder.config_file.is_file() else {}, "config.yaml"),
        results=_json(path, "results.json"),
        check=_json(path, "check.json"),
        errors=_json(path, ERRORS),
        epochs=_table(path, "metrics.csv"),
        images=_table(path, "manifest.csv"),
        predictions={split: Predictions.read_csv(file) for split, file in tables.items() if file.is_file()},
        overrides=_overrides(path),
        looks=looks_at_test(folder),
    )


def _json(path: Path, name: str) -> Cited:
    file = path / name
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {error}") from None
    return Cited.whole(content, name)


def _table(path: Path, name: str) -> Cited:
    file = path / name
    if not file.is_file():
        return Cited.whole([], name)
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return Cited.whole(list(csv.DictReader(stream)), name)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{file} cannot be read: {error}") from None


def _overrides(path: Path) -> tuple[str, ...] | None:
    import yaml

    file = path / ".hydra" / "overrides.yaml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, yaml.YAMLError) as error:
        raise RequestError(f"{file} cannot be read: {error}") from None
    return tuple(str(line) for line in found) if isinstance(found, list) else None
