"""The study of a hyperparameter search on disk: `search.db` in the sweep's folder, an SQLite file of Optuna's."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medimg.errors import RequestError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

DATABASE = "search.db"
STUDY = "search"
FOLDER = "folder"  # of a trial's run, kept with the trial
OVERRIDES = "overrides"
_PATIENCE = 60.0  # seconds to wait where another process is writing


def need_optuna() -> None:
    """Raises RequestError where Optuna is not installed; where it is, makes it speak through our log alone."""
    try:
        import optuna
    except ImportError:
        raise RequestError("hyperparameter search needs Optuna\n  pip install 'medimg[search]'") from None
    optuna.logging.disable_default_handler()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.enable_propagation()


def open_storage(folder: Path) -> "RDBStorage":
    """The storage of the search in a sweep's folder.

    No connection stays open between two calls: the launcher forks, and SQLite forbids to carry one into a child.

    Raises:
        RequestError: Optuna is missing, or the file cannot be read.
    """
    need_optuna()
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    file = folder / DATABASE
    engine: dict[str, Any] = {"poolclass": NullPool, "connect_args": {"timeout": _PATIENCE}}
    try:
        return RDBStorage(f"sqlite:///{file}", engine_kwargs=engine)
    except (SQLAlchemyError, RuntimeError) as error:
        raise RequestError(
            f"{file} cannot be read as the study of a search: {str(error).splitlines()[0]}\n"
            "  give the search another name=, or put that file elsewhere"
        ) from None


def open_study(folder: Path, direction: Literal["maximize", "minimize"]) -> "Study":
    """The study in a sweep's folder, made where there is none.

    Args:
        folder: of the sweep; made if it is not there.
        direction: maximize or minimize.

    Raises:
        RequestError: it cannot be read, or goes in the other direction.
    """
    need_optuna()
    from optuna import create_study

    folder.mkdir(parents=True, exist_ok=True)
    study = create_study(storage=open_storage(folder), study_name=STUDY, direction=direction, load_if_exists=True)
    if study.direction.name.lower() != direction:
        raise RequestError(
            f"the search in {folder} would {study.direction.name.lower()} its metric, this one would {direction} it\n"
            "  give the search another name="
        )
    return study


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within it, no other process searches in this folder; the lock goes with the process that holds it.

    Raises:
        RequestError: another one does.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        logging.getLogger(__name__).debug("no file locks here")
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".search.lock").open("a") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RequestError(
                f"another process is searching in {folder}\n"
                "  wait for it, or give this search another name=; hydra.sweeper.n_jobs=2 runs two trials at a time"
            ) from None
        owner = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == owner:
                fcntl.lockf(stream, fcntl.LOCK_UN)
