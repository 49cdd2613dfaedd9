"""`python -m medimg COMMAND` is `medimg COMMAND`."""

import sys

from medimg.cli import command

sys.exit(command())
