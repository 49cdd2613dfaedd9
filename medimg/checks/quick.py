"""The quick part of a check, as `medimg train` runs it before it starts."""

import logging
from pathlib import Path
from typing import Literal

from medimg.checks.findings import by_kind
from medimg.checks.run import quick_checks
from medimg.checks.told import in_one_line
from medimg.data.manifest import Manifest
from medimg.errors import RequestError
from medimg.files import write_json

log = logging.getLogger(__name__)


def check_before_training(manifest: Manifest, mode: Literal["warn", "strict", "off"], file: Path | None) -> None:
    """Checks what takes seconds, logs severe findings and warnings, and writes check.json.

    Args:
        manifest: the images, with the run's splits.
        mode: `data.check`.
        file: check.json; None: it is not written.

    Raises:
        RequestError: something severe was found, and `mode` is strict.
    """
    if mode == "off":
        return
    report = quick_checks(manifest)
    if file is not None:
        write_json(file, report.as_dict())
    groups = by_kind(report.findings)
    for (severity, kind), found in groups.items():
        if severity != "note":
            log.warning("%s", in_one_line(kind, found))
    severe = [in_one_line(kind, found) for (severity, kind), found in groups.items() if severity == "severe"]
    if severe and mode == "strict":
        raise RequestError(
            "data.check=strict: the data has severe findings\n  "
            + "\n  ".join(line.removeprefix("check: ") for line in severe)
            + "\n  medimg check with the same data keys shows all of them; data.check=warn trains all the same"
        )
