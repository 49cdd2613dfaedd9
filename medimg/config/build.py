"""Builds the object that a component of the configuration stands for."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from medimg.config.base import Component
from medimg.config.check import target_of
from medimg.errors import RequestError


def locate(target: str) -> Any:
    """The class or function of a dotted name.

    Raises:
        RequestError: there is no such module or name.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # an allowed target of the user's own may lie beside their conf/
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(f"_target_={target} cannot be found: {error}") from None


def build(component: Component, *positional: Any, leave_out: tuple[str, ...] = (), **more: Any) -> Any:
    """Calls the component's target with its arguments.

    Args:
        component: from a checked configuration; its target was admitted there.
        positional: what comes before the arguments, such as the parameters of an optimizer.
        leave_out: arguments that are medimg's own and not the target's.
        more: arguments that only the program knows, such as the number of steps; they win.

    Raises:
        RequestError: the target does not take these arguments.
    """
    target, arguments = target_of(component)
    arguments = {name: value for name, value in arguments.items() if name not in leave_out} | more
    try:
        return locate(target)(*positional, **arguments)
    except TypeError as error:
        raise RequestError(f"{target} cannot be built from {sorted(arguments)}: {error}") from error
