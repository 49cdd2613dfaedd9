"""The names read from torchvision's source are those that it registers."""

import pytest
import torchvision

from medimg.cli import main
from medimg.config.backbones import torchvision_names


def test_names_are_those_that_torchvision_registers() -> None:
    assert torchvision_names() == sorted(torchvision.models.list_models(module=torchvision.models))


def test_a_wrong_backbone_is_answered_before_a_run_is_made(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert main(["train", "model=torchvision", "model.backbone=resnet19"]) == 2
    said = capsys.readouterr().err
    assert "model.backbone=resnet19" in said
    assert "'resnet18'" in said
