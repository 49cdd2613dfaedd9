"""What all commands understand besides overrides: --help, --cfg and -m."""

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from medimg.errors import RequestError, suggestion
from medimg.runs import RunFolder


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


def key_values(
    command: str, overrides: Sequence[str], keys: Sequence[str], of_the_run: Sequence[str] = ()
) -> dict[str, Any]:
    """The value of each key that was given to a command on a finished run.

    Args:
        command: for messages.
        overrides: `KEY=VALUE`, in Hydra's grammar.
        keys: the command's own, which take text.
        of_the_run: beginnings of keys of the run's configuration that it takes as well, such as `data.`.

    Raises:
        RequestError: a key that the command does not have; the message names the nearest.
    """
    from medimg.config.compose import parse
    from medimg.config.kinds import fields
    from medimg.config.quoting import quoted

    known = [*keys, *(field.key for field in fields() if field.key.startswith(tuple(of_the_run) or "\0"))]
    values: dict[str, Any] = {}
    for override in parse(quoted(overrides, text=keys)):
        key = override.key_or_group
        if key not in known:
            shown = ", ".join([*keys, *(f"{start}*" if start.endswith(".") else start for start in of_the_run)])
            raise RequestError(f"{command} has no key {key!r}. {suggestion(key, known)}\n  keys: {shown}")
        if override.is_sweep_override():
            raise RequestError(
                f"{override.input_line}: {command} takes one value\n  a value with commas is quoted twice"
            )
        values[key] = override.value()
    return values


def needed_run(values: dict[str, Any]) -> RunFolder:
    """The run that `run=` and `paths.runs=` mean; both are taken out of the values.

    Raises:
        RequestError: none is given, or there is none.
    """
    from medimg.runs.folder import find_run

    run, runs = values.pop("run", None), values.pop("paths.runs", None)
    if not run:
        raise RequestError("run=... is needed: a run folder, or latest")
    return find_run(str(run), Path(str(runs or "runs")).expanduser())
