"""Checkpoints are replaced in one step, and read without running code."""

from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from medimg.errors import RequestError
from medimg.training.checkpoint_callbacks import AtomicCheckpointIO
from medimg.training.checkpoint_files import read_checkpoint, refuse_other_training


class Unsaveable:
    def __reduce__(self) -> tuple[object, ...]:
        raise OSError(28, "No space left on device")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, file)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2, "bad": Unsaveable()}, file)
    assert torch.load(file, weights_only=True) == {"epoch": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]
    assert TorchCheckpointIO().load_checkpoint(file) == {"epoch": 1}


def test_a_checkpoint_is_never_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, file)
    seen = []
    replace = Path.replace

    def look_first(self: Path, target: Path) -> Path:
        seen.append((self.parent == file.parent, torch.load(file, weights_only=True)["epoch"]))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look_first)
    AtomicCheckpointIO().save_checkpoint({"epoch": 2}, file)
    assert seen == [(True, 1)]
    assert torch.load(file, weights_only=True)["epoch"] == 2


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "evil.ckpt"
    torch.save({"hyper_parameters": {"classes": ["a"]}, "epoch": 0, "state_dict": {}, "x": Path("somewhere")}, file)
    with pytest.raises(RequestError, match=r"evil\.ckpt"):
        read_checkpoint(file, ["a"])


def test_settings_that_a_full_state_would_ignore_are_named(tmp_path: Path) -> None:
    made = {"optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1}, "scheduler": None}
    refuse_other_training({"hyper_parameters": made}, made, tmp_path)
    wanted = {"optimizer": {"_target_": "torch.optim.Adam", "lr": 0.2}, "scheduler": {"_target_": "x", "gamma": 1}}
    with pytest.raises(RequestError) as caught:
        refuse_other_training({"hyper_parameters": made}, wanted, tmp_path)
    assert "optimizer.lr=0.2 (the checkpoint: 0.1)" in str(caught.value)
    assert "scheduler.gamma=1 (the checkpoint: None)" in str(caught.value)
    assert "optimizer._target_" not in str(caught.value)
