"""`medimg <command>`: picks the command and turns errors into exit codes; imports nothing heavy."""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from medimg.errors import Interrupted, MedimgError, RequestError, suggestion

_SIGPIPE = 128 + 13

COMMANDS = {
    "train": "train a model, or sweep over many with -m",
    "resume": "continue an interrupted run, or extend a finished one",
    "evaluate": "score a trained run again: another checkpoint, split or data set, with intervals",
    "predict": "predict for new images: an image, a folder, DICOM, a CSV",
    "ensemble": "average the probabilities of several runs, or the best of a sweep; score and use them as one",
    "check": "inspect a data set before training: broken files, leaks between splits, shortcuts",
    "export": "write a run's model as one file (ONNX, torch.export), checked against the original",
    "leaderboard": "rank runs by validation, with mean and spread over seeds and folds",
    "cache": "what is computed once and kept: show it, or empty it",
}

USAGE = """medimg: experiments in medical image classification. Not for clinical use.

  medimg COMMAND [key=value ...]

{commands}

  medimg COMMAND --help    that command's options and groups
  medimg train             with no arguments, trains on synthetic images"""


def command() -> int:
    """`main` in a process of its own, set up for what it is about to import and compute."""
    # Modules hold on to nearly all that they make. Looking through it for garbage again and again, and once more when
    # the process ends, takes a quarter of the processor time of importing torch and Lightning.
    gc.set_threshold(10_000)
    # A thread of OpenMP that waits for another spins, for so long by default that it takes the core from the one that
    # it waits for where the machine has other work as well. (GNU's reads this when torch is imported.)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        code = main()
        if sys.stdout is not None:  # a daemon has none
            sys.stdout.flush()
    except BrokenPipeError:  # `medimg leaderboard | head`: what is left to say goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _SIGPIPE
    gc.freeze()
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 1 failed, 2 wrong request, 128 + signal interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(USAGE.format(commands="\n".join(f"  {name:11} {does}" for name, does in COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"medimg {version('medimg')}")
        return 0
    try:
        return _run(arguments[0], arguments[1:])
    except MedimgError as error:
        print("\n".join(line.rstrip() for line in f"medimg: error: {error}".splitlines()), file=sys.stderr)
        return error.exit_code
    except Interrupted as interrupted:
        print(f"medimg: interrupted by {interrupted}", file=sys.stderr)
        return interrupted.exit_code
    except KeyboardInterrupt:
        print("medimg: interrupted", file=sys.stderr)
        return 130


def _run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        raise RequestError(
            f"there is no command {command!r}. {suggestion(command, COMMANDS)}\n  commands: {', '.join(COMMANDS)}"
        )
    try:
        code: int = import_module(f"medimg.commands.{command}").main(arguments)
    except BrokenPipeError:
        raise
    except OSError as error:
        from medimg.commands.unwritable import refused

        raise refused(command, error) from error
    return code
