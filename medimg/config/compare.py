"""In what two configurations differ, key by key."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from medimg.errors import RequestError, suggestion

# what a run that goes on may change: where things are, how long and on what it trains, what it shows
FREE = (
    "allow",
    "callbacks.checkpoint",
    "callbacks.figures",
    "callbacks.learning_rate",
    "callbacks.pruning",
    "ckpt_path",
    "data.cache",
    "data.cache_limit",
    "data.check",
    "data.num_workers",
    "data.root",
    "evaluate_test",
    "evaluation",
    "logger",
    "model.init_from",
    "model.weights",
    "name",
    "paths",
    "sweep",
    "trainer.accelerator",
    "trainer.compile",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.limit_predict_batches",
    "trainer.log_every_n_steps",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.num_threads",
    "trainer.profiler",
)
# what a checkpoint's state belongs to: no word can change it
_IN_THE_STATE = ("model", "optimizer", "scheduler")
_WHOLE = ("data.class_aliases", "loss.class_weights")  # their keys are the user's: each is one value


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a configuration in plain containers by dotted key."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and key not in _WHOLE:
            yield from flatten(value, f"{key}.")
        else:
            yield key, value


def differences(
    was: Mapping[str, Any], now: Mapping[str, Any], ignoring: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """The keys whose values differ, with both; None for a key that one side does not have.

    Args:
        was: in plain containers.
        now: the same.
        ignoring: keys, and beginnings of keys up to a dot, to leave out.
    """
    old, new = dict(flatten(was)), dict(flatten(now))
    return {
        key: (old.get(key), new.get(key))
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key) and not is_below(key, ignoring)
    }


def is_below(key: str, roots: Collection[str]) -> bool:
    """Whether a key is one of these, or part of one."""
    return any(key == root or key.startswith(f"{root}.") for root in roots)


def refuse_changes(was: Mapping[str, Any], now: Mapping[str, Any], run: str, force: Collection[str]) -> None:
    """Raises RequestError where a run would go on with other settings than those that it was made with.

    Args:
        was: the configuration that it was made with, in plain containers.
        now: the one that it would go on with.
        run: how the run is called in the message.
        force: keys whose change is meant.
    """
    changed = differences(was, now, (*FREE, *(key for key in force if not is_below(key, _IN_THE_STATE))))
    if changed:
        shown = "\n".join(f"  {key}: {_shown(old)} became {_shown(new)}" for key, (old, new) in changed.items())
        possible = not any(is_below(key, _IN_THE_STATE) for key in changed)
        cure = f"if it is meant: 'force=[{','.join(changed)}]'; " if possible else ""
        raise RequestError(
            f"{run} was trained with other settings, and a run that goes on keeps its own\n{shown}\n"
            f"  {cure}other settings are better a run of their own, from weights alone: model.init_from=CHECKPOINT"
        )


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with these values at dotted keys.

    Raises:
        RequestError: there is no such key, or it holds more than one value.
    """
    known = dict(flatten(config))
    changed: dict[str, Any] = dict(config)
    for key, value in values.items():
        if key not in known:
            inner = any(name.startswith(f"{key}.") for name in known)
            hint = "give its keys one by one" if inner else suggestion(key, known)
            raise RequestError(f"the run has no single value {key!r}. {hint}")
        node = changed
        *path, last = key.split(".")
        for name in path:
            node[name] = dict(node[name])
            node = node[name]
        node[last] = value
    return changed


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
