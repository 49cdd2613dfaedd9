"""A value together with where it was read, so that every number of a page can be compared with its file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cited:
    """A value of a file and its place in it.

    Attributes:
        value: as JSON has it; None where there is none.
        source: the file, relative to the folder that is reported on, and a JSON pointer (RFC 6901), such as
            `results.json:/test/f1~1covid`. A CSV is a list of objects, so `metrics.csv:/0/val~1loss`.
    """

    value: Any
    source: str

    @classmethod
    def whole(cls, value: Any, file: str) -> "Cited":
        """The content of a file."""
        return cls(value, f"{file}:")

    def __bool__(self) -> bool:
        return bool(self.value)

    @property
    def known(self) -> bool:
        """Whether there is a value; 0 and false are some."""
        return self.value is not None

    def at(self, *keys: str | int) -> "Cited":
        """What stands below; its value is None where there is nothing."""
        value = self.value
        for key in keys:
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int) and key < len(value):
                value = value[key]
            else:
                value = None
        return Cited(value, self.source + "".join(f"/{_escaped(str(key))}" for key in keys))

    def parts(self) -> list[tuple[str | int, "Cited"]]:
        """Key and value of everything directly below."""
        keys = list(self.value) if isinstance(self.value, Mapping) else range(len(self.value or ()))
        return [(key, self.at(key)) for key in keys]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
