"""A job on several devices: its helpers repeat its command line, so that must not be the sweep's."""

import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from medimg.config import TrainConfig, TrainerConfig
from medimg.config.check import as_dict
from medimg.config.quoting import quote
from medimg.runs import RunFolder, provenance


def takes_many(trainer: TrainerConfig | Mapping[str, Any]) -> bool:
    """Whether a job trains in several processes. In a sweep, `auto` is the one device that the job was given."""
    node = trainer if isinstance(trainer, Mapping) else as_dict(trainer)
    return node["strategy"] != "auto" or node["num_nodes"] != 1 or node["devices"] not in (1, "auto")


def become_resume(config: TrainConfig, folder: RunFolder) -> NoReturn:
    """Replaces this process by `medimg resume run=FOLDER`: a run without a checkpoint begins in its own folder."""
    if not folder.info():
        folder.claim()
        folder.write_config(as_dict(config))
        folder.update(status="running", name=config.name, seed=config.seed, started=provenance.now(), in_sweep=True)
    words = [quote("run", str(folder.path)), f"trainer.max_epochs={config.trainer.max_epochs}"]
    if config.allow:
        groups = (f"{group}:[{','.join(targets)}]" for group, targets in config.allow.items())
        words.append(f"allow={{{','.join(groups)}}}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "medimg", "resume", *words])  # noqa: S606 - no shell is wanted
