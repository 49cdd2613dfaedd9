"""Ensembles of trained runs: the mean of what the members say, on what none of them was trained on."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ensemble_runs import Trained
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score

from medimg.data.manifest import read_manifest_csv
from medimg.errors import RequestError
from medimg.inference.ensemble import Scored, score_ensemble
from medimg.inference.ensemble_folder import ensemble_folder
from medimg.inference.gains import gains
from medimg.inference.loading import load_classifier
from medimg.inference.members import members_of
from medimg.inference.predictor import load_predictor
from medimg.reporting.ensemble import ensemble_lines
from medimg.runs import RunFolder

FIT = {"evaluation.min_patients": 1}  # of 3 and 2 validation images

SAME = {"results.json", "manifest.csv", "val.csv", "test.csv"}  # each time; ensemble.json says when it was made


def scored(
    runs: Path, folders: Sequence[RunFolder], split: str = "test", values: dict[str, object] | None = None
) -> Scored:
    members = members_of(folders)
    return score_ensemble(members, ensemble_folder(members, runs), split, values)  # type: ignore[arg-type]


def table(file: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Paths, labels and probabilities of a predictions table, read without medimg."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    probabilities = np.array([[float(row["prob_a"]), float(row["prob_b"])] for row in rows])
    return [row["path"] for row in rows], [row["label"] for row in rows], probabilities


def said(folder: RunFolder, paths: Sequence[str]) -> NDArray[np.float64]:
    """What a run's best epoch says of images of its manifest, one by one."""
    model = load_classifier(folder)
    manifest = read_manifest_csv(folder.manifest_file)
    records = {record.path: record for record in manifest.records}
    found = []
    for path in paths:
        image = model.preprocessing.resize(manifest.read(records[path], model.preprocessing.channels))
        with torch.no_grad():
            found.append(model(image[None])[0].double().numpy())
    return softmax(np.array(found), axis=1)


def snapshot(folders: Sequence[RunFolder]) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for folder in folders for file in folder.path.rglob("*")}


@pytest.fixture(scope="module")
def mean(trained: Trained) -> Scored:
    before = snapshot(trained.seeds)
    found = scored(trained.runs, trained.seeds, values=FIT)
    assert snapshot(trained.seeds) == before, "nothing is written to the members"
    return found


def test_the_mean_of_what_the_members_say(trained: Trained, mean: Scored) -> None:
    """The members have no predictions of test, as jobs of a sweep; those of validation they have."""
    assert not any(folder.predictions("test").exists() for folder in trained.seeds)
    paths, labels, found = table(mean.folder.predictions("test"))
    assert len(paths) == 24
    expected = np.mean([said(folder, paths) for folder in trained.seeds], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    results = json.loads(mean.folder.results_file.read_text())
    predicted = ["ab"[number] for number in expected.argmax(axis=1)]
    assert results["test"]["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert results["test"]["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert results["best_epoch"] is None
    tables = [table(folder.predictions("val")) for folder in trained.seeds]
    ours = table(mean.folder.predictions("val"))
    assert ours[0] == tables[0][0]
    np.testing.assert_allclose(ours[2], np.mean([one[2] for one in tables], axis=0), rtol=1e-12)


def test_the_threshold_is_chosen_on_the_mean_of_validation(mean: Scored) -> None:
    points = mean.results["operating_points"]
    assert points["fitted_on"] == "val"
    _, labels, probabilities = table(mean.folder.predictions("val"))
    positive, scores = np.array(labels) == "b", probabilities[:, 1]

    def youden(threshold: float) -> float:
        yes = scores >= threshold
        return float(yes[positive].mean() - yes[~positive].mean())

    best = max(youden(threshold) for threshold in [*scores, 2.0])
    assert youden(points["points"]["youden"]["threshold"]) == pytest.approx(best)


def test_the_folder_explains_itself(trained: Trained, mean: Scored) -> None:
    assert mean.folder.path.parent == trained.runs / "ensembles"
    written = json.loads((mean.folder.path / "ensemble.json").read_text())
    assert written["kind"] == "mean"
    assert [one["seed"] for one in written["members"]] == [0, 1, 2]
    assert (written["classes"], written["positive_class"]) == (["a", "b"], "b")
    for one, folder in zip(written["members"], trained.seeds, strict=True):
        assert (mean.folder.path / one["run"]).resolve() == folder.path.resolve()
        assert not Path(one["run"]).is_absolute()
        recorded = folder.results()["val"]["f1_macro"]
        assert one["value"] == pytest.approx(recorded)
    counts = read_manifest_csv(mean.folder.manifest_file).counts()
    assert {split: sum(found.values()) for split, found in counts.items()} == {"val": 5, "test": 24}


def test_the_same_again_gives_the_same(trained: Trained, mean: Scored) -> None:
    files = {file: file.read_bytes() for file in mean.folder.path.rglob("*") if file.name in SAME}
    assert {file.name for file in files} == SAME
    again = scored(trained.runs, trained.seeds[::-1], values=FIT)
    assert again.folder.path == mean.folder.path
    assert files == {file: file.read_bytes() for file in files}


def test_predict_uses_the_folder(mean: Scored) -> None:
    predictor = load_predictor(mean.folder.path)
    assert predictor.threshold == mean.results["operating_points"]["points"]["youden"]["threshold"]
    manifest = read_manifest_csv(mean.folder.manifest_file)
    preprocessing = predictor.members[0].classifier.preprocessing
    images = [preprocessing.resize(manifest.read(record, preprocessing.channels)) for record in manifest.of("test")]
    with torch.no_grad():
        logits = predictor.logits([torch.stack(images)] * 3, torch.arange(len(images)))
    np.testing.assert_allclose(softmax(logits.numpy(), axis=1), table(mean.folder.predictions("test"))[2], atol=1e-6)


def test_folds_are_pooled_out_of_fold(trained: Trained) -> None:
    found = scored(trained.runs, trained.folds, values=FIT)
    expected = {}
    for pair in (trained.folds[:2], trained.folds[2:]):
        tables = [table(folder.predictions("test")) for folder in pair]
        expected |= dict(zip(tables[0][0], (tables[0][2] + tables[1][2]) / 2, strict=True))
    paths, labels, probabilities = table(found.folder.predictions("test"))
    assert paths == sorted(expected)
    assert len(paths) == 24
    np.testing.assert_allclose(probabilities, [expected[path] for path in paths], rtol=1e-12)
    predicted = ["ab"[number] for number in probabilities.argmax(axis=1)]
    assert found.results["test"]["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert json.loads((found.folder.path / "ensemble.json").read_text())["kind"] == "out_of_fold"
    assert "each fold" in found.results["operating_points"]["reason"]
    assert found.results["temperature"]["value"] is None
    assert not gains(found, resamples=10).mean, "members that were asked about other images have no mean score"


def test_a_missing_fold_makes_the_scores_those_of_a_part(trained: Trained, tmp_path: Path) -> None:
    """Two of three folds: two images of the second are made to be of the third."""
    shutil.copytree(trained.runs / "folds", tmp_path / "folds")
    copies = [RunFolder(tmp_path / "folds" / f"fold-{fold}_seed-0") for fold in range(2)]
    for folder in copies:
        config = folder.config_file.read_text(encoding="utf-8")
        assert "folds: 2" in config
        folder.config_file.write_text(config.replace("folds: 2", "folds: 3"), encoding="utf-8")
    gone = table(copies[1].predictions("test"))[0][:2]
    manifest, predictions = copies[1].manifest_file, copies[1].predictions("test")
    rows = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    moved = [row.replace(",test,", ",train,") if row.startswith(tuple(gone)) else row for row in rows]
    manifest.write_text("".join(moved), encoding="utf-8")
    rows = predictions.read_text(encoding="utf-8").splitlines(keepends=True)
    predictions.write_text("".join(row for row in rows if not row.startswith(tuple(gone))), encoding="utf-8")
    found = scored(tmp_path, copies)
    assert found.missing_folds == (2,)
    assert json.loads((found.folder.path / "ensemble.json").read_text())["missing_folds"] == [2]
    assert found.results["partial"] == {"test": [22, 24]}
    assert not set(gone) & set(table(found.folder.predictions("test"))[0])
    assert "No member holds out fold 2: its images are not scored." in ensemble_lines(found, gains(found, resamples=9))


def test_other_images_are_asked_of_all(trained: Trained, mean: Scored, tmp_path: Path) -> None:
    """Under other names, and by their content: none of them was trained on."""
    for label in "ab":
        (tmp_path / "new" / label).mkdir(parents=True)
        for number, file in enumerate(sorted((trained.images / "test" / label).iterdir())[:5]):
            shutil.copy(file, tmp_path / "new" / label / f"film{number}.png")
    found = scored(trained.runs, trained.seeds, values=FIT | {"data.root": str(tmp_path / "new")})
    assert found.place.path.parent == mean.folder.path / "evaluations"
    _, _, probabilities = table(found.place.predictions("test"))
    known = dict(zip(*table(mean.folder.predictions("test"))[::2], strict=True))
    expected = [known[f"test/{file.parent.name}/{file.name}"] for file in originals(trained.images)]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    ours = found.results["operating_points"]["points"]["youden"]
    assert ours == mean.results["operating_points"]["points"]["youden"], "chosen on the members' validation"
    assert table(mean.folder.predictions("test"))[0], "the ensemble's own results stay"
    assert "test" in mean.folder.results()


def originals(images: Path) -> list[Path]:
    return [file for label in "ab" for file in sorted((images / "test" / label).iterdir())[:5]]


def test_images_that_a_member_was_trained_on_are_refused_by_content(trained: Trained, tmp_path: Path) -> None:
    manifest = read_manifest_csv(trained.seeds[0].manifest_file)
    (tmp_path / "new" / "a").mkdir(parents=True)
    shutil.copytree(trained.images / "test" / "b", tmp_path / "new" / "b")
    seen = next(record for record in manifest.of("train") if record.label == "a")
    shutil.copy(manifest.file(seen), tmp_path / "new" / "a" / "another_name.png")
    with pytest.raises(RequestError, match=r"was trained on 1 of these 13 images \('a/another_name.png'\)"):
        scored(tmp_path, trained.seeds, values={"data.root": str(tmp_path / "new")})
    assert not (tmp_path / "ensembles").exists()


def test_images_that_were_moved_are_still_the_members_own(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.images, tmp_path / "moved")
    found = scored(tmp_path, trained.seeds[:2], values={"data.root": str(tmp_path / "moved")})
    assert found.place.path == found.folder.path
    assert len(table(found.folder.predictions("test"))[0]) == 24
    written = json.loads((found.folder.path / "ensemble.json").read_text())
    assert all(Path(one["run"]).is_absolute() for one in written["members"]), "as they are elsewhere"


def test_results_last_as_long_as_the_checkpoints(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.runs / "seeds", tmp_path / "seeds")
    copies = [RunFolder(tmp_path / "seeds" / folder.path.name) for folder in trained.seeds]
    found = scored(tmp_path, copies)
    assert set(scored(tmp_path, copies, "val").results["ci95"]) == {"val", "test"}, "test was looked at before"
    shutil.copy(copies[0].best, copies[1].best)
    again = scored(tmp_path, copies, "val")
    assert again.folder.path == found.folder.path
    assert not again.folder.predictions("test").exists(), "of a model that is no more"
    assert set(again.results["ci95"]) == {"val"}
