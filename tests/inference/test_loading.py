"""A classifier out of a run folder says what the run itself wrote; what cannot be loaded is named."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from medimg.config import TrainConfig
from medimg.data.manifest import read_manifest_csv
from medimg.errors import RequestError
from medimg.inference.loading import load_classifier
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoint

Run = tuple[RunFolder, TrainConfig]


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> RunFolder:
    """The run at another place, to be damaged."""
    shutil.copytree(tiny_run[0].path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def edited(file: Path, **hyper_parameters: object) -> Path:
    content = torch.load(file, weights_only=True)
    content["hyper_parameters"] |= hyper_parameters
    torch.save(content, file)
    return file


def test_it_gives_the_logits_that_the_run_wrote(tiny_run: Run) -> None:
    folder, _ = tiny_run
    model = load_classifier(folder)
    assert not model.training and next(model.parameters()).device.type == "cpu"
    manifest = read_manifest_csv(folder.manifest_file)
    files = {record.path: record for record in manifest.records}
    with folder.predictions("test").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    images = [
        model.preprocessing.resize(manifest.read(files[row["path"]], model.preprocessing.channels)) for row in rows
    ]
    with torch.no_grad():
        found = model(torch.stack(images))
    written = [[float(row[f"logit_{name}"]) for name in model.classes] for row in rows]
    torch.testing.assert_close(found, torch.tensor(written), rtol=1e-5, atol=1e-6)


def test_the_random_numbers_of_the_process_are_left_alone(tiny_run: Run) -> None:
    before = torch.get_rng_state()
    load_classifier(tiny_run[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_other_checkpoints(tiny_run: Run) -> None:
    folder, _ = tiny_run
    first = find_checkpoint(folder, "epoch_000")
    weights = [next(load_classifier(folder, file).parameters()) for file in (first, folder.last)]
    assert not torch.equal(*weights)


def test_classes_of_another_run_are_refused(copy: RunFolder) -> None:
    copy.update(classes=["a", "b"])
    with pytest.raises(RequestError, match=r"trained for the classes \['normal', 'covid'\]"):
        load_classifier(copy)


def test_weights_of_another_model_are_refused(copy: RunFolder) -> None:
    content = torch.load(copy.best, weights_only=True)
    content["state_dict"].popitem()
    torch.save(content, copy.best)
    with pytest.raises(RequestError, match="another model"):
        load_classifier(copy)


def test_settings_that_this_version_does_not_know_are_named(copy: RunFolder) -> None:
    edited(copy.best, brightness=3)
    with pytest.raises(RequestError, match="brightness"):
        load_classifier(copy)


def test_code_needs_a_word_from_the_user(copy: RunFolder) -> None:
    edited(copy.best, optimizer={"_target_": "my_parts.Mine", "lr": 0.1})
    with pytest.raises(RequestError, match=r"my_parts\.Mine is not allowed"):
        load_classifier(copy)
    assert load_classifier(copy, allow={"optimizer": ["my_parts.Mine"]}).classes == ("normal", "covid")


def test_pretrained_weights_are_not_asked_for(copy: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the trunk once came from may be gone, and there may be no network."""
    model = {"_target_": "medimg.models.torchvision_backbone", "backbone": "squeezenet1_1", "weights": "/gone.pth"}
    edited(copy.best, model=model)
    monkeypatch.setattr("medimg.models.weights._fetch", None)
    with pytest.raises(RequestError, match="another model"):  # built, and then not fit for these weights
        load_classifier(copy)
