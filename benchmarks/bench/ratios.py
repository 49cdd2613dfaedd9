"""A case and what is concluded from it: ratios within each repetition, their median, and whether it keeps a limit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Figures = Mapping[str, float]
Repetition = Mapping[str, Figures]  # by variant


@dataclass(frozen=True)
class Line:
    """A claim: a ratio that is made of the figures of one repetition, and its limit.

    Attributes:
        what: the claim in words, for the table.
        ratio: of one repetition.
        limit: None where the figure is shown alone.
        at_least: whether the ratio has to be as large as the limit; else it may not be larger.
    """

    what: str
    ratio: Callable[[Repetition], float]
    limit: float | None = None
    at_least: bool = False


@dataclass(frozen=True)
class Case:
    """What is run in turn, and what is claimed of it.

    Attributes:
        variants: by name, each a whole process; run in this order, and in the next repetition in the reverse one.
        lines: the claims.
        prepare: done once before, and not counted.
    """

    name: str
    variants: Mapping[str, Callable[[], Figures]]
    lines: Sequence[Line]
    prepare: Callable[[], object] | None = None


@dataclass(frozen=True)
class Verdict:
    """A claim's ratios, one a repetition, and whether their median keeps the limit; None where there is none."""

    what: str
    ratios: tuple[float, ...]
    limit: float | None
    at_least: bool

    @property
    def median(self) -> float:
        """The middle ratio, which a single slow run does not move."""
        return median(self.ratios)

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps the limit."""
        if self.limit is None:
            return None
        return self.median >= self.limit if self.at_least else self.median <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "what": self.what, "ratios": list(self.ratios), "median": self.median, "min": min(self.ratios),
            "max": max(self.ratios), "limit": self.limit, "at_least": self.at_least, "holds": self.holds,
        }  # fmt: skip


@dataclass
class Result:
    """What a case has measured so far."""

    case: Case
    repetitions: list[Repetition] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        """One for each claim; none before the first repetition is whole."""
        if not self.repetitions:
            return []
        return [
            Verdict(line.what, tuple(line.ratio(one) for one in self.repetitions), line.limit, line.at_least)
            for line in self.case.lines
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "case": self.case.name,
            "repetitions": self.repetitions,
            "lines": [verdict.as_dict() for verdict in self.verdicts()],
        }


def measure(case: Case, repeats: int, say: Callable[[str], None]) -> Result:
    """Runs all variants so many times, every other time in reverse, so that a machine that slows down wrongs nobody."""
    result = Result(case)
    if case.prepare is not None:
        case.prepare()
    for number in range(repeats):
        order = list(case.variants)[:: 1 if number % 2 == 0 else -1]
        found: dict[str, Figures] = {}
        for variant in order:
            found[variant] = case.variants[variant]()
            shown = ", ".join(f"{name} {value:g}" for name, value in found[variant].items())
            say(f"{case.name} {number + 1}/{repeats}, {variant}: {shown}")
        result.repetitions.append({variant: found[variant] for variant in case.variants})
    return result
