"""`medimg resume run=RUN`: continues an interrupted run in its own folder, or extends a finished one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medimg.commands.options import overrides_only
from medimg.errors import RequestError, suggestion

KEYS = ("run", "trainer.max_epochs", "paths.runs", "allow")

USAGE = """medimg resume: continues an interrupted run in its own folder, or extends a finished one.

  medimg resume run=runs/NAME/TIME-HASH
  medimg resume run=latest
  medimg resume run=latest trainer.max_epochs=20

  run                a run folder, or latest: the run below paths.runs that started last
  trainer.max_epochs epochs in all; more than the run was made for extends it
  paths.runs         where latest looks (runs)
  allow              targets of your own that the run was made with, by group; a run folder's word is not enough
"""


def main(arguments: Sequence[str]) -> int:
    """Finds the run, checks that it can go on, and goes on."""
    overrides = overrides_only("resume", arguments)
    if overrides is None:
        print(USAGE)
        return 0
    return _resume(overrides)


def _resume(overrides: Sequence[str]) -> int:
    from medimg.config.compose import parse
    from medimg.config.quoting import quoted
    from medimg.training.job import resume_job

    given: dict[str, Any] = {}
    for override in parse(quoted(overrides, text=["run"])):
        key = override.key_or_group
        if key not in KEYS:
            raise RequestError(f"resume has no key {key!r}. {suggestion(key, KEYS)}\n  keys: {', '.join(KEYS)}")
        if override.is_sweep_override():
            raise RequestError(f"{override.input_line}: resume takes one value\n  a value with commas is quoted twice")
        given[key] = override.value()
    if not given.get("run"):
        raise RequestError("run=... is needed: a run folder, or latest")
    max_epochs = given.get("trainer.max_epochs")
    if max_epochs is not None and (type(max_epochs) is not int or max_epochs < 1):
        raise RequestError(f"trainer.max_epochs={max_epochs}: expected whole number >= 1")
    allow: Any = given.get("allow")
    resume_job(str(given["run"]), Path(str(given.get("paths.runs", "runs"))), max_epochs, allow)
    return 0
