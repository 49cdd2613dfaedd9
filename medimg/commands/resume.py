"""`medimg resume run=RUN`: continues an interrupted run in its own folder, or extends a finished one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medimg.commands.options import overrides_only
from medimg.errors import RequestError, suggestion

KEYS = ("run", "paths.runs", "allow", "force")

USAGE = """medimg resume: continues an interrupted run in its own folder, or extends a finished one.

  medimg resume run=runs/NAME/TIME-HASH
  medimg resume run=latest
  medimg resume run=latest trainer.max_epochs=20

  run                a run folder, or latest: the run below paths.runs that started last
  paths.runs         where latest looks (runs)
  trainer.max_epochs epochs in all; more than the run was made for extends it
  data.root          where the images are now, if they have been moved
  force              what may have changed since: 'force=[data]', or keys such as 'force=[augment.rotate]'
  allow              targets of your own that the run was made with, by group; a run folder's word is not enough

Any other key of the run's config.yaml can be given as well. Those that change what is trained need force.
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
    from medimg.config.kinds import fields
    from medimg.config.quoting import quoted
    from medimg.training.job import resume_job

    known = [*KEYS, *(field.key for field in fields())]
    given: dict[str, Any] = {}
    for override in parse(quoted(overrides, text=["run"])):
        key = override.key_or_group
        group = any(name.startswith(f"{key}.") for name in known)
        if key not in known and not group and not key.startswith(("callbacks.", "logger.")):
            raise RequestError(
                f"resume has no key {key!r}. {suggestion(key, known)}\n"
                f"  keys: {', '.join(KEYS)}, trainer.max_epochs, data.root and other keys of the run's configuration"
            )
        if override.is_sweep_override():
            raise RequestError(f"{override.input_line}: resume takes one value\n  a value with commas is quoted twice")
        given[key] = override.value()
    run, runs, allow, force = (given.pop(key, None) for key in KEYS)
    if not run:
        raise RequestError("run=... is needed: a run folder, or latest")
    if not isinstance(force, list | None):
        raise RequestError(f"force={force}: expected a list, as in 'force=[data]'")
    for key in map(str, force or ()):
        if key not in {*known, "data"} and not key.startswith(("callbacks.", "logger.")):
            raise RequestError(f"force: there is no key {key!r}. {suggestion(key, ['data', *known])}")
    resume_job(str(run), Path(str(runs or "runs")), given, allow=allow, force=[str(key) for key in force or ()])
    return 0
