"""`medimg resume run=RUN`: continues an interrupted run in its own folder, or extends a finished one."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from medimg.commands.keys import Run, Runs, described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node
from medimg.errors import RequestError, suggestion

OF_THE_RUN = ("trainer.max_epochs", "data.root", "")

USAGE = """medimg resume: continues an interrupted run in its own folder, or extends a finished one.

  medimg resume run=runs/NAME/TIME-HASH
  medimg resume run=latest
  medimg resume run=latest trainer.max_epochs=20

{keys}
  trainer.max_epochs epochs in all; more than the run was made for extends it
  data.root          where the images are now, if they have been moved

Any other key of the run's config.yaml can be given as well. Those that change what is trained need force.
"""


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    run: Run
    paths: Runs = Runs()
    force: Annotated[
        list[str],
        Meta(
            description="a list of what may have changed since: 'force=[data]', or keys as in 'force=[augment.rotate]'"
        ),
    ] = msgspec.field(default_factory=list)
    allow: Annotated[
        dict[str, list[str]] | None,
        Meta(description="targets of your own that the run was made with, by group; a run folder's word is not enough"),
    ] = None


def main(arguments: Sequence[str]) -> int:
    """Finds the run, checks that it can go on, and goes on."""
    overrides = overrides_only("resume", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request)))
        return 0
    request, changes = read_keys("resume", overrides, _Request, OF_THE_RUN)
    _check_force(request.force)

    from medimg.training.job import resume_job

    resume_job(request.run, request.paths.folder, changes, allow=request.allow, force=request.force)
    return 0


def _check_force(force: Sequence[str]) -> None:
    from medimg.config.check import ROLES_OF_MANY
    from medimg.config.compare import is_below
    from medimg.config.kinds import fields

    known = ["data", *(field.key for field in fields())]
    for key in force:
        if key not in known and not is_below(key, ROLES_OF_MANY):
            raise RequestError(f"force: there is no key {key!r}. {suggestion(key, known)}")
