"""What tells runs apart: which keys make up a setting, and which of them a table needs to show."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from medimg.runs.records import AS_RUN, Run

# what is spread within a setting, says where things are, or changes no result
_NEVER = (
    *("name", "seed", "data.fold", "paths", "allow", "sweep", "monitor", "evaluate_test", "evaluation", "logger"),
    *("callbacks.checkpoint", "callbacks.figures", "callbacks.learning_rate", "callbacks.pruning"),
    *("data.num_workers", "data.cache", "data.cache_limit"),
    *("trainer.accelerator", "trainer.strategy", "trainer.enable_progress_bar", "trainer.enable_model_summary"),
    *("trainer.log_every_n_steps", "trainer.profiler", "trainer.detect_anomaly", "trainer.num_sanity_val_steps"),
    *("trainer.num_threads", "find"),  # what `find` has found is in the configuration
)
# what of `data` is more than which images there are and how they are split; those the fingerprint knows better
_OF_TRAINING = ("image_size", "normalize", "batch_size", "sampler", "positive_class", "window", "resize", "region")
_ORDER = ("data", "model", "augment", "loss", "optimizer", "scheduler", "trainer", "callbacks")
_ALWAYS = ("optimizer.lr",)  # means the same whatever the optimizer, and is what readers look for
# what is told of all runs where it is not as usual in one, though they may have it alike
_UNUSUAL: Mapping[str, Any] = {
    **{"data.region": "whole", "data.resize": "stretch", "data.window": None, "data.normalize": True},
    **{"data.sampler": "shuffle", "loss._target_": "torch.nn.CrossEntropyLoss", "loss.class_weights": None},
    **{"scheduler": None, "callbacks.early_stopping": None, "trainer.gradient_clip_val": None},
    **{"trainer.limit_train_batches": None, "trainer.overfit_batches": 0, "trainer.accumulate_grad_batches": 1},
}

Setting = tuple[tuple[str, Hashable], ...]


class Column(NamedTuple):
    """A column that differs between runs.

    Attributes:
        key: the dotted key, or that of a group as a whole, such as `optimizer`.
        title: its shortest end that no other column has.
        cell: the value of a run, as text.
        group: whether it is that of a group as a whole.
    """

    key: str
    title: str
    cell: Callable[[Run], str]
    group: bool


def setting(run: Run) -> Setting:
    """What runs share that differ only in seed or fold, on the same images."""
    return tuple(
        (key, _canonical(value))
        for key, value in sorted(run.config.items())
        if not _is_never(key) and not _of_images(key)
    )


def differing(runs: Sequence[Run], section: Callable[[Run], Hashable]) -> list[Column]:
    """The columns that a table of these runs needs.

    A group that was exchanged as a whole, such as the optimizer, has one column with its name; of its keys only those
    are shown beside it that do not follow from the name. What says which images there are is shown where it differs
    between sections, and left out where it differs within one: the same images from another place. What is unusual,
    as `data.region=border` is, has a column even where all runs have it alike.
    """
    runs = [run for run in runs if run.config]
    keys = list(dict.fromkeys(key for run in runs for key in run.config if not _is_never(key)))
    keys = [key for key in keys if _is_told(key, runs, section)]
    groups = _groups(keys, runs)
    found: dict[str, Callable[[Run], str]] = {}
    for key in sorted(keys, key=_position):
        group = next((name for name in groups if key == name or key.startswith(f"{name}.")), None)
        if group is None:
            found[key] = _leaf(key)
            continue
        found.setdefault(group, groups[group])
        follows = key in {group, f"{group}.name", f"{group}._target_"} or _follows(key, groups[group], runs)
        if key in _ALWAYS or not follows:
            found[key] = _leaf(key)
    return [
        Column(key, title, found[key], key in groups) for key, title in zip(found, titles(list(found)), strict=True)
    ]


def titles(keys: Sequence[str]) -> list[str]:
    """The shortest end of each dotted key that no other key has."""
    ends = Counter(end for key in keys for end in _ends(key))
    return [next((end for end in _ends(key) if ends[end] == 1), key) for key in keys]


def shown(value: Any) -> str:
    """A value as Hydra takes it on the command line, but for quotes."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(shown(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{shown(item)}' for name, item in value.items())}}}"
    return str(value)


def _groups(keys: Sequence[str], runs: Sequence[Run]) -> dict[str, Callable[[Run], str]]:
    """The groups that differ as a whole, and how each is named in a run."""
    groups = {}
    for name in dict.fromkeys(
        key.removesuffix("._target_") for run in runs for key in run.config if "._target_" in key
    ):
        if name in keys or f"{name}._target_" in keys or f"{name}.name" in keys:
            readable = _component(name, whole=False)
            of_targets: dict[str, set[str]] = {}
            for run in runs:
                of_targets.setdefault(readable(run), set()).add(str(run.config.get(f"{name}._target_")))
            clash = any(len(targets) > 1 for targets in of_targets.values())
            groups[name] = _component(name, whole=True) if clash else readable
    if sum(key.startswith("augment.") for key in keys) > 1:
        groups["augment"] = _augmentation
    return groups


def _component(name: str, *, whole: bool) -> Callable[[Run], str]:
    def cell(run: Run) -> str:
        target = run.config.get(f"{name}._target_")
        if target is None:
            return "none" if run.config else ""
        return str(target) if whole else str(run.config.get(f"{name}.name") or str(target).rpartition(".")[2])

    return cell


def _augmentation(run: Run) -> str:
    """The choice with these values; of values of one's own, what is switched on."""
    if not run.config:
        return ""
    given = {key.removeprefix("augment."): value for key, value in run.config.items() if key.startswith("augment.")}
    known = _augmentations().get(_canonical_values(given))
    return known or " ".join(f"{name}={shown(value)}" for name, value in given.items() if value) or "none"


@cache
def _augmentations() -> Mapping[str, str]:
    """The names of medimg's own choices by their values; a run keeps the values alone."""
    import yaml

    from medimg.config.compose import conf_dir

    files = sorted((conf_dir() / "augment").glob("*.yaml"))
    return {_canonical_values(yaml.safe_load(file.read_text(encoding="utf-8"))): file.stem for file in files}


def _canonical_values(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_canonical(value)}" for name, value in sorted(values.items()))


def _leaf(key: str) -> Callable[[Run], str]:
    return lambda run: shown(run.config[key]) if key in run.config else ""


@cache
def _is_never(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in _NEVER)


def _of_images(key: str) -> bool:
    return key.startswith("data.") and key.removeprefix("data.") not in _OF_TRAINING


def _is_told(key: str, runs: Sequence[Run], section: Callable[[Run], Hashable]) -> bool:
    if not _differs(key, runs):
        return _is_unusual(key, runs[0].config.get(key))
    return not (_of_images(key) and _varies_within(key, runs, section))


def _is_unusual(key: str, value: Any) -> bool:
    if key.startswith("augment."):
        return bool(value)
    group = next((name for name in ("scheduler", "callbacks.early_stopping") if key == f"{name}._target_"), key)
    return group in _UNUSUAL and value != _UNUSUAL[group]


def _differs(key: str, runs: Sequence[Run]) -> bool:
    known = [run for run in runs if key in run.config] if key in AS_RUN else runs
    return len({_canonical(run.config.get(key)) for run in known}) > 1


def _varies_within(key: str, runs: Sequence[Run], section: Callable[[Run], Hashable]) -> bool:
    """Whether a key has several values in one section, or does so only in runs that never got as far as their data."""
    known = [run for run in runs if run.data is not None]
    return not _differs(key, known) or not _follows(key, section, known)


def _follows(key: str, name: Callable[[Run], Hashable], runs: Sequence[Run]) -> bool:
    """Whether the value of a key follows from a name that each run has."""
    values: dict[Hashable, Hashable] = {}
    return all(
        values.setdefault(name(run), value) == value for run in runs for value in [_canonical(run.config.get(key))]
    )


def _canonical(value: Any) -> str:
    """Equal for equal values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _position(key: str) -> int:
    group = key.partition(".")[0]
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _ends(key: str) -> list[str]:
    """`lr`, `optimizer.lr` of `optimizer.lr`."""
    parts = key.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]
