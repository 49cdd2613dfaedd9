"""ImageClassifier: what it takes, what it logs, what its checkpoints hold and refuse."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader

from medimg.config import (
    AdamWConfig,
    CrossEntropyConfig,
    FocalConfig,
    MonitorConfig,
    RMSpropConfig,
    SGDConfig,
    SmallCNNConfig,
    StepConfig,
    TorchvisionConfig,
)
from medimg.data.dataset import Batch
from medimg.errors import MedimgError, RequestError
from medimg.models import ImageClassifier
from medimg.models.classifier import Outputs, gather

CNN = SmallCNNConfig(widths=(4,))
THREE = ("ILD", "Normal", "pneumonia")
TWO = ("normal", "covid")


def made(classes: tuple[str, ...] = THREE, model: Any = CNN, **options: Any) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(model, classes, image_size=8, **options)


def images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def uneven(classes: int) -> list[Batch]:
    """Batches of 7, 7 and 3 images, in which the classes are unequally many."""
    pixels = images(17)
    labels = torch.tensor([0] * 9 + [1] * 5 + [classes - 1] * 3)[
        torch.randperm(17, generator=torch.Generator().manual_seed(2))
    ]
    cuts = [slice(0, 7), slice(7, 14), slice(14, 17)]
    return [Batch(pixels[cut], labels[cut], torch.arange(17)[cut]) for cut in cuts]


def loader(batches: list[Batch]) -> Any:
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]


def plain_trainer(**options: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return L.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet | options)


def test_metrics_are_those_of_the_whole_split_although_batches_are_uneven() -> None:
    model = made()
    trainer = plain_trainer()
    trainer.validate(model, loader(uneven(3)), verbose=False)
    with torch.no_grad():
        logits = torch.cat([model.eval()(batch.image) for batch in uneven(3)])
    labels = torch.cat([batch.label for batch in uneven(3)])
    predicted, probabilities = logits.argmax(1).numpy(), logits.softmax(1).numpy()
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "val/loss": float(nn.functional.cross_entropy(logits, labels)),
        "val/f1_macro": f1_score(labels, predicted, **macro),
        "val/precision_macro": precision_score(labels, predicted, **macro),
        "val/recall_macro": recall_score(labels, predicted, **macro),
        "val/accuracy": accuracy_score(labels, predicted),
        "val/auroc": roc_auc_score(labels, probabilities, multi_class="ovr"),
        "val/f1/Normal": f1_score(labels == 1, predicted == 1),
        "val/sensitivity/ILD": recall_score(labels == 0, predicted == 0),
        "val/specificity/ILD": recall_score(labels != 0, predicted != 0),
    }
    assert {name: logged[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    by_batch = [
        f1_score(batch.label, part, **macro)
        for batch, part in zip(uneven(3), np.split(predicted, [7, 14]), strict=True)
    ]
    assert abs(np.mean(by_batch) - logged["val/f1_macro"]) > 0.01  # the mean over batches would be another number


def test_train_metrics_are_of_what_was_seen_while_training() -> None:
    model = made(optimizer=SGDConfig(lr=1e-9), model=SmallCNNConfig(widths=(4,), batch_norm=False))
    trainer = plain_trainer()
    trainer.fit(model, loader(uneven(3)))
    with torch.no_grad():
        predicted = torch.cat([model(batch.image).argmax(1) for batch in uneven(3)])
    labels = torch.cat([batch.label for batch in uneven(3)])
    assert float(trainer.callback_metrics["train/accuracy"]) == pytest.approx(accuracy_score(labels, predicted))


def test_it_normalises_by_itself() -> None:
    model = made().eval()
    eight_bit = images(3)
    with torch.no_grad():
        logits = model(eight_bit)
        torch.testing.assert_close(model(eight_bit.float() / 255), logits)
        by_hand = model.backbone.net((eight_bit.float() / 255 - 0.5) / 0.25)
    torch.testing.assert_close(logits, by_hand)
    assert logits.shape == (3, 3)


def test_normalisation_can_be_left_out() -> None:
    model = made(normalize=False).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images(3)), model.backbone.net(images(3).float() / 255))
    assert model.preprocessing.mean == (0.0, 0.0, 0.0)


def test_class_weights_weigh_in_the_loss() -> None:
    weights = [1.0, 5.0, 0.0]
    batch = uneven(3)[0]
    for loss in (CrossEntropyConfig(), FocalConfig(gamma=0.0)):  # focal loss of gamma 0 is cross-entropy
        model = made(loss=loss, class_weights=weights).eval()
        log_p = model(batch.image).log_softmax(1)[torch.arange(7), batch.label]
        weight = torch.tensor(weights)[batch.label]
        expected = float(-(weight * log_p).sum() / weight.sum())
        assert float(model.criterion(model(batch.image), batch.label)) == pytest.approx(expected, rel=1e-5)
        assert model.hparams["class_weights"] == weights


def test_the_loss_takes_its_own_options() -> None:
    assert made(loss=CrossEntropyConfig(label_smoothing=0.1)).criterion.label_smoothing == 0.1
    assert made(loss=FocalConfig(gamma=3.0)).criterion.gamma == 3.0


def test_only_what_is_not_frozen_is_optimised() -> None:
    frozen = TorchvisionConfig(backbone="squeezenet1_1", weights=None, freeze=True)
    model = ImageClassifier(frozen, THREE, image_size=32, optimizer=AdamWConfig(lr=0.5))
    optimizer: Any = model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert sum(parameter.numel() for parameter in optimizer.param_groups[0]["params"]) == 512 * 3 + 3


def test_predictions_come_in_the_order_of_the_images() -> None:
    model = made()
    parts = plain_trainer().predict(model, loader(uneven(3)))
    outputs = gather(parts)  # type: ignore[arg-type]
    assert outputs.index.tolist() == list(range(17))
    assert outputs.label.tolist() == torch.cat([batch.label for batch in uneven(3)]).tolist()
    with torch.no_grad():
        torch.testing.assert_close(outputs.logits, model.eval()(images(17)), rtol=1e-4, atol=1e-5)


def test_predictions_are_in_32_bits() -> None:
    outputs: Any = plain_trainer(precision="bf16-mixed").predict(made(), loader(uneven(3)))
    assert {part.logits.dtype for part in outputs} == {torch.float32}


def test_gathering_nothing_gives_an_empty_table() -> None:
    outputs = gather([])
    assert [len(column) for column in outputs] == [0, 0, 0]
    one = Outputs(torch.tensor([3]), torch.tensor([1]), torch.tensor([[0.5, 1.0]]))
    assert torch.cat([outputs.logits, one.logits]).shape == (1, 2)


def saved(model: ImageClassifier, file: Path) -> Path:
    trainer = plain_trainer()
    trainer.fit(model, loader(uneven(len(model.classes))))
    trainer.save_checkpoint(file)
    return file


def test_a_checkpoint_is_read_without_running_code_and_without_the_weights_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    donor = ImageClassifier(TorchvisionConfig(backbone="squeezenet1_1", weights=None), TWO, image_size=32)
    weights = tmp_path / "squeezenet.pth"
    torch.save(donor.backbone.net.state_dict(), weights)
    model = ImageClassifier(
        TorchvisionConfig(backbone="squeezenet1_1", weights=str(weights), freeze=True),
        TWO,
        positive_class="covid",
        image_size=(32, 40),
        optimizer=RMSpropConfig(lr=0.01),
        scheduler=StepConfig(step_size=2),
        loss=FocalConfig(gamma=1.0),
        class_weights=[1.0, 2.0],
        monitor=MonitorConfig(metric="val/accuracy"),
        normalize=False,
        channels_last=True,
    )
    trainer = plain_trainer(limit_train_batches=0)
    trainer.strategy.connect(model)
    file = tmp_path / "model.ckpt"
    trainer.save_checkpoint(file)
    weights.unlink()

    again = ImageClassifier.load_from_checkpoint(file, weights_only=True, map_location="cpu")
    assert again.backbone.memory_format == torch.channels_last  # so it says what it said while it was trained
    assert (again.classes, again.positive_class) == (TWO, "covid")
    assert (again.preprocessing.height, again.preprocessing.width) == (32, 40)
    assert again.preprocessing == model.preprocessing
    assert dict(again.hparams) == dict(model.hparams)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    pixels = torch.rand(2, 3, 32, 40)
    with torch.no_grad():
        assert torch.equal(again.eval()(pixels), model.eval()(pixels))


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_parts.py").write_text("import torch\nclass Mine(torch.optim.SGD):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_parts", None)


@pytest.mark.usefixtures("own_module")
def test_a_checkpoint_does_not_get_to_run_the_code_that_it_names(tmp_path: Path) -> None:
    allow = {"optimizer": ["my_parts.Mine"]}
    file = saved(made(optimizer={"_target_": "my_parts.Mine", "lr": 0.1}, allow=allow), tmp_path / "own.ckpt")
    sys.modules.pop("my_parts")
    with pytest.raises(RequestError, match=r"my_parts\.Mine is not allowed"):
        ImageClassifier.load_from_checkpoint(file, weights_only=True)
    assert "my_parts" not in sys.modules
    again = ImageClassifier.load_from_checkpoint(file, weights_only=True, allow=allow)
    assert type(again.configure_optimizers()).__name__ == "Mine"


@pytest.mark.usefixtures("own_module")
def test_a_model_of_ones_own(tmp_path: Path) -> None:
    """The target gets the configuration, the number of classes and the size, and returns a Backbone."""
    (tmp_path / "my_parts.py").write_text(
        "from torch import nn\n"
        "from medimg.data.preprocessing import Preprocessing\n"
        "from medimg.models import Backbone\n"
        "def tiny(config, num_classes, image_size, load_weights):\n"
        "    pixels = 3 * image_size * image_size\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Dropout(config.arguments['rate']), nn.Linear(pixels, num_classes))\n"
        "    return Backbone(net, Preprocessing(image_size, image_size, (0.0,) * 3, (1.0,) * 3, 3))\n"
    )
    model = made(model={"_target_": "my_parts.tiny", "rate": 0.25}, allow={"model": ["my_parts.tiny"]})
    assert model(images(2)).shape == (2, 3)
    assert model.backbone.head[0].p == 0.25


def test_plain_dicts_are_checked_as_configurations_are() -> None:
    with pytest.raises(RequestError, match=r"optimizer\.lrr"):
        made(optimizer={"_target_": "torch.optim.Adam", "lrr": 1})
    with pytest.raises(RequestError, match="is not allowed"):
        made(model={"_target_": "os.system", "command": "true"})


def test_a_loss_that_is_not_finite_at_the_end_of_an_epoch_says_what_helps() -> None:
    model = made(optimizer=SGDConfig(lr=1e30))
    with pytest.raises(MedimgError, match=r"train loss is not finite at the end of epoch 0[\s\S]*gradient_clip_val"):
        plain_trainer().fit(model, loader(uneven(3)))
