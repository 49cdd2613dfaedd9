"""A whole run, and what the contract says that it leaves behind."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import tiny_overrides
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from medimg.config import TrainConfig
from medimg.config.check import as_dict, check
from medimg.config.compose import load
from medimg.data.manifest import read_manifest_csv
from medimg.errors import MedimgError, RequestError
from medimg.models import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.job import run_job

Run = tuple[RunFolder, TrainConfig]


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_file_of_the_contract_is_there(tiny_run: Run) -> None:
    folder, _ = tiny_run
    expected = [
        "config.yaml", "run.json", "results.json", "metrics.csv", "manifest.csv", "predictions/val.csv",
        "predictions/test.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "checkpoints/epoch_000.ckpt",
        "checkpoints/epoch_001.ckpt", "checkpoints/epoch_002.ckpt",
    ]  # fmt: skip
    assert [name for name in expected if not (folder.path / name).is_file()] == []
    assert list((folder.path / "tensorboard").glob("events.*"))
    assert not folder.error_file.exists()


def test_run_json_says_what_the_run_is(tiny_run: Run) -> None:
    info = tiny_run[0].info()
    assert info["status"] == "completed"
    assert info["classes"] == ["normal", "covid"]
    assert (info["positive_class"], info["seed"], info["synthetic"]) == ("covid", 0, True)
    assert info["monitor"] == {"metric": "val/f1_macro", "mode": "max"}
    assert info["started"] < info["finished"]
    assert info["seconds"] > 0
    assert info["device"] == "cpu"
    assert info["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert len(info["data_fingerprint"]) == len(info["images_fingerprint"]) == 64
    assert set(info["class_weights"]) == {"normal", "covid"}


def test_config_yaml_is_the_whole_config_and_reads_back(tiny_run: Run) -> None:
    folder, config = tiny_run
    raw = yaml.safe_load(folder.config_file.read_text())
    again = check(raw)
    assert again.trainer == config.trainer
    assert again.model == config.model
    assert Path(raw["paths"]["runs"]).is_absolute()
    assert raw == as_dict(again)


def test_metrics_csv_has_each_epoch_once(tiny_run: Run) -> None:
    table = rows(tiny_run[0].metrics_file)
    assert [row["epoch"] for row in table] == ["0", "1", "2"]
    for name in ("train/loss", "val/loss", "train/f1_macro", "val/f1_macro", "val/auroc", "val/sensitivity/covid"):
        assert all(np.isfinite(float(row[name])) for row in table), name
    assert all(float(row["lr-Adam"]) == pytest.approx(0.01) for row in table)


@pytest.mark.parametrize("split", ["val", "test"])
def test_results_are_what_scikit_learn_makes_of_the_predictions(tiny_run: Run, split: str) -> None:
    folder, _ = tiny_run
    table = rows(folder.predictions(split))
    labels = [row["label"] for row in table]
    predicted = [row["prediction"] for row in table]
    results = json.loads(folder.results_file.read_text())[split]
    assert results["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)
    assert results["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-6)
    positive = [label == "covid" for label in labels]
    assert results["auroc"] == pytest.approx(
        roc_auc_score(positive, [float(row["prob_covid"]) for row in table]), abs=1e-6
    )


def test_best_epoch_is_the_best_of_the_table_and_its_scores_are_reproduced(tiny_run: Run) -> None:
    folder, _ = tiny_run
    table = rows(folder.metrics_file)
    best = max(table, key=lambda row: (float(row["val/f1_macro"]), -float(row["val/loss"])))
    results = json.loads(folder.results_file.read_text())
    assert results["best_epoch"] == int(best["epoch"])
    assert results["val"]["f1_macro"] == pytest.approx(float(best["val/f1_macro"]), abs=1e-6)
    weights = [
        torch.load(folder.checkpoints / name, weights_only=True)
        for name in ("best.ckpt", f"epoch_{int(best['epoch']):03d}.ckpt")
    ]
    assert weights[0]["epoch"] == weights[1]["epoch"] == results["best_epoch"]
    assert all(torch.equal(value, weights[1]["state_dict"][name]) for name, value in weights[0]["state_dict"].items())


def test_predictions_name_the_images_of_the_split(tiny_run: Run) -> None:
    folder, _ = tiny_run
    manifest = read_manifest_csv(folder.manifest_file)
    for split in ("val", "test"):
        table = rows(folder.predictions(split))
        assert [row["path"] for row in table] == [record.path for record in manifest.records if record.split == split]
        for row in table:
            probabilities = [float(row["prob_normal"]), float(row["prob_covid"])]
            logits = np.array([float(row["logit_normal"]), float(row["logit_covid"])])
            assert probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum())
            assert row["prediction"] == ["normal", "covid"][int(np.argmax(probabilities))]


def test_a_checkpoint_is_plain_and_self_contained(tiny_run: Run) -> None:
    folder, _ = tiny_run
    classifier = ImageClassifier.load_from_checkpoint(folder.best, weights_only=True, map_location="cpu").eval()
    row = rows(folder.predictions("val"))[0]
    manifest = read_manifest_csv(folder.manifest_file)
    record = next(record for record in manifest.records if record.path == row["path"])

    from medimg.data.readers import read_image

    image = classifier.preprocessing.resize(read_image(manifest.file(record), 3))
    with torch.no_grad():
        logits = classifier(image[None])[0]
    assert logits.tolist() == pytest.approx([float(row["logit_normal"]), float(row["logit_covid"])], abs=1e-4)


def test_the_split_can_be_given_back(tiny_run: Run, tmp_path: Path) -> None:
    folder, _ = tiny_run
    again = RunFolder(tmp_path / "again")
    given = ["data=manifest", f"data.root={folder.manifest_file}", "data.classes=[normal,covid]", "data.batch_size=8"]
    overrides = [line for line in tiny_overrides(tmp_path, tmp_path) if not line.startswith("data")]
    run_job(
        load([*given, "data.num_workers=0", *overrides, "data.image_size=32", "trainer.max_epochs=1"]),
        again,
        in_sweep=False,
    )
    assert again.info()["data_fingerprint"] == folder.info()["data_fingerprint"]
    assert again.info()["counts"] == folder.info()["counts"]


def test_evaluate_test_leaves_the_test_split_alone_in_a_sweep(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "job")
    overrides = [*tiny_overrides(tmp_path, session_cache), "trainer.max_epochs=1"]
    value = run_job(load(overrides), folder, in_sweep=True)
    results = json.loads(folder.results_file.read_text())
    assert "test" not in results
    assert not folder.predictions("test").exists()
    assert value == pytest.approx(results["val"]["f1_macro"], abs=1e-6)


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "job")
    run_job(
        load([*tiny_overrides(tmp_path, session_cache), "data.val_fraction=0", "trainer.max_epochs=2"]),
        folder,
        in_sweep=False,
    )
    results = json.loads(folder.results_file.read_text())
    assert results["best_epoch"] == 1
    assert "val" not in results
    assert "test" in results


def test_a_failed_run_says_so_in_its_folder(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(ImageClassifier, "training_step", broken)
    folder = RunFolder(tmp_path / "job")
    with pytest.raises(MedimgError, match=r"ZeroDivisionError: of the test[\s\S]*error\.txt") as caught:
        run_job(load(tiny_overrides(tmp_path, session_cache)), folder, in_sweep=False)
    assert caught.value.exit_code == 1
    assert folder.info()["status"] == "failed"
    assert "ZeroDivisionError" in folder.error_file.read_text()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "job")
    with pytest.raises(MedimgError, match=r"not finite: epoch 0, step \d of it, at learning rate 1e\+20"):
        run_job(
            load([*tiny_overrides(tmp_path, session_cache), "optimizer=sgd", "optimizer.lr=1e20"]),
            folder,
            in_sweep=False,
        )
    assert folder.info()["status"] == "failed"


def test_an_unreadable_image_is_named_whenever_it_is_met(tmp_path: Path, make_folder: object) -> None:
    root = make_folder({"train/a": 12, "train/b": 12})  # type: ignore[operator]
    broken = sorted((root / "train/a").iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:40])
    overrides = [
        *tiny_overrides(tmp_path, tmp_path)[3:],
        "data=image_folder",
        f"data.root={root}",
        "trainer.accelerator=cpu",
    ]
    overrides = [line for line in overrides if not line.startswith(("data.size", "data.pat", "data.diff"))]
    for workers in (0, 1):
        with pytest.raises(RequestError, match=broken.name):
            run_job(
                load([*overrides, f"data.num_workers={workers}", f"data.cache={'none' if workers else 'auto'}"]),
                RunFolder(tmp_path / f"job{workers}"),
                in_sweep=False,
            )
