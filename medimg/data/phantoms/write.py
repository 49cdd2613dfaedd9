"""Writes a set of phantoms into the cache folder, once: class folders below train/ and test/, and metadata.csv."""

import csv
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray
from PIL import Image

from medimg.config.data import PhantomConfig
from medimg.data.cache.in_use import hold
from medimg.errors import RequestError, suggestion

VERSION = 2
"""Raise it with every change to the drawing that alters a pixel: it is part of the folder's name."""

COLUMNS = ("path", "patient_id", "sex", "source")
SOURCES = ("phantom_a", "phantom_b", "phantom_c")

Draw = Callable[[str, Generator, Generator, int, float], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of phantoms: its name in the cache, its number in the streams, its patterns and what draws them."""

    name: str
    number: int
    patterns: tuple[str, ...]
    draw: Draw


def write_phantoms(kind: Kind, config: PhantomConfig, cache: Path) -> Path:
    """The folder of the phantoms that `config` asks for, drawn unless it is there already.

    An image depends on the seed, its class, patient and number, the size and the difficulty, and on nothing else: more
    patients, or fewer classes, leave the other images as they are. Patient 1, 5, 9, ... of every class are the test
    part. The folder appears under its name only when it is complete, and is not removed while this process lives.

    Raises:
        RequestError: for a class that is no pattern of this kind, or a cache folder that cannot be written.
    """
    patterns = _patterns(kind, config)
    folder = cache / "phantoms" / f"{kind.name}-{_key(patterns, config)}"
    while not hold(folder):
        _draw_folder(folder, kind, patterns, config)
    return folder


def _draw_folder(folder: Path, kind: Kind, patterns: tuple[str, ...], config: PhantomConfig) -> None:
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        unfinished.mkdir(parents=True)
        _fill(unfinished, kind, patterns, config)
        _publish(unfinished, folder)
    except OSError as error:
        raise RequestError(
            f"The phantom images cannot be written below {folder.parent}: {error.strerror or error}.\n"
            "Choose a folder that can be written to, with room, by paths.cache=FOLDER."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _patterns(kind: Kind, config: PhantomConfig) -> tuple[str, ...]:
    """The patterns whose class, after the aliases, is asked for; all where no classes are given."""
    if config.classes is None:
        return kind.patterns
    aliases = config.class_aliases or {}
    named = {pattern: aliases.get(pattern, pattern) for pattern in kind.patterns}
    for name in config.classes:
        if name not in named.values():
            allowed = ", ".join(dict.fromkeys(named.values()))
            raise RequestError(
                f"data.classes has {name!r}, which {config.name} cannot draw. It draws: {allowed}. "
                f"{suggestion(name, named.values())}".rstrip()
            )
    return tuple(pattern for pattern in kind.patterns if named[pattern] in config.classes)


def _key(patterns: tuple[str, ...], config: PhantomConfig) -> str:
    """A hash of everything that decides what is drawn."""
    count, each = config.patients_per_class, config.images_per_patient
    settings = [VERSION, patterns, count, each, config.size, float(config.difficulty), config.draw_seed]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def _fill(folder: Path, kind: Kind, patterns: tuple[str, ...], config: PhantomConfig) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for pattern in patterns:
            for patient in range(config.patients_per_class):
                table.writerows(_write_patient(folder, kind, pattern, patient, config))


def _write_patient(
    folder: Path, kind: Kind, pattern: str, patient: int, config: PhantomConfig
) -> Iterator[tuple[str, str, str, str]]:
    """Writes the images of one patient, and yields their rows of the table."""
    number = kind.patterns.index(pattern)

    def stream(*part: int) -> Generator:
        return Generator(PCG64(SeedSequence([config.draw_seed, kind.number, number, patient, *part])))

    person = stream(0)
    sex, source = "FM"[person.integers(2)], SOURCES[person.integers(len(SOURCES))]
    name = f"p{number}{patient:03d}"
    split = "test" if patient % 4 == 1 else "train"
    (folder / split / pattern).mkdir(parents=True, exist_ok=True)
    for image in range(config.images_per_patient):
        pixels = kind.draw(pattern, stream(1), stream(2, image), config.size, config.difficulty)
        path = f"{split}/{pattern}/{name}_{image}.png"
        Image.fromarray(pixels).save(folder / path)
        yield path, name, sex, source


def _publish(unfinished: Path, folder: Path) -> None:
    """Gives the finished folder its name; where another process was faster, its equal folder stays."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
