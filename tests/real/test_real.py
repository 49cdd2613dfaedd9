"""Real images and real weights: what phantoms cannot show. Skipped where MEDIMG_REAL_DATA is not there."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import mobilenet_v2

from medimg.config import CovidXrayConfig, ImageFolderConfig
from medimg.config.compose import load
from medimg.data.load import load_manifest
from medimg.data.manifest import Manifest
from medimg.data.readers import read_image
from medimg.runs import RunFolder
from medimg.training.checkpoint_files import read_checkpoint
from medimg.training.run import train

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def covid(real_data: Path) -> Manifest:
    return load_manifest(CovidXrayConfig(root=str(real_data / "covid_xray")), Path("unused"))


def test_covid_xray_has_the_images_that_its_readme_counts(covid: Manifest) -> None:
    counts = covid.counts()
    assert counts["test"] == {"normal": 40, "covid": 46}
    assert {name: counts["train"][name] + counts["val"][name] for name in covid.classes} == {
        "normal": 110,
        "covid": 149,
    }
    assert sum(counts["val"].values()) / 259 == pytest.approx(0.2, abs=0.03)
    assert counts["val"]["covid"] / sum(counts["val"].values()) == pytest.approx(149 / 259, abs=0.1)
    assert (covid.classes, covid.positive_class) == (("normal", "covid"), "covid")


def test_no_patient_of_covid_xray_is_in_two_splits(covid: Manifest) -> None:
    splits: dict[str, set[str]] = {}
    for record in covid.records:
        assert record.patient_id
        assert record.split
        splits.setdefault(record.patient_id, set()).add(record.split)
    assert covid.split_unit == "patient"
    assert [patient for patient, found in splits.items() if len(found) > 1] == []
    # it means something: patients with several images are there
    assert Counter(record.patient_id for record in covid.records).most_common(1)[0][1] > 1


def test_folds_hold_out_every_training_image_once(real_data: Path) -> None:
    held_out: list[str] = []
    for fold in range(4):
        config = CovidXrayConfig(root=str(real_data / "covid_xray"), folds=4, fold=fold)
        held_out += [record.path for record in load_manifest(config, Path("unused")).of("test")]
    assert len(held_out) == len(set(held_out)) == 259


def test_lung_ct_in_class_folders_alone_gets_a_split_by_image(real_data: Path) -> None:
    manifest = load_manifest(ImageFolderConfig(root=str(real_data / "lung_ct")), Path("unused"))
    counts = manifest.counts()
    assert set(counts) == {"train", "val"}  # no test split is invented
    assert manifest.split_unit == "image"
    whole = {"benign": 120, "malignant": 561, "normal": 416}
    for name, number in whole.items():
        assert counts["train"][name] + counts["val"][name] == number
        assert counts["val"][name] == pytest.approx(0.2 * number, abs=1.5)


def test_a_frozen_backbone_with_real_weights_learns_real_images(
    real_data: Path, tmp_path: Path, session_cache: Path
) -> None:
    """Far from what it can do, in few batches of small images, and clearly above chance."""
    weights = real_data.parent / "weights" / "mobilenet_v2-imagenet.pth"
    overrides = [
        "data=covid", f"data.root={real_data / 'covid_xray'}", "data.image_size=96", "data.num_workers=0",
        "data.batch_size=16", "model=mobilenet_v2", f"model.weights={weights}", "model.freeze=true",
        "optimizer.lr=3e-3", "trainer.max_epochs=2", "trainer.limit_train_batches=6", "trainer.accelerator=cpu",
        "logger=none", f"paths.runs={tmp_path}", f"paths.cache={session_cache}",
    ]  # fmt: skip
    folder = RunFolder(tmp_path / "run")
    results = train(load(overrides), folder)
    assert results["test"]["f1_macro"] > 0.8
    assert results["test"]["auroc"] > 0.9
    assert len(folder.predictions("test").read_text().splitlines()) == 86 + 1
    assert folder.info()["parameters"]["trained"] == 1280 * 2 + 2

    trunk = torch.load(weights, weights_only=True)
    after = read_checkpoint(folder.last)["state_dict"]
    frozen = [name for name in mobilenet_v2(weights=None).state_dict() if not name.startswith("classifier")]
    # statistics of BatchNorm included
    assert all(torch.equal(trunk[name], after[f"backbone.net.{name}"]) for name in frozen)


def test_a_16_bit_copy_of_a_real_image_is_read_the_same(real_data: Path, tmp_path: Path) -> None:
    file = next((real_data / "covid_xray" / "test" / "covid").glob("*.png"))
    eight = np.array(Image.open(file).convert("L"))
    Image.fromarray(eight.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    deep = read_image(tmp_path / "deep.png", 1)
    assert deep.dtype == torch.float32
    torch.testing.assert_close(deep, read_image(file, 1).float() / 255, rtol=0, atol=1e-6)
    assert deep.unique().numel() == len(np.unique(eight))  # nothing clipped
