"""In what configurations differ, and what a run that goes on may change."""

from typing import Any

import pytest

from medimg.config.compare import FREE, differences, flatten, is_below, refuse_changes, with_values
from medimg.config.kinds import fields
from medimg.errors import RequestError

CONFIG: dict[str, Any] = {
    "seed": 0,
    "model": {"name": "a", "widths": [4, 8]},
    "logger": {},
    "trainer": {"max_epochs": 3, "precision": "auto"},
}


def test_values_stand_under_dotted_keys() -> None:
    assert dict(flatten(CONFIG)) == {
        "seed": 0,
        "model.name": "a",
        "model.widths": [4, 8],
        "logger": {},
        "trainer.max_epochs": 3,
        "trainer.precision": "auto",
    }


def test_differences_name_keys_that_one_side_lacks() -> None:
    other = {"seed": 0, "model": {"name": "b", "kernel": 3}, "logger": {}, "trainer": CONFIG["trainer"]}
    assert differences(CONFIG, other) == {
        "model.name": ("a", "b"),
        "model.widths": ([4, 8], None),
        "model.kernel": (None, 3),
    }
    assert differences(CONFIG, other, ["model"]) == {}
    assert differences(CONFIG, other, ["model.na", "mod"]).keys() == differences(CONFIG, other).keys()


def test_what_a_run_may_change_is_in_the_schema() -> None:
    known = [field.key for field in fields()]
    named_by_the_user = ("callbacks.", "logger")
    assert [
        key for key in FREE if not key.startswith(named_by_the_user) and not any(is_below(k, [key]) for k in known)
    ] == []


def test_a_run_keeps_its_settings_unless_a_change_is_forced() -> None:
    changed = with_values(CONFIG, {"trainer.max_epochs": 5, "trainer.precision": "16-mixed", "seed": 2})
    with pytest.raises(RequestError, match=r"seed: 0 became 2\n  trainer.precision: auto became 16-mixed") as caught:
        refuse_changes(CONFIG, changed, "runs/x", [])
    assert "'force=[seed,trainer.precision]'" in str(caught.value)
    assert "max_epochs" not in str(caught.value)
    refuse_changes(CONFIG, changed, "runs/x", ["seed", "trainer.precision"])


def test_values_are_set_without_touching_the_original() -> None:
    assert with_values(CONFIG, {"model.name": "b"})["model"] == {"name": "b", "widths": [4, 8]}
    assert CONFIG["model"]["name"] == "a"


@pytest.mark.parametrize(("key", "hint"), [("model", "one by one"), ("trainer.max_epoch", "'trainer.max_epochs'")])
def test_a_key_that_the_run_does_not_have_is_refused(key: str, hint: str) -> None:
    with pytest.raises(RequestError, match=hint):
        with_values(CONFIG, {key: 1})
