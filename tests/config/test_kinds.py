"""What the schema says of a key."""

import pytest

from medimg.config import AugmentConfig, TrainerConfig
from medimg.config.check import ROLES, ROLES_OF_MANY
from medimg.config.kinds import fields, find, structs_of


def test_every_field_of_a_plain_part_is_listed_once_and_in_order() -> None:
    assert [field.key for field in fields(AugmentConfig)] == list(AugmentConfig.__struct_fields__)
    assert [field.key for field in fields(TrainerConfig, "trainer.")] == [
        f"trainer.{name}" for name in TrainerConfig.__struct_fields__
    ]


def test_keys_of_the_contract_are_described() -> None:
    contract = """
        name seed paths.runs paths.cache monitor.metric monitor.mode evaluate_test
        data.root data.image_size data.batch_size data.num_workers data.val_fraction data.split_seed data.folds
        data.fold data.patient_regex data.class_aliases data.positive_class
        model.weights model.freeze model.backbone optimizer.lr
        trainer.max_epochs trainer.accelerator trainer.devices trainer.precision
    """
    for key in contract.split():
        found = find(key)
        assert found, key
        assert any(field.description for field in found), key


def test_members_of_a_union_share_a_key() -> None:
    assert len(find("optimizer.lr")) == 4
    assert len(find("optimizer.momentum")) == 2
    assert len(find("model.backbone")) == 1
    assert find("optimizer") == find("optimizer.nothing") == find("") == []
    assert find("optimizer.arguments") == find("model.target") == []


@pytest.mark.parametrize(
    ("key", "takes", "not_this"),
    [
        ("seed", {int}, {str, float, bool, type(None)}),
        ("data.root", {str, type(None)}, {int}),
        ("evaluate_test", {bool}, {int, str}),
        ("data.val_fraction", {float}, {str}),
        ("name", {str}, {int, type(None)}),
        ("trainer.limit_train_batches", {int, float, type(None)}, {str}),
    ],
)
def test_accepts(key: str, takes: set[type], not_this: set[type]) -> None:
    field = find(key)[0]
    assert all(field.accepts(kind) for kind in takes)
    assert not any(field.accepts(kind) for kind in not_this)


def test_literals() -> None:
    assert find("monitor.mode")[0].literals == ["max", "min"]
    assert find("model.in_channels")[0].literals == [1, 3]
    assert find("seed")[0].literals == []
    assert 16 in find("trainer.precision")[0].literals


def test_structs_of_a_role_have_its_targets_and_no_more() -> None:
    assert set(structs_of("optimizer")) == {f"torch.optim.{name}" for name in ("Adam", "AdamW", "SGD", "RMSprop")}
    assert "medimg.training.checkpoints" in structs_of("callbacks")
    for role in (*ROLES, *ROLES_OF_MANY):
        for target, struct in structs_of(role).items():
            assert struct.__struct_config__.tag == target
            assert target != "custom"
