"""The report of an ensemble."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from medimg.data.manifest import read_manifest_csv
from medimg.inference.ensemble import Scored
from medimg.inference.images import run_config
from medimg.inference.loading import load_classifier
from medimg.models.classifier import ImageClassifier
from medimg.reporting.report.pictures import Picture
from medimg.runs import RunFolder
from medimg.training.report import report


def report_ensemble(scored: Scored) -> Mapping[str, Picture]:
    """What `report_run` does for a run; beside an error stands the map of the first member that scored the image."""
    members = {member.folder.path: member for member in scored.members}
    first = {path: folder for folder, table in reversed(list(scored.tables.items())) for path in table.paths}

    @cache
    def of_member(folder: Path) -> ImageClassifier:
        return load_classifier(RunFolder(folder))

    window = run_config(next(iter(members.values())).folder, {}).data.window
    manifest = replace(read_manifest_csv(scored.folder.manifest_file), window=window)
    return report(scored.folder, lambda path: of_member(first[path]), manifest, {scored.split: scored.sample})
