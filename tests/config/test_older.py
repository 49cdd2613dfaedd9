"""Configurations that are older than some keys."""

from typing import Any

import pytest
from older_runs import without

from medimg.config.check import as_dict, check
from medimg.config.compose import load
from medimg.config.older import as_begun, completed


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return as_dict(load(["data=covid_phantom", "scheduler=cosine", "data.num_workers=3"]))


def test_what_is_lacking_is_what_the_run_did(whole: dict[str, Any]) -> None:
    found = completed(without(whole))
    assert found["trainer"]["channels_last"] is False
    assert found["trainer"]["float32_matmul_precision"] == "highest"
    found["trainer"] |= {"channels_last": "auto", "float32_matmul_precision": "high"}
    assert found == whole == as_dict(check(found))


def test_what_is_there_stays(whole: dict[str, Any]) -> None:
    assert completed(whole) == whole
    own = {"_target_": "my_package.Lion", "lr": 0.1}
    assert completed(whole | {"optimizer": own, "scheduler": None})["optimizer"] == own
    wrong = completed({"trainer": 5, "colour": "red", "callbacks": None})
    assert (wrong["trainer"], wrong["colour"], wrong["callbacks"]) == (5, "red", None)
    assert "data" not in wrong, "there is no default for it"


def test_nothing_is_shared_between_two(whole: dict[str, Any]) -> None:
    first = completed(without(whole))
    first["find"]["lr"] = True
    assert completed(without(whole))["find"]["lr"] is False


def test_the_same_command_goes_on_as_the_run_was_begun(whole: dict[str, Any]) -> None:
    now, older = check(whole), completed(without(whole))
    assert as_dict(as_begun(now, older)) == older
    assert as_begun(now, whole) == as_begun(now, {"trainer": 5}) == now
    asked = check(whole | {"trainer": whole["trainer"] | {"channels_last": True}})
    assert as_begun(asked, older).trainer.channels_last is True, "and what is asked for is a change"
