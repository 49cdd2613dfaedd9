"""From a plain nested dict to a checked TrainConfig, and back; light, so that mistakes are answered at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from medimg.config.backbones import torchvision_names
from medimg.config.base import Component, Custom
from medimg.config.data import PhantomConfig
from medimg.config.kinds import find, structs_of, union
from medimg.config.optim import OneCycleConfig, OptimizerConfig
from medimg.config.training import CheckpointConfig, TrainConfig
from medimg.config.windows import parse_windows
from medimg.config.wording import explain
from medimg.errors import RequestError, suggestion

AVERAGES = ("f1_macro", "accuracy", "loss", "precision_macro", "recall_macro", "auroc")
PER_CLASS = ("f1", "sensitivity", "specificity")
ROLES = ("data", "model", "loss", "optimizer", "scheduler")
ROLES_OF_MANY = ("callbacks", "logger")

Allowed = Mapping[str, list[str]]


def check(raw: Mapping[str, Any], allow: Allowed | None = None) -> TrainConfig:
    """A checked configuration.

    Args:
        raw: the resolved configuration in plain containers, `_target_` where an object is to be built.
        allow: targets of the user's own by group. They are taken from here alone, never from `raw`: a configuration
            that came with a run folder may name code, but does not get to run it.

    Raises:
        RequestError: an unknown key or target, a wrong type, a value out of range, or values that contradict.
    """
    raw = _with_names_as_text(raw)
    refuse_missing(raw)
    allow = check_allow(allow)
    for role in ROLES:
        raw[role] = _admit(raw.get(role), role, role, allow)
    for role in ROLES_OF_MANY:
        raw[role] = _admit_many({} if raw.get(role) is None else raw[role], role, allow)
    config: TrainConfig = _convert(raw, TrainConfig)
    _check_together(config)
    return config


def check_allow(given: Any) -> dict[str, list[str]]:
    """Targets of the user's own by group, as `allow=` gives them; RequestError where they are something else."""
    allow: dict[str, list[str]] = _convert({} if given is None else given, dict[str, list[str]], "allow")
    return allow


def as_dict(node: msgspec.Struct) -> dict[str, Any]:
    """The configuration in plain containers: for YAML, JSON and checkpoints, and for `check` to read again."""
    found: dict[str, Any] = plain(msgspec.to_builtins(node))
    return found


def plain(value: Any) -> Any:
    """A value in plain containers: lists for tuples, and a user's own component as it was written."""
    if isinstance(value, dict):
        if value.get("_target_") == "custom":
            return {"_target_": value["target"], **plain(value["arguments"])}
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def admit(node: Component | Mapping[str, Any], role: str, allow: Allowed | None = None) -> Component:
    """A single checked component of a group, from a struct or from plain containers as checkpoints hold them.

    Raises:
        RequestError: its target is neither known nor allowed, or its arguments do not fit.
    """
    if isinstance(node, Component):
        return node
    component: Component = _convert(_admit(dict(node), role, role, allow or {}), union(role), role)
    return component


def refuse_missing(node: Any, key: str = "") -> None:
    """Raises RequestError where `???` is left, which marks what the user has to give."""
    if node == "???":
        purpose = next((field.description for field in find(key)), "")
        raise RequestError(f"{key} is needed and has no default\n  {key}=...  {purpose}".rstrip())
    if isinstance(node, dict):
        for name, child in node.items():
            refuse_missing(child, f"{key}.{name}" if key else str(name))


def _convert(node: Any, kind: Any, key: str = "") -> Any:
    """The typed value of plain containers that stand at this key."""
    try:
        return msgspec.convert(node, kind)
    except msgspec.ValidationError as error:
        raise RequestError(explain(str(error), node, key)) from None


def _with_names_as_text(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Classes called 0 and 1 are names: Hydra reads them as numbers and takes no quotes there."""
    changed = dict(raw)
    for group, key in (("data", "class_aliases"), ("loss", "class_weights")):
        node = raw.get(group)
        if isinstance(node, dict) and isinstance(node.get(key), dict):
            named = {str(name) if type(name) is int else name: value for name, value in node[key].items()}
            changed[group] = node | {key: named}
    return changed


def _admit_many(nodes: Any, role: str, allow: Allowed) -> Any:
    """The named components of a group, each checked by itself, so that a mistake is told with its whole key."""
    if not isinstance(nodes, dict):
        return nodes
    admitted = {name: _admit(node, f"{role}.{name}", role, allow) for name, node in nodes.items()}
    for name, node in admitted.items():
        _convert(node, union(role), f"{role}.{name}")
    return admitted


def _admit(node: Any, key: str, role: str, allow: Allowed) -> Any:
    """The node of a component, once its target is known or allowed."""
    if not isinstance(node, dict):
        return node
    known = list(structs_of(role))
    target = node.get("_target_")
    if not isinstance(target, str):
        raise RequestError(f"{key} does not say what to build: it has no _target_\n  known here: {', '.join(known)}")
    if target in known:
        return node
    if target in allow.get(role, []) and role != "data":
        rest = {name: value for name, value in node.items() if name != "_target_"}
        return {"_target_": "custom", "target": target, "arguments": rest}
    own = "" if role == "data" else f"\n  to run code of your own: allow={{{role}:[{target}]}}"
    raise RequestError(
        f"{key}._target_={target} is not allowed. {suggestion(target, known)}\n  known here: {', '.join(known)}{own}"
    )


def check_files(config: TrainConfig) -> None:
    """Raises RequestError where a file, folder or backbone that the configuration names is not there."""
    backbone = getattr(config.model, "backbone", None)
    if backbone is not None and (names := torchvision_names()) and backbone not in names:
        raise RequestError(
            f"model.backbone={backbone}: torchvision has no such model. {suggestion(backbone, names)}\n"
            f"  it has {', '.join(names)}"
        )
    weights = getattr(config.model, "weights", None)
    is_path = isinstance(weights, str) and ("/" in weights or Path(weights).suffix in {".pth", ".pt", ".ckpt", ".bin"})
    given = {
        "data.root": config.data.root,
        "ckpt_path": config.ckpt_path,
        "model.weights": weights if is_path else None,
        "model.init_from": getattr(config.model, "init_from", None),
    }
    for key, path in given.items():
        if path is not None and not Path(path).expanduser().exists():
            raise RequestError(f"{key}={path}: there is no such file or folder\n  looked in {Path.cwd()}")


def _check_together(config: TrainConfig) -> None:
    """What no single value shows."""
    parse_windows(config.data.window)
    if not config.data.root and not isinstance(config.data, PhantomConfig):
        raise RequestError(f"data.root is needed by data={config.data.name}, and has no default\n  data.root=PATH")
    if not any(isinstance(node, CheckpointConfig) for node in config.callbacks.values()):
        raise RequestError("callbacks.checkpoint cannot be switched off: a run is evaluated from its best checkpoint")
    if config.trainer.check_val_every_n_epoch > config.trainer.max_epochs:
        raise RequestError(
            f"trainer.check_val_every_n_epoch={config.trainer.check_val_every_n_epoch} with "
            f"trainer.max_epochs={config.trainer.max_epochs}: no epoch would be validated, so none could be selected"
        )
    if config.trainer.devices in {0, ()}:
        raise RequestError("trainer.devices=0: a run needs one; trainer.accelerator=cpu is a device as well")
    if config.trainer.max_steps == 0:
        raise RequestError("trainer.max_steps=0: a run needs at least one step; -1 is no limit")
    _check_monitor(config)
    _check_find(config)
    loss_weights = getattr(config.loss, "class_weights", None)
    data = config.data
    if data.sampler == "balanced" and loss_weights is not None:
        raise RequestError(
            "data.sampler=balanced and loss.class_weights both make up for unequal classes; together they do it twice\n"
            "  choose one: data.sampler=shuffle, or loss.class_weights=null"
        )
    if (data.folds is None) != (data.fold is None):
        raise RequestError("data.folds and data.fold go together: data.folds=5 data.fold=0 holds out the first of five")
    if data.folds is not None and data.fold is not None and data.fold >= data.folds:
        raise RequestError(
            f"data.fold={data.fold}: folds count from 0, so with data.folds={data.folds} the last is {data.folds - 1}"
        )
    if data.patient_regex is not None:
        _check_regex(data.patient_regex)
    _check_views(config)


def _check_views(config: TrainConfig) -> None:
    """A fixed number of views is there for what a frozen trunk makes of them to be kept."""
    augment = config.augment
    if augment.views is None:
        return
    if getattr(config.model, "freeze", False) is not True:
        raise RequestError(
            f"augment.views={augment.views} needs model.freeze=true: what a frozen trunk makes of them is kept\n"
            "  otherwise augment.views=null, which varies each image anew in each epoch"
        )
    if not augment.varies:
        raise RequestError(
            f"augment.views={augment.views}: nothing is varied, so all views are the same\n  augment=rotate_zoom"
        )


def _check_monitor(config: TrainConfig) -> None:
    """Selection sees validation only, and only what is measured there."""
    metric = config.monitor.metric
    averages = [f"val/{name}" for name in AVERAGES]
    of_a_class = re.fullmatch(rf"val/({'|'.join(PER_CLASS)})/.+", metric)
    if metric not in averages and not of_a_class:
        raise RequestError(
            f"monitor.metric={metric}: not measured on validation. {suggestion(metric, averages)}\n"
            f"  allowed: {', '.join(averages)}, and {', '.join(f'val/{name}/CLASS' for name in PER_CLASS)}"
        )
    if (metric == "val/loss") != (config.monitor.mode == "min"):
        better = "min" if metric == "val/loss" else "max"
        raise RequestError(f"monitor.mode={config.monitor.mode}: the better {metric} is the {better}, so mode={better}")


def _check_find(config: TrainConfig) -> None:
    """What is found must have its place, and must not be another value for each process."""
    asked = [f"find.{name}" for name in ("lr", "batch_size") if getattr(config.find, name)]
    if not asked:
        return
    trainer = config.trainer
    several = len(trainer.devices) > 1 if isinstance(trainer.devices, tuple) else trainer.devices not in {1, "auto"}
    if several or trainer.num_nodes != 1 or trainer.strategy != "auto":
        raise RequestError(
            f"{asked[0]}=true works on one device alone\n"
            "  find it with trainer.devices=1 trainer.max_epochs=1, and give the run the value that its log names"
        )
    if config.ckpt_path:
        raise RequestError(f"{asked[0]}=true and ckpt_path: a full state goes on with the values that it was made with")
    if config.find.lr and not isinstance(config.optimizer, OptimizerConfig):
        raise RequestError("find.lr=true: an optimizer of your own has no optimizer.lr that could be replaced")
    if config.find.lr and isinstance(config.scheduler, OneCycleConfig) and config.scheduler.max_lr is not None:
        raise RequestError(
            f"find.lr=true with scheduler.max_lr={config.scheduler.max_lr:g}, which alone would count\n"
            "  scheduler.max_lr=null takes optimizer.lr"
        )


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise RequestError(f"data.patient_regex={pattern}: not a regular expression: {error}") from None


def target_of(component: Component) -> tuple[str, dict[str, Any]]:
    """The dotted name that a component stands for, and its arguments."""
    if isinstance(component, Custom):
        return component.target, dict(component.arguments)
    arguments = {name: getattr(component, name) for name in component.__struct_fields__}
    return str(component.__struct_config__.tag), arguments
