"""Pictures of errors: the right images in the right order, as the model saw them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_folder
from PIL import Image

from medimg.config import ModelConfig
from medimg.config.compose import load
from medimg.data.manifest import Manifest, Record
from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.models import ImageClassifier
from medimg.reporting import error_pictures
from medimg.reporting.error_pictures import write_error_pictures
from medimg.reporting.mistakes import confident_mistakes
from medimg.runs import RunFolder

CLASSES = ("a", "b")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    root = draw_folder(tmp_path / "images", {"a": 3, "b": 3}, size=20)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return Manifest(root, tuple(Record(path, path[0], "test", patient_id="SECRET") for path in files), CLASSES)


@pytest.fixture
def classifier() -> ImageClassifier:
    model = load(["model=small_cnn", "model.widths=[4,8]"]).model
    assert isinstance(model, ModelConfig)
    torch.manual_seed(0)
    return ImageClassifier(model, CLASSES, image_size=16).eval()


def table(manifest: Manifest, margins: list[float]) -> Predictions:
    """Predictions whose logit of the wrong class is `margin` above that of the right one."""
    labels = np.array([CLASSES.index(record.label) for record in manifest.records])
    logits = np.zeros((len(labels), 2))
    logits[np.arange(len(labels)), 1 - labels] = margins
    paths = tuple(record.path for record in manifest.records)
    return Predictions(paths, (None,) * len(paths), labels, logits, CLASSES)


def test_the_most_confident_come_first_also_where_probabilities_are_one(manifest: Manifest) -> None:
    found = confident_mistakes(table(manifest, [1, 2, -1, 800, 900, 0.5]))
    assert found == [4, 3, 1, 0, 5]
    assert confident_mistakes(table(manifest, [1, 2, -1, 800, 900, 0.5]), most=2) == [4, 3]
    assert confident_mistakes(table(manifest, [-1] * 6)) == []


def errors_of(folder: RunFolder) -> list[dict[str, str | None]]:
    content = json.loads((folder.path / "figures/errors/errors.json").read_text())
    assert content["split"] == "test"
    found: list[dict[str, str | None]] = content["errors"]
    return found


def test_pictures_show_the_image_as_the_model_saw_it(
    tmp_path: Path, manifest: Manifest, classifier: ImageClassifier
) -> None:
    folder = RunFolder(tmp_path / "run")
    write_error_pictures(folder, lambda _: classifier, manifest, table(manifest, [1, 2, -1, -1, -1, -1]), "test")
    errors = errors_of(folder)
    assert [one["path"] for one in errors] == [manifest.records[1].path, manifest.records[0].path]
    for one in errors:
        shown = np.asarray(Image.open(folder.path / str(one["picture"])))
        record = next(record for record in manifest.records if record.path == one["path"])
        seen = classifier.preprocessing.prepare(manifest.read(record, 3)).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(shown[:, :16], seen)
        assert shown.shape[1] > 2 * 16
    assert "SECRET" not in (folder.path / "figures/errors/errors.json").read_text()


def test_old_pictures_go_and_an_image_that_is_gone_is_said(
    tmp_path: Path, manifest: Manifest, classifier: ImageClassifier
) -> None:
    folder = RunFolder(tmp_path / "run")
    write_error_pictures(folder, lambda _: classifier, manifest, table(manifest, [1] * 6), "test")
    assert len(list((folder.path / "figures/errors").glob("*.png"))) == 6
    manifest.file(manifest.records[0]).unlink()
    write_error_pictures(folder, lambda _: classifier, manifest, table(manifest, [2, 1, -1, -1, -1, -1]), "test")
    gone, there = errors_of(folder)
    assert gone["picture"] is None
    assert manifest.records[0].path in str(gone["reason"])
    assert [path.name for path in (folder.path / "figures/errors").glob("*.png")] == [Path(str(there["picture"])).name]


def test_a_network_without_a_map_has_the_image_alone(
    tmp_path: Path, manifest: Manifest, classifier: ImageClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise RequestError("no layer has a map")

    monkeypatch.setattr(error_pictures, "class_maps", none)
    folder = RunFolder(tmp_path / "run")
    write_error_pictures(folder, lambda _: classifier, manifest, table(manifest, [1, -1, -1, -1, -1, -1]), "test")
    (one,) = errors_of(folder)
    assert one["without_map"] == "no layer has a map"
    assert Image.open(folder.path / str(one["picture"])).size == (16, 16)
