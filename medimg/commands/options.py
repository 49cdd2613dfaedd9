"""What all commands understand besides overrides: --help, --cfg and -m."""

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from medimg.errors import RequestError


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}\n  {self.prog} --help lists the options")


def parser(command: str) -> ArgumentParser:
    """A parser of options and overrides for a command."""
    made = _Parser(prog=f"medimg {command}", add_help=False, allow_abbrev=False, usage=SUPPRESS)
    made.add_argument("-h", "--help", action="store_true")
    made.add_argument("overrides", nargs="*")
    return made


def overrides_only(command: str, arguments: Sequence[str]) -> list[str] | None:
    """The overrides of a command that has no other options; None where help is asked for."""
    options = parser(command).parse_intermixed_args(list(arguments))
    for override in options.overrides:
        if "=" not in override:
            raise RequestError(f"{override}: expected KEY=VALUE\n  medimg {command} --help lists the keys")
    return None if options.help else list(options.overrides)
