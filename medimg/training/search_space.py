"""What a hyperparameter search tries: Hydra's sweep grammar read as Optuna's distributions, and values as overrides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from medimg.config.compose import parse
from medimg.errors import RequestError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# what the trials of a search have in common, or they could not be compared or found again
_SHARED = ("name", "paths.", "monitor", "sweep")


@dataclass(frozen=True)
class Space:
    """What is searched, by the key of its override, and the overrides that all trials share."""

    distributions: Mapping[str, "BaseDistribution"]
    shared: Sequence[str]

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Those of a trial that tries these values."""
        return [*self.shared, *(f"{key}={_written(values[key])}" for key in self.distributions)]

    def edges(self) -> Iterator[list[str]]:
        """The overrides of each choice and of both ends of each interval, the rest at their first value."""
        ends = {key: _ends(distribution) for key, distribution in self.distributions.items()}
        first = {key: values[0] for key, values in ends.items()}
        yield self.overrides(first)
        for key, values in ends.items():
            for value in values[1:]:
                yield self.overrides(first | {key: value})


def read_space(params: Mapping[str, Any], overrides: Sequence[str]) -> Space:
    """The space of a search.

    Args:
        params: of the sweeper, by key.
        overrides: of the command line. One with the key of a param replaces it; one with several values or an interval
            is searched, any other is the same for all trials.

    Raises:
        RequestError: nothing is searched, or something that cannot be.
    """
    lines = [*(f"{key}={plain(value)}" for key, value in params.items()), *overrides]
    kept = {one.get_key_element().lstrip("+"): one for one in parse(lines) if not one.is_hydra_override()}
    searched = {one.get_key_element(): _distribution(one) for one in kept.values() if one.is_sweep_override()}
    shared = [str(one.input_line) for one in kept.values() if not one.is_sweep_override()]
    for key in searched:
        if key.lstrip("+").startswith(_SHARED):
            raise RequestError(f"{key} cannot be searched: the trials of a search have it in common, so give one value")
    if not searched:
        raise RequestError(
            "nothing to search: every key has one value\n"
            "  several are given as optimizer=adam,sgd or optimizer.lr=interval(0.001,0.1)"
        )
    return Space(searched, shared)


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution

    sweep = override.value()
    try:
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep)
        if isinstance(sweep, RangeSweep):
            return _range(sweep)
        if getattr(sweep, "shuffle", False):
            sweep.shuffle = False  # type: ignore[union-attr]  # the same choices in the same order each time
        choices = list(dict.fromkeys(str(choice) for choice in override.sweep_string_iterator()))
        return CategoricalDistribution(choices)
    except ValueError as error:
        raise RequestError(f"{override.input_line}: cannot be searched: {error}") from None


def _interval(sweep: IntervalSweep) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    log = _is_log(sweep)
    if isinstance(sweep.start, int) and isinstance(sweep.end, int):  # int(interval(4,32))
        return IntDistribution(sweep.start, sweep.end, log=log)
    return FloatDistribution(float(sweep.start or 0), float(sweep.end or 0), log=log)


def _range(sweep: RangeSweep) -> "BaseDistribution":
    """As everywhere in Hydra, the end of a range is not part of it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    values = sorted(sweep.range())
    if not values:
        raise ValueError("the range is empty")
    log, step = _is_log(sweep), abs(sweep.step)
    if isinstance(values[0], int) and isinstance(step, int):
        return IntDistribution(values[0], int(values[-1]), log=log, step=step)
    if log:
        raise ValueError("tag(log, ...) goes with interval(...)")
    return FloatDistribution(values[0], values[-1], step=step)


def _is_log(sweep: IntervalSweep | RangeSweep) -> bool:
    if unknown := sweep.tags - {"log"}:
        raise ValueError(f"there is no tag {', '.join(sorted(unknown))}; log is one")
    return "log" in sweep.tags


def _ends(distribution: Any) -> list[Any]:
    choices = getattr(distribution, "choices", None)
    return list(choices) if choices is not None else [distribution.low, distribution.high]


def plain(value: Any) -> str:
    """A value of YAML as Hydra's grammar has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _written(value: Any) -> str:
    """A value as an override has it, in full precision; choices are text of the grammar already."""
    return value if isinstance(value, str) else repr(value)
