"""`medimg check data=... data.root=...`: what is wrong with a data set, before anything is trained on it."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from medimg.commands.keys import refuse_sweep
from medimg.commands.options import overrides_only
from medimg.config.data import DataConfig
from medimg.config.training import TrainConfig
from medimg.errors import RequestError, suggestion

if TYPE_CHECKING:
    pass

USAGE = """medimg check: inspects a data set before training, and trains nothing.

  medimg check data=covid data.root=DIR
  medimg check data=manifest data.root=FILE.csv

  data               the kind of source: {choices}
  data.root          the folder of images, or the file that data= reads
  data.patient_regex where the patient stands in the path; other keys of data as in medimg train --help
  paths.runs         check.json and check.html go below it, into checks/ (runs)
  paths.cache        where caches go

It looks for files that cannot be read or are misnamed, classes that do not fit together, patients and copies in more
than one split, contradicting labels, and shortcuts: what tells the classes apart and is not the disease.
What it finds are severe findings, warnings and notes. It goes on past what medimg train would refuse.

Exit code: 1 where something severe is found, 0 otherwise, 2 where the request is wrong.
"""

_SYNTHETIC = (
    "These are synthetic images (data={name}). For your own: medimg check data=image_folder data.root=DIR (class "
    "folders), or data=manifest data.root=FILE.csv (a list of images)."
)


def main(arguments: Sequence[str]) -> int:
    """Lists the data, runs all checks, writes the report and prints it."""
    overrides = overrides_only("check", arguments)
    if overrides is None:
        print(USAGE.format(choices=", ".join(_choices())))
        return 0
    return _check(_config(overrides))


def _choices() -> list[str]:
    from medimg.config.compose import hydra_session

    with hydra_session("check") as hydra:
        return sorted(hydra.config_loader.get_group_options("data"))


def _config(overrides: Sequence[str]) -> TrainConfig:
    """The checked configuration that `medimg train` would have with these overrides."""
    from medimg.config.check import check, check_files
    from medimg.config.compose import compose, hydra_session, parse, resolve
    from medimg.config.data import PhantomConfig
    from medimg.config.quoting import quoted

    overrides = quoted(overrides)
    for override in parse(overrides):
        key = override.key_or_group
        if key != "data" and not key.startswith(("data.", "paths.")):
            raise RequestError(_unknown_key(key))
        refuse_sweep("check", override)
    with hydra_session("check"):
        config = check(resolve(compose(overrides)))
    if isinstance(config.data, PhantomConfig) and config.data.root is not None:
        raise RequestError(
            f"data.root={config.data.root} is not read by data={config.data.name}, which draws its images\n"
            "  data=image_folder reads class folders, data=manifest a CSV"
        )
    check_files(config)
    return config


def _unknown_key(key: str) -> str:
    keys = ["data", *(f"data.{name}" for name in DataConfig.__struct_fields__), "paths.runs", "paths.cache"]
    return f"check has no key {key!r}. {suggestion(key, keys)}\n  keys: data, data.*, paths.runs, paths.cache"


def _check(config: TrainConfig) -> int:
    from medimg.checks.page import render
    from medimg.checks.run import run_checks
    from medimg.checks.told import told
    from medimg.data.load import grouped, list_images
    from medimg.data.problems import gathered
    from medimg.files import write_json, write_text
    from medimg.runs import provenance

    cache = Path(config.paths.cache).expanduser()
    with gathered() as problems:
        manifest = grouped(list_images(config.data, cache), config.data, cache)
    if not manifest.records:
        raise RequestError(f"data.root={config.data.root}: no image is left to check: {problems[0].message}")
    report = run_checks(manifest, problems, cache=cache, progress=True)
    asked, when = _absolute(config.data), provenance.now()
    folder = Path(config.paths.runs).expanduser() / "checks" / _name(asked)
    write_json(folder / "check.json", {"checked": when, **report.as_dict(asked)})
    title = config.data.root or f"data={config.data.name}"
    page = render(report, manifest, title=title, when=when[:16].replace("T", " ") + " UTC")
    write_text(folder / "check.html", page)
    print(told(report))
    if manifest.synthetic:
        print(f"\n{_SYNTHETIC.format(name=config.data.name)}")
    print(f"\nWritten: {folder / 'check.json'}, {folder / 'check.html'}")
    return 1 if report.severe else 0


def _absolute(config: DataConfig) -> DataConfig:
    """The data keys as they are kept: they mean the same wherever they are read."""
    root = config.root and os.path.abspath(Path(config.root).expanduser())  # noqa: PTH100
    return replace(config, root=root)


def _name(config: DataConfig) -> str:
    """One folder for each data set and way of reading it: a check that is repeated replaces the one before."""
    from medimg.config.check import as_dict

    mark = hashlib.sha256(json.dumps(as_dict(config), sort_keys=True).encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", config.name).strip("-") or "data"
    return f"{name}-{mark}"
