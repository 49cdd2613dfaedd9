"""The YAML of conf/ and the typed schema say the same, and only what is known or allowed gets through."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from medimg.config import (
    AdamConfig,
    AugmentConfig,
    CheckpointConfig,
    CTConfig,
    Custom,
    FocalConfig,
    MonitorConfig,
    PathsConfig,
    PruningConfig,
    SmallCNNConfig,
    SweepConfig,
    TorchvisionConfig,
    TrainConfig,
    TrainerConfig,
)
from medimg.config.check import ROLES, ROLES_OF_MANY, admit, as_dict, check, target_of
from medimg.config.compose import compose, conf_dir, hydra_session, resolve
from medimg.config.kinds import structs_of
from medimg.errors import RequestError


def choices(*groups: str) -> list[tuple[str, str]]:
    return [(group, file.stem) for group in groups for file in sorted((conf_dir() / group).glob("*.yaml"))]


def raw_config(*overrides: str) -> dict[str, Any]:
    with hydra_session():
        return resolve(compose(overrides))


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    return raw_config()


@pytest.fixture
def plain(raw: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(raw)


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for name, child in node.items():
            yield from leaves(child, f"{key}.{name}")
    else:
        yield key, list(node) if isinstance(node, tuple) else node


def own_text(group: str, choice: str) -> dict[str, Any]:
    """A YAML file with the files that it begins with, read without Hydra."""
    content = yaml.safe_load((conf_dir() / group / f"{choice}.yaml").read_text(encoding="utf-8")) or {}
    bases = [base for base in content.pop("defaults", []) if base != "_self_"]
    merged: dict[str, Any] = {}
    for base in bases:
        merged |= own_text(group, base)
    return merged | content


@pytest.mark.parametrize(("group", "choice"), choices(*ROLES, "callbacks", "logger", "augment", "trainer"))
def test_every_yaml_has_the_keys_of_the_schema(group: str, choice: str) -> None:
    """Both ways: a key in YAML that the schema lacks is a mistake, and so is one that it has and YAML does not."""
    content = own_text(group, choice)
    if choice == "none" and group in {"scheduler", "logger"}:
        assert content in ({"scheduler": None}, {"logger": {}})
        return
    if group in {"augment", "trainer"}:
        struct = {"augment": AugmentConfig, "trainer": TrainerConfig}[group]
        assert as_dict(msgspec.convert(content, struct)) == content
        return
    for node in [content] if group in ROLES else filter(None, content.values()):
        filled = node | {key: "given" for key, value in node.items() if value == "???" or "${" in str(value)}
        assert as_dict(admit(filled, group)) == filled


@pytest.mark.parametrize(("group", "choice"), choices("experiment", "debug", "sweep"))
def test_every_overlay_fits_the_schema(group: str, choice: str) -> None:
    composed = raw_config(f"{group}={choice}", "data.root=/images")
    assert dict(leaves(as_dict(check(composed)))) == dict(leaves(composed))


def test_no_group_is_left_out_here() -> None:
    groups = {folder.name for folder in conf_dir().iterdir() if folder.is_dir()}
    assert groups == {*ROLES, *ROLES_OF_MANY, "augment", "trainer", "experiment", "debug", "sweep", "hydra"}


# the choices that stand for the plain component: their values are the schema's defaults
PLAIN = {
    **{("optimizer", name): "optimizer" for name in ("adam", "adamw", "sgd", "rmsprop")},
    **{("scheduler", name): "scheduler" for name in ("step", "cosine", "plateau", "one_cycle")},
    **{("loss", name): "loss" for name in ("cross_entropy", "focal")},
    **{("data", name): "data" for name in ("ct", "covid", "image_folder", "manifest", "medmnist")},
    **{("data", name): "data" for name in ("ct_phantom", "covid_phantom")},
    **{("model", name): "model" for name in ("small_cnn", "torchvision")},
}
NOT_THE_DEFAULT = {
    ("data", "root"),  # needed in YAML, as a struct takes anything
    ("model", "backbone"),
    ("model", "name"),
    ("data", "num_workers"),  # phantoms are so small that workers cost more than they save
}


@pytest.mark.parametrize(("group", "choice"), PLAIN)
def test_yaml_and_schema_have_the_same_defaults(group: str, choice: str) -> None:
    node = own_text(group, choice)
    struct = structs_of(group)[node["_target_"]]
    needed = {"backbone": "vgg11"} if struct is TorchvisionConfig else {}
    defaults = as_dict(struct(**needed))
    assert node.keys() == defaults.keys()
    for key, value in defaults.items():
        if (group, key) not in NOT_THE_DEFAULT:
            assert node[key] == value, key
            assert type(node[key]) is type(value), key


def pruning_of_search() -> dict[str, Any]:
    """A callback that no choice of its group has: a search switches it on."""
    text = (conf_dir() / "sweep" / "search.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["callbacks"]["pruning"])


def test_every_component_has_a_choice() -> None:
    reached = {own_text(group, choice)["_target_"] for group, choice in PLAIN}
    assert reached == {target for role in ROLES for target in structs_of(role)}
    many = {
        node["_target_"]
        for role, choice in (("callbacks", "early_stopping"), ("logger", "tensorboard"))
        for node in own_text(role, choice).values()
        if node
    }
    many.add(pruning_of_search()["_target_"])
    assert many == {target for role in ROLES_OF_MANY for target in structs_of(role)}


def test_the_rest_has_the_same_defaults() -> None:
    top = yaml.safe_load((conf_dir() / "train.yaml").read_text(encoding="utf-8"))
    assert top["monitor"] == as_dict(MonitorConfig())
    assert top["sweep"] == as_dict(SweepConfig())
    assert pruning_of_search() == as_dict(PruningConfig())
    assert top["paths"].keys() == as_dict(PathsConfig()).keys()
    assert own_text("augment", "none") == as_dict(AugmentConfig())
    assert own_text("trainer", "auto") == as_dict(TrainerConfig())
    assert own_text("callbacks", "default")["checkpoint"] == as_dict(CheckpointConfig())
    for role, choice in (("callbacks", "early_stopping"), ("logger", "tensorboard")):
        for node in own_text(role, choice).values():
            if node:
                assert node == as_dict(structs_of(role)[node["_target_"]]())


def test_round_trip(plain: dict[str, Any]) -> None:
    plain["allow"] = {"optimizer": ["my.Lion"]}
    plain["optimizer"] = {"_target_": "my.Lion", "lr": 0.1, "arguments": [1, {"target": 2}], "target": "x"}
    plain["data"]["image_size"] = [32, 48]
    plain["loss"]["class_weights"] = {"a": 1.0}
    config = check(plain, plain["allow"])
    written = as_dict(config)
    assert check(written, written["allow"]) == config
    assert yaml.safe_load(yaml.safe_dump(written)) == written
    assert written["optimizer"] == plain["optimizer"]
    assert written["data"]["image_size"] == [32, 48]


def test_check_leaves_its_input_alone(plain: dict[str, Any], raw: dict[str, Any]) -> None:
    plain["data"]["class_aliases"] = {0: "a"}
    before = copy.deepcopy(plain)
    assert check(plain).data.class_aliases == {"0": "a"}
    assert plain == before
    assert check(raw) == check(raw)


def test_only_allow_allows(plain: dict[str, Any]) -> None:
    """What a run folder's config.yaml says of itself does not count."""
    plain["optimizer"] = {"_target_": "my.Lion", "lr": 0.1}
    plain["allow"] = {"optimizer": ["my.Lion"]}
    with pytest.raises(RequestError, match=r"optimizer\._target_=my\.Lion is not allowed"):
        check(plain)
    assert check(plain, {"optimizer": ["my.Lion"]}).optimizer == Custom(target="my.Lion", arguments={"lr": 0.1})


@pytest.mark.parametrize("allow", [{"model": ["my.Lion"]}, {"optimizer": ["my.Lionx"]}, {"optimizer": []}, {}])
def test_allowed_for_one_role_is_not_allowed_for_another(plain: dict[str, Any], allow: dict[str, list[str]]) -> None:
    plain["optimizer"] = {"_target_": "my.Lion"}
    with pytest.raises(RequestError, match="not allowed"):
        check(plain, allow)


@pytest.mark.parametrize("role", [*ROLES, *ROLES_OF_MANY])
@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "custom", "builtins.eval"])
def test_no_other_target_in_any_role(plain: dict[str, Any], role: str, target: str) -> None:
    node = {"_target_": target, "target": "os.system", "arguments": {"command": "true"}}
    plain[role] = {"mine": node} if role in ROLES_OF_MANY else node
    with pytest.raises(RequestError, match="is not allowed"):
        check(plain)


def test_a_known_target_in_the_wrong_role(plain: dict[str, Any]) -> None:
    plain["loss"] = {"_target_": "torch.optim.Adam"}
    with pytest.raises(RequestError, match=r"loss\._target_=torch\.optim\.Adam is not allowed"):
        check(plain)


def test_data_of_the_users_own_is_never_allowed(plain: dict[str, Any]) -> None:
    plain["data"] = {"_target_": "my.Data"}
    with pytest.raises(RequestError, match="not allowed"):
        check(plain, {"data": ["my.Data"]})


def test_a_nested_target_is_refused_where_the_fields_are_known(plain: dict[str, Any]) -> None:
    plain["optimizer"]["lr"] = {"_target_": "os.system", "command": "true"}
    with pytest.raises(RequestError, match=r"optimizer\.lr="):
        check(plain)


@pytest.mark.parametrize("node", [5, "adam", ["adam"], {"lr": 0.1}, {"_target_": 5}, None])
def test_a_component_that_is_none(plain: dict[str, Any], node: object) -> None:
    plain["optimizer"] = node
    with pytest.raises(RequestError, match=r"^optimizer"):
        check(plain)
    plain["optimizer"] = {"_target_": "torch.optim.Adam"}
    plain["callbacks"] = node
    with pytest.raises(RequestError, match=r"^callbacks"):
        check(plain)


@pytest.mark.parametrize("group", [field for field in TrainConfig.__struct_fields__ if field in ROLES])
def test_a_missing_part_is_named(plain: dict[str, Any], group: str) -> None:
    del plain[group]
    if group == "scheduler":
        assert check(plain).scheduler is None
        return
    with pytest.raises(RequestError, match=group):
        check(plain)


def test_class_metrics_may_be_monitored(plain: dict[str, Any]) -> None:
    for metric in ("val/f1/Lung_Cancer", "val/sensitivity/any class", "val/auroc"):
        plain["monitor"] = {"metric": metric, "mode": "max"}
        assert check(plain).monitor.metric == metric
    plain["monitor"] = {"metric": "val/loss", "mode": "min"}
    assert check(plain).monitor.mode == "min"


def test_fold_zero_counts(plain: dict[str, Any]) -> None:
    plain["data"] |= {"folds": 2, "fold": 0}
    assert check(plain).data.fold == 0
    plain["data"] |= {"fold": 2}
    with pytest.raises(RequestError, match="last is 1"):
        check(plain)


def test_configuration_is_immutable(raw: dict[str, Any]) -> None:
    config = check(raw)
    with pytest.raises(AttributeError):
        config.seed = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.data.batch_size = 5  # type: ignore[misc]


def test_admit() -> None:
    focal = FocalConfig(gamma=1.0)
    assert admit(focal, "loss") is focal
    assert admit(as_dict(focal), "loss") == focal
    assert admit({"_target_": "my.Loss", "x": 1}, "loss", {"loss": ["my.Loss"]}) == Custom(
        target="my.Loss", arguments={"x": 1}
    )
    with pytest.raises(RequestError, match="not allowed"):
        admit({"_target_": "my.Loss"}, "loss")
    with pytest.raises(RequestError, match=r"loss\.gamma=-1"):
        admit({"_target_": "medimg.models.FocalLoss", "gamma": -1}, "loss")
    with pytest.raises(RequestError, match=r"'loss\.gama'.*\n.*gamma"):
        admit({"_target_": "medimg.models.FocalLoss", "gama": 1}, "loss")


def test_target_of() -> None:
    target, arguments = target_of(AdamConfig(lr=0.5))
    assert target == "torch.optim.Adam"
    assert arguments == {"lr": 0.5, "weight_decay": 0.0, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}
    assert target_of(Custom(target="a.B", arguments={"c": 1})) == ("a.B", {"c": 1})


def test_defaults_in_code_are_those_of_the_yaml(raw: dict[str, Any]) -> None:
    """A TrainConfig made in a notebook is the one that `medimg train` would have made."""
    config = check(raw)
    assert config.model == SmallCNNConfig()
    assert config.optimizer == AdamConfig()
    assert config.trainer == TrainerConfig()
    assert CTConfig().classes == config.data.classes
    assert Path(config.paths.runs) == Path(PathsConfig().runs)
