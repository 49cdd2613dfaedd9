"""The quick part of a check, as `medimg train` runs it before it starts."""

import logging
from pathlib import Path

from medimg.checks.findings import by_kind
from medimg.checks.kept import kept_report
from medimg.checks.run import quick_checks
from medimg.checks.told import group_told, in_one_line
from medimg.config.data import DataConfig
from medimg.data.manifest import Manifest
from medimg.errors import RequestError
from medimg.files import write_json

log = logging.getLogger(__name__)


def check_before_training(manifest: Manifest, config: DataConfig, file: Path | None, cache: Path | None) -> None:
    """Checks what takes seconds, logs severe findings and warnings, and writes check.json.

    Args:
        manifest: the images, with the run's splits.
        config: the data keys that they were listed with; its `check` says what is done about findings.
        file: check.json; None: it is not written.
        cache: the cache folder, where the result is kept for other runs on the same data; None: it is not kept.

    Raises:
        RequestError: something severe was found, and `data.check` is strict.
    """
    if config.check == "off":
        return
    report = kept_report(manifest, cache, quick_checks)
    if file is not None:
        write_json(file, report.as_dict(config))
    groups = by_kind(report.findings)
    for (severity, kind), found in groups.items():
        if severity != "note":
            log.warning("%s%s", in_one_line(kind, found), "" if file is None else f"; see {file.name}")
    severe = [group_told(severity, kind, found) for (severity, kind), found in groups.items() if severity == "severe"]
    if severe and config.check == "strict":
        everything = "" if file is None else f"all of it: {file}; "
        raise RequestError(
            "\n".join(["data.check=strict: the data has severe findings", *severe])
            + f"\n  {everything}data.check=warn trains all the same"
        )
